"""Pages of users, which a room above shows: the worst cases of a report link to them."""

from collections.abc import Callable, Collection
from uuid import UUID

Pages = dict[str, str]
"""URLs by user id, of those users that have a page."""

_sources: list[Callable[[UUID, Collection[str]], Pages]] = []


def register_user_pages(source: Callable[[UUID, Collection[str]], Pages]) -> None:
    """A room above says where it shows users of a workspace."""
    if source not in _sources:
        _sources.append(source)


def pages_of(workspace_id: UUID, user_ids: Collection[str]) -> Pages:
    """Where users are shown, of those that are."""
    pages: Pages = {}
    for source in _sources:
        pages |= source(workspace_id, user_ids)
    return pages
