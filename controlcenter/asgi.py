"""The ASGI application that gunicorn's uvicorn workers serve."""

import os
from collections.abc import Mapping
from typing import IO, Any

import django
from django.core.handlers.asgi import ASGIHandler
from django.db import connections

POOL_SIZE = 20
"""Connections to the database that one process opens at most."""

POOL_TIMEOUT = 5.0
"""Seconds that a request waits for one: as long as for a new one where there is no pool."""


def pool_connections() -> None:
    """Requests take a connection from a pool: opening one costs more than most requests do."""
    default = connections.settings["default"]
    default["CONN_HEALTH_CHECKS"] = True
    default["OPTIONS"]["pool"] = {"min_size": 1, "max_size": POOL_SIZE, "timeout": POOL_TIMEOUT}


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlcenter.settings")
django.setup(set_prefix=False)
pool_connections()

from controlcenter.platform.common.middleware.body_limit import BodyLimit  # noqa: E402 (settings must be loaded)


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
