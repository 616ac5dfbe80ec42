"""OpenAPI: each call documents its problems beside its answers."""

from typing import Any, Literal

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from controlcenter.platform.common.api.problems import MEDIA_TYPE, ProblemSerializer

PROBLEMS = {
    "400": "The request is not valid; `errors` names field, value and what was expected.",
    "401": "No valid token or session.",
    "403": "The account's role in the workspace does not allow this.",
    "404": "Not there, or not visible to this account.",
    "406": "No such representation; ask for application/json.",
    "409": "Does not fit the current state.",
    "413": "The body is larger than accepted.",
    "415": "No such content type here.",
    "429": "Too many attempts; wait a minute.",
    "503": "A part of the system is away; ask again.",
}


WORKSPACE = OpenApiParameter(
    "workspace",
    str,
    description="Slug of the workspace; by default the account's home workspace.",
)


class ProblemSchema(AutoSchema):
    """Adds the problem responses a call can give: those of its method and path."""

    def problem_codes(self) -> list[str]:
        """The statuses of problems that the call can answer with, in order."""
        codes = ["400", "401", "403", "404", "406", "503"]
        if self.method in {"POST", "PUT", "PATCH", "DELETE"}:
            codes += ["409", "413", "415"]
        if "{" in self.path:
            codes.append("409")
        if getattr(self.view, "limits_rate", False):
            codes.append("429")
        return sorted(set(codes))

    def get_override_parameters(self) -> list[Any]:
        """Every call about a workspace takes its name."""
        return [WORKSPACE] if hasattr(type(self.view), "workspace") else []

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        component = self.resolve_serializer(ProblemSerializer, direction)
        for code in self.problem_codes():
            bodies.setdefault(
                code,
                {
                    "description": PROBLEMS[code],
                    "content": {MEDIA_TYPE: {"schema": component.ref}},
                },
            )
        return bodies
