"""Whether this worker was told to stop. Its pool processes look here too: they hear no signal."""

import mmap

_word = mmap.mmap(-1, 1)
"""Memory that the pool's processes share with the one they were forked from: a byte and no lock,
which a process that is killed could take along."""


def request() -> None:
    """Whoever works for this worker hands back what it holds."""
    _word[0] = 1


def requested() -> bool:
    return _word[0] == 1
