"""Name the request in its answer, so that its lines in the log can be found."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

HEADER = "X-Request-ID"


class RequestIdMiddleware:
    """Stands within structlog's middleware, which takes the client's id or makes one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response[HEADER] = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        return response
