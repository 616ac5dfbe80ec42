"""Operations in the admin: who may do them, their buttons, their forms, and what comes after."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from rest_framework.exceptions import APIException

from controlcenter.platform.accounts.console.access import account_of, roles_of
from controlcenter.platform.accounts.console.forms import ConsoleForm, sentence
from controlcenter.platform.accounts.console.operations import Done, Operation
from controlcenter.platform.accounts.models import Account, Role

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin


class OperationAdmin(Base):
    """An admin whose rows and list have operations.

    Attributes:
        operations: What can be done to a row.
        list_operations: What can be done in the list.
        edit_operation: Name of the one that a row's page shows for who may do it; empty: none.
    """

    operations: tuple[Operation, ...] = ()
    list_operations: tuple[Operation, ...] = ()
    edit_operation = ""

    def workspace_id_of(self, row: Any) -> Any:
        """The workspace of a row, by the model's ``workspace_path``."""
        *above, last = row.workspace_path.split("__")
        for name in above:
            row = getattr(row, name)
        return getattr(row, f"{last}_id")

    def allowed(self, request: HttpRequest, role: Role, row: Model | None = None) -> bool:
        """Whether the account has this role where the row is (in any workspace without a row)."""
        account = request.user
        if not isinstance(account, Account) or not account.is_active:
            return False
        if account.is_superuser:
            return True
        roles = roles_of(request)
        if row is None:
            return any(held.includes(role) for held in roles.values())
        held_here = roles.get(self.workspace_id_of(row))
        return held_here is not None and held_here.includes(role)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view(self.operation_view)
        operation_urls = [
            path("do/<slug:operation>/", view, name=f"{name}_list_operation"),
            path("<path:object_id>/do/<slug:operation>/", view, name=f"{name}_operation"),
        ]
        return [*operation_urls, *super().get_urls()]

    @staticmethod
    def find(operations: Iterable[Operation], name: str) -> Operation | None:
        """The operation of a name, if it is among them."""
        return next((operation for operation in operations if operation.name == name), None)

    def operation_view(
        self, request: HttpRequest, operation: str, object_id: str | None = None
    ) -> HttpResponse:
        """The page (or the button) of one operation."""
        row = None
        if object_id is not None:
            row = self.get_object(request, unquote(object_id))
            if row is None:
                raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}.")
        among = self.list_operations if row is None else self.operations
        chosen = self.find(among, operation)
        if chosen is None:
            raise Http404(f"There is no operation {operation!r} here.")
        if not self.allowed(request, chosen.role, row):
            raise PermissionDenied
        if chosen.form is None:
            return self.press(request, chosen, row)
        given = (request.POST, request.FILES) if request.method == "POST" else ()
        form = chosen.form(
            *given,
            account=account_of(request),
            role=chosen.role,
            row=row,
            initial={name: request.GET[name] for name in request.GET},
        )
        if request.method == "POST" and form.is_valid():
            try:
                done = getattr(self, chosen.run)(request, row, form.cleaned_data)
            except APIException as error:
                form.add_refusal(error)
            else:
                return self.finish(request, row, done)
        return self.form_page(request, chosen, form, row)

    def press(self, request: HttpRequest, operation: Operation, row: Model | None) -> HttpResponse:
        """Do at once what needs no form; what a service refuses becomes a message."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            done = getattr(self, operation.run)(request, row, {})
        except APIException as error:
            self.message_user(request, sentence(error), messages.ERROR)
            done = Done("")
        return self.finish(request, row, done)

    def finish(
        self, request: HttpRequest, row: Model | None, done: Done | HttpResponse
    ) -> HttpResponse:
        """Tell how it ended and go on to the row, or to the list."""
        if isinstance(done, HttpResponse):
            return done
        if done.message:
            self.message_user(request, done.message, messages.SUCCESS)
        default_url = self.row_url(row) if row is not None else self.list_url()
        return HttpResponseRedirect(done.url or default_url)

    def form_page(
        self,
        request: HttpRequest,
        operation: Operation,
        form: ConsoleForm,
        row: Model | None = None,
        **context: Any,
    ) -> HttpResponse:
        """A page with the form of an operation."""
        title = operation.label if row is None else f"{operation.label}: {row}"
        return TemplateResponse(
            request,
            "admin/ups/form.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "original": row,
                "operation": operation,
                "adminform": AdminForm(cast(Any, form), form.groups(), {}),
                "form": form,
                "list_url": self.list_url(),
                "row_url": self.row_url(row) if row is not None else "",
                "buttons": self.buttons(request, row) if row is not None else [],
                "media": self.media + form.media,
                **context,
            },
        )

    def list_url(self) -> str:
        """The address of the list."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def row_url(self, row: Model) -> str:
        """The address of a row's page."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return reverse(name, args=[quote(row.pk)])

    def buttons(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """The operations that the account may do to the row now."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_operation"
        return [
            {"operation": operation, "url": reverse(name, args=[quote(row.pk), operation.name])}
            for operation in self.operations
            if operation.name != self.edit_operation
            and operation.offered(row)
            and self.allowed(request, operation.role, row)
        ]

    def list_buttons(self, request: HttpRequest) -> list[dict[str, Any]]:
        """The operations that the account may do in the list, but adding, which Django shows."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_list_operation"
        return [
            {"operation": operation, "url": reverse(name, args=[operation.name])}
            for operation in self.list_operations
            if operation.name != "add" and self.allowed(request, operation.role)
        ]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Django's actions on selected rows: the operations that are offered in bulk."""
        return {
            operation.name: (
                self.bulk_action(operation),
                operation.name,
                f"{operation.label} (selected)",
            )
            for operation in self.operations
            if operation.bulk and self.allowed(request, operation.role)
        }

    @staticmethod
    def bulk_action(operation: Operation) -> Callable[..., None]:
        """An operation on each selected row where the account may; refusals become messages."""

        def act(self: "OperationAdmin", request: HttpRequest, queryset: QuerySet[Any]) -> None:
            done = 0
            for row in queryset:
                if not self.allowed(request, operation.role, row):
                    needs = f"{row}: your role there does not allow this."
                    self.message_user(request, needs, messages.ERROR)
                    continue
                try:
                    getattr(self, operation.run)(request, row, {})
                    done += 1
                except APIException as error:
                    self.message_user(request, f"{row}: {sentence(error)}", messages.ERROR)
            if done:
                self.message_user(request, f"{operation.label}: {done} done.", messages.SUCCESS)

        return act
