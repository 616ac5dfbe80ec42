"""Filters of lists, blind to what lies in other workspaces."""

from typing import Any

from django.db import models
from django_filters import rest_framework as filters
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request


class PlainFilterSet(filters.FilterSet):
    """A filter by a foreign key takes an id and compares it.

    The default would look the row up among all workspaces, tell by its error whether it is there,
    and offer all of them in the form of the browsable API.
    """

    FILTER_DEFAULTS: dict[Any, Any] = filters.FilterSet.FILTER_DEFAULTS | {
        models.ForeignKey: {"filter_class": filters.UUIDFilter},
        models.OneToOneField: {"filter_class": filters.UUIDFilter},
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
        known = set(filterset.filters) if filterset is not None else set()
        unknown = sorted(set(request.query_params) - known - COMMON)
        if unknown:
            expected = ", ".join(sorted(known)) or "none"
            raise ValidationError(
                dict.fromkeys(unknown, f"is no filter of this list; known are {expected}")
            )
        filtered: models.QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class OrderingBackend(OrderingFilter):
    """``?ordering=`` by the view's fields; another one is refused, not ignored."""

    def get_ordering(self, request: Request, queryset: models.QuerySet[Any], view: Any) -> Any:
        given = request.query_params.get(self.ordering_param, "")
        known = list(getattr(view, "ordering_fields", ()))
        for term in filter(None, (part.strip() for part in given.split(","))):
            if term.removeprefix("-") not in known:
                raise ValidationError(
                    {self.ordering_param: f"got {term!r}, expected one of {', '.join(known)}"}
                )
        return super().get_ordering(request, queryset, view)
