"""OpenAPI: each call documents its problems beside its answers."""

from typing import Any, Literal

from drf_spectacular.openapi import AutoSchema

from controlcenter.common.problems import MEDIA_TYPE, ProblemSerializer

PROBLEMS = {
    "400": "The request is not valid; `errors` names field, value and what was expected.",
    "401": "No valid token or session.",
    "403": "The account's role in the workspace does not allow this.",
    "404": "Not there, or not visible to this account.",
    "409": "Does not fit the current state.",
    "413": "The body is larger than accepted.",
    "503": "A part of the system is away; ask again.",
}


class ProblemSchema(AutoSchema):
    """Adds the problem responses a call can give: those of its method and path."""

    def problem_codes(self) -> list[str]:
        codes = ["401", "403", "503"]
        if self.method in {"POST", "PUT", "PATCH", "DELETE"}:
            codes += ["400", "409", "413"]
        if "{" in self.path or "workspace" in self.path:
            codes.append("404")
        return sorted(set(codes))

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
