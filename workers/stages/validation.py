"""Check a dataset, row by row, and leave checked tables and a quality report."""

import polars as pl
from django.conf import settings

from controlcenter.modelling.datasets import services
from controlcenter.modelling.datasets.models import Dataset
from controlcenter.platform.artifacts.store import store
from controlcenter.platform.common import clock
from controlcenter.platform.runs.commits import Commit
from ml.contracts.mapping import parse_mapping
from ml.data.files import DatasetError, Limits
from ml.data.tables import read_tables, save_tables
from workers.runtime.errors import PermanentError
from workers.runtime.execution import Execution
from workers.runtime.retries import STORE_PATIENCE


def work(execution: Execution) -> None:
    """Validation of the dataset that the run's subject names."""
    dataset = Dataset.objects.select_related("upload").get(pk=execution.claim.subject)
    if dataset.upload is None:
        raise PermanentError("The upload of this dataset is gone: upload it again.")
    raw = execution.folder / "raw"
    execution.progress(0.0, "fetching the upload")
    store(patience=STORE_PATIENCE).fetch(dataset.upload.key, raw, sha256=dataset.upload.sha256)
    limits = Limits(unpacked_bytes=settings.UNPACKED_LIMIT_BYTES)
    try:
        tables, report = read_tables(
            raw,
            parse_mapping(dataset.mapping),
            filename=dataset.filename,
            now=clock.now(),
            limits=limits,
            progress=lambda share, message: execution.progress(share * 0.8, message),
        )
    except (DatasetError, pl.exceptions.PolarsError) as error:
        message = str(error)
        execution.commit(
            lambda commit: services.commit_rejection(commit, error=message, report=None)
        )
        return
    execution.progress(0.85, "storing the checked tables")
    folder = execution.folder / "checked"
    save_tables(tables, folder)
    files = execution.put_folder(folder)
    schema = tables.schema

    def effect(commit: Commit) -> None:
        for stored, name in files:
            commit.artifact(stored, name)
        services.commit_validation(
            commit,
            schema=schema.to_dict(),
            schema_hash=schema.hash,
            report=report.to_dict(),
        )

    execution.commit(effect)
