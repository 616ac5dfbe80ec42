"""Metrics for Prometheus, read from the database at each scrape.

Queue and lease ages come from PostgreSQL, which owns the truth, never from Celery's events.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.db import connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controlcenter.modelling.tasks.models import Task
from controlcenter.operations import incremental, queries, resources
from controlcenter.operations.incremental import RUNNING
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.runs.models import Outbox, Run
from controlcenter.platform.webhooks import queries as webhooks
from controlcenter.serving.incremental.models import Loop


class DatabaseCollector(Collector):
    """Everything the dashboard shows of tasks, runs, queues, events and users."""

    def collect(self) -> Iterable[Metric]:
        yield labelled(
            "ups_tasks", "Tasks by state", ["state"], queries.counts(Task.objects.all(), "state")
        )
        yield labelled(
            "ups_runs",
            "Runs by kind and status",
            ["kind", "status"],
            queries.counts(Run.objects.all(), "kind", "status"),
        )
        ages = {(queue,): age for queue, age in queries.queue_ages().items()}
        yield labelled("ups_queue_age_seconds", "Wait of the oldest queued run", ["queue"], ages)
        explanations = {(state,): n for state, n in queries.explanation_counts().items()}
        yield labelled("ups_explanations", "Explanations by state", ["state"], explanations)
        yield GaugeMetricFamily(
            "ups_outbox_unsent",
            "Messages not sent yet",
            value=Outbox.objects.filter(sent_at__isnull=True).count(),
        )
        yield GaugeMetricFamily(
            "ups_lease_age_seconds", "Oldest heartbeat of a running run", value=queries.lease_age()
        )
        age = queries.reaper_age()
        yield GaugeMetricFamily(
            "ups_reaper_age_seconds",
            "Since the reaper ran (-1: never)",
            value=-1.0 if age is None else age,
        )
        yield from webhook_metrics()
        yield from event_metrics()
        yield from incremental_metrics()
        yield GaugeMetricFamily(
            "ups_users", "Profiles (estimate)", value=queries.estimated_rows("profiles_profile")
        )


def webhook_metrics() -> Iterator[Metric]:
    """Deliveries of webhooks, and how they fare."""
    counts = {(status,): n for status, n in webhooks.delivery_counts().items()}
    text = "Deliveries of webhooks by status, of the last 30 days"
    yield labelled("ups_webhook_deliveries", text, ["status"], counts)
    yield GaugeMetricFamily(
        "ups_webhook_oldest_pending_seconds",
        "Age of the oldest delivery that waits (0: none)",
        value=webhooks.oldest_pending(),
    )
    yield GaugeMetricFamily(
        "ups_webhooks_failing",
        "Enabled webhooks whose last attempt failed",
        value=webhooks.failing(),
    )


def event_metrics() -> Iterator[Metric]:
    """How many events came in, and how late."""
    # The sequence counts without reading the table; rolled back and duplicate rows are included.
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(last_value, 0), is_called FROM events_event_id_seq")
        last, called = cursor.fetchone()
        cursor.execute("SELECT received_at - timestamp FROM events_event ORDER BY id DESC LIMIT 1")
        lag = cursor.fetchone()
    yield CounterMetricFamily("ups_events_total", "Events taken", value=last if called else 0)
    yield GaugeMetricFamily(
        "ups_event_lag_seconds",
        "From the newest event's time to its arrival",
        value=lag[0].total_seconds() if lag else 0.0,
    )


def incremental_metrics() -> Iterator[Metric]:
    """Of the loops that are to run, by workspace; and which were given up."""
    rows = {
        (workspace.slug,): incremental.state(workspace)
        for workspace in Workspace.objects.filter(loop__wanted=True)
    }
    of: dict[str, tuple[str, Callable[[dict[str, Any]], float | None]]] = {
        "ups_incremental_running": ("1: scores follow the events", lambda s: s["state"] == RUNNING),
        "ups_incremental_lag_events": ("Events not consumed yet", lambda s: s["lag_events"]),
        "ups_incremental_lag_seconds": ("Since the first of them", lambda s: s["lag_seconds"]),
        "ups_incremental_stale_rows": ("Backlog", lambda s: sum(s["backlog"]["rows"].values())),
        "ups_incremental_staleness_p50_seconds": (
            "Median over the stale rows",
            lambda s: s["backlog"]["staleness_p50"],
        ),
        "ups_incremental_staleness_p99_seconds": (
            "99th percentile over the stale rows",
            lambda s: s["backlog"]["staleness_p99"],
        ),
        "ups_incremental_edges_per_event": ("Work an event", lambda s: s["edges_per_event"]),
        "ups_incremental_audit_error": (
            "Relative error that the last audit found",
            lambda s: s["audit_error"],
        ),
    }
    for name, (text, value) in of.items():
        values = {key: value(row) for key, row in rows.items()}
        measured = {key: value for key, value in values.items() if value is not None}
        yield labelled(name, text, ["workspace"], measured)
    given_up = Loop.objects.filter(wanted=False).exclude(trouble="")
    failed = {(slug,): 1.0 for slug in given_up.values_list("workspace__slug", flat=True)}
    text = "1: it stopped by itself and nobody started or stopped it since"
    yield labelled("ups_incremental_failed", text, ["workspace"], failed)


def labelled(
    name: str,
    text: str,
    labels: list[str],
    values: Mapping[Any, float],
) -> GaugeMetricFamily:
    """A gauge with labels.

    Args:
        values: By the tuple of the labels' values.
    """
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), float(value))
    return family


class ResourceCollector(Collector):
    """CPU, memory and GPU of this machine and process."""

    def collect(self) -> Iterable[Metric]:
        now = resources.snapshot()
        yield GaugeMetricFamily(
            "ups_process_cpu_percent", "CPU of the web process", value=now["process_cpu_percent"]
        )
        yield GaugeMetricFamily(
            "ups_process_rss_bytes", "Memory of the web process", value=now["process_rss_bytes"]
        )
        family = GaugeMetricFamily("ups_gpu_memory_bytes", "GPU memory in use", labels=["gpu"])
        for index, gpu in enumerate(now["gpus"]):
            family.add_metric([f"{index} {gpu['name']}"], gpu["memory_used_bytes"])
        yield family


def render() -> bytes:
    """The text format."""
    registry = CollectorRegistry()
    registry.register(DatabaseCollector())
    registry.register(ResourceCollector())
    return generate_latest(registry)
