"""The consumer of the log that makes edges and counts of events, in the transaction that writes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django.db import connection

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common import locks
from controlcenter.platform.common.errors import Conflict
from controlcenter.platform.log.encoding import EnvelopeError, shown
from controlcenter.platform.log.envelope import LogEntry, payload_of
from controlcenter.platform.log.participants import Entries, Participant
from controlcenter.serving.incremental import notifications
from controlcenter.serving.ingestion.edge_contract import EdgeContract, contracts_of
from controlcenter.serving.profiles.counting import (
    IN_ORDER,
    Additions,
    Counted,
    Tally,
    count_events,
)
from controlcenter.serving.profiles.models import Item
from ml.contracts.schema import USER

NAME = "graph"
CREATED_USERS, OUTSIDE_GRAPH = "created_users", "outside_graph"

OPEN = """
SELECT clock_timestamp(), i.reason, i.changed_by, {lock}, {order}
FROM accounts_workspace AS w LEFT JOIN events_ingestion AS i ON i.workspace_id = w.id AND i.stopped
WHERE w.id = %(workspace)s
"""


class GraphParticipant(Participant):
    """Raises counts and last events of profiles by the events that are edges of the graph."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._contracts = contracts_of(workspace.graph_schema)
        self._open_types = {
            kind for kind, contract in self._contracts.items() if contract.leaves_open
        }
        self._tally, self._outside = Tally(), 0
        self._additions: Additions | None = None

    def contracts(self) -> Mapping[str, EdgeContract]:
        return self._contracts

    def begin(self, *, exclusive: bool) -> datetime:
        """Take the lock against merges, and the time, in one statement.

        Raises:
            Conflict: if an owner stopped ingestion.
        """
        self._tally, self._outside, self._additions = Tally(), 0, None
        lock = locks.expression("%(lock)s", shared=not exclusive)
        names: dict[str, Any] = {
            "workspace": self.workspace.pk,
            "lock": locks.MERGE.text(self.workspace.pk),
        }
        with connection.cursor() as cursor:
            cursor.execute(OPEN.format(lock=lock, order=IN_ORDER), names)
            now, reason, changed_by, *_ = cursor.fetchone()
        if reason is not None:
            raise Conflict(
                f"Ingestion is stopped by {changed_by} ({reason}): keep your events "
                "and send them again when it runs; nothing of this batch was taken."
            )
        return cast(datetime, now)

    def is_incomplete(self, event: object) -> bool:
        """Whether an event, if it is good, does not say the type of its target."""
        if not isinstance(event, dict) or str(event.get("type")) not in self._open_types:
            return False
        return "target_type" not in payload_of(event)

    def complete(self, entries: Entries) -> Mapping[int, LogEntry | EnvelopeError]:
        """Find what a click without ``target_type`` points at: the one known thing of that id.

        Known is what is in the workspace and what the batch itself names with its type.
        """
        open_ids = {e.target for e in entries.values() if e.target_type == ""}
        if not open_ids:
            return {}
        items = Item.objects.filter(workspace=self.workspace, item_id__in=open_ids)
        types: dict[str | None, set[str]] = {}
        named = [(e.target, e.target_type) for e in entries.values() if e.target_type]
        for item_id, kind in [*items.values_list("item_id", "type"), *named]:
            if item_id in open_ids and kind != USER:
                types.setdefault(item_id, set()).add(kind)
        return {
            index: self._resolved(entry, types.get(entry.target, set()))
            for index, entry in entries.items()
            if entry.target_type == ""
        }

    def _resolved(self, entry: LogEntry, kinds: set[str]) -> LogEntry | EnvelopeError:
        if len(kinds) == 1:
            return entry._replace(target_type=next(iter(kinds)))
        expected = " or ".join(self._contracts[entry.type].targets)
        got = "several kinds have" if kinds else "nothing has"
        return EnvelopeError(
            "payload.target_type", f"{got} the id {shown(entry.target)}: say {expected}"
        )

    def add(self, entries: Sequence[LogEntry]) -> None:
        edges = [entry for entry in entries if entry.actor is not None]
        self._outside += len(entries) - len(edges)
        self._tally.add(cast(list[Counted], edges))

    def prepare(self) -> None:
        self._additions = self._tally.ready()

    def finish(self) -> Mapping[str, int]:
        """Raise the counts, and wake the incremental refresh if there is something for it.

        Raises:
            IntegrityError: if somebody else makes one of the users now.
        """
        assert self._additions is not None
        created = count_events(self.workspace.pk, self._additions)
        if self._additions.events:
            notifications.notify_holder(self.workspace.pk, notifications.EVENTS)
        return {CREATED_USERS: created, OUTSIDE_GRAPH: self._outside}
