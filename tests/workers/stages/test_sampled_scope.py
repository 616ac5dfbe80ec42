"""A network that learned from a sample of the users: the score is made for everybody."""

import pytest
from incremental_fixtures import SYNTHESIS, check_against_a_full_pass, do_queued, refresh

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.queries import active_version
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.artifacts.services import fetch_all
from ml.contracts.schema import USER
from ml.fusion.evidence import AttributeEncoder, profile_frame
from workers.files import load_graphs
from workers.stages.explaining import model_of

pytestmark = pytest.mark.django_db(transaction=True)
SHARE = 0.5


@pytest.fixture
def sampled(scored, as_anna):
    refresh(as_anna, scope="sampled", sample_ratio=SHARE, epochs=2)
    return active_version(scored.pk)


@pytest.fixture
def graphs(sampled, tmp_path):
    return load_graphs(fetch_all(sampled.graph_files.all(), tmp_path / "graphs"))


def test_scales_and_measures_are_of_the_features_that_are_scored(sampled, graphs):
    """In a sample users have only the calls whose both ends are in it: other counts, other hits."""
    assert graphs.training.num_nodes[USER] == SYNTHESIS["users"] * SHARE
    model, frame = model_of(sampled.pk), profile_frame(graphs.whole)
    assert model.metrics.score.target == "label"
    assert model.profile.encoder == AttributeEncoder.fit(graphs.whole.schema, frame)
    assert sampled.metrics["score"]["users"] == SYNTHESIS["users"]
    assert set(model.held_out["user_id"]) == set(graphs.whole.node_ids[USER])


def test_everybody_is_scored_by_it(sampled, scored, tmp_path):
    check_against_a_full_pass(scored, tmp_path)


def test_its_evaluation_knows_everybody(scored, as_anna, tmp_path):
    body = {
        "dataset": str(Dataset.objects.first().pk),
        "workflow": "standard",
        "parameters": {"epochs": 1, "fusion_epochs": 5, "scope": "sampled", "sample_ratio": SHARE},
    }
    assert as_anna.post("/api/v1/tasks/", body, format="json").status_code == 201
    do_queued()
    task = Task.objects.latest("created_at")
    assert task.state == "completed"
    report, version = task.evaluations.get(), active_version(scored.pk)
    assert report.metrics["score.auc"] == version.metrics["score"]["auc"]
    graphs = load_graphs(fetch_all(version.graph_files.all(), tmp_path / "graphs"))
    worst = {user["user_id"] for user in report.report["worst"]["users"]}
    assert worst - set(graphs.training.node_ids[USER])
