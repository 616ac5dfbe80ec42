"""Binary searches against NumPy's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml.compute.searching import lower_bound, lower_bound_in_order

VALUES = st.lists(st.integers(-5, 5), max_size=12)
ENDS = st.tuples(st.integers(0, 12), st.integers(0, 12))


@given(
    values=VALUES, bound=st.integers(-6, 6), ends=st.tuples(st.integers(0, 12), st.integers(0, 12))
)
def test_the_first_that_is_at_least_the_bound_in_a_part(values, bound, ends):
    ordered = np.sort(np.array(values, np.int64))
    low, high = sorted(min(end, len(ordered)) for end in ends)
    expected = low + np.searchsorted(ordered[low:high], bound)
    assert lower_bound(ordered, low, high, bound) == expected


@given(values=VALUES, bound=st.integers(-6, 6))
def test_through_an_order_that_sorts(values, bound):
    array = np.array(values, np.int64)
    order = np.argsort(array, kind="stable")
    expected = np.searchsorted(array[order], bound)
    assert lower_bound_in_order(array, order, bound) == expected
