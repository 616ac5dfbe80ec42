"""Links on a task's page to what rooms above show of it."""

from collections.abc import Callable

from controlcenter.modelling.tasks.models import Task

Link = dict[str, str]
"""``url`` and ``label``."""

_sources: list[Callable[[Task], list[Link]]] = []


def register_links(source: Callable[[Task], list[Link]]) -> None:
    """A room above says what it shows of a task."""
    if source not in _sources:
        _sources.append(source)


def links_of(task: Task) -> list[Link]:
    """What all rooms above show of a task."""
    return [link for source in _sources for link in source(task)]
