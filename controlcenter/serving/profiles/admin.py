"""Users, products and apps in the admin, for reading; and the preview of a rule."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from rest_framework.exceptions import ValidationError

from controlcenter.modelling.rules.models import Rule
from controlcenter.platform.accounts.console import (
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.console.forms import ConsoleForm, workspace_field
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import (
    NONE,
    Table,
    badge,
    link,
    number,
    plain,
    pretty,
    scored,
    validated,
    when,
)
from controlcenter.serving.profiles import explanations, queries
from controlcenter.serving.profiles.contributions import bars
from controlcenter.serving.profiles.models import ExplanationState, Item, Profile
from controlcenter.serving.profiles.reading import Reading, marked
from ml.contracts.reports.base import ReportError
from ml.contracts.reports.explanation import ExplanationReport
from ml.rules.rule_set import RuleError

LOOKALIKES = 10
SAMPLE = 20
HEAVY = ("embedding", "recommendations", "attributes", "base_counts", "live_counts")


class PreviewForm(ConsoleForm):
    """An expression, and where to try it."""

    save_label = "Preview"
    workspace = workspace_field()
    expression = forms.CharField(widget=forms.Textarea({"rows": 4, "class": "vLargeTextField"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rule_id = str(self.initial.pop("rule", ""))
        if rule_id.isdecimal():
            rule = Rule.objects.visible_to(self.who).filter(pk=rule_id).first()
            if rule is not None:
                self.initial["workspace"] = rule.workspace.slug
                self.initial["expression"] = rule.expression


@admin.register(Profile)
class ProfileAdmin(ScopedAdmin):
    """The users of the operator as the system knows them now."""

    change_form_template = "admin/ups/profile.html"
    list_display = (
        "user_id", "workspace", "final", "rule_part", "model_part", "gate_part", "hits",
        "call_peers", "last_event",
    )  # fmt: skip
    list_filter = (WorkspaceFilter, ("final_score", admin.EmptyFieldListFilter))
    search_fields = ("user_id__startswith",)
    search_help_text = "The beginning of a user's id."
    fieldsets = (
        (None, {"fields": ("workspace", "user_id", "label", "last_event_at", "call_peers")}),
        (
            "Where the score comes from",
            {
                "fields": (
                    "score_basis", "model_version", "rule_revision", "revision", "scored_at",
                    "created_at",
                )
            },
        ),
    )  # fmt: skip
    list_operations = (
        Operation(
            "preview-rule", "Preview a rule", "run_preview", Role.ANALYST, PreviewForm,
            help="Whom a rule would match now. Nothing is saved.",
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request)
        listed = request.resolver_match and request.resolver_match.url_name == (
            "profiles_profile_changelist"
        )
        return queryset.defer(*HEAVY) if listed else queryset

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        page = super().get_changelist_instance(request)
        page.result_list = marked(page.result_list)
        return page

    @admin.display(description="last event", ordering="last_event_at")
    def last_event(self, profile: Profile) -> str:
        return when(profile.last_event_at)

    @admin.display(description="score", ordering="final_score")
    def final(self, profile: Profile) -> SafeString | str:
        score = scored(profile.final_score, validated(profile.score_basis))
        return dated(score, profile.stale_since)

    @admin.display(description="rules", ordering="rule_score")
    def rule_part(self, profile: Profile) -> str:
        return number(profile.rule_score)

    @admin.display(description="model", ordering="model_score")
    def model_part(self, profile: Profile) -> str:
        return number(profile.model_score)

    @admin.display(description="gate", ordering="gate")
    def gate_part(self, profile: Profile) -> str:
        return number(profile.gate)

    @admin.display(description="rules that match")
    def hits(self, profile: Profile) -> str:
        return ", ".join(name for name, hit in (profile.rule_hits or {}).items() if hit) or NONE

    def panels(self, request: HttpRequest, row: Profile) -> dict[str, Any]:
        everybody = Profile.objects.select_related("workspace")
        reading = Reading(row.workspace_id)
        row = reading.fresh([everybody.get(pk=row.pk)], everybody)[0]
        return {
            "stale_since": when(row.stale_since) if row.stale_since else "",
            "unproven": validated(row.score_basis) is False,
            "scores": [
                ("score", number(row.final_score)),
                ("rules", number(row.rule_score)),
                ("model", number(row.model_score)),
                ("gate: share of the rules", number(row.gate)),
            ],
            "tables": [attributes_table(row), counts_table(row), rules_table(row)],
            "offers": offers_table(row),
            "lookalikes": self.lookalikes(row, reading),
            **self.explained(request, row),
        }

    def lookalikes(self, row: Profile, reading: Reading) -> Table:
        """The users most like this one, each with a link and its score."""
        nearest = reading.similar(row, LOOKALIKES) if row.embedding is not None else []
        ids = [other.user_id for other in nearest]
        keys = dict(
            Profile.objects.in_workspace(row.workspace)
            .filter(user_id__in=ids)
            .values_list("user_id", "pk")
        )
        rows = []
        for other in nearest:
            url = reverse("admin:profiles_profile_change", args=[keys[other.user_id]])
            score = dated(scored(other.final_score, other.score_validated), other.stale_since)
            rows.append([link(url, other.user_id), number(other.similarity), score])
        return Table("Look-alikes", ["user", "similarity", "score"], rows, numeric=[1, 2])

    def explained(self, request: HttpRequest, row: Profile) -> dict[str, Any]:
        """The cached explanation as bars, else where a script asks for one, else why not."""
        if row.model_version_id is None:
            return {"unexplained": "No score yet: the next refresh of the workspace gives one."}
        explanation = explanations.current(row)
        if explanation is not None and explanation.state == ExplanationState.READY:
            try:
                report = ExplanationReport.from_dict(explanation.result)
            except ReportError as error:
                return {"unexplained": f"This explanation cannot be shown. {error}."}
            return {"bars": bars(report)}
        if not self.allowed(request, Role.ANALYST, row):
            return {"unexplained": "Not computed yet; an analyst may ask for it."}
        try:
            url = reverse("users-explanation", args=[row.user_id])
        except NoReverseMatch:
            return {"unexplained": "This user's id can't be part of an address; ask by the API."}
        return {"explanation_url": f"{url}?workspace={row.workspace.slug}"}

    def run_preview(self, request: HttpRequest, row: None, data: dict[str, Any]) -> HttpResponse:
        try:
            preview = queries.preview(data["workspace"], data["expression"], SAMPLE)
        except RuleError as error:
            raise ValidationError({"expression": str(error)}) from error
        operation = self.list_operations[0]
        form = PreviewForm(
            initial={"workspace": data["workspace"].slug, "expression": data["expression"]},
            account=account_of(request),
            role=operation.role,
        )
        response = self.form_page(request, operation, form, preview=preview, SAMPLE=SAMPLE)
        response.template_name = "admin/ups/preview.html"  # type: ignore[attr-defined]
        return response


def dated(score: SafeString | str, since: datetime | None) -> SafeString | str:
    """A score, with a badge where it may lack events."""
    if since is None:
        return score
    return format_html("{} {}", score, badge("stale", f"may lack events since {when(since)}"))


def attributes_table(profile: Profile) -> Table:
    """The attributes of the user."""
    rows = [[name, plain(value)] for name, value in sorted(profile.attributes.items())]
    return Table("Attributes", ["attribute", "value"], rows)


def counts_table(profile: Profile) -> Table:
    """How many events of each type the user has."""
    rows = [[name, number(count)] for name, count in sorted(profile.event_counts.items())]
    return Table("Events", ["type", "count"], rows, numeric=[1])


def rules_table(profile: Profile) -> Table:
    """Which rules the user meets."""
    hits = profile.rule_hits or {}
    rows = [[name, badge("active", "hit") if hit else "no"] for name, hit in sorted(hits.items())]
    return Table("Rules", ["rule", "matches"], rows)


def offers_table(profile: Profile) -> Table:
    """What to offer the user, with the reasons."""
    offers = [offer for offer in profile.recommendations or [] if isinstance(offer, dict)]
    rows = [
        [
            offer.get("type"),
            offer.get("name") or offer.get("item_id"),
            number(offer.get("score")),
            "; ".join(map(str, offer.get("reasons", []))),
        ]
        for offer in offers
    ]
    return Table("Recommendations", ["type", "what", "score", "why"], rows, numeric=[2])


@admin.register(Item)
class ItemAdmin(ScopedAdmin):
    """The products and apps that users touch."""

    list_display = ("item_id", "workspace", "type", "attributes")
    list_filter = (WorkspaceFilter, "type")
    search_fields = ("item_id__startswith",)
    fields = ("workspace", "type", "item_id", "attributes_text", "model_version")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("embedding")

    @admin.display(description="attributes")
    def attributes_text(self, item: Item) -> SafeString:
        return pretty(item.attributes)
