"""Edges by age: attention can tell old ones from new ones, as each class is a message type.

An edge is as old as the first event of its pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.graph.graph import UNKNOWN_TIME
from ml.graph.message_types import UNKNOWN_AGE

DAY = 86_400


@dataclass(frozen=True)
class Ages:
    """Classes of ages, from the youngest.

    Args:
        days: Where each class but the first begins, in days, ascending.
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
        known = np.searchsorted(np.array(self.days) * DAY, age, side="right")
        return np.where(unknown, UNKNOWN_AGE, known)


def check_days(days: Sequence[float]) -> None:
    """Raises: ValueError if where classes begin does not ascend from above 0."""
    if any(late <= early for early, late in pairwise((0, *days))):
        raise ValueError(f"edge_ages are {list(days)}, expected days that rise from above 0")
