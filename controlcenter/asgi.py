"""The ASGI application that gunicorn's uvicorn workers serve."""

import os
from collections.abc import Mapping
from typing import IO, Any

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")
django.setup(set_prefix=False)

from controlcenter.common.body_limit import BodyLimit  # noqa: E402 (settings must be loaded)


class MeasuringHandler(ASGIHandler):
    """Gives a chunked body, which has arrived whole by now, the length that parsers ask for.

    Without it Django and REST framework take a body without ``Content-Length`` for an empty one.
    """

    def create_request(self, scope: Mapping[str, Any], body_file: IO[bytes]) -> Any:
        if b"content-length" not in dict(scope["headers"]):
            length = body_file.seek(0, os.SEEK_END)
            body_file.seek(0)
            headers = [*scope["headers"], (b"content-length", str(length).encode())]
            scope = {**scope, "headers": headers}
        return super().create_request(scope, body_file)


application = BodyLimit(MeasuringHandler())  # type: ignore[arg-type]  # its stubs want plain dicts
