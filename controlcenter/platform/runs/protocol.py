"""The number of the run protocol that this code speaks.

Raise it when workers of before could not do a run rightly any more: other parameters, other inputs
of a stage, another meaning of a column. A run keeps the number that it was queued with; a worker
does runs up to its own number and leaves newer ones to newer workers.
"""

PROTOCOL = 2


def current() -> int:
    """The number for a run that is queued now."""
    return PROTOCOL
