"""What an audit found is told to everybody, also where it is no number."""

import json
import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlcenter.serving.incremental import holder

pytestmark = pytest.mark.django_db
URL = "/api/v1/operations/incremental/"


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("error", [math.inf, math.nan])
def test_an_infinite_error_is_a_large_number(
    client, workspace, as_operator, as_viewer, model_version, error
):
    model_version()
    as_operator.post(f"{URL}start/")
    holder.note_audit(workspace.pk, rows=200, error=error)
    answer = as_viewer.get(URL)
    assert answer.status_code == 200
    told = json.loads(answer.content, parse_constant=refuse)
    assert told["audit_error"] > 1e300
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    (found,) = (f for f in families if f.name == "ups_incremental_audit_error")
    assert 1e300 < found.samples[0].value < math.inf
