"""Profiles as readers get them: fresh, or with the moment since when they may not be."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from django.db.models import QuerySet

from controlcenter.serving.incremental.freshness import (
    earliest,
    freshness_of,
    request_refresh,
    wait_seconds,
)
from controlcenter.serving.profiles import queries
from controlcenter.serving.profiles.models import Profile
from controlcenter.serving.profiles.queries import LookAlike


class Reading:
    """One request's reading of a workspace's profiles: begin it before the first row is read.

    What is known to be fresh when it begins is so in every row read after that. The other way
    round a row could be read, then refreshed, and then be taken for fresh as it was before.
    """

    def __init__(self, workspace_id: uuid.UUID) -> None:
        self.workspace_id = workspace_id
        self.view = freshness_of(workspace_id)
        self.deadline = time.monotonic() + wait_seconds()

    @property
    def seconds(self) -> float:
        """How long the request may still wait for fresh rows."""
        return max(self.deadline - time.monotonic(), 0.0)

    def fresh(self, profiles: Sequence[Profile], queryset: QuerySet[Profile]) -> list[Profile]:
        """The same users, with ``stale_since`` set.

        Rows that may be stale are asked for where somebody keeps them fresh, and read again.

        Args:
            queryset: Reads the rows again.
        """
        since = self.view.since
        doubtful = [p for p in profiles if since is not None or p.changed_at is not None]
        if doubtful and self.view.has_holder and self.seconds:
            if request_refresh(
                self.workspace_id, [p.user_id for p in doubtful], seconds=self.seconds
            ):
                since = None
            again = queryset.in_bulk([p.pk for p in doubtful])
            profiles = [again.get(p.pk, p) for p in profiles]
        for profile in profiles:
            profile.stale_since = earliest(profile.changed_at, since)
        return list(profiles)

    def similar(self, profile: Profile, limit: int) -> list[LookAlike]:
        """Look-alikes of a fresh profile, as ``queries.similar``, each with ``stale_since``."""
        nearest = queries.similar(profile, limit)
        rows = Profile.objects.filter(workspace=self.workspace_id).only("user_id", "changed_at")
        own = rows.filter(user_id__in=[other.user_id for other in nearest])
        before = self.seconds
        since = {p.user_id: p.stale_since for p in self.fresh(list(own), rows)}
        if self.seconds < before - 0.001:  # it waited: the nearest may be others now
            nearest = queries.similar(profile, limit)
        return [replace(other, stale_since=since.get(other.user_id)) for other in nearest]


def marked(page: QuerySet[Profile]) -> list[Profile]:
    """A page of users of any workspaces with ``stale_since`` set; nobody is asked to refresh."""
    workspaces = set(page.values_list("workspace_id", flat=True))
    views = {workspace_id: freshness_of(workspace_id) for workspace_id in workspaces}
    rows = list(page)  # after their freshness, as in a reading
    for row in rows:
        view = views.get(row.workspace_id) or freshness_of(row.workspace_id)
        row.stale_since = earliest(row.changed_at, view.since)
    return rows
