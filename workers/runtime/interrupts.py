"""Interrupting work that does not ask by itself whether to stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPT_SECONDS = 3.0
"""What does not ask by itself whether to stop is interrupted after so long."""


class Interrupts:
    """Runs a check in the main thread between two steps of the interpreter, by a signal.

    Args:
        check: Raises what ends the work; does nothing where it goes on.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._worker = threading.get_ident()
        self._allowed = threading.current_thread() is threading.main_thread()
        self._since: float | None = None

    def install(self) -> None:
        if self._allowed:
            signal.signal(signal.SIGUSR2, self._interrupted)

    def end(self) -> None:
        """From here on nothing is interrupted.

        The handler stays: the signal's default would end the process.
        """
        self._allowed = False

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """For what asks often enough whether to stop, or must not be torn apart."""
        before, self._allowed = self._allowed, False
        try:
            yield
        finally:
            self._allowed = before

    def send(self) -> None:
        """From the heartbeat: the work should stop, and is interrupted if it still has not."""
        self._since = self._since or time.monotonic()
        if time.monotonic() >= self._since + INTERRUPT_SECONDS and self._allowed:
            signal.pthread_kill(self._worker, signal.SIGUSR2)

    def _interrupted(self, *_: object) -> None:
        if self._allowed:
            self._check()
