"""Random choices without a state: each is a hash of what it is about, compiled.

So the choice for a node is the same whichever batch, process or thread asks for it, and nothing
has to be computed for those that nobody asks for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.compute.compiling import kernel

Array = npt.NDArray[Any]

_1, _30, _27, _31, _32 = (np.uint64(n) for n in (1, 30, 27, 31, 32))
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
ROUNDS = 4


def key_of(*numbers: int) -> np.uint64:
    """A random key that belongs to ``numbers``, the same everywhere."""
    key = np.uint64(0)
    for number in numbers:
        key = np.uint64(join(key, number))
    return key


@kernel
def mix(x: np.uint64) -> np.uint64:
    """A well-mixed 64 bit hash (Steele et al., Fast splittable pseudorandom number generators)."""
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@kernel
def join(key: np.uint64, value: Any) -> np.uint64:
    """The key of something within what ``key`` stands for."""
    return mix(key + (np.uint64(value) + _1) * _GOLDEN)


@kernel
def below(x: np.uint64, n: Any) -> np.int64:
    """A hash as a number in [0, n), n up to 2^32."""
    return np.int64(((x >> _32) * np.uint64(n)) >> _32)


@kernel
def permuted(i: Any, n: Any, key: np.uint64) -> np.int64:
    """Index of ``i`` in a random order of 0 … n - 1, without making the order.

    A Feistel network over the next power of two, walked until it is back below n (Black and
    Rogaway, Ciphers with arbitrary finite domains), then turned by a random distance.
    """
    if n < 2:
        return np.int64(0)
    bits = 0
    while (np.int64(1) << bits) < n:
        bits += 1
    x = np.uint64(i)
    while True:
        low = np.uint64(bits - bits // 2)
        high = np.uint64(bits // 2)
        for r in range(ROUNDS):
            right = x & ((_1 << low) - _1)
            left = (x >> low) ^ (join(key, right * np.uint64(ROUNDS) + np.uint64(r)) >> _32)
            x = (right << high) | (left & ((_1 << high) - _1))
            low, high = high, low
        if x < np.uint64(n):
            return np.int64((x + mix(key) % np.uint64(n)) % np.uint64(n))


@kernel
def permuted_all(numbers: Array, n: Any, key: np.uint64) -> Array:
    """``permuted`` for each of ``numbers``."""
    indices = np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        indices[i] = permuted(numbers[i], n, key)
    return indices


@kernel
def fold_of(source: Any, target: Any, folds: Any, key: np.uint64) -> np.int64:
    """The fold of a pair, whichever end it is looked at from."""
    return below(join(join(key, source), target), folds)


@kernel
def in_fold(source: Array, target: Array, part: int, folds: int, fold_key: np.uint64) -> Array:
    """Which pairs are of a fold. Shape: [P]."""
    inside = np.empty(len(source), np.bool_)
    for i in range(len(source)):
        inside[i] = fold_of(source[i], target[i], folds, fold_key) == part
    return inside
