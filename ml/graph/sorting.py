"""Counting sorts of edges, compiled: what a training step does anew with every sample."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel

Ints = npt.NDArray[Any]


@kernel
def counting_sort(key: Ints, value: Ints, size: int) -> tuple[Ints, Ints, Ints]:
    """Values in the order of their keys; equal keys keep their order.

    Args:
        key: In [0, size). Shape: [E].
        value: What is carried along. Shape: [E].

    Returns:
        The distinct keys [R], where each one's values begin [R + 1], the values [E].
    """
    first = np.zeros(size + 1, np.int64)
    for i in range(len(key)):
        first[key[i] + 1] += 1
    count = 0
    for i in range(size):
        count += first[i + 1] > 0
    rows = np.empty(count, np.int32)
    start = np.zeros(count + 1, np.int64)
    at = 0
    for i in range(size):
        if first[i + 1] > 0:
            rows[at] = i
            at += 1
            start[at] = start[at - 1] + first[i + 1]
        first[i + 1] += first[i]
    ordered = np.empty(len(key), np.int32)
    for i in range(len(key)):
        ordered[first[key[i]]] = value[i]
        first[key[i]] += 1
    return rows, start, ordered
