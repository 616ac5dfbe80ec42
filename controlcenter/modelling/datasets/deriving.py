"""Derived datasets: made by a run from another dataset, and ready at once."""

from collections.abc import Sequence
from typing import Any

from django.db.models.functions import Now

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.platform.accounts.models import Account
from controlcenter.platform.artifacts.store import Stored
from controlcenter.platform.audit.services import record
from controlcenter.platform.runs.commits import Commit
from ml.contracts.reports.dataset import DerivationReport, DerivedTable, MadeBy, OptimizingStep

TABLES = ("users", "products", "apps", "events")
NAME_LENGTH = 180


def commit_derived(
    commit: Commit,
    *,
    source: Dataset,
    files: Sequence[tuple[Stored, str]],
    schema: dict[str, Any],
    schema_hash: str,
    steps: Sequence[OptimizingStep],
    made_by: MadeBy,
    account: Account | None,
) -> Dataset:
    """Within a run's transaction: the derived dataset is there, ready to be read.

    Args:
        source: What it was made from; its row and its objects stay as they are.
        files: The tables as they were stored, with their names.
        steps: One at least.
        made_by: The task and its iteration, for the report.
        account: Who made it.
    """
    # Locked, so that two derived datasets of one source get two numbers.
    source = Dataset.objects.select_for_update(of=("self",)).get(pk=source.pk)
    number = source.derived.count() + 1
    for stored, name in files:
        commit.artifact(stored, name)
    derived = Dataset.objects.create(
        workspace_id=commit.run.workspace_id,
        name=f"{source.name[:NAME_LENGTH]}, optimized {number}",
        filename="",
        state=DatasetState.READY,
        size=sum(stored.size for stored, _ in files),
        schema=schema,
        schema_hash=schema_hash,
        report=report_of(steps, made_by).to_dict(),
        source=source,
        checked_run_id=commit.run.pk,
        checked_epoch=commit.claim.epoch,
        created_by=account,
        validated_at=Now(),
    )
    details = {"source": str(source.pk), "task": made_by.task, "name": derived.name}
    record(
        account=account,
        workspace=commit.run.workspace,
        action="dataset.derive",
        target=derived,
        details=details,
    )
    return derived


def report_of(steps: Sequence[OptimizingStep], made_by: MadeBy) -> DerivationReport:
    """The report of a derived dataset: the steps, and their sums by table.

    For each table ``rows_read - rows_rejected + rows_added = rows_kept``.
    """
    tables = {name: table_of(steps, name) for name in TABLES}
    return DerivationReport(
        tables=tables,
        rows_read=sum(table.rows_read for table in tables.values()),
        rows_kept=sum(table.rows_kept for table in tables.values()),
        rows_rejected=sum(table.rows_rejected for table in tables.values()),
        rows_added=sum(table.rows_added for table in tables.values()),
        steps=list(steps),
        made_by=made_by,
    )


def table_of(steps: Sequence[OptimizingStep], name: str) -> DerivedTable:
    """What all steps did to one table."""
    changes = [change for step in steps for change in step.changes if change.table == name]
    removed = [change for change in changes if change.what == "removed"]
    return DerivedTable(
        rows_read=steps[0].before[name],
        rows_kept=steps[-1].after[name],
        rows_rejected=sum(change.rows for change in removed),
        rows_added=sum(change.rows for change in changes if change.what == "added"),
        reasons={change.reason: change.rows for change in removed},
    )
