"""Profiles as readers get them: fresh, or with the moment since when they may not be."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from controlcenter.incremental.freshness import ask, earliest, outlook, wait_seconds
from controlcenter.profiles import queries
from controlcenter.profiles.models import Profile


class Patience:
    """How long a request may still wait for fresh rows."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + wait_seconds()

    @property
    def seconds(self) -> float:
        return max(self.deadline - time.monotonic(), 0.0)


def fresh(
    workspace_id: uuid.UUID, profiles: Sequence[Profile], queryset: Any, patience: Patience
) -> list[Profile]:
    """The same users, with ``stale_since`` set.

    Rows that may be stale are asked for where somebody keeps them fresh, and read again.

    Args:
        queryset: Reads the rows again.
    """
    view = outlook(workspace_id)
    doubtful = [p for p in profiles if view.since is not None or p.changed_at is not None]
    since = view.since
    if doubtful and view.owner and patience.seconds:
        if ask(workspace_id, [p.user_id for p in doubtful], seconds=patience.seconds):
            since = None
        again = queryset.in_bulk([p.pk for p in doubtful])
        profiles = [again.get(p.pk, p) for p in profiles]
    for profile in profiles:
        profile.stale_since = earliest(profile.changed_at, since)
    return list(profiles)


def similar(profile: Profile, limit: int, patience: Patience) -> list[dict[str, Any]]:
    """Look-alikes of a fresh profile, as ``queries.similar``, each with its ``stale_since``."""
    found = queries.similar(profile, limit)
    rows = Profile.objects.filter(workspace=profile.workspace_id).only("user_id", "changed_at")
    revisions = {p.user_id: p for p in rows.filter(user_id__in=[one["user_id"] for one in found])}
    before = patience.seconds
    now = fresh(profile.workspace_id, list(revisions.values()), rows, patience)
    since = {p.user_id: p.stale_since for p in now}
    if patience.seconds < before - 0.001:  # it waited: the nearest may be others now
        found = queries.similar(profile, limit)
    return [one | {"stale_since": since.get(one["user_id"])} for one in found]
