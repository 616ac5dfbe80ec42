"""Payloads as JSON that PostgreSQL can keep."""

import json
from collections.abc import Sequence
from typing import Any

from controlcenter.platform.common.json_limits import MAX_DEPTH, storage_error

MAX_SHOWN = 100
ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class EnvelopeError(ValueError):
    """One event that can't be taken.

    Args:
        field: Where the trouble is.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def shown(value: object) -> str:
    """What was got, in ASCII and short enough for a message."""
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def storable(value: object, field: str) -> None:
    """Raises: EnvelopeError for what PostgreSQL can't keep."""
    reason = storage_error(value)
    if reason:
        raise EnvelopeError(field, reason)


def encoded(value: dict[str, Any], field: str) -> str:
    """The value as JSON, if PostgreSQL can keep it.

    Raises:
        EnvelopeError: for what it can't.
    """
    try:
        written = ENCODE(value)
        if not written.isascii():
            written.encode()
    except (ValueError, RecursionError):  # no finite number, half a surrogate pair, too deep
        storable(value, field)
        raise
    # What makes trouble can't be without one of these; the look from near is slow.
    if "\\u0000" in written or written.count("{") + written.count("[") > MAX_DEPTH:
        storable(value, field)
    return written


def encoded_together(values: Sequence[dict[str, Any]]) -> list[str] | None:
    """As ``encoded``, for many at once; None where one of them has to be looked at alone."""
    try:
        written = ENCODE(values)
        if not written.isascii():
            written.encode()
    except (ValueError, RecursionError):
        return None
    opened = written.count("{") + written.count("[") - 1
    if "\\u0000" in written or opened - len(values) >= MAX_DEPTH:
        return None
    texts = written[2:-2].split("}, {")
    if len(texts) != len(values):  # one has objects in a list, or a text that looks like that
        return None
    return [f"{{{text}}}" for text in texts]
