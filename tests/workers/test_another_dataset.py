"""A version that scores another dataset than the one it was trained on: everything follows."""

import uuid

import pytest
from django.db.models import F
from incremental_fixtures import (
    SYNTHESIS,
    check_against_a_full_pass,
    do_queued,
    is_fresh,
    refresh,
    running,
    send,
    some_events,
    wait,
)

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.runs.models import Run, RunStatus
from controlcenter.serving.incremental.models import Loop
from controlcenter.serving.incremental.queries import graph_to_score, present_graph
from controlcenter.serving.profiles.models import Explanation, Profile
from ml.contracts.schema import USER
from workers.stages import explaining
from workers.stages.explaining import ids_of_graph, scored_graph_of

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = SYNTHESIS | {"users": 80, "seed": 8}


@pytest.fixture
def moved(scored, as_anna):
    """The version of the first dataset scored a second one, with more users and other edges."""
    assert as_anna.post("/api/v1/datasets/synthesize/", OTHER, format="json").status_code == 202
    do_queued()
    first = active_version(scored.pk)
    refresh(as_anna, Dataset.objects.latest("created_at"), mode="embedding_only")
    assert active_version(scored.pk) == first
    assert ids_of_graph(scored.pk) != tuple(f.pk for f in first.graph_files.order_by("name"))
    return scored


def scores(workspace):
    return dict(
        Profile.objects.filter(workspace=workspace, final_score__isnull=False).values_list(
            "user_id", "final_score"
        )
    )


def test_the_loop_begins_at_what_was_scored(moved, anna, tmp_path):
    before = scores(moved)
    with running(moved, anna):
        assert scores(moved) == before
        send(moved, *some_events(moved, 30, 1))
        wait(lambda: is_fresh(moved))
    check_against_a_full_pass(moved, tmp_path)


def test_an_explanation_is_of_what_was_scored(moved, as_anna, settings):
    settings.EXPLANATION_WAIT_SECONDS = 0
    asked = sorted(scores(moved))[::11]
    assert f"u{OTHER['users'] - 1:05}" not in asked
    asked.append(f"u{OTHER['users'] - 1:05}")  # the first dataset has no such user
    for user in asked:
        assert as_anna.get(f"/api/v1/users/{user}/explanation/").status_code == 202
    do_queued()
    for user in asked:
        told = as_anna.get(f"/api/v1/users/{user}/explanation/").json()
        assert told["state"] == "ready"
        assert abs(told["drift"]) < 1e-6


def test_a_fusion_scores_the_present_users_and_learns_from_those_of_its_version(moved, as_anna):
    learned_from = ids_of_graph(moved.pk), active_version(moved.pk)
    rules = as_anna.get("/api/v1/rules/").json()["results"]
    as_anna.patch(f"/api/v1/rules/{rules[0]['id']}/", {"weight": 0.11}, format="json")
    task = Task.objects.latest("created_at")
    assert (task.workflow, task.state) == ("fusion", "pending")
    before = scores(moved)
    do_queued()
    fused = active_version(moved.pk)
    assert fused.base == learned_from[1]
    assert set(fused.graph_files.all()) == set(fused.base.graph_files.all())
    assert ids_of_graph(moved.pk) == learned_from[0]
    assert set(scores(moved)) == set(before)
    assert len(before) == OTHER["users"]
    built = task.runs.get(kind="embedding").metrics["graph"]
    assert built == str(present_graph(moved.pk)[0].run_id)


def test_a_version_that_learned_from_another_graph_is_fused_on_its_own(moved, as_anna):
    """It was promoted, its rescoring cancelled: the profiles are still those of the newer one."""
    first = active_version(moved.pk)
    refresh(as_anna, Dataset.objects.latest("created_at"))
    second = active_version(moved.pk)
    own = [list(version.graph_files.order_by("name")) for version in (first, second)]
    assert own[0] != own[1] == present_graph(moved.pk)
    assert [graph_to_score(version) for version in (first, second)] == own


@pytest.mark.parametrize("how", ["an older worker replaced the profiles", "no row"])
def test_where_nobody_noted_a_graph_it_is_that_of_the_version(moved, how):
    """Of profiles from before graphs were noted, and of those that a worker of before wrote."""
    loop = Loop.objects.filter(pk=moved.pk)
    if how == "no row":
        loop.delete()
    else:
        loop.update(generation=F("generation") + 1)
    version = active_version(moved.pk)
    own = list(version.graph_files.order_by("name"))
    assert own == present_graph(moved.pk) == graph_to_score(version)


def test_a_worker_keeps_one_graph_of_a_version(moved, as_anna, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        explaining, "load_scored_graph", lambda version, files: loaded.append(files) or 1
    )
    version, present = active_version(moved.pk).pk, ids_of_graph(moved.pk)
    others = [uuid.uuid4() for _ in range(explaining.KEPT_GRAPHS)]
    for known, files in [(version, (1,)), (version, present), (version, present)]:
        scored_graph_of(known, files)
    assert loaded == [(1,), present]
    for other in others:
        scored_graph_of(other, (2,))
    scored_graph_of(version, present)
    assert loaded == [(1,), present, (2,), (2,), present]
    explaining._scored_graphs.clear()


def test_a_refresh_moves_the_graph_on(moved, as_anna):
    refresh(as_anna, Dataset.objects.latest("created_at"))
    version = active_version(moved.pk)
    assert set(present_graph(moved.pk)) == set(version.graph_files.all())
    world = scored_graph_of(version.pk, ids_of_graph(moved.pk))
    assert world.index.graph.num_nodes[USER] == OTHER["users"]
    assert not Run.objects.filter(status=RunStatus.FAILED).exists()
    assert not Explanation.objects.exists()
