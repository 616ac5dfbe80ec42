"""What operators are told of the loop that keeps scores fresh."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from prometheus_client.parser import text_string_to_metric_families

from controlcenter.operations.incremental import STATES
from controlcenter.platform.log.positions import current_position
from controlcenter.platform.runs import claims
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.platform.runs.owners import Ending, RunOutcome
from controlcenter.serving.incremental import holder, services
from controlcenter.serving.incremental.holder import Published
from controlcenter.serving.incremental.models import Loop

pytestmark = pytest.mark.django_db
URL = "/api/v1/operations/incremental/"
BACKLOG = {
    "rows": {"user": 5, "app": 2},
    "edges": 70,
    "users_waiting": 1,
    "staleness_p50": 1.5,
    "staleness_p99": 4.5,
}


def expire(run):
    Run.objects.filter(pk=run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))


def publish(workspace, **change):
    published = {
        "position": current_position(),
        "stale_since": None,
        "events": 10,
        "edges": 250,
        "backlog": BACKLOG,
    }
    holder.publish(workspace.pk, Published(**(published | change)), answered=[])


def test_every_state_is_reached(workspace, as_operator, as_viewer, model_version):
    model_version()
    seen = []

    def look():
        seen.append(as_viewer.get(URL).json()["state"])

    look()
    as_operator.post(f"{URL}start/", {"reason": "so"}, format="json")
    look()
    run = services.runs_of(workspace.pk).get()
    held = claims.claim(run.pk, worker="worker:1")
    assert holder.acquire(held).generation == 0
    look()
    publish(workspace)
    look()
    expire(run)
    look()
    as_operator.post(f"{URL}stop/")
    look()
    assert holder.finish(held)
    look()
    ending = Ending(RunOutcome.FAILED, "reaper", "It broke.")
    services.LoopOwner().ended(None, run, ending)
    look()
    assert seen == ["off", "queued", "starting", "running", "lost", "stopping", "off", "failed"]
    assert set(seen) == {name for name, _ in STATES}
    assert as_viewer.get(URL).json()["trouble"] == "It broke."


def test_the_owner_counts_up_what_it_did(workspace, as_operator, as_viewer, model_version):
    model_version()
    as_operator.post(f"{URL}start/")
    held = claims.claim(services.runs_of(workspace.pk).get().pk, worker="worker:1")
    holder.acquire(held)
    publish(workspace)
    publish(workspace, events=0, edges=50)
    state = as_viewer.get(URL).json()
    assert (state["events"], state["edges"], state["edges_per_event"]) == (10, 300, 30.0)
    assert (state["owner"], state["ticks"], state["lag_events"]) == ("worker:1", 2, 0)
    assert state["backlog"] == BACKLOG


def test_metrics_of_loops_that_are_to_run(client, workspace, as_operator, model_version):
    def samples():
        text = client.get("/metrics").content.decode()
        return {
            sample.name: (sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("ups_incremental")
        }

    model_version()
    assert samples() == {}
    as_operator.post(f"{URL}start/")
    held = claims.claim(services.runs_of(workspace.pk).get().pk, worker="worker:1")
    holder.acquire(held)
    publish(workspace)
    holder.note_audit(workspace.pk, rows=200, error=1e-7)
    alpha = {"workspace": "alpha"}
    assert samples() == {
        "ups_incremental_running": (alpha, 1.0),
        "ups_incremental_lag_events": (alpha, 0.0),
        "ups_incremental_lag_seconds": (alpha, 0.0),
        "ups_incremental_stale_rows": (alpha, 7.0),
        "ups_incremental_staleness_p50_seconds": (alpha, 1.5),
        "ups_incremental_staleness_p99_seconds": (alpha, 4.5),
        "ups_incremental_edges_per_event": (alpha, 25.0),
        "ups_incremental_audit_error": (alpha, 1e-7),
    }


def test_an_owner_whose_claim_is_not_the_last_writes_nothing(workspace, as_operator, model_version):
    model_version()
    as_operator.post(f"{URL}start/")
    run = services.runs_of(workspace.pk).get()
    first = claims.claim(run.pk, worker="worker:1")
    holder.acquire(first)
    Run.objects.filter(pk=run.pk).update(status=RunStatus.QUEUED)
    second = claims.claim(run.pk, worker="worker:2")
    with pytest.raises(claims.Fenced):
        holder.confirm(first, 0)
    with pytest.raises(holder.Superseded):
        holder.confirm(second, 0)  # it has not taken over what the first one published
    holder.acquire(second)
    holder.confirm(second, 0)
    Loop.objects.update(generation=1)
    with pytest.raises(holder.Superseded):
        holder.confirm(second, 0)
