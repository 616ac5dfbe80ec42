"""Model versions are numbered, activated and rolled back; rescoring follows."""

import pytest
from controlcenter_fixtures import make_dataset

from controlcenter.modelling.registry.models import ActiveVersion
from controlcenter.modelling.rollouts import services
from controlcenter.modelling.tasks.models import Task
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.audit.models import AuditEntry
from controlcenter.platform.common.errors import Conflict
from ml.contracts.schema import TELECOM, Feature, GraphSchema, NodeType

pytestmark = pytest.mark.django_db
URL = "/api/v1/models/"
WHY = {"reason": "better on the holdout"}


def active(workspace):
    return ActiveVersion.objects.get(workspace=workspace).version


def test_numbers_count_up_within_a_workspace(model_version, other_workspace, workspace):
    numbers = [model_version().number, model_version().number]
    assert numbers == [1, 2]
    assert model_version(of=other_workspace).number == 1
    assert model_version().number == 3


def test_activating_takes_over_the_schema(model_version, workspace):
    schema = GraphSchema(
        nodes=(NodeType("user", (Feature("age", "numeric"),)), *TELECOM.nodes[1:]),
        edges=TELECOM.edges,
    )
    model_version(schema=schema.to_dict(), schema_hash=schema.hash)
    assert Workspace.objects.get(pk=workspace.pk).graph_schema == schema


def test_the_list_says_which_is_active(as_viewer, model_version):
    model_version()
    version = model_version(metrics={"score": {"auc": 0.8}})
    model_version(active=False)
    told = as_viewer.get(URL).json()["results"]
    assert [(v["number"], v["active"]) for v in told] == [(3, False), (2, True), (1, False)]
    detail = as_viewer.get(f"{URL}{version.pk}/").json()
    assert detail["metrics"] == {"score": {"auc": 0.8}}
    assert detail["files"] == []
    assert detail["active"] is True


@pytest.mark.parametrize(
    ("score", "expected"), [({"validated": True}, True), ({"validated": False}, False), ({}, None)]
)
def test_a_version_says_whether_its_score_is_validated(as_viewer, model_version, score, expected):
    version = model_version(metrics={"score": score})
    (listed,) = as_viewer.get(URL).json()["results"]
    assert listed["validated"] is expected
    assert as_viewer.get(f"{URL}{version.pk}/").json()["validated"] is expected


def test_promotion_moves_the_pointer_and_rescores(as_operator, workspace, model_version):
    first, second = model_version(), model_version()
    answer = as_operator.post(f"{URL}{first.pk}/promote/", WHY, format="json")
    assert answer.status_code == 202
    told = answer.json()
    assert (told["active"], told["number"]) == (str(first.pk), 1)
    pointer = ActiveVersion.objects.get(workspace=workspace)
    assert (pointer.version, pointer.moved_by, pointer.reason) == (
        first,
        "operator",
        WHY["reason"],
    )
    task = Task.objects.get(pk=told["task"])
    assert (task.workflow, task.mode, task.base_version) == ("refresh", "embedding_only", first)
    assert (task.state, task.dataset) == ("pending", first.dataset)
    assert task.runs.get().kind == "building"
    entry = AuditEntry.objects.get(action="model.promote")
    assert entry.details == {"from": 2, "to": 1, "reason": WHY["reason"]}
    assert second.pk != first.pk


def test_promoting_the_active_version_is_a_409(as_operator, model_version):
    version = model_version()
    answer = as_operator.post(f"{URL}{version.pk}/promote/", WHY, format="json")
    assert answer.status_code == 409
    assert "active already" in answer.json()["detail"]
    assert not Task.objects.filter(mode="embedding_only").exists()


def test_a_promotion_that_expects_another_active_version_does_nothing(
    model_version, operator, workspace
):
    first, second, third = model_version(), model_version(), model_version()
    with pytest.raises(Conflict, match="not the one you expected"):
        services.promote(version=first, account=operator, reason="x", expected=second.pk)
    assert active(workspace) == third
    services.promote(version=first, account=operator, reason="x", expected=third.pk)
    assert active(workspace) == first


def test_rollback_goes_back_one_by_one_and_no_further(as_operator, workspace, model_version):
    first, second, _ = model_version(), model_version(), model_version()
    for expected in (second, first):
        answer = as_operator.post(f"{URL}rollback/", WHY, format="json")
        assert answer.status_code == 202
        assert answer.json()["number"] == expected.number
        assert active(workspace) == expected
    answer = as_operator.post(f"{URL}rollback/", WHY, format="json")
    assert answer.status_code == 409
    assert "version 1 is the first" in answer.json()["detail"]
    assert Task.objects.filter(mode="embedding_only").count() == 2


def test_without_a_version_there_is_nothing_to_roll_back(as_operator):
    answer = as_operator.post(f"{URL}rollback/", WHY, format="json")
    assert answer.status_code == 409
    assert "no model version yet" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "a" * 301}, {"reason": "a\0"}])
def test_a_move_needs_a_reason(as_operator, workspace, model_version, body):
    first, second = model_version(), model_version()
    for url in (f"{URL}{first.pk}/promote/", f"{URL}rollback/"):
        answer = as_operator.post(url, body, format="json")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "reason"
    assert active(workspace) == second


def test_a_version_whose_dataset_is_gone_goes_back_to_its_own_graph(
    as_operator, workspace, model_version
):
    first = model_version(dataset=make_dataset(workspace, name="old"))
    model_version(dataset=make_dataset(workspace, name="new"))
    as_operator.delete(f"/api/v1/datasets/{first.dataset_id}/")
    answer = as_operator.post(f"{URL}{first.pk}/promote/", WHY, format="json")
    assert answer.status_code == 202
    assert active(workspace) == first
    task = Task.objects.get(pk=answer.json()["task"])
    assert (task.dataset, task.base_version, task.mode) == (None, first, "embedding_only")
