"""Dashboard and alerts ask for what there is, and show all of it."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from controlcenter.platform.log.positions import current_position
from controlcenter.platform.runs import claims, endings
from controlcenter.serving.incremental import holder, services
from controlcenter.serving.incremental.holder import Published
from controlcenter.serving.incremental.models import Loop
from workers.loops.incremental import AUDIT_LIMIT

DEPLOY = Path(__file__).parents[3] / "deploy"
MADE_BY_PROMETHEUS = {"up"}
WORDS = {"offset", "or", "and", "unless"}
URL = "/api/v1/operations/incremental/"


def panels():
    paths = (DEPLOY / "grafana" / "dashboards").glob("*.json")
    return [panel for path in paths for panel in json.loads(path.read_text())["panels"]]


def shown():
    """Expressions of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def alerts():
    """Expressions of the alerts by name."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def metrics(expression):
    """Names in an expression that are no functions, labels or words of the language."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", expression)
    names = re.findall(r"(?<![\w.])[a-zA-Z_]\w*\b(?!\s*\()", bare)
    return set(names) - WORDS


def samples(client):
    text = client.get("/metrics").content.decode()
    return list(text_string_to_metric_families(text))


@pytest.fixture
def exported(client, db):
    """Names as Prometheus keeps them."""
    families = samples(client)
    assert len(families) > 20
    return {f"{f.name}_total" if f.type == "counter" else f.name for f in families}


@pytest.fixture
def loop(workspace, as_operator, model_version):
    """The claim of a loop that runs."""
    model_version()
    assert as_operator.post(f"{URL}start/").status_code < 300
    held = claims.claim(services.runs_of(workspace.pk).get().pk, worker="worker:1")
    holder.acquire(held)
    return held


def test_names_are_found_in_expressions():
    expression = 'rate(a_total[5m]) - (max(b_p50{kind="c", d="e"}) offset 1h or f * 0) > 1e-4'
    assert metrics(expression) == {"a_total", "b_p50", "f"}


def test_what_dashboard_and_alerts_ask_for_is_exported(exported):
    for expression in [*shown(), *alerts().values()]:
        asked = metrics(expression)
        assert asked
        assert asked <= exported | MADE_BY_PROMETHEUS, expression


def test_all_that_is_exported_is_on_the_dashboard(exported):
    assert exported <= set().union(*map(metrics, shown()))


def test_each_panel_has_a_place_of_its_own():
    all_panels = panels()
    assert len({panel["id"] for panel in all_panels}) == len(all_panels)
    cells = [
        {(x, y) for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
        for p in (panel["gridPos"] for panel in all_panels)
    ]
    assert all(x < 24 for own in cells for x, _ in own)
    assert not any(one & other for one, other in combinations(cells, 2))


def test_the_loop_is_not_wrong_before_the_alert_says_so():
    threshold = float(alerts()["IncrementalWrong"].split(">")[1])
    assert threshold <= AUDIT_LIMIT


@pytest.mark.parametrize("what_then", [services.start, services.stop])
def test_a_loop_that_is_given_up_is_where_the_alert_looks_until_somebody_cares(
    client, workspace, loop, team, what_then
):
    name, _, value = alerts()["IncrementalFailed"].partition(" == ")

    def given_up():
        found = next(family for family in samples(client) if family.name == name)
        return [sample.labels for sample in found.samples if sample.value == float(value)]

    assert given_up() == []
    endings.fail(loop, sentence="It broke.")
    assert given_up() == [{"workspace": workspace.slug}]
    what_then(workspace=workspace, account=team.accounts["operator"])
    assert given_up() == []
    assert Loop.objects.get(pk=workspace.pk).trouble == ""


def test_the_front_page_tells_how_much_is_stale(client, workspace, loop, team):
    backlog = {"rows": {"user": 5, "items": 2}, "staleness_p50": 1.5, "staleness_p99": 4.5}
    published = Published(
        position=current_position(), stale_since=None, events=10, edges=250, backlog=backlog
    )
    holder.publish(workspace.pk, published, answered=[])
    viewer = team.accounts["viewer"]
    type(viewer).objects.filter(pk=viewer.pk).update(is_staff=True)
    client.force_login(viewer)
    front = client.get("/admin/").content.decode()
    assert "0 events behind; backlog: 7 rows, stale for 1.5 s (half), 4.5 s (99 %)" in front
