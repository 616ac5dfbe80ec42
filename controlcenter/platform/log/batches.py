"""One batch of events on its way into the log: checked in parts, while the server writes others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat
from operator import itemgetter
from typing import TypedDict

from rest_framework.exceptions import ValidationError

from controlcenter.platform.log.encoding import EnvelopeError, encoded_together
from controlcenter.platform.log.envelope import LogEntry, Reader, canonical_id, payload_of
from controlcenter.platform.log.participants import Entries, Participants

FIRST_PART, PART = 50, 250
"""So many events are checked at a time, at first and at most, while the server writes those before.
"""
INDEX = itemgetter("index")
MAX_REASONS = 100


class Rejection(TypedDict):
    """One event that was not taken: its index in the batch, and why."""

    index: int
    field: str
    reason: str


@dataclass
class Batch:
    """Events of one request, checked when they are asked for, and once.

    Args:
        events: Parsed JSON; a ``ValueError`` stands for a line that was none.

    Attributes:
        rejected: Those that were found to be bad so far.
    """

    events: Sequence[object]
    participants: Participants
    rejected: list[Rejection] = field(default_factory=list)
    _checked: list[list[LogEntry]] = field(default_factory=list)
    _unchecked: Iterator[list[LogEntry]] | None = None

    def parts(self, now: datetime) -> Iterator[list[LogEntry]]:
        """Good events in the order of their ids, none of which comes twice.

        Args:
            now: See ``Reader``; of two calls the first one's counts.

        Raises:
            ValidationError: with the first 100 reasons, where not one is good.
        """
        if self._unchecked is None:
            self._unchecked = self._check(Reader(contracts=self.participants.contracts(), now=now))
        yield from self._checked
        for part in self._unchecked:
            self._checked.append(part)
            yield part
        if not self._checked:
            reasons = sorted(self.rejected, key=INDEX)[:MAX_REASONS]
            raise ValidationError(
                {f"events[{r['index']}].{r['field']}": r["reason"] for r in reasons}
            )

    def _check(self, reader: Reader) -> Iterator[list[LogEntry]]:
        ids = list(map(canonical_id, self.events))
        parts = self._read(reader, ids)
        if len(set(ids)) < len(ids) or self.participants.is_incomplete(self.events):
            good = {index: entry for part in parts for index, entry in part.items()}
            for index, error in self.participants.complete(good).items():
                self._reject(index, error)
            parts = iter([firsts(good)])
        return (list(part.values()) for part in parts if part)

    def _read(self, reader: Reader, ids: Sequence[str]) -> Iterator[Entries]:
        """The good events in the order of their ids, and of indices where ids are the same.

        They come in parts of which none is empty, each checked when it is asked for.
        """
        order = sorted(range(len(ids)), key=ids.__getitem__)
        begin, size = 0, FIRST_PART
        while begin < len(order):
            good: Entries = {}
            part = order[begin : begin + size]
            begin, size = begin + size, min(2 * size, PART)
            payloads = encoded_together([payload_of(self.events[index]) for index in part])
            for index, payload in zip(part, payloads or repeat(None), strict=False):
                event = self.events[index]
                try:
                    if isinstance(event, ValueError):
                        raise EnvelopeError("event", f"is no JSON: {event}")
                    good[index] = reader.read(event, ids[index], payload)
                except EnvelopeError as error:
                    self._reject(index, error)
            if good:
                yield good

    def _reject(self, index: int, error: EnvelopeError) -> None:
        self.rejected.append({"index": index, "field": error.field, "reason": str(error)})


def firsts(good: Entries) -> Entries:
    """Without the events whose id is that of the one before."""
    kept: Entries = {}
    last = ""
    for index, entry in good.items():
        if entry.event_id != last:
            kept[index] = entry
        last = entry.event_id
    return kept
