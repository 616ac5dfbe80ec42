"""The standard envelope of an event, read and checked without a database."""

import json
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from controlcenter.platform.common.storable import MAX_DEPTH, trouble
from ml.contracts.schema import GraphSchema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FUTURE = timedelta(days=1)
MAX_ID = 200
MAX_EVENT_BYTES = 64 * 2**10
MAX_SHOWN = 100
KNOWN = {"event_id", "source", "type", "timestamp", "payload", "meta"}
PLAIN_META = {"version": "1.0"}
ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
PLAIN_META_TEXT = ENCODE(PLAIN_META)
CANONICAL_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


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

    The id is a UUID as PostgreSQL writes it; payload and meta are what they were, as JSON.
    """

    event_id: str
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


def encoded_together(values: Sequence[dict[str, Any]]) -> list[str] | None:
    """As ``encoded``, for many at once; None where one of them has to be looked at alone."""
    try:
        written = ENCODE(values)
        if not written.isascii():
            written.encode()
    except (ValueError, RecursionError):
        return None
    opened = written.count("{") + written.count("[") - 1
    if "\\u0000" in written or opened - len(values) >= MAX_DEPTH:
        return None
    texts = written[2:-2].split("}, {")
    if len(texts) != len(values):  # one has objects in a list, or a text that looks like that
        return None
    return [f"{{{text}}}" for text in texts]


def payload_of(data: object) -> dict[str, Any]:
    """The payload of an event, empty where it has none."""
    payload = data.get("payload") if isinstance(data, dict) else None
    return payload if isinstance(payload, dict) else {}


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
        schema: Says which types of events there are and what each may point at.
        now: Events may be up to a day later.
    """

    def __init__(self, *, schema: GraphSchema, now: datetime) -> None:
        self._targets = {kind: schema.targets(kind) for kind in schema.event_types}
        self._latest = now + FUTURE
        self._open = tuple(kind for kind, targets in self._targets.items() if len(targets) > 1)

    def leaves_open(self, data: object) -> bool:
        """Whether an event, if it is good, does not say the type of its target."""
        if not isinstance(data, dict) or str(data.get("type")) not in self._open:
            return False
        return "target_type" not in payload_of(data)

    def read(self, data: object, event_id: str, payload_text: str | None = None) -> Envelope:
        """Check one event against the envelope and the workspace's schema.

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
            known = ", ".join(sorted(KNOWN))
            raise EnvelopeError("event", f"has the field {shown(unknown[0])}; known are {known}")
        if not event_id:
            raise EnvelopeError("event_id", f"got {shown(data.get('event_id'))}, expected a UUID")
        kind = text(data, "type")
        targets = self._targets.get(kind)
        if targets is None:
            expected = ", ".join(self._targets)
            raise EnvelopeError("type", f"got {shown(kind)}, expected one of {expected}")
        payload, payload_text, meta_text = bodies(data, payload_text)
        target_type = targets[0] if len(targets) == 1 else ""
        if "target_type" in payload:
            target_type = text(payload, "target_type", path="payload.")
            if target_type not in targets:
                got = shown(target_type)
                raise EnvelopeError(
                    "payload.target_type", f"got {got}, expected one of {list(targets)}"
                )
        return Envelope(
            event_id,
            text(data, "source", default="api"),
            kind,
            moment(data.get("timestamp"), self._latest),
            text(payload, "actor", path="payload."),
            text(payload, "target", path="payload."),
            target_type,
            payload_text,
            meta_text,
        )


def bodies(data: dict[str, Any], payload_text: str | None) -> tuple[dict[str, Any], str, str]:
    """The payload, and payload and meta as JSON.

    Raises:
        EnvelopeError: where one is no object, is of another version or is not to be stored.
    """
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
    if payload_text is None:
        payload_text = encoded(payload, "payload")
    meta_text = PLAIN_META_TEXT if meta == PLAIN_META else encoded(meta, "meta")
    if len(payload_text) + len(meta_text) > MAX_EVENT_BYTES // 8:  # far from it, nothing is encoded
        size = len(payload_text.encode()) + len(meta_text.encode()) + len("[, ]")
        if size > MAX_EVENT_BYTES:
            raise EnvelopeError("payload", f"has {size} bytes, at most {MAX_EVENT_BYTES}")
    return payload, payload_text, meta_text
