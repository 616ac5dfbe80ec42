"""Edges by age: attention can tell old ones from new ones if each class is a message type.

The edges (user, uses, app) of age class 2 are found under (user, uses@2, app), those whose time
is not known under the plain name. An edge is as old as the first event of its pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ml.contracts.schema import EdgeKey
from ml.graph.graph import UNKNOWN_TIME

DAY = 86_400
MARK = "@"
UNKNOWN = -1
"""Class of an edge whose time is not known."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ages:
    """Classes of ages, from the youngest.

    Args:
        days: Where each class but the first begins, in days, rising.
        now: Seconds since 1970 from which ages count back; edges from later are of the youngest
            class.
    """

    days: tuple[float, ...]
    now: int

    def classes(self, time: npt.NDArray[Any], now: int | None = None) -> npt.NDArray[np.int64]:
        """The class of each time.

        Args:
            time: Seconds since 1970, or ``UNKNOWN_TIME``.
            now: Another moment to count back from.
        """
        unknown = time == UNKNOWN_TIME
        age = (self.now if now is None else now) - np.where(unknown, 0, time)
        found = np.searchsorted(np.array(self.days) * DAY, age, side="right")
        return np.where(unknown, UNKNOWN, found)


def check_days(days: Sequence[float]) -> None:
    """Raises: ValueError if where classes begin does not rise from above 0."""
    if any(late <= early for early, late in pairwise((0, *days))):
        raise ValueError(f"edge_ages are {list(days)}, expected days that rise from above 0")


def aged(key: EdgeKey, age: int) -> EdgeKey:
    """The message type of an age class."""
    source, relation, target = key
    return key if age == UNKNOWN else (source, f"{relation}{MARK}{age}", target)


@cache
def age_of(key: EdgeKey) -> int:
    """The age class of a message type."""
    _, mark, age = key[1].rpartition(MARK)
    return int(age) if mark else UNKNOWN


@cache
def ageless(key: EdgeKey) -> EdgeKey:
    """The message type that ``key`` is an age class of; ``key`` itself if it is of none."""
    source, relation, target = key
    return source, relation.partition(MARK)[0], target


def all_ages(key: EdgeKey, classes: int) -> list[EdgeKey]:
    """A message type without age, then in every class of ages."""
    return [aged(key, age) for age in range(UNKNOWN, classes)]


def of_any_age(by_key: Mapping[EdgeKey, Value], key: EdgeKey) -> list[Value]:
    """What ``by_key`` has of a message type, whatever its age."""
    return [value for found, value in by_key.items() if ageless(found) == key]
