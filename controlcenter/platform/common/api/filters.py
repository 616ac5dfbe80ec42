"""Filters of lists, blind to what lies in other workspaces."""

from datetime import UTC
from typing import Any

from django import forms
from django.db import models
from django.db.models import F
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request


class UtcField(IsoDateTimeField):
    """An instant in UTC: PostgreSQL does not take every offset that ISO 8601 allows."""

    def to_python(self, value: Any) -> Any:
        moment = super().to_python(value)
        if moment is None:
            return None
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise forms.ValidationError(f"{value} is out of range") from error


class UtcFilter(filters.IsoDateTimeFilter):
    """A filter by time: ISO 8601, any zone."""

    field_class = UtcField


class PlainFilterSet(filters.FilterSet):
    """A filter by a foreign key takes an id and compares it.

    The default would look the row up among all workspaces, tell by its error whether it is there,
    and offer all of them in the form of the browsable API.
    """

    FILTER_DEFAULTS: dict[Any, Any] = filters.FilterSet.FILTER_DEFAULTS | {
        models.ForeignKey: {"filter_class": filters.UUIDFilter},
        models.OneToOneField: {"filter_class": filters.UUIDFilter},
        models.DateTimeField: {"filter_class": UtcFilter},
    }


COMMON = frozenset({"workspace", "page", "page_size", "ordering", "format"})
"""Query parameters that every list takes beside its filters."""


class FilterBackend(filters.DjangoFilterBackend):
    """The backend of all lists: a filter that is not known is refused, not ignored."""

    filterset_base = PlainFilterSet

    def filter_queryset(
        self, request: Request, queryset: models.QuerySet[Any], view: Any
    ) -> models.QuerySet[Any]:
        filterset = self.get_filterset(request, queryset, view)
        filters = set(filterset.filters) if filterset is not None else set()
        unknown = sorted(set(request.query_params) - filters - COMMON)
        if unknown:
            expected = ", ".join(sorted(filters)) or "none"
            raise ValidationError(
                dict.fromkeys(unknown, f"is no filter of this list; known are {expected}")
            )
        filtered: models.QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class OrderingBackend(OrderingFilter):
    """``?ordering=`` by the view's fields; another one is refused, not ignored."""

    def get_ordering(self, request: Request, queryset: models.QuerySet[Any], view: Any) -> Any:
        given = request.query_params.get(self.ordering_param, "")
        fields = list(getattr(view, "ordering_fields", ()))
        for term in filter(None, (part.strip() for part in given.split(","))):
            if term.removeprefix("-") not in fields:
                raise ValidationError(
                    {self.ordering_param: f"got {term!r}, expected one of {', '.join(fields)}"}
                )
        return super().get_ordering(request, queryset, view)

    def filter_queryset(
        self, request: Request, queryset: models.QuerySet[Any], view: Any
    ) -> models.QuerySet[Any]:
        """What has no value comes last either way."""
        terms = self.get_ordering(request, queryset, view)
        if not terms:
            return queryset
        ordered = [
            F(term[1:]).desc(nulls_last=True)
            if term.startswith("-")
            else F(term).asc(nulls_last=True)
            for term in terms
        ]
        return queryset.order_by(*ordered)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The document names the fields."""
        fields = list(getattr(view, "ordering_fields", ()))
        return [
            {
                "name": self.ordering_param,
                "required": False,
                "in": "query",
                "description": f"Comma-separated, - for descending: {', '.join(fields)}.",
                "schema": {"type": "string"},
            }
        ]
