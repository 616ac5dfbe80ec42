"""Forms of the admin: plain forms whose result goes to a service, never to ``save()``."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from rest_framework.exceptions import APIException, ValidationError

from controlcenter.platform.accounts.models import Account, Role, Workspace
from controlcenter.platform.common.api.problems import flatten


def workspaces_for(account: Account, role: Role) -> QuerySet[Workspace]:
    """The workspaces in which the account's role includes ``role``."""
    if not account.is_active:
        return Workspace.objects.none()
    if account.is_superuser:
        return Workspace.objects.all()
    allowed = [held for held in Role if held.includes(role)]
    return Workspace.objects.filter(memberships__account=account, memberships__role__in=allowed)


def sentence(error: APIException) -> str:
    """What a service refused, in one line."""
    if not isinstance(error, ValidationError):
        return str(error.detail)
    errors = flatten(error.detail)
    return "; ".join(
        e["detail"] if e["field"] == "non_field_errors" else f"{e['field']}: {e['detail']}"
        for e in errors
    )


class ConsoleForm(forms.Form):
    """Base of the forms.

    Args:
        account: Who fills it in.
        role: Least role; a field ``workspace`` offers the workspaces where the account has it.
        row: What is changed, if there is something.
    """

    title = ""
    save_label = "Save"

    def __init__(
        self, *args: Any, account: Account, role: Role, row: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.who, self.needs, self.row = account, role, row
        if "workspace" in self.fields:
            field = self.fields["workspace"]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = workspaces_for(account, role)
            home = account.home_workspace
            if "workspace" not in self.initial and home is not None:
                self.initial["workspace"] = home.slug

    def groups(self) -> list[tuple[str | None, dict[str, Any]]]:
        """The fields as the admin's fieldsets."""
        return [(None, {"fields": list(self.fields)})]

    def add_refusal(self, error: APIException) -> None:
        """Show what a service refused beside the field it is about, else on top."""
        if not isinstance(error, ValidationError):
            self.add_error(None, str(error.detail))
            return
        for problem in flatten(error.detail):
            name = problem["field"].removeprefix("parameters.")
            if name in self.fields:
                self.add_error(name, problem["detail"])
            else:
                prefix = "" if name == "non_field_errors" else f"{name}: "
                self.add_error(None, f"{prefix}{problem['detail']}")


def workspace_field(**kwargs: Any) -> "forms.ModelChoiceField[Workspace]":
    """A choice that ``ConsoleForm`` narrows."""
    return forms.ModelChoiceField(
        Workspace.objects.none(), to_field_name="slug", empty_label=None, **kwargs
    )


class ReasonForm(ConsoleForm):
    """Why; it goes into the audit."""

    reason = forms.CharField(
        max_length=300, help_text="Why; it goes into the audit.", widget=forms.Textarea({"rows": 2})
    )


class WorkspaceReasonForm(ReasonForm):
    """In which workspace, and why."""

    workspace = workspace_field()
    field_order = ["workspace", "reason"]


class ConfirmForm(ConsoleForm):
    """Nothing to fill in: a page that asks once more."""

    save_label = "Yes, do it"
