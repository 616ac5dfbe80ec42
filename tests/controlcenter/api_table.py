"""Every call of the API and the least role that may make it, in one table."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import URLPattern, URLResolver, get_resolver

PUBLIC, SIGNED_IN = "public", "signed in"
RANKS = ["viewer", "analyst", "operator", "owner"]
PREFIX = "api/v1/"


@dataclass(frozen=True)
class Call:
    """One method of one route.

    Args:
        least: ``public``, ``signed in`` or the least role.
        answer: Status for somebody who may, on ``Rows`` as they are made.
    """

    method: str
    route: str
    least: str
    answer: int
    body: dict[str, Any] = field(default_factory=dict)
    multipart: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def names_a_row(self) -> bool:
        return "{" in self.route

    def allows(self, role: str) -> bool:
        """Whether an account with this role in the workspace may make it."""
        if self.least in {PUBLIC, SIGNED_IN}:
            return True
        return RANKS.index(role) >= RANKS.index(self.least)


RULE = {"name": "fresh", "expression": "monthly_fee > 10", "weight": 1.0}
EVENT = {
    "event_id": "00000000-0000-4000-8000-000000000001",
    "type": "use",
    "timestamp": "2026-01-31T12:00:00Z",
    "payload": {"actor": "u1", "target": "a1"},
}
WEBHOOK = {"name": "fresh", "url": "https://receiver.example/in", "states": ["completed"]}
WHY = {"reason": "because"}
SCHEDULE = {"name": "nightly", "cron": "0 3 * * *", "dataset": "{dataset}"}

CALLS = [
    Call("GET", "", SIGNED_IN, 200),
    Call("GET", "accounts/me/", SIGNED_IN, 200),
    Call("GET", "auth/tokens/", SIGNED_IN, 200),
    Call("POST", "auth/tokens/", PUBLIC, 201, {"name": "mine"}),
    Call("DELETE", "auth/tokens/{id}/", SIGNED_IN, 204),
    Call("GET", "workspaces/", SIGNED_IN, 200),
    Call("GET", "workspaces/{slug}/", SIGNED_IN, 200),
    Call("GET", "members/", "viewer", 200),
    Call("GET", "members/{pk}/", "viewer", 200),
    Call("POST", "members/", "owner", 201, {"account": "guest", "role": "analyst"}),
    Call("PATCH", "members/{pk}/", "owner", 200, {"role": "analyst"}),
    Call("DELETE", "members/{pk}/", "owner", 204),
    Call("GET", "datasets/", "viewer", 200),
    Call("POST", "datasets/", "operator", 201, {"name": "new"}, multipart=True),
    Call("POST", "datasets/synthesize/", "operator", 202, {"users": 20}),
    Call("GET", "datasets/{pk}/", "viewer", 200),
    Call("DELETE", "datasets/{pk}/", "operator", 204),
    Call("GET", "datasets/{pk}/report/", "viewer", 200),
    Call("GET", "datasets/{pk}/lineage/", "viewer", 200),
    Call("GET", "datasets/{pk}/preview/", "analyst", 200),
    Call("GET", "rules/", "viewer", 200),
    Call("POST", "rules/", "operator", 201, RULE),
    Call("GET", "rules/{pk}/", "viewer", 200),
    Call("PUT", "rules/{pk}/", "operator", 200, RULE),
    Call("PATCH", "rules/{pk}/", "operator", 200, {"weight": 2.0}),
    Call("DELETE", "rules/{pk}/", "operator", 204),
    Call("POST", "rules/preview/", "analyst", 200, {"expression": "monthly_fee > 10"}),
    Call("GET", "rules/revisions/", "viewer", 200),
    Call("GET", "events/", "viewer", 200),
    Call("POST", "events/", "operator", 200, EVENT),
    Call("GET", "tasks/", "viewer", 200),
    Call("POST", "tasks/", "operator", 201, {"dataset": "{dataset}"}),
    Call("GET", "tasks/{pk}/", "viewer", 200),
    Call("POST", "tasks/{pk}/start/", "operator", 200),
    Call("POST", "tasks/{pk}/cancel/", "operator", 200),
    Call("POST", "tasks/{pk}/suspend/", "operator", 409),
    Call("POST", "tasks/{pk}/resume/", "operator", 409),
    Call("POST", "tasks/{pk}/retry/", "operator", 409),
    Call("GET", "tasks/{pk}/executions/", "viewer", 200),
    Call("GET", "tasks/{pk}/transitions/", "viewer", 200),
    Call("GET", "tasks/{pk}/events/", "viewer", 200),
    Call("GET", "schedules/", "viewer", 200),
    Call("POST", "schedules/", "operator", 201, SCHEDULE),
    Call("GET", "schedules/{pk}/", "viewer", 200),
    Call("PUT", "schedules/{pk}/", "operator", 200, SCHEDULE),
    Call("PATCH", "schedules/{pk}/", "operator", 200, {"enabled": False}),
    Call("DELETE", "schedules/{pk}/", "operator", 204),
    Call("POST", "schedules/{pk}/fire/", "operator", 201, WHY),
    Call("GET", "schedules/{pk}/fires/", "viewer", 200),
    Call("GET", "users/", "viewer", 200),
    Call("GET", "users/{user_id}/", "viewer", 200),
    Call("GET", "users/{user_id}/recommendations/", "viewer", 200),
    Call("GET", "users/{user_id}/similar/", "viewer", 200),
    Call("GET", "users/{user_id}/explanation/", "analyst", 202),
    Call("GET", "products/", "viewer", 200),
    Call("GET", "products/{item_id}/", "viewer", 200),
    Call("GET", "apps/", "viewer", 200),
    Call("GET", "apps/{item_id}/", "viewer", 200),
    Call("GET", "models/", "viewer", 200),
    Call("GET", "models/{pk}/", "viewer", 200),
    Call("POST", "models/{pk}/promote/", "operator", 202, WHY),
    Call("POST", "models/rollback/", "operator", 202, WHY),
    Call("GET", "webhooks/", "viewer", 200),
    Call("POST", "webhooks/", "owner", 201, WEBHOOK),
    Call("GET", "webhooks/{pk}/", "viewer", 200),
    Call("PUT", "webhooks/{pk}/", "owner", 200, WEBHOOK),
    Call("PATCH", "webhooks/{pk}/", "owner", 200, {"enabled": False}),
    Call("DELETE", "webhooks/{pk}/", "owner", 204),
    Call("POST", "webhooks/{pk}/rotate/", "owner", 200),
    Call("POST", "webhooks/{pk}/test/", "operator", 202),
    Call("GET", "webhooks/deliveries/", "viewer", 200),
    Call("GET", "webhooks/deliveries/{pk}/", "viewer", 200),
    Call("POST", "webhooks/deliveries/{pk}/replay/", "operator", 202),
    Call("GET", "evaluations/", "viewer", 200),
    Call("GET", "evaluations/{pk}/", "viewer", 200),
    Call("GET", "lineage/", "viewer", 200),
    Call("GET", "lineage/openlineage/", "viewer", 200),
    Call("GET", "operations/status/", "viewer", 200),
    Call("GET", "operations/metrics/", "viewer", 200),
    Call("GET", "operations/audit/", "owner", 200),
    Call("POST", "operations/ingestion/stop/", "owner", 200, WHY),
    Call("POST", "operations/ingestion/start/", "owner", 200, WHY),
    Call("GET", "operations/incremental/", "viewer", 200),
    Call("POST", "operations/incremental/start/", "operator", 202, WHY),
    Call("POST", "operations/incremental/stop/", "operator", 202),
    Call("POST", "operations/fusion/train/", "operator", 202),
    Call("POST", "operations/hgt/train/", "operator", 202),
    Call("POST", "operations/rules/refresh/", "operator", 202),
    Call("POST", "operations/explanations/clear/", "operator", 200),
]


def routes() -> Iterator[tuple[str, set[str]]]:
    """Every route below /api/v1/ with its methods, as the resolver knows them."""
    for route, pattern in walk(get_resolver().url_patterns):
        if not route.startswith(PREFIX) or "format" in route:
            continue
        callback = pattern.callback
        actions = getattr(callback, "actions", None)
        if actions is None:
            view = callback.view_class
            actions = [m for m in view.http_method_names if hasattr(view, m)]
            allowed = view.http_method_names
        else:
            allowed = callback.cls.http_method_names
        methods = {m.upper() for m in actions if m in allowed} - {"HEAD", "OPTIONS"}
        yield route.removeprefix(PREFIX), methods


def walk(patterns: list[Any], before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = before + plain(str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, route)
        else:
            yield route, pattern


def plain(pattern: str) -> str:
    """``^rules/(?P<pk>[^/.]+)/$`` as ``rules/{pk}/``."""
    text = pattern.removeprefix("^").removesuffix("$").replace("\\Z", "")
    while "(?P<" in text:
        head, _, tail = text.partition("(?P<")
        name, _, tail = tail.partition(">")
        depth, at, inside = 1, 0, False
        while depth:
            inside = {"[": True, "]": False}.get(tail[at], inside)
            depth += {"(": 1, ")": -1}.get(tail[at], 0) if not inside else 0
            at += 1
        text = f"{head}{{{name}}}{tail[at:]}"
    return text.replace("<drf_format_suffix:format>", "{format}")


def make(client: Any, call: Call, ids: dict[str, str], *, workspace: str = "") -> Any:
    """Make a call on the rows whose ids are given."""
    resource = call.route.partition("/{")[0]
    resource = resource if resource in ids else call.route.split("/")[0]
    name = call.route.partition("{")[2].partition("}")[0]
    path = (
        f"/{PREFIX}{call.route}".replace(f"{{{name}}}", ids.get(resource, ""))
        if name
        else (f"/{PREFIX}{call.route}")
    )
    if workspace:
        path += f"?workspace={workspace}"
    body = {key: ids["datasets"] if v == "{dataset}" else v for key, v in call.body.items()}
    if call.multipart:
        body["file"] = SimpleUploadedFile("users.csv", b"user_id,monthly_fee\nu1,2\n")
    if call.method == "GET":
        return client.get(path)
    how = "multipart" if call.multipart else "json"
    return getattr(client, call.method.lower())(path, body, format=how)
