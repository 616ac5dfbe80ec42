"""Explicit hooks: a lower room says that something happened, rooms above it may act.

Unlike signals they are called by one named service, in its transaction, in order of registration.
"""

from collections.abc import Callable
from typing import Generic, ParamSpec

Arguments = ParamSpec("Arguments")


class Hook(Generic[Arguments]):
    """A list of functions that a service calls."""

    def __init__(self) -> None:
        self._callees: list[Callable[Arguments, object]] = []

    def register(self, callee: Callable[Arguments, object]) -> None:
        """Have ``callee`` called; registering it again changes nothing."""
        if callee not in self._callees:
            self._callees.append(callee)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        for callee in self._callees:
            callee(*args, **kwargs)
