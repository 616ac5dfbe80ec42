"""Consumers' parts in the transactions that write to the log."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from controlcenter.platform.accounts.models import Workspace
from controlcenter.platform.common import clock
from controlcenter.platform.log.encoding import EnvelopeError
from controlcenter.platform.log.envelope import LogEntry, PayloadContract

Entries = dict[int, LogEntry]
"""Good events by their indices in the batch."""


class Participant:
    """A consumer's part in writing one batch, which this base leaves to others.

    Where a transaction has to be tried again, all from ``begin`` on is called again.

    Args:
        workspace: Whose log is written.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def contracts(self) -> Mapping[str, PayloadContract]:
        """What it asks of payloads, by type of event; no type may have two contracts."""
        return {}

    def begin(self, *, exclusive: bool) -> datetime | None:
        """Open the transaction: take locks, or raise what refuses the batch.

        Args:
            exclusive: Keep every other writer out whose effects may meet these.

        Returns:
            The database's time, if it was asked on the way.
        """

    def is_incomplete(self, event: object) -> bool:
        """Whether ``complete`` has to look at the batch because of this event."""
        return False

    def complete(self, entries: Entries) -> Mapping[int, LogEntry | EnvelopeError]:
        """What becomes of entries that can only be told from all of them: by index, the whole
        entry or why it is rejected."""
        return {}

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Note new entries."""

    def prepare(self) -> None:
        """All are noted. What takes time without the database is best done here."""

    def finish(self) -> Mapping[str, int]:
        """Write the effects, in the transaction.

        Returns:
            Counts for the receipt.
        """
        return {}


class Participants:
    """All parts in writing one batch, called one after the other.

    Args:
        parts: By the names of their consumers.
    """

    def __init__(self, parts: Mapping[str, Participant]) -> None:
        self._names = list(parts)
        self._parts = list(parts.values())

    def contracts(self) -> Mapping[str, PayloadContract]:
        """What is asked of payloads, by type of event.

        Raises:
            ValueError: if two ask something of the same type.
        """
        contracts: dict[str, PayloadContract] = {}
        for part in self._parts:
            for kind, contract in part.contracts().items():
                if contracts.setdefault(kind, contract) is not contract:
                    raise ValueError(f"two consumers ask something of events of type {kind!r}")
        return contracts

    def begin(self, *, exclusive: bool) -> datetime:
        """Open the transaction.

        Returns:
            The database's time.
        """
        times = [part.begin(exclusive=exclusive) for part in self._parts]
        return next((time for time in times if time is not None), None) or clock.now()

    def is_incomplete(self, events: Sequence[object]) -> bool:
        """Whether ``complete`` has to look at the batch."""
        return any(any(map(part.is_incomplete, events)) for part in self._parts)

    def complete(self, entries: Entries) -> dict[int, EnvelopeError]:
        """Complete entries in place; those that can't be are taken out.

        Returns:
            Why each of them is rejected, by index.
        """
        errors: dict[int, EnvelopeError] = {}
        for part in self._parts:
            for index, outcome in part.complete(entries).items():
                if isinstance(outcome, EnvelopeError):
                    errors[index] = outcome
                    del entries[index]
                else:
                    entries[index] = outcome
        return errors

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Note new entries."""
        for part in self._parts:
            part.add(entries)

    def prepare(self) -> None:
        """All are noted."""
        for part in self._parts:
            part.prepare()

    def finish(self) -> dict[str, Mapping[str, int]]:
        """Write the effects; returns the counts by consumer."""
        finished = [part.finish() for part in self._parts]
        return dict(zip(self._names, finished, strict=True))
