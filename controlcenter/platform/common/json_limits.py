"""What PostgreSQL's text and jsonb can't keep, found before it is tried."""

import math

MAX_DEPTH = 32


def storage_error(value: object, *, depth: int = 0) -> str | None:
    """Why a value of JSON can't be stored, or None where it can."""
    if isinstance(value, str):
        if "\x00" in value:
            return "has a NUL character"
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            return "has half of a surrogate pair, which is no text"
    elif isinstance(value, float) and not math.isfinite(value):
        return "has a number that is out of range"
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH}"
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            reason = storage_error(part, depth=depth + 1)
            if reason:
                return reason
    return None
