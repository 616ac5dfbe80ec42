"""The worker that explains: a profile, its version's graph and what came since become an answer."""

import uuid
from types import SimpleNamespace

import pytest

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common import clock
from controlcenter.platform.log import positions
from controlcenter.platform.runs.models import Run
from controlcenter.serving.ingestion.services import ingest
from controlcenter.serving.profiles import explanations
from controlcenter.serving.profiles.explanations import Question
from controlcenter.serving.profiles.models import Explanation, Profile
from ml.contracts.schema import USER
from ml.data.synthesis import SynthesisConfig, synthesize
from ml.explanation.neighbourhood import NeighbourhoodIndex
from ml.fusion.evidence import COUNT_PREFIX, profile_frame
from ml.fusion.fitting import fit_profile
from ml.fusion.fusion import FusionConfig
from ml.fusion.scoring import score_users
from ml.graph.graph import build_graph
from ml.hgt.encoders import FeatureEncoder
from ml.hgt.model import ModelConfig, build_model, embed
from ml.hgt.row_embedding import full_states
from ml.rules.rule_set import RuleSet, default_rules
from workers.runtime.runner import execute
from workers.stages import explaining
from workers.stages.explaining import ScoredGraph, explained

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "u00003"
GRAPH = (uuid.UUID(int=1),)
"""Its file is not in the store; ``scored_graph_of`` is replaced."""


@pytest.fixture(scope="module")
def version_files():
    """What a version has: an untrained network, a fusion that was fitted, a graph."""
    graph = build_graph(synthesize(SynthesisConfig(users=120, events=3000, products=12, apps=6)))
    encoder = FeatureEncoder.fit(graph.schema, graph.features, graph.node_ids)
    network = build_model(encoder, ModelConfig(), seed=0).eval()
    rules = RuleSet(default_rules(graph.schema), graph.schema)

    def embed_users(part):
        return embed(network, encoder, part)[USER]

    fitted = fit_profile(graph, rules, embed_users, FusionConfig(epochs=5), cut=None)
    model = SimpleNamespace(
        model=network, encoder=encoder, profile=fitted.model, background=fitted.background,
        schema=graph.schema, lineage={"seed": 3},
    )  # fmt: skip
    frame = profile_frame(graph)
    scores = score_users(fitted.model, frame, embed_users(graph))
    return SimpleNamespace(graph=graph, model=model, frame=frame, scores=scores)


@pytest.fixture
def workspace():
    return Workspace.objects.create(slug="explaining", name="explaining")


def version_row(workspace, schema):
    """A version's rows."""
    about = {"schema": schema.to_dict(), "schema_hash": schema.hash}
    dataset = Dataset.objects.create(
        workspace=workspace, name="d", filename="d.zip", state="ready", **about
    )
    task = Task.objects.create(
        workspace=workspace, dataset=dataset, workflow="refresh", mode="full_retrain", parameters={}
    )
    return ModelVersion.objects.create(
        workspace=workspace, number=1, task_id=task.pk, dataset=dataset, seed=3,
        code_version="test",
        rule_revision=1, rules=[], metrics={}, **about,
    )  # fmt: skip


@pytest.fixture
def profile(version_files, monkeypatch, workspace):
    """A user as the embedding stage leaves it."""
    files = version_files
    version = version_row(workspace, files.model.schema)
    index = files.graph.index(USER)[NAME]
    row, scored = files.frame.row(index, named=True), files.scores.row(index, named=True)
    profile = Profile.objects.create(
        workspace=workspace,
        user_id=NAME,
        attributes={f.name: row[f.name] for f in files.model.schema.user.features},
        scored_counts={
            event: row[COUNT_PREFIX + event]
            for event in files.model.schema.event_types
            if row[COUNT_PREFIX + event]
        },
        embedding=scored["embedding"],
        final_score=scored["final_score"],
        model_version=version,
        rule_revision=1,
        scored_at=clock.now(),
    )
    states = full_states(files.model.model, files.model.encoder, files.graph)
    world = ScoredGraph(NeighbourhoodIndex(files.graph), states, positions.current_position())
    monkeypatch.setattr(explaining, "model_of", lambda version_id: files.model)
    monkeypatch.setattr(explaining, "scored_graph_of", lambda version_id, graph: world)
    monkeypatch.setattr(explaining, "ids_of_graph", lambda workspace_id: GRAPH)
    return profile


def answer(profile, **question):
    profile.refresh_from_db()
    asked = explanations.request(profile, Question(**question))
    found = explained(Explanation.objects.get(pk=asked.pk), GRAPH)
    assert found.error == ""
    return found.result


def work_as_worker(workspace):
    run = Run.objects.get(workspace=workspace, kind=explanations.KIND, status="queued")
    assert execute(str(run.pk), explaining.work) == "done"


