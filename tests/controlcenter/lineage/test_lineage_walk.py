"""Both directions of the lineage are what a walk over the record of all that happened gives."""

import uuid

import pytest
from controlcenter_fixtures import make_dataset
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lineage_fixtures import History, active, reached, version_of

from controlcenter.lineage import walk
from controlcenter.lineage.children import children
from controlcenter.lineage.parents import parents
from controlcenter.lineage.queries import made_by_task, of_task
from controlcenter.lineage.refs import ref
from controlcenter.lineage.walk import surroundings
from controlcenter.modelling.datasets import services as datasets
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.accounts.services import create_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def history(workspace, owner):
    return History(workspace, owner)


def check(history):
    """Every thing's parents, children and surroundings are those of the record."""
    edges = history.all_edges()
    refs = {end for edge in edges for end in (edge.source, edge.target)}
    home = history.workspace.pk
    for one in refs:
        assert set(parents(home, [one])) == {edge for edge in edges if edge.target == one}
        below, cut = children(home, [one], 200)
        assert set(below) == {edge.target for edge in edges if edge.source == one}
        assert not cut
        told = surroundings(home, [one])
        expected = reached(edges, [one], up=True) | reached(edges, [one], up=False)
        assert set(told.refs) == expected
        assert set(told.edges) == {e for e in edges if {e.source, e.target} <= expected}
        assert not told.truncated
    return refs


def test_a_plain_refresh(history, ready_dataset):
    task = history.run(history.task("refresh", ready_dataset))
    assert task.state == "completed"
    assert len(check(history)) == 4
    told = of_task(task)
    assert [(n.kind, n.iteration) for n in told.nodes if n.key in told.starts] == [
        ("graph", 0), ("version", 0), ("profiles", 0),
    ]  # fmt: skip


def test_three_iterations_are_one_chain_through_their_suggestions(history, ready_dataset):
    task = history.run(history.task("continuous", ready_dataset, max_iterations=3), best=False)
    assert (task.state, task.iteration) == ("completed", 2)
    check(history)
    last = version_of(task, 2)
    above = set(surroundings(history.workspace.pk, [ref("version", last.pk)]).refs)
    assert {ref("version", version_of(task, number).pk) for number in range(3)} <= above
    assert ref("profiles", version_of(task, 0).pk) not in above


def test_a_fusion_and_its_rescoring_have_the_graph_of_their_base(history, ready_dataset):
    history.run(history.task("refresh", ready_dataset))
    fused = version_of(history.run(history.task("fusion")))
    again = version_of(history.run(history.task("fusion")))
    assert again.base == fused
    history.rescore(fused)
    check(history)


@pytest.mark.parametrize("stage", ["optimizing", "building", "training", "embedding", "evaluating"])
def test_a_retry_takes_over_what_is_there(history, ready_dataset, stage):
    failed = history.run(history.task("standard", ready_dataset), fail=stage)
    assert failed.state == "failed"
    again = history.run(services.retry(task=failed, account=history.account))
    assert again.state == "completed"
    check(history)
    reused = again.runs.filter(reuses__isnull=False)
    assert set(reused.values_list("reuses__task", flat=True)) <= {failed.pk}
    assert reused.count() == {"optimizing": 0, "building": 1, "training": 2}.get(stage, 3)
    mine = made_by_task(again)
    assert [one.kind for one in mine].count("graph") == 1
    if stage in ("training", "embedding", "evaluating"):
        assert {one for one in made_by_task(failed) if one.kind == "graph"} <= set(mine)


def test_a_retry_of_a_retry(history, ready_dataset):
    task = history.run(history.task("standard", ready_dataset), fail="training")
    task = history.run(services.retry(task=task, account=history.account), fail="embedding")
    task = history.run(services.retry(task=task, account=history.account))
    assert task.state == "completed"
    assert Dataset.objects.filter(source=ready_dataset).count() == 1
    check(history)


def test_an_attempt_that_was_lost_leaves_nothing(history, ready_dataset):
    task = history.run(history.task("standard", ready_dataset), lose="building")
    assert task.runs.filter(kind="building").count() == 2
    assert [one.kind for one in made_by_task(task)].count("graph") == 1
    check(history)


