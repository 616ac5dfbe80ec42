"""Payloads that are encoded together are what each is alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlcenter.platform.log.encoding import EnvelopeError, encoded, encoded_together

TEXTS = st.text(max_size=5) | st.sampled_from(["}, {", "}", "{", ", ", "\\u0000", "\0", "\ud800"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
PAYLOADS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), min_size=1, max_size=5)


@given(PAYLOADS)
def test_together_is_as_alone_or_left_to_be_looked_at_alone(payloads):
    together = encoded_together(payloads)
    if together is not None:
        assert together == [encoded(payload, "payload") for payload in payloads]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_plain_payloads_are_encoded_together(count):
    payloads = [{"actor": f"u{n}", "é": [n, {"x": 1.5}]} for n in range(count)][:10]
    payloads += [{}, {"a": "}"}, {"b": "{"}]
    assert encoded_together(payloads) == [encoded(payload, "payload") for payload in payloads]


def test_a_deep_one_among_many_is_looked_at_alone():
    deep = {"x": None}
    for _ in range(40):
        deep = {"x": deep}
    assert encoded_together([{"a": 1}] * 100 + [deep]) is None
    with pytest.raises(EnvelopeError, match="nested deeper"):
        encoded(deep, "payload")
