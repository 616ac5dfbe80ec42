"""How far a score looks into the future: told to a task, kept by the fusions of its version."""

import pytest
from incremental_fixtures import client_of, do_queued, refresh

from controlcenter.modelling.registry.queries import active_version
from ml.fusion.targets import HORIZON_DAYS
from workers.stages.explaining import model_of

pytestmark = pytest.mark.django_db(transaction=True)


def horizon(workspace):
    return model_of(active_version(workspace.pk).pk).horizon_days


def change_a_rule(client, weight):
    rules = client.get("/api/v1/rules/").json()["results"]
    answer = client.patch(f"/api/v1/rules/{rules[0]['id']}/", {"weight": weight}, format="json")
    assert answer.status_code == 200
    do_queued()


def test_a_fusion_keeps_the_horizon_of_its_version(scored, anna):
    client = client_of(anna)
    assert horizon(scored) == HORIZON_DAYS != 5
    refresh(client, horizon_days=5)
    assert horizon(scored) == 5
    for weight in (0.11, 0.12):
        version = active_version(scored.pk)
        change_a_rule(client, weight)
        assert active_version(scored.pk).base == version
        assert horizon(scored) == 5
    asked = {"horizon_days": 7, "fusion_epochs": 5}
    assert client.post("/api/v1/operations/fusion/train/", asked, format="json").status_code == 202
    do_queued()
    assert horizon(scored) == 7
