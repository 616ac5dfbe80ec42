"""One holder of a loop at work: it takes events, refreshes users, and commits what it did."""

import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.registry.queries import active_version
from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.log.edges import edges_between, first_edge_after
from controlcenter.platform.log.positions import LogPosition, current_position
from controlcenter.serving.incremental import holder
from controlcenter.serving.incremental.holder import HeldLoop, Published
from controlcenter.serving.profiles.incremental_writes import (
    RefreshedItem,
    RefreshedUser,
    tick_transaction,
    write_items,
    write_users,
)
from ml.contracts.schema import USER
from ml.incremental.results import Backlog, RefreshResult
from workers.log_edges import event_frame
from workers.loops.engine_start import EngineStart
from workers.loops.scoring import items_of, score
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution

APPLY_EVENTS = 5_000
URGENT_USERS = 200
"""Users with events of their own that are refreshed in one tick."""

WRITE_ROWS = 500
DRAIN_SECONDS = 0.03
"""What one slice of draining should take, with the writing."""

FEW_ROWS = 1_000
LOOK_SHARE = 0.05
"""Share of the time that may go into looking at a long backlog."""

LONG_UNSEEN = timedelta(seconds=2)
"""The log is looked at each second at least: more is a start, or something that took long."""

LEAST_BUDGET, MOST_BUDGET = 256, 4_000_000


