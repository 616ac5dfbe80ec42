"""Subjects: what webhooks tell of. The rooms above register theirs and write their events."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

NAME_LENGTH = 32


@dataclass(frozen=True)
class Subject:
    """One sort of thing that something happens to.

    Args:
        type: ``type`` of each body, such as ``task.transition``.
        event_names: What can happen; a webhook chooses among the names of all subjects, so each
            has one owner.
        describe: A few words for a list, from the ``data`` of a body.
        url: The page of a subject in the admin; empty: it has none.
    """

    type: str
    event_names: tuple[str, ...]
    describe: Callable[[dict[str, Any]], str]
    url: Callable[[uuid.UUID], str] = lambda subject_id: ""


@dataclass(frozen=True)
class Event:
    """One thing that happened, in the transaction in which it happened.

    Args:
        name: One of its subject's ``event_names``.
        subject_id: What it happened to.
        id: Counts up within that subject: a webhook gets its events in this order, each once.
        data: Makes what the body says; called only where a webhook wants the event.
    """

    workspace_id: uuid.UUID
    name: str
    subject_id: uuid.UUID
    id: int
    at: datetime
    data: Callable[[], dict[str, Any]]


_subjects: dict[str, Subject] = {}


def register(subject: Subject) -> None:
    """Let webhooks choose a subject's events.

    Raises:
        ValueError: if the type or the name of an event belongs to another subject, or is too long.
    """
    if _subjects.get(subject.type, subject) != subject:
        raise ValueError(f"subject {subject.type!r} is registered already")
    others = {name for one in _subjects.values() if one != subject for name in one.event_names}
    for name in subject.event_names:
        if name in others or len(name) > NAME_LENGTH:
            raise ValueError(f"event {name!r} of another subject, or over {NAME_LENGTH} characters")
    _subjects[subject.type] = subject


def get(type_: str) -> Subject | None:
    """The subject of a body's ``type``; None: a ping, or a room that is not there any more."""
    return _subjects.get(type_)


def choices() -> list[tuple[str, str]]:
    """The names of all events, as the choices of a field."""
    return [(name, name) for one in _subjects.values() for name in one.event_names]