def test_it_explains_the_score_that_the_profile_has(profile):
    found = answer(profile)
    total = sum(row["contribution"] for row in found["contributions"])
    assert found["score"] - found["base"] == pytest.approx(total, abs=1e-6)
    assert found["score"] == pytest.approx(profile.final_score, abs=1e-5)
    assert found["drift"] == pytest.approx(profile.final_score - found["score"])
    assert found["background"]["size"] == 50
    assert found["warnings"] == []
    shown = {row["player"]: row for row in found["contributions"]}
    assert shown["calls"]["value"] == profile.scored_counts["call"]
    assert shown["attributes"]["value"]["plan"] == profile.attributes["plan"]


def test_the_kinds_that_matter_most_tell_their_neighbours_first(profile):
    found = answer(profile)
    sizes = {row["player"]: abs(row["contribution"]) for row in found["contributions"]}
    told = [sizes[entry["player"]] for entry in found["neighbours"]]
    assert told == sorted(told, reverse=True)
    assert len(told) >= 3
    assert all(len(entry["strongest"]) <= 5 for entry in found["neighbours"])
    named = [r for e in found["neighbours"] for r in e["strongest"] if r["type"] == "product"]
    assert named
    assert all(row["name"] for row in named)


def call(number, target):
    return {
        "event_id": f"00000000-0000-4000-8000-{number:012d}",
        "type": "call",
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": {"actor": NAME, "target": target},
    }


def test_events_that_the_score_does_not_know_are_left_out(profile, workspace):
    before = answer(profile)
    ingest(workspace=workspace, events=[call(1, "u00099"), call(2, "somebody new")])
    assert Profile.objects.get(pk=profile.pk).changed_at is not None
    after = answer(profile)
    assert after["score"] == before["score"]


def test_events_that_a_merge_did_not_know_are_left_out(profile, workspace):
    """They came while the task ran: before the score was written, but after its graph was."""
    before, mark = answer(profile), clock.now()
    ingest(workspace=workspace, events=[call(1, "u00099")])
    Profile.objects.filter(pk=profile.pk).update(changed_at=mark, scored_at=clock.now())
    assert answer(profile)["score"] == before["score"]


def test_events_that_the_score_knows_are_the_users_evidence(profile, workspace):
    """As when the incremental loop has refreshed the row since."""
    before = answer(profile)
    events = [call(1, "u00099"), call(2, "somebody new")]
    ingest(workspace=workspace, events=events)
    Profile.objects.filter(pk=profile.pk).update(changed_at=None, scored_at=clock.now())
    after = answer(profile)
    calls = {e["player"]: e["neighbours"] for e in after["neighbours"]}["calls"]
    assert calls == {e["player"]: e["neighbours"] for e in before["neighbours"]}["calls"] + 1
    assert after["score"] != before["score"]
    assert after["drift"] == pytest.approx(profile.final_score - after["score"])
    assert any("changed in between" in note for note in after["notes"])
    assert any("1 neighbours came after the graph" in note for note in after["notes"])


def test_what_was_scored_again_while_it_waited_is_told_as_what_it_is(profile):
    asked = explanations.request(profile)
    Profile.objects.filter(pk=profile.pk).update(revision=5)
    work_as_worker(profile.workspace)
    told = Explanation.objects.get(pk=asked.pk)
    assert (told.state, told.explained_revision) == ("ready", 5)


@pytest.mark.parametrize("replaced", [0, 1], ids=["at rest", "replaced meanwhile"])
def test_profiles_and_their_graph_are_of_one_moment(profile, monkeypatch, replaced):
    """A task that replaces the profiles while they are read: they are read again."""
    graphs = iter([(1,), (1,)] if not replaced else [(1,), (2,), (2,), (2,)])
    reads = []
    monkeypatch.setattr(explaining, "ids_of_graph", lambda workspace_id: next(graphs))
    monkeypatch.setattr(explaining, "pending", lambda workspace_id: reads.append(1) or [])
    assert explaining.pending_with_graph(profile.workspace_id) == ([], (1 + replaced,))
    assert len(reads) == 1 + replaced


@pytest.mark.parametrize("view", ["groups", "flat"])
def test_the_other_views_explain_the_stored_embedding(profile, view):
    found = answer(profile, view=view)
    assert found["view"] == view
    assert abs(found["drift"]) < 1e-6
    assert found["additivity_error"] < 1e-6


@pytest.mark.parametrize("view", ["evidence", "groups", "flat"])
def test_zeros_are_a_background_on_request_with_a_warning(profile, view):
    found = answer(profile, view=view, background="zero")
    assert found["background"] == {"id": "zero", "kind": "zero", "size": 1, "seed": 0}
    assert "zeros" in found["warnings"][0]


def test_a_version_without_a_graph_says_what_to_do(profile):
    asked = explanations.request(profile)
    found = explained(Explanation.objects.get(pk=asked.pk), ())
    assert found.result is None
    assert "train a new version" in found.error


def test_a_score_that_is_gone_is_told(profile):
    asked = explanations.request(profile)
    Profile.objects.filter(pk=profile.pk).update(embedding=None)
    found = explained(Explanation.objects.get(pk=asked.pk), GRAPH)
    assert (found.result, found.error[:17]) == (None, "The score is gone")
