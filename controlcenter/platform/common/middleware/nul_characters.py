"""No id, name or filter has a NUL character: PostgreSQL can't even be asked for one."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.deprecation import MiddlewareMixin

from controlcenter.platform.common.api.problems import MEDIA_TYPE, problem


class RefuseNul(MiddlewareMixin):
    """400 for an address with a NUL character in its path or query."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        query = request.META.get("QUERY_STRING", "")
        if "\x00" not in request.path and "%00" not in query and "\x00" not in query:
            return None
        body = problem(400, "The address has a NUL character (%00), which nothing here has.")
        return JsonResponse(body, status=400, content_type=MEDIA_TYPE)
