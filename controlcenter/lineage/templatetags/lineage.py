"""The picture of the lineage, for the pages of datasets, tasks and model versions."""

from typing import Any

from django import template

from controlcenter.lineage import queries
from controlcenter.lineage.layout import HEIGHT, WIDTH, picture
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.registry.models import ModelVersion
from controlcenter.modelling.tasks.models import Task

register = template.Library()
DRAWN = 60
"""Boxes of one picture."""


@register.inclusion_tag("admin/ups/lineage.html")
def lineage(row: Any) -> dict[str, Any]:
    """What a row was made from and what was made from it.

    Raises:
        TypeError: for a row that is neither a dataset, a task nor a model version.
    """
    of = {Dataset: queries.of_dataset, Task: queries.of_task, ModelVersion: queries.of_version}
    ask: Any = of.get(type(row))
    if ask is None:
        raise TypeError(f"no lineage of {row!r}, expected a dataset, a task or a model version")
    return {"picture": picture(ask(row, DRAWN)), "box_width": WIDTH, "box_height": HEIGHT}
