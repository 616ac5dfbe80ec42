"""Bases of the admin: narrowed to what the account may see, guarded by roles.

Nothing is changed by the admin's own save and delete: each change is an ``Operation``, a form (or
a button) whose result goes to a service. The account's role in the workspace of a row decides,
never Django's model permissions.
"""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from controlcenter.platform.accounts.console.access import account_of, roles_of
from controlcenter.platform.accounts.console.forms import workspaces_for
from controlcenter.platform.accounts.console.operation_admin import OperationAdmin
from controlcenter.platform.accounts.models import Role
from controlcenter.platform.audit.models import AuditEntry

HISTORY = 200


class ConsoleAdmin(OperationAdmin):
    """Read-only but for its operations. Subclasses say what is visible and who may do what."""

    view_role = Role.VIEWER
    actions_on_bottom = False
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    class Media:
        css = {"all": ["ups/console.css"]}
        js = ["ups/console.js"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.allowed(request, self.view_role, obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_authenticated and self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        adding = self.find(self.list_operations, "add")
        return adding is not None and self.allowed(request, adding.role)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The form of the operation ``add``."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self.operation_view(request, "add")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """The form of ``edit_operation`` for who may do it, else the row for reading."""
        edit = self.find(self.operations, self.edit_operation)
        row = self.get_object(request, unquote(object_id)) if edit else None
        if edit and row is not None and self.allowed(request, edit.role, row):
            return self.operation_view(request, edit.name, object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        more = {"list_buttons": self.list_buttons(request), "about": self.__doc__}
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def panels(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the template of a row's page shows beside its fields."""
        return {}

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            context |= {
                "buttons": self.buttons(request, obj),
                "may_see_history": self.may_see_history(request, obj),
                "title": f"{capfirst(self.opts.verbose_name)}: {obj}",
                "subtitle": None,
                **self.panels(request, obj),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def may_see_history(self, request: HttpRequest, row: Any) -> bool:
        """Whether the account may read the audit of the row."""
        return self.allowed(request, Role.OWNER, row)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """What the audit says of the row."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}.")
        if not self.may_see_history(request, row):
            raise PermissionDenied
        entries = AuditEntry.objects.filter(
            target_type=self.model._meta.label, target_id=str(row.pk)
        )
        context = {
            **self.admin_site.each_context(request),
            "title": f"Audit of {row}",
            "opts": self.opts,
            "original": row,
            "entries": entries[:HISTORY],
            "list_url": self.list_url(),
            "row_url": self.row_url(row),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/ups/history.html", context)


class ScopedAdmin(ConsoleAdmin):
    """Base for models of a workspace: nobody gets at another workspace's rows, on any way.

    All pages, filters, searches and actions start from this queryset.
    """

    list_select_related: ClassVar[Any] = ("workspace",)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Without the column of the workspace where there is only one to see."""
        account = account_of(request)
        several = account.is_superuser or len(roles_of(request)) > 1
        return [c for c in super().get_list_display(request) if several or c != "workspace"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset = super().get_queryset(request).visible_to(request.user)  # type: ignore[attr-defined]
        account = account_of(request)
        if self.view_role == Role.VIEWER or account.is_superuser:
            return queryset
        within = {f"{self.model.workspace_path}__in": workspaces_for(account, self.view_role)}
        return queryset.filter(**within)
