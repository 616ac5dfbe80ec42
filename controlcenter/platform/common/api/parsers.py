"""Read JSON bodies within bounds; what can't be read is a 400 or a 413, never a failure."""

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer


class TooLarge(APIException):
    """The body is larger than this call takes."""

    status_code = 413
    default_code = "too_large"


def read_whole(stream: IO[bytes]) -> bytes:
    """The body, which must fit in memory.

    Raises:
        TooLarge: above ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
    """
    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(f"The body has more than {limit} bytes: send it in several requests.")
    return body


def loads(text: bytes) -> Any:
    """JSON of UTF-8 text.

    Raises:
        ValueError: if it is none: NaN and infinity, another encoding, or nested too deep.
    """
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=refuse_constant)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


def refuse_constant(name: str) -> Any:
    """Raises: ValueError for NaN and infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is no JSON")


class BoundedJSONParser(BaseParser):
    """``application/json``."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return loads(read_whole(stream))
        except ValueError as error:
            raise ParseError(f"The body is no JSON: {error}") from error


class LinesParser(BaseParser):
    """``application/x-ndjson``: one value a line; a line that is no JSON becomes the error."""

    media_type = "application/x-ndjson"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return list(values(read_whole(stream)))


def values(body: bytes) -> Iterator[object]:
    """The value of each line that is not empty, or the error that it is."""
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield loads(line)
        except ValueError as error:
            yield error