def test_deleted_datasets_stay_in_the_lineage(history, ready_dataset):
    task = history.run(history.task("standard", ready_dataset))
    derived = Dataset.objects.get(source=ready_dataset)
    datasets.delete(dataset=derived, account=history.account)
    history.rescore(version_of(task))
    datasets.delete(dataset=ready_dataset, account=history.account)
    check(history)
    told = {node.key: node for node in of_task(task).nodes}
    node = told[f"dataset:{derived.pk}"]
    assert (node.kind, node.state, node.exists) == ("derived_dataset", "deleted", False)
    assert (node.task, node.iteration) == (str(task.pk), 0)
    assert node.run == str(task.runs.get(kind="optimizing").pk)
    assert told[f"dataset:{ready_dataset.pk}"].exists is False


DO = st.sampled_from(
    ["refresh", "standard", "continuous", "fusion", "rescore", "delete", "dataset", "rollback"]
)
STAGE = st.sampled_from(["optimizing", "building", "training", "embedding", "evaluating", None])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), names=st.lists(DO, min_size=2, max_size=6))
def test_whatever_happens_in_whatever_order(db, data, names):
    with transaction.atomic():
        account = Account.objects.create_user(uuid.uuid4().hex)
        slug = uuid.uuid4().hex
        history = History(create_workspace(slug=slug, name=slug, owner=account), account)
        make_dataset(history.workspace)
        for name in names:
            happen(history, name, data)
        check(history)
        transaction.set_rollback(True)


def happen(history, name, data):
    """One thing, if it is possible now."""
    ready = list(Dataset.objects.filter(workspace=history.workspace, state="ready").order_by("pk"))
    if name == "dataset" or not ready:
        make_dataset(history.workspace, name=f"more {len(ready)}")
        return
    dataset = data.draw(st.sampled_from(ready))
    if name == "delete":
        datasets.delete(dataset=dataset, account=history.account)
        return
    version = active(history.workspace)
    if name in ("fusion", "rescore", "rollback") and version is None:
        return
    if name == "rescore":
        history.rescore(version)
    elif name == "rollback":
        versions = ModelVersion.objects.filter(workspace=history.workspace)
        history.rescore(data.draw(st.sampled_from(list(versions))))
    else:
        told = {"max_iterations": data.draw(st.integers(1, 3))} if name == "continuous" else {}
        task = history.task(name, None if name == "fusion" else dataset, **told)
        task = history.run(task, fail=data.draw(STAGE), best=data.draw(st.booleans()))
        if task.state == "failed" and data.draw(st.booleans()):
            history.run(services.retry(task=task, account=history.account))


def test_there_is_a_bound_and_it_is_told(history, ready_dataset, monkeypatch):
    for _ in range(4):
        history.run(history.task("refresh", ready_dataset))
    home, root = history.workspace.pk, ref("dataset", ready_dataset.pk)
    whole = surroundings(home, [root])
    assert (len(whole.refs), whole.truncated) == (13, False)
    part = surroundings(home, [root], limit=5)
    assert [one.kind for one in part.refs] == ["dataset", "graph", "version", "profiles"]
    assert part.truncated
    assert len(part.edges) == 3
    newest = Task.objects.order_by("-created_at").first()
    assert part.refs[1] == ref("graph", newest.runs.get(kind="building").pk)
    monkeypatch.setattr(walk, "STEPS", 1)
    near = surroundings(home, [root])
    assert (len(near.refs), near.truncated) == (5, True)


def test_the_cost_does_not_grow_with_the_number_of_rows(history, ready_dataset):
    root = [ref("dataset", ready_dataset.pk)]
    history.run(history.task("standard", ready_dataset))
    with CaptureQueriesContext(connection) as few:
        surroundings(history.workspace.pk, root)
    for _ in range(3):
        history.run(history.task("standard", ready_dataset))
    with CaptureQueriesContext(connection) as many:
        assert len(surroundings(history.workspace.pk, root).refs) == 21
    assert len(many) == len(few)
