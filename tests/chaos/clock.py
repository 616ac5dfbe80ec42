"""A machine whose clock is wrong, as far as Python can see it."""

import datetime as dates
import time
from typing import Any


def shift(seconds: float) -> None:
    """Move ``time.time`` and ``datetime``; call it before anything takes them by name."""
    if not seconds:
        return
    real_time, real_ns, real = time.time, time.time_ns, dates.datetime
    by = dates.timedelta(seconds=seconds)
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)

    class Kind(type):
        def __instancecheck__(cls, one: object) -> bool:
            return isinstance(one, real)

        def __subclasscheck__(cls, one: type) -> bool:
            return issubclass(one, real)

    class Shifted(real, metaclass=Kind):
        """Every instance that it makes is one of the real class."""

        def __new__(cls, *args: Any, **named: Any) -> dates.datetime:
            return real(*args, **named)

        @classmethod
        def now(cls, tz: dates.tzinfo | None = None) -> dates.datetime:
            return real.now(tz) + by

        @classmethod
        def utcnow(cls) -> dates.datetime:
            return real.now(dates.UTC).replace(tzinfo=None) + by

        @classmethod
        def today(cls) -> dates.datetime:
            return cls.now()

    dates.datetime = Shifted
