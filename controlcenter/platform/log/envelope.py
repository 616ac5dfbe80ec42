"""The standard envelope of an event, read and checked without a database.

What the payload of a type has to say is no matter of the envelope: consumers state it as a
``PayloadContract``. A type that nobody asks anything of is taken as it is.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from controlcenter.platform.log.encoding import ENCODE, EnvelopeError, encoded, shown, storable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FUTURE = timedelta(days=1)
MAX_TEXT = 200
MAX_EVENT_BYTES = 64 * 2**10
KNOWN = {"event_id", "source", "type", "timestamp", "payload", "meta"}
PLAIN_META = {"version": "1.0"}
PLAIN_META_TEXT = ENCODE(PLAIN_META)
CANONICAL_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


Edge = tuple[str, str, str] | tuple[None, None, None]
"""Actor, target and type of the target, which is empty where the ids must tell."""

NO_EDGE: Edge = (None, None, None)


class PayloadContract(Protocol):
    """What a consumer asks of the payloads of one type of event."""

    @property
    def expected(self) -> str:
        """The payload in words, for a message: ``an object with actor and target``."""

    def edge(self, payload: dict[str, Any]) -> Edge:
        """The edge that an event with this payload is, ``NO_EDGE`` if it is none.

        Raises:
            EnvelopeError: for the first thing that is wrong.
        """


class LogEntry(NamedTuple):
    """One checked event, as it is written.

    The id is a UUID as PostgreSQL writes it; payload and meta are what they were, as JSON. Only an
    event that is an edge has the last three.
    """

    event_id: str
    source: str
    type: str
    timestamp: datetime
    payload: str
    meta: str
    actor: str | None
    target: str | None
    target_type: str | None


def payload_of(data: object) -> dict[str, Any]:
    """The payload of an event, empty where it has none."""
    payload = data.get("payload") if isinstance(data, dict) else None
    return payload if isinstance(payload, dict) else {}


def plain(value: str) -> bool:
    """Nearly every id is; one that is not may be good or bad."""
    return (
        0 < len(value) <= MAX_TEXT
        and value.isascii()
        and value.isprintable()
        and not value.isspace()
    )


def text(data: dict[str, Any], field: str, *, path: str = "", default: str | None = None) -> str:
    """A text of a field, or a whole number as one.

    Args:
        path: What stands before the field's name in a message.

    Raises:
        EnvelopeError: with what was got and what was expected.
    """
    value = data.get(field, default)
    if isinstance(value, str) and plain(value):
        return value
    name = f"{path}{field}"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise EnvelopeError(name, f"got {shown(value)}, expected a text that is not empty")
    if len(value) > MAX_TEXT:
        raise EnvelopeError(name, f"has {len(value)} characters, at most {MAX_TEXT}")
    storable(value, name)
    return value


def moment(value: object, latest: datetime) -> datetime:
    """An instant with zone, between 1970 and ``latest``, in UTC.

    Raises:
        EnvelopeError: with what was got and what was expected.
    """
    if not isinstance(value, str):
        raise EnvelopeError("timestamp", f"got {shown(value)}, expected ISO 8601 with a zone")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise EnvelopeError(
            "timestamp", f"got {shown(value)}, expected ISO 8601 such as 2026-01-31T12:00:00Z"
        ) from error
    if parsed.tzinfo is None:
        raise EnvelopeError("timestamp", f"got {shown(value)} without a zone: add Z or an offset")
    if parsed.tzinfo is not UTC:
        try:
            parsed = parsed.astimezone(UTC)
        except OverflowError as error:
            raise EnvelopeError(
                "timestamp", f"got {shown(value)}, which is out of range"
            ) from error
    if parsed < EPOCH:
        raise EnvelopeError("timestamp", f"got {shown(value)}, which is before 1970")
    if parsed > latest:
        raise EnvelopeError("timestamp", f"got {shown(value)}, more than a day in the future")
    return parsed


def canonical_id(data: object) -> str:
    """The id of an event as PostgreSQL writes a UUID, empty where it has none."""
    value = data.get("event_id") if isinstance(data, dict) else None
    if isinstance(value, str) and CANONICAL_ID(value):
        return value
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        return ""


class Reader:
    """Reads events of one workspace at one moment.

    Args:
        contracts: What consumers ask of payloads, by type of event.
        now: Events may be up to a day later.
    """

    def __init__(self, *, contracts: Mapping[str, PayloadContract], now: datetime) -> None:
        self._contracts = contracts
        self._latest = now + FUTURE

    def read(self, data: object, event_id: str, payload_text: str | None = None) -> LogEntry:
        """Check one event against the envelope and what is asked of its payload.

        Args:
            event_id: What ``canonical_id`` says of it.
            payload_text: What ``encoded`` says of the payload, if that is known already.

        Raises:
            EnvelopeError: for the first thing that is wrong.
        """
        if not isinstance(data, dict):
            raise EnvelopeError("event", f"got a {type(data).__name__}, expected an object")
        if not data.keys() <= KNOWN:
            unknown = sorted(set(data) - KNOWN)
            fields = ", ".join(sorted(KNOWN))
            raise EnvelopeError("event", f"has the field {shown(unknown[0])}; known are {fields}")
        if not event_id:
            raise EnvelopeError("event_id", f"got {shown(data.get('event_id'))}, expected a UUID")
        kind = text(data, "type")
        contract = self._contracts.get(kind)
        expected = "an object" if contract is None else contract.expected
        payload, payload_text, meta_text = bodies(data, payload_text, expected)
        source = text(data, "source", default="api")
        timestamp = moment(data.get("timestamp"), self._latest)
        edge = NO_EDGE if contract is None else contract.edge(payload)
        return LogEntry(event_id, source, kind, timestamp, payload_text, meta_text, *edge)


def bodies(
    data: dict[str, Any], payload_text: str | None, expected: str
) -> tuple[dict[str, Any], str, str]:
    """The payload, and payload and meta as JSON.

    Raises:
        EnvelopeError: where one is no object, is of another version or is not to be stored.
    """
    payload = data.get("payload")
    if not isinstance(payload, dict):
        raise EnvelopeError("payload", f"got {shown(payload)}, expected {expected}")
    meta = data.get("meta", {})
    if not isinstance(meta, dict):
        raise EnvelopeError("meta", f"got {shown(meta)}, expected an object")
    version = meta.get("version", "1.0")
    if version != "1.0":
        raise EnvelopeError("meta.version", f"got {shown(version)}, expected '1.0'")
    if payload_text is None:
        payload_text = encoded(payload, "payload")
    meta_text = PLAIN_META_TEXT if meta == PLAIN_META else encoded(meta, "meta")
    if len(payload_text) + len(meta_text) > MAX_EVENT_BYTES // 8:  # far from it, nothing is encoded
        size = len(payload_text.encode()) + len(meta_text.encode()) + len("[, ]")
        if size > MAX_EVENT_BYTES:
            raise EnvelopeError("payload", f"has {size} bytes, at most {MAX_EVENT_BYTES}")
    return payload, payload_text, meta_text
