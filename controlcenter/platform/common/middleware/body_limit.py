"""Refuse bodies that are too large while they arrive, before they fill the disk."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MARGIN_BYTES = 2**20
"""Room for the multipart frame and the form's other fields around the file."""


class BodyLimit:
    """ASGI middleware: 413 for a body above ``UPS_UPLOAD_LIMIT_BYTES``.

    A body with ``Content-Length`` is refused before it is read. A chunked one is counted; Django
    sees a disconnect where it passes the limit, so nothing of it is kept.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        limit = settings.UPLOAD_LIMIT_BYTES + MARGIN_BYTES
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await refuse(send, f"The body has {int(declared)} bytes.")
            return
        received = 0
        answered = False

        async def counted() -> Message:
            nonlocal received, answered
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit and not answered:
                answered = True
                await refuse(send, f"The body passed {limit} bytes and was not read further.")
            return {"type": "http.disconnect"} if answered else message

        async def guarded(message: Message) -> None:
            if not answered:
                await send(message)

        await self.application(scope, counted, guarded)


async def refuse(send: Send, got: str) -> None:
    """Answer 413 as a problem and close the connection.

    Args:
        got: A sentence on what came.
    """
    problem = {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "detail": f"{got} At most {settings.UPLOAD_LIMIT_BYTES} bytes are accepted: send Parquet "
        "or a zip, or ask the operator to raise UPS_UPLOAD_LIMIT_BYTES.",
    }
    body = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
