"""What the demo prints of a user: each block with a score says where it is not validated."""

import pytest
from django.core.management.base import CommandError
from stored_reports import stored

from controlcenter.operations.demo import show
from controlcenter.operations.management.commands.demo import mapping_text
from ml.contracts.reports.explanation import ExplanationReport
from ml.contracts.reports.version import VersionMetrics

USER = {
    "user_id": "u1", "rule_hits": {"loyal": True}, "attributes": {}, "event_counts": {},
    "call_peers": 0, "last_event_at": None, "final_score": 0.5, "rule_score": 0.1,
    "model_score": 0.4, "gate": 0.2,
}  # fmt: skip
EXPLANATION = stored("explanation_evidence") | {"score": 0.5}
VERSION = VersionMetrics.from_dict(stored("version_by_label"))


def bars(told):
    return show.bars(ExplanationReport.from_dict(told), validated=told["score_validated"])


@pytest.mark.parametrize(("block", "told"), [(show.profile, USER), (bars, EXPLANATION)])
def test_a_block_with_a_score_says_that_it_is_not_validated(block, told):
    (line,) = [
        one
        for one in block(told | {"score_validated": False}).splitlines()
        if "not validated" in one
    ]
    assert line.startswith("  score ")
    assert "0.500" in line
    for validated in (True, None):
        assert "not validated" not in block(told | {"score_validated": validated})


def test_links_stand_beside_their_best_baseline():
    head, _, row, *notes = show.links(VERSION.links).splitlines()
    assert head.split("  ")[0] == "edge type"
    found = VERSION.links.edge_types["user-calls-user"]
    best, method = max((m.mrr, name) for name, m in found.measured().items() if name != "model")
    assert f"{found.model.mrr:.3f}" in row
    assert f"{best:.3f} {method}" in row
    assert notes == [f"note: {note}" for note in VERSION.links.notes]


def test_a_score_that_was_not_measured_shows_no_figure():
    shown = show.score(VERSION.score)
    assert f"{VERSION.score.auc:.3f}  " in shown
    assert f"gate (share of the rules): mean {VERSION.score.gate.mean:.2f}, p5 " in shown
    bare = show.score(VersionMetrics.from_dict(stored("version_by_rules")).score)
    assert bare.count("–") == 8
    assert "gate (share of the rules): –" in bare


def test_a_mapping_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandError, match=r"no mapping .*nope\.yaml: see docs/datasets\.md"):
        mapping_text(tmp_path / "nope.yaml")
