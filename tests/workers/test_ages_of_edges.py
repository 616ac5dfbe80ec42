"""A task that learns in time, from its parameter to the loop and the explanation."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from incremental_fixtures import (
    check_against_a_full_pass,
    do_queued,
    event,
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
from controlcenter.platform.artifacts.services import fetch_all
from controlcenter.serving.profiles import explanations
from controlcenter.serving.profiles.explanations import Question
from controlcenter.serving.profiles.models import Explanation, Item, Profile
from ml.graph.graph import Graph
from workers.files import load_graphs
from workers.stages.explaining import explained, ids_of_graph, model_of, scored_graph_of

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "u00001"


@pytest.fixture
def in_time(scored, as_anna):
    """The model of a version that knows ages."""
    refresh(as_anna, temporal=True, epochs=3)
    return model_of(active_version(scored.pk).pk)


def late(workspace):
    """Events of new users at known products, over two years, and some of known users, as they
    come."""
    items = sorted(Item.objects.filter(workspace=workspace, type="product").values_list("item_id"))
    moments = (datetime(2024, 8, 1, tzinfo=UTC) + timedelta(days=20 * n) for n in range(40))
    old = [
        event("order", f"late-{n}", items[n % len(items)][0], "product")
        | {"timestamp": moment.isoformat()}
        for n, moment in enumerate(moments)
    ]
    return [*old, *some_events(workspace, 40, 6)]


def drift_of_the_explanation(workspace):
    """How far the score of the evidence is from the stored one."""
    profile = Profile.objects.get(workspace=workspace, user_id=NAME)
    asked = explanations.request(profile, Question())
    found = explained(Explanation.objects.get(pk=asked.pk), ids_of_graph(workspace.pk))
    assert found.error == ""
    return found.result["drift"]


def test_ages_count_in_the_refresh_and_the_explanation(scored, in_time):
    world = scored_graph_of(active_version(scored.pk).pk, ids_of_graph(scored.pk))
    ages = np.concatenate(list(world.index.of(NAME).ages.values()))
    assert len(np.unique(ages)) > 1, "the user's edges are of one age: they tell nothing"
    assert abs(drift_of_the_explanation(scored)) < 1e-6


def test_ages_count_in_the_loop(scored, in_time, anna, tmp_path):
    with running(scored, anna):
        send(scored, *late(scored))
        wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)


def test_a_refresh_that_trains_nothing_counts_from_where_its_version_did(
    scored, in_time, anna, as_anna, tmp_path
):
    """Else the profiles that the loop does not touch would be of another time than the others."""
    send(scored, *late(scored))
    refresh(as_anna, mode="embedding_only")
    check_against_a_full_pass(scored, tmp_path)
    with running(scored, anna):
        wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)


def test_a_version_of_a_sample_counts_from_the_latest_event_of_all(scored, anna, as_anna, tmp_path):
    refresh(as_anna, temporal=True, epochs=3, scope="sampled", sample_ratio=0.2)
    version = active_version(scored.pk)
    graphs = load_graphs(fetch_all(version.graph_files.all(), tmp_path / "graphs"))
    assert graphs.training.latest() < graphs.whole.latest(), "it tells nothing"
    assert model_of(version.pk).now == graphs.whole.latest()
    check_against_a_full_pass(scored, tmp_path)
    assert abs(drift_of_the_explanation(scored)) < 1e-6
    with running(scored, anna):
        send(scored, *late(scored))
        wait(lambda: is_fresh(scored))
    check_against_a_full_pass(scored, tmp_path)


def failed_task(client, stage, **parameters):
    """The error of a task that fails in a stage."""
    body = {"dataset": str(Dataset.objects.first().pk), "parameters": parameters}
    assert client.post("/api/v1/tasks/", body, format="json").status_code == 201
    with pytest.raises(AssertionError, match=stage):
        do_queued()
    task = Task.objects.order_by("-created_at").first()
    assert task.state == "failed"
    return task.error


def test_a_graph_without_times_is_refused(in_time, as_anna):
    error = failed_task(as_anna, "embedding", mode="embedding_only", keep_timestamps=False)
    assert "leave keep_timestamps true" in error


def test_data_without_times_are_refused_before_anything_is_learned(scored, as_anna, monkeypatch):
    monkeypatch.setattr(Graph, "has_times", False)
    assert "leave it out" in failed_task(as_anna, "training", temporal=True)
