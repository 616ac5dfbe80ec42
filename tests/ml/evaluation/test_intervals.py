import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ml.evaluation.intervals import share_of, wilson


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_scipy(case):
    hits, cases = case
    expected = binomtest(hits, cases).proportion_ci(method="wilson")
    assert wilson(hits / cases, cases) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_cases_of_groups_of_one_size_count_as_the_groups():
    hits = np.array([True, False, True, True, False, False])
    found = share_of(hits, np.array([4, 4, 7, 7, 9, 9]))
    assert (found.value, found.cases, found.groups, found.effective) == (0.5, 6, 3, 3.0)
    assert (found.low, found.high) == wilson(0.5, 3)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_groups_never_count_for_more_than_their_number(group):
    found = share_of(np.ones(len(group), bool), np.array(group))
    assert 1.0 <= found.effective <= found.groups + 1e-9
    assert found.low <= found.value <= found.high


def test_no_cases_are_refused():
    with pytest.raises(ValueError, match="no cases"):
        share_of(np.empty(0, bool), np.empty(0))
