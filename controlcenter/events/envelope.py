"""The standard envelope of an event, read and checked without a database."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from controlcenter.common.storable import MAX_DEPTH, trouble
from ml.data.schema import GraphSchema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FUTURE = timedelta(days=1)
MAX_ID = 200
MAX_EVENT_BYTES = 64 * 2**10
MAX_SHOWN = 100
KNOWN = {"event_id", "source", "type", "timestamp", "payload", "meta"}
PLAIN_META = {"version": "1.0"}
ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
PLAIN_META_TEXT = ENCODE(PLAIN_META)


class EnvelopeError(ValueError):
    """One event that can't be taken.

    Args:
        field: Where the trouble is.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class Envelope(NamedTuple):
    """One checked event. ``target_type`` is empty where the ids must tell (a click).

    Payload and meta are what they were, as JSON.
    """

    event_id: uuid.UUID
    source: str
    type: str
    timestamp: datetime
    actor: str
    target: str
    target_type: str
    payload: str
    meta: str


def shown(value: object) -> str:
    """What was got, in ASCII and short enough for a message."""
    told = ascii(value)
    return told if len(told) <= MAX_SHOWN else f"{told[:MAX_SHOWN]}…"


def storable(value: object, field: str) -> None:
    """Raises: EnvelopeError for what PostgreSQL can't keep."""
    found = trouble(value)
    if found:
        raise EnvelopeError(field, found)


def encoded(value: dict[str, Any], field: str) -> str:
    """The value as JSON, if PostgreSQL can keep it.

    Raises:
        EnvelopeError: for what it can't.
    """
    try:
        written = ENCODE(value)
        if not written.isascii():
            written.encode()
    except (ValueError, RecursionError):  # no finite number, half a surrogate pair, too deep
        storable(value, field)
        raise
    # What makes trouble can't be without one of these; the look from near is slow.
    if "\\u0000" in written or written.count("{") + written.count("[") > MAX_DEPTH:
        storable(value, field)
    return written


def plain(value: str) -> bool:
    """Nearly every id is; one that is not may be good or bad."""
    return (
        0 < len(value) <= MAX_ID and value.isascii() and value.isprintable() and not value.isspace()
    )


def text(data: dict[str, Any], field: str, *, path: str = "", default: str | None = None) -> str:
    value = data.get(field, default)
    if isinstance(value, str) and plain(value):
        return value
    name = f"{path}{field}"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise EnvelopeError(name, f"got {shown(value)}, expected a text that is not empty")
    if len(value) > MAX_ID:
        raise EnvelopeError(name, f"has {len(value)} characters, at most {MAX_ID}")
    storable(value, name)
    return value


def moment(value: object, now: datetime) -> datetime:
    """An instant with zone, between 1970 and a day from now.

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
    try:
        parsed = parsed.astimezone(UTC)
    except OverflowError as error:
        raise EnvelopeError("timestamp", f"got {shown(value)}, which is out of range") from error
    if parsed < EPOCH:
        raise EnvelopeError("timestamp", f"got {shown(value)}, which is before 1970")
    if parsed > now + FUTURE:
        raise EnvelopeError("timestamp", f"got {shown(value)}, more than a day in the future")
    return parsed


def read(data: object, *, schema: GraphSchema, now: datetime) -> Envelope:
    """Check one event against the envelope and the workspace's schema.

    Raises:
        EnvelopeError: for the first thing that is wrong.
    """
    if not isinstance(data, dict):
        raise EnvelopeError("event", f"got a {type(data).__name__}, expected an object")
    if not data.keys() <= KNOWN:
        unknown = sorted(set(data) - KNOWN)
        known = ", ".join(sorted(KNOWN))
        raise EnvelopeError("event", f"has the field {shown(unknown[0])}; known are {known}")
    try:
        event_id = uuid.UUID(str(data.get("event_id")))
    except ValueError as error:
        got = shown(data.get("event_id"))
        raise EnvelopeError("event_id", f"got {got}, expected a UUID") from error
    kind = text(data, "type")
    targets = schema.targets(kind)
    if not targets:
        expected = ", ".join(schema.event_types)
        raise EnvelopeError("type", f"got {shown(kind)}, expected one of {expected}")
    payload = data.get("payload")
    if not isinstance(payload, dict):
        raise EnvelopeError(
            "payload", f"got {shown(payload)}, expected an object with actor and target"
        )
    meta = data.get("meta", {})
    if not isinstance(meta, dict):
        raise EnvelopeError("meta", f"got {shown(meta)}, expected an object")
    version = meta.get("version", "1.0")
    if version != "1.0":
        raise EnvelopeError("meta.version", f"got {shown(version)}, expected '1.0'")
    payload_text = encoded(payload, "payload")
    meta_text = PLAIN_META_TEXT if meta == PLAIN_META else encoded(meta, "meta")
    size = len(payload_text.encode()) + len(meta_text.encode()) + len("[, ]")
    if size > MAX_EVENT_BYTES:
        raise EnvelopeError("payload", f"has {size} bytes, at most {MAX_EVENT_BYTES}")
    target_type = targets[0] if len(targets) == 1 else ""
    if "target_type" in payload:
        target_type = text(payload, "target_type", path="payload.")
        if target_type not in targets:
            raise EnvelopeError(
                "payload.target_type", f"got {shown(target_type)}, expected one of {list(targets)}"
            )
    return Envelope(
        event_id=event_id,
        source=text(data, "source", default="api"),
        type=kind,
        timestamp=moment(data.get("timestamp"), now),
        actor=text(payload, "actor", path="payload."),
        target=text(payload, "target", path="payload."),
        target_type=target_type,
        payload=payload_text,
        meta=meta_text,
    )
