"""What all reports have in common: they are written as JSON, and read from it with a check.

A field without a default is in every report. ``X | None = None`` is a key that a report may lack:
it is left out where it is None. ``added(…)`` is a key that is always written and that reports of
older versions lack.
"""

from collections.abc import Callable
from typing import Any, Self, TypeVar, cast

import msgspec

T = TypeVar("T")


class ReportError(ValueError):
    """Stored JSON that is no such report: what was got, what was expected, and where."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A report or a part of one. Keys that it does not know are passed over."""

    @classmethod
    def from_dict(cls, stored: object) -> Self:
        """Read plain data, as JSON gives it.

        Raises:
            ReportError: if a key is missing or a value is of another type.
        """
        return read(cls, stored)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready."""
        return cast(dict[str, Any], msgspec.to_builtins(self))


def read(kind: type[T], stored: object, *, what: str = "") -> T:
    """Read plain data as ``kind``: a report, or a container of its parts.

    Args:
        what: How an error calls it; by default the name of ``kind``.

    Raises:
        ReportError: if it does not fit.
    """
    try:
        return msgspec.convert(stored, kind)
    except msgspec.ValidationError as error:
        raise ReportError(f"{what or kind.__name__} cannot be read: {error}") from error


def added(make: Callable[[], T]) -> T:
    """The default of a key that is always written and that reports of older versions lack."""

    def default() -> T:
        # Not ``make`` itself: msgspec leaves out what equals the default of ``list`` and ``dict``.
        return make()

    return msgspec.field(default_factory=default)


def nothing() -> None:
    """For ``added``: None."""
