"""Binary searches, compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel

Array = npt.NDArray[Any]


@kernel
def lower_bound(values: Array, low: Any, high: Any, bound: Any) -> np.int64:
    """The first index in [low, high) of ascending ``values`` whose value is at least ``bound``.

    Returns:
        ``high`` if there is none.
    """
    while low < high:
        middle = (low + high) // 2
        if values[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def lower_bound_in_order(values: Array, order: Array, bound: Any) -> int:
    """``lower_bound`` of ``values`` that ``order`` sorts: an index of ``order``."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if values[order[middle]] < bound:
            low = middle + 1
        else:
            high = middle
    return low
