"""Errors of the API as problem details (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, serializers
from rest_framework.response import Response
from rest_framework.views import exception_handler

from controlcenter.platform.common.errors import Unavailable

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
DATABASE_AWAY = (OperationalError, InterfaceError)


class ProblemErrorSerializer(serializers.Serializer[Any]):
    """One field that was not right."""

    field = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    errors = ProblemErrorSerializer(many=True, required=False)  # type: ignore[assignment]


def flatten(detail: Any, path: str = "") -> list[dict[str, str]]:
    """Nested validation errors as a list of ``{field, detail}``; the path is dotted."""
    if isinstance(detail, dict):
        return [e for k, v in detail.items() for e in flatten(v, f"{path}.{k}" if path else str(k))]
    if isinstance(detail, list):
        if any(isinstance(item, dict | list) for item in detail):
            return [e for i, v in enumerate(detail) for e in flatten(v, f"{path}[{i}]")]
        return [{"field": path or "non_field_errors", "detail": str(item)} for item in detail]
    return [{"field": path or "non_field_errors", "detail": str(detail)}]


def problem(code: int, detail: str, /, **more: Any) -> dict[str, Any]:
    """The body of one problem."""
    phrase = HTTPStatus(code).phrase
    return {"type": "about:blank", "title": phrase, "status": code, "detail": detail, **more}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: the usual statuses, the body as a problem."""
    if isinstance(error, DATABASE_AWAY):
        log.warning("database.away", error=str(error).strip())
        error = Unavailable("The database does not answer right now: try again.")
    response = exception_handler(error, context)
    if response is None:
        return None
    more: dict[str, Any] = {"instance": context["request"].get_full_path()}
    if isinstance(error, exceptions.ValidationError):
        errors = flatten(error.detail)
        detail = "; ".join(f"{e['field']}: {e['detail']}" for e in errors[:3])
        more["errors"] = errors
        more["code"] = "invalid"
    elif isinstance(error, Http404 | PermissionDenied):
        detail = str(error) or HTTPStatus(response.status_code).phrase
        more["code"] = "not_found" if isinstance(error, Http404) else "permission_denied"
    elif isinstance(error, exceptions.APIException):
        detail = str(error.detail)
        codes = error.get_codes()
        more["code"] = codes if isinstance(codes, str) else error.default_code
    else:
        detail = str(error)
    response.data = problem(response.status_code, detail, **more)
    renderer = getattr(context["request"], "accepted_renderer", None)
    if renderer is None or renderer.format == "json":
        response.content_type = MEDIA_TYPE
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler of what nobody caught: a problem for programs, a page for people."""
    if not request.path.startswith("/api/"):
        return defaults.server_error(request)
    detail = "The server failed on this request: its log has it under the X-Request-ID."
    return JsonResponse(problem(500, detail), status=500, content_type=MEDIA_TYPE)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler of paths without a route."""
    if not request.path.startswith("/api/"):
        return defaults.page_not_found(request, exception)
    return JsonResponse(
        problem(404, f"There is no {request.path}: see /api/docs/."),
        status=404,
        content_type=MEDIA_TYPE,
    )
