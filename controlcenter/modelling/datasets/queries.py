"""Reads of datasets that take more than a row."""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from controlcenter.modelling.datasets.models import Dataset
from controlcenter.modelling.datasets.services import checked_tables
from controlcenter.platform.artifacts.store import (
    ObjectDamaged,
    ObjectMissing,
    StoreUnavailable,
    store,
)
from controlcenter.platform.common.errors import Unavailable

PREVIEW_ROWS = 20


def lineage(dataset: Dataset) -> dict[str, Any]:
    """Ids of the source, the derived datasets and the tasks."""
    return {
        "dataset": dataset.pk,
        "source": dataset.source_id,
        "derived": list(dataset.derived.values_list("pk", flat=True)),
        "tasks": list(dataset.tasks.values_list("pk", flat=True)),
    }


def preview(dataset: Dataset) -> dict[str, Any]:
    """The first rows of each checked table.

    Raises:
        Conflict: if the dataset is not ready.
        Unavailable: if the object store does not answer, or not with what was stored.
    """
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for artifact in checked_tables(dataset):
            if not artifact.name.endswith(".parquet"):
                continue
            path = Path(folder) / artifact.name
            try:
                store().fetch(artifact.key, path, sha256=artifact.sha256)
            except (StoreUnavailable, ObjectMissing, ObjectDamaged) as error:
                raise Unavailable(str(error)) from error
            frame = pl.scan_parquet(path).head(PREVIEW_ROWS).collect()
            rows = [[None if v is None else str(v) for v in row] for row in frame.iter_rows()]
            tables.append(
                {"table": artifact.name.split(".")[0], "columns": frame.columns, "rows": rows}
            )
    return {"dataset": dataset.pk, "tables": tables}
