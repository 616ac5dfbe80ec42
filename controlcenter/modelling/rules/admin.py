"""Rules and their revisions in the admin. (The preview needs users: it lives with the profiles.)"""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from controlcenter.modelling.rules import services
from controlcenter.modelling.rules.models import NAME, Rule, RuleRevision
from controlcenter.modelling.rules.serializers import RuleSerializer
from controlcenter.platform.accounts.console import (
    Done,
    Operation,
    ScopedAdmin,
    WorkspaceFilter,
    account_of,
)
from controlcenter.platform.accounts.console.forms import ConfirmForm, ConsoleForm, workspace_field
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.common.formatting import badge, pretty, when

PREVIEW = "admin:profiles_profile_list_operation"
FIELDS = ("name", "expression", "weight", "description")


class RuleForm(ConsoleForm):
    """A rule; with a button that shows whom it would match."""

    workspace = workspace_field()
    name = forms.CharField(max_length=64, validators=[NAME], help_text="For example: new_and_dear")
    expression = forms.CharField(
        widget=forms.Textarea({"rows": 4, "class": "vLargeTextField ups-mono"}),
        help_text="For example: tenure_months < 12 and monthly_fee >= 70",
    )
    weight = forms.FloatField(
        min_value=-100,
        max_value=100,
        initial=1.0,
        help_text="Above zero a match raises the score, below zero it lowers it. -100 to 100.",
    )
    description = forms.CharField(max_length=300, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.row is not None:
            # It stays in its workspace; the field is kept for the preview.
            self.fields["workspace"].widget = forms.HiddenInput()
            for name in FIELDS:
                self.initial[name] = getattr(self.row, name)
            self.initial["workspace"] = self.row.workspace.slug


@admin.register(Rule)
class RuleAdmin(ScopedAdmin):
    """Readable statements about a user that move the score. A change asks for rescoring."""

    change_form_template = "admin/ups/row.html"
    list_display = ("name", "workspace", "expression", "weight", "fits", "updated")
    list_filter = (WorkspaceFilter,)
    search_fields = ("name", "expression", "description")
    fields = ("workspace", "name", "expression", "weight", "description", "fits", "updated_at")
    list_operations = (Operation("add", "Add rule", "run_add", Role.OPERATOR, RuleForm),)
    operations = (
        Operation("edit", "Change the rule", "run_edit", Role.OPERATOR, RuleForm),
        Operation("preview", "Preview", "run_preview", Role.ANALYST),
        Operation(
            "delete", "Delete", "run_delete", Role.OPERATOR, ConfirmForm, danger=True,
            help="The revisions keep it; rescoring follows.",
        ),
    )  # fmt: skip
    edit_operation = "edit"

    @admin.display(description="updated", ordering="updated_at")
    def updated(self, rule: Rule) -> str:
        return when(rule.updated_at)

    @admin.display(description="fits the data")
    def fits(self, rule: Rule) -> SafeString | str:
        why = RuleSerializer().get_sits_out(rule)
        return badge("active", "yes") if why is None else why

    def form_page(
        self,
        request: HttpRequest,
        operation: Operation,
        form: ConsoleForm,
        row: Any = None,
        **context: Any,
    ) -> Any:
        if isinstance(form, RuleForm):
            context["preview_url"] = reverse(PREVIEW, args=["preview-rule"])
        response = super().form_page(request, operation, form, row, **context)
        if isinstance(form, RuleForm):
            response.template_name = "admin/ups/rule_form.html"  # type: ignore[attr-defined]
        return response

    def run_add(self, request: HttpRequest, row: None, data: dict[str, Any]) -> Done:
        rule = services.create(
            workspace=data["workspace"],
            account=account_of(request),
            fields={name: data[name] for name in FIELDS},
        )
        return Done(f"Rule {rule} is in force; the scores follow by a task.", self.list_url())

    def run_edit(self, request: HttpRequest, row: Rule, data: dict[str, Any]) -> Done:
        fields = {name: data[name] for name in FIELDS}
        rule = services.update(rule=row, account=account_of(request), fields=fields)
        return Done(f"Rule {rule} is saved; the scores follow by a task.", self.list_url())

    def run_preview(self, request: HttpRequest, row: Rule, data: dict[str, Any]) -> Done:
        """To the preview, filled in."""
        url = reverse(PREVIEW, args=["preview-rule"])
        return Done("", f"{url}?rule={row.pk}")

    def run_delete(self, request: HttpRequest, row: Rule, data: dict[str, Any]) -> Done:
        services.delete(rule=row, account=account_of(request))
        return Done(f"Rule {row} is deleted; the scores follow by a task.", self.list_url())


@admin.register(RuleRevision)
class RuleRevisionAdmin(ScopedAdmin):
    """The whole rule set as it was after each change."""

    list_display = ("revision", "workspace", "change", "actor", "at")
    list_filter = (WorkspaceFilter,)
    search_fields = ("change", "actor")
    fields = ("workspace", "revision", "change", "actor", "at", "rules_text")

    @admin.display(description="rules")
    def rules_text(self, revision: RuleRevision) -> SafeString:
        return pretty(revision.rules)
