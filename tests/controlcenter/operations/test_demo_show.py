"""What the demo prints of a user: each block with a score says where it is not validated."""

import pytest
from django.core.management.base import CommandError

from controlcenter.operations.demo import show
from controlcenter.operations.management.commands.demo import mapping_text

USER = {
    "user_id": "u1", "rule_hits": {"loyal": True}, "attributes": {}, "event_counts": {},
    "call_peers": 0, "last_event_at": None, "final_score": 0.5, "rule_score": 0.1,
    "model_score": 0.4, "gate": 0.2,
}  # fmt: skip
EXPLANATION = {
    "summary": "calls +0.10", "base": 0.4, "score": 0.5,
    "contributions": [{"player": "calls", "contribution": 0.1}],
}  # fmt: skip


@pytest.mark.parametrize(("block", "told"), [(show.profile, USER), (show.bars, EXPLANATION)])
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


def test_a_mapping_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandError, match=r"no mapping .*nope\.yaml: see docs/datasets\.md"):
        mapping_text(tmp_path / "nope.yaml")
