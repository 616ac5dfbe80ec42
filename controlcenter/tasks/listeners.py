"""Rooms above hear of every transition, in its transaction: what they write comes or goes with it.

A listener is quick, and its error undoes the transition.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from controlcenter.common.hooks import Hook

if TYPE_CHECKING:
    from controlcenter.tasks.models import Task, Transition

transition_taken: "Hook[[Task, Transition]]" = Hook()


def register(callback: "Callable[[Task, Transition], object]") -> None:
    """Have ``callback`` called with each transition; registering it again changes nothing.

    It gets the locked task (state, version and iteration are the new ones; its times are as they
    were before the edge) and the ``Transition`` row. Creation is one too: from pending to pending.
    """
    transition_taken.register(callback)
