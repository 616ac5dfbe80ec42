"""Compiled loops over rows on as many threads as torch uses."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

PIECE = 50_000
MAX_PIECES = 64


def cut(start: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bounds of pieces of rows with about equally many edges.

    The cut depends on the edges alone and not on the threads, and so do sums over pieces.
    """
    rows = len(start) - 1
    weight = start + 4 * np.arange(rows + 1)
    count = int(np.clip(weight[-1] // PIECE, 1, MAX_PIECES))
    bounds = np.searchsorted(weight, weight[-1] * np.arange(1, count) / count)
    return np.unique(np.concatenate([[0], bounds, [rows]]))


def run_pieces(work: Callable[[int, int, int], None], bounds: npt.NDArray[np.int64]) -> None:
    """Call ``work(first row, last row, piece)`` for every piece; it must release the GIL."""
    pieces = [(int(r0), int(r1), n) for n, (r0, r1) in enumerate(pairwise(bounds))]
    threads = min(torch.get_num_threads(), len(pieces))
    if threads <= 1:
        for piece in pieces:
            work(*piece)
    else:
        for done in [_pool(os.getpid(), threads).submit(work, *piece) for piece in pieces]:
            done.result()


@lru_cache(maxsize=4)
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """One pool a process: a fork takes the object along, but not its threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernel")