class Refresher:
    """The engine of a workspace beside its profiles.

    Attributes:
        waiting: Users whose own events are not in their scores yet, and since when (seconds).
        stale: Whether anything is stale, by own events or by those of others.
        unsaved: Whether events came or rows were refreshed since the last checkpoint.
    """

    def __init__(
        self, execution: Execution, held: HeldLoop, version: ModelVersion, start: EngineStart
    ) -> None:
        self.execution = execution
        self.claim = execution.claim
        self.generation = held.generation
        self.version = version
        self.model = start.model
        self.engine = start.engine
        self.position = start.position
        self.waiting: dict[str, float] = dict(start.waiting)
        self.basis = self.model.metrics.score.target
        self.stale_from: float | None = None
        self.ticks = 0
        self.unsaved = False
        self.budget = LEAST_BUDGET
        self._events = self._edges = 0
        self._backlog: Backlog | None = None
        self._next_look = 0.0

    @property
    def now(self) -> float:
        """The database's time when the log was last looked at, in seconds."""
        return self.position.at.timestamp() if self.position.at else 0.0

    @property
    def stale(self) -> bool:
        return self.stale_from is not None

    def catch_up(self, published: LogPosition) -> None:
        """Take again what a holder before took after this start, then what came since.

        Args:
            published: The events up to here are counted.
        """
        if published.at and (self.position.at is None or self.position.at < published.at):
            self.consume(published, again=True)
        self.consume()

    def consume(self, until: LogPosition | None = None, *, again: bool = False) -> None:
        """Take what came since the last time. The engine knows at once, the profiles follow.

        Args:
            until: None: the present.
            again: It was counted already.
        """
        position = until or current_position()
        arrived_at = self.arrival_time(position)
        events = edges = 0
        for rows in edges_between(self.claim.workspace_id, since=self.position, until=position):
            frame = event_frame(rows)
            for part in frame.iter_slices(APPLY_EVENTS):
                self.execution.check()
                edges += self.apply(part, arrived_at)
            events += frame.height
        self.position = position
        self.unsaved = self.unsaved or events > 0
        if not again:
            self._events += events
            self._edges += edges

    def arrival_time(self, position: LogPosition) -> float:
        """Since when rows are stale by what came up to the position, in seconds: of events that
        nobody looked at for long it is not the moment when somebody does."""
        assert position.at is not None
        if self.position.at and position.at - self.position.at < LONG_UNSEEN:
            return position.at.timestamp()
        first = first_edge_after(self.claim.workspace_id, self.position.snapshot)
        return min(first or position.at, position.at).timestamp()

    def apply(self, events: pl.DataFrame, now: float) -> int:
        """Returns: Edges that were touched."""
        fitting = self.fitting(events)
        if fitting.height < events.height:
            refuse_another_schema(self.claim.workspace_id, self.version)
        applied = self.engine.apply(fitting, now=now)
        called = events.filter(target_type=USER)["target"]
        for user_id in [*events["actor"], *called]:
            self.waiting.setdefault(user_id, now)
        if self.stale_from is None:
            self.stale_from = now
        return applied.edges + applied.followed

    def fitting(self, events: pl.DataFrame) -> pl.DataFrame:
        """Without what the version's schema does not know: it counts, and makes no edge."""
        pairs = [f"{edge.event} {edge.target}" for edge in self.model.schema.edges]
        return events.filter(pl.concat_str("type", "target_type", separator=" ").is_in(pairs))

    def answer(self, requests: Mapping[int, list[str]]) -> None:
        """Refresh whom readers wait for, and some of those who have events of their own."""
        if not requests and not self.waiting:
            return
        requested = [user_id for users in requests.values() for user_id in users]
        own = [user_id for user_id, _ in zip(self.waiting, range(URGENT_USERS), strict=False)]
        # Who is fresh is read without a new revision.
        lacking = [user_id for user_id in requested if user_id in self.waiting]
        users = list(dict.fromkeys([*self.engine.stale_among(USER, requested), *lacking, *own]))
        self.write(self.engine.refresh(USER, users, now=self.now), users, answered=list(requests))

    def drain(self) -> None:
        """Refresh what is stale by the events of others, as much as fits into a slice."""
        begin = time.monotonic()
        self.write(self.engine.drain(self.budget, now=self.now), [], answered=[])
        spent = max(time.monotonic() - begin, 1e-3)
        grown = self.budget * min(max(DRAIN_SECONDS / spent, 0.5), 2.0)
        self.budget = int(min(max(grown, LEAST_BUDGET), MOST_BUDGET))

    def write(self, refreshed: RefreshResult, users: list[str], *, answered: list[int]) -> None:
        """Score refreshed users and commit all of it; ``users`` are done with, also who is no
        node of the graph."""
        self._edges += refreshed.edges
        self.unsaved = self.unsaved or refreshed.edges > 0
        rows = refreshed.embeddings.get(USER)
        scored: list[RefreshedUser] = []
        if rows is not None and rows[0]:
            scored = self.execution.with_database(
                lambda: score(self.claim.workspace_id, self.model, rows)
            )
        items = items_of(refreshed.embeddings)
        for user_id in [*users, *(rows[0] if rows else [])]:
            self.waiting.pop(user_id, None)
        for place in range(WRITE_ROWS, len(scored), WRITE_ROWS):
            self.commit(scored[place : place + WRITE_ROWS], [], None, [])
        self.commit(scored[:WRITE_ROWS], items, self.progress(), answered)

    def publish(self) -> None:
        """Tell how far it is."""
        self.commit([], [], self.progress(), [])

    def commit(
        self,
        users: list[RefreshedUser],
        items: list[RefreshedItem],
        published: Published | None,
        answered: list[int],
    ) -> None:
        """One transaction under the claim.

        Args:
            published: None while rows are missing that the engine takes for fresh.

        Raises:
            Fenced: if the run is not this claim's any more.
            Superseded: if a task replaced the profiles.
        """
        workspace_id = self.claim.workspace_id

        def once() -> None:
            with tick_transaction(self.claim, self.generation):
                write_users(
                    users,
                    workspace_id=workspace_id,
                    version=self.version,
                    basis=self.basis,
                    position=self.position,
                )
                write_items(items, workspace_id=workspace_id, version=self.version)
                if published is not None:
                    holder.publish(workspace_id, published, answered=answered)

        self.execution.with_database(once)
        if published is not None:
            self._events = self._edges = 0
            self.ticks += 1

    def progress(self) -> Published:
        backlog = self.backlog()
        own = next(iter(self.waiting.values()), None)  # they wait in the order of their times
        self.stale_from = min((t for t in (backlog.since, own) if t is not None), default=None)
        since = self.stale_from
        return Published(
            position=self.position,
            stale_since=None if since is None else datetime.fromtimestamp(since, UTC),
            events=self._events,
            edges=self._edges,
            backlog={
                "rows": dict(backlog.rows),
                "edges": backlog.edges,
                "users_waiting": len(self.waiting),
                "staleness_p50": backlog.staleness_p50,
                "staleness_p99": backlog.staleness_p99,
            },
        )

    def backlog(self) -> Backlog:
        """What is stale. Looking goes through all of it: while there is much, not at each tick."""
        if self._backlog is None or time.monotonic() >= self._next_look:
            begin = time.monotonic()
            self._backlog = self.engine.backlog(now=self.now)
            spent = time.monotonic() - begin
            few = sum(self._backlog.rows.values()) < FEW_ROWS
            self._next_look = begin if few else begin + spent / LOOK_SHARE
        return self._backlog


def refuse_another_schema(workspace_id: uuid.UUID, version: ModelVersion) -> None:
    """Raises: PermanentError if the workspace left the version's schema and no task follows it."""
    workspace = Workspace.objects.get(pk=workspace_id)
    current, expected = workspace.graph_schema.hash, version.schema_hash
    if current == expected or active_version(workspace.pk) != version:
        return
    raise PermanentError(
        f"The workspace has schema {current[:12]} now, {version} was trained on {expected[:12]}: "
        "run a refresh task, then start the incremental refresh again."
    )
