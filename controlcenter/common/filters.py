"""Filters of lists, blind to what lies in other workspaces."""

from typing import Any

from django.db import models
from django_filters import rest_framework as filters


class PlainFilterSet(filters.FilterSet):
    """A filter by a foreign key takes an id and compares it.

    The default would look the row up among all workspaces, tell by its error whether it is there,
    and offer all of them in the form of the browsable API.
    """

    FILTER_DEFAULTS: dict[Any, Any] = filters.FilterSet.FILTER_DEFAULTS | {
        models.ForeignKey: {"filter_class": filters.UUIDFilter},
        models.OneToOneField: {"filter_class": filters.UUIDFilter},
    }


class FilterBackend(filters.DjangoFilterBackend):
    """The backend of all lists."""

    filterset_base = PlainFilterSet
