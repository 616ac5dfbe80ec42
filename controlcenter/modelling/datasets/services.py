"""Upload, generate, validate and delete datasets."""

import uuid
from typing import IO, Any

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from controlcenter.modelling.datasets.models import Dataset, DatasetState
from controlcenter.platform.accounts.models import Account, Workspace
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.services import record as record_artifact
from controlcenter.platform.artifacts.store import Stored, StoreUnavailable, store
from controlcenter.platform.audit.services import record
from controlcenter.platform.common.errors import Conflict, Unavailable
from controlcenter.platform.common.hooks import Hook
from controlcenter.platform.runs import kinds
from controlcenter.platform.runs.commits import Commit, queue_run
from controlcenter.platform.runs.endings import close
from controlcenter.platform.runs.models import LIVE, Run, RunStatus
from controlcenter.platform.runs.owners import Ending, Owner, RunOutcome

deleting: Hook[[Dataset]] = Hook()
"""A locked dataset is about to be deleted: rooms above that need it raise ``Conflict``."""

log = structlog.get_logger(__name__)
VALIDATION = "validation"
SYNTHESIS = "synthesis"
MAX_WAITING = 20
NO_NAME = "upload"


def raw_key(workspace_id: object, dataset_id: object, filename: str) -> str:
    """Where an upload lies; only the ending of its name is kept."""
    ending = "".join(c for c in filename.lower().rsplit(".", 1)[-1] if c.isalnum())[:8]
    return f"datasets/{workspace_id}/{dataset_id}/raw.{ending or 'bin'}"


def request_id() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def upload(
    *,
    workspace: Workspace,
    account: Account,
    source: IO[bytes],
    filename: str,
    name: str,
    mapping: dict[str, Any] | None,
) -> Dataset:
    """Stream a file into the object store, then register it and queue its validation.

    The row is made after the object is whole: an upload that breaks off leaves nothing but parts
    that the sweep takes.

    Raises:
        Conflict: if too many datasets wait already.
        Unavailable: if the object store does not take the file.
    """
    refuse_too_many(workspace)
    dataset_id = uuid.uuid4()
    key = raw_key(workspace.pk, dataset_id, filename)
    try:
        stored = store(patience=5).put_file(key, source)
    except StoreUnavailable as error:
        raise Unavailable(f"The file was not stored, nothing was registered: {error}") from error
    return register(
        workspace=workspace,
        account=account,
        dataset=Dataset(
            id=dataset_id,
            workspace=workspace,
            name=name or filename[:200],
            filename=filename,
            mapping=mapping,  # type: ignore[misc]  # its stub is a text
            created_by=account,
        ),
        stored=stored,
    )


@transaction.atomic
def register(
    *, workspace: Workspace, account: Account, dataset: Dataset, stored: Stored
) -> Dataset:
    """Make the row of an upload that lies in the store."""
    dataset.upload = record_artifact(workspace=workspace, stored=stored, name="raw")
    dataset.size, dataset.sha256 = stored.size, stored.sha256
    dataset.state = DatasetState.VALIDATING
    dataset.save(force_insert=True)
    details = {"name": dataset.name, "size": stored.size, "sha256": stored.sha256}
    record(
        account=account,
        workspace=workspace,
        action="dataset.upload",
        target=dataset,
        details=details,
    )
    queue_validation(dataset)
    return Dataset.objects.get(pk=dataset.pk)


def live_runs(workspace: Workspace) -> QuerySet[Run]:
    """Validations and generations of the workspace that wait or run."""
    return Run.objects.filter(
        workspace=workspace, kind__in=(VALIDATION, SYNTHESIS), status__in=LIVE
    )


def refuse_too_many(workspace: Workspace) -> None:
    """Raises: Conflict if so many datasets wait that others would not get their turn."""
    waiting = live_runs(workspace).count()
    if waiting >= MAX_WAITING:
        raise Conflict(
            f"{waiting} datasets of this workspace wait to be checked or generated, at most "
            f"{MAX_WAITING} may: wait for them, or delete some."
        )


def queue_validation(dataset: Dataset) -> Run:
    """A run that reads and checks the dataset, in the caller's transaction."""
    return queue_run(
        workspace=dataset.workspace,
        kind=VALIDATION,
        subject=str(dataset.pk),
        request_id=request_id(),
    )


@transaction.atomic
def synthesize(
    *, workspace: Workspace, account: Account, name: str, config: dict[str, Any]
) -> Dataset:
    """A dataset whose file a worker will generate.

    Raises:
        Conflict: if too many wait already.
    """
    refuse_too_many(workspace)
    dataset = Dataset.objects.create(
        workspace=workspace,
        name=name,
        filename="synthetic.zip",
        state=DatasetState.GENERATING,
        synthesis=config,
        created_by=account,
    )
    record(
        account=account,
        workspace=workspace,
        action="dataset.synthesize",
        target=dataset,
        details=config,
    )
    queue_run(workspace=workspace, kind=SYNTHESIS, subject=str(dataset.pk), request_id=request_id())
    return Dataset.objects.get(pk=dataset.pk)


def commit_synthesis(commit: Commit, *, stored: Stored) -> None:
    """Within a run's transaction: the file is there, validate it."""
    dataset = Dataset.objects.select_for_update(of=("self",)).get(pk=commit.run.subject)
    artifact = commit.artifact(stored, "raw")
    Dataset.objects.filter(pk=dataset.pk).update(
        upload=artifact,
        size=stored.size,
        sha256=stored.sha256,
        state=DatasetState.VALIDATING,
    )
    queue_validation(dataset)


def commit_validation(
    commit: Commit, *, schema: dict[str, Any], schema_hash: str, report: dict[str, Any]
) -> None:
    """Within a run's transaction: the tables are checked, tasks may use them.

    A workspace that has no schema yet takes the first one, so that its rules can be written.
    """
    Dataset.objects.filter(pk=commit.run.subject).update(
        state=DatasetState.READY,
        schema=schema,
        schema_hash=schema_hash,
        report=report,
        error="",
        checked_run_id=commit.run.pk,
        checked_epoch=commit.claim.epoch,
        validated_at=Now(),
    )
    Workspace.objects.filter(pk=commit.run.workspace_id, schema__isnull=True).update(schema=schema)


def commit_rejection(commit: Commit, *, error: str, report: dict[str, Any] | None) -> None:
    """Within a run's transaction: the file can't be used, and why."""
    Dataset.objects.filter(pk=commit.run.subject).update(
        state=DatasetState.INVALID, error=error, report=report, validated_at=Now()
    )


class DatasetOwner(Owner[Dataset]):
    """A dataset hears of its validation or synthesis that failed."""

    def ended(self, row: Dataset | None, run: Run | None, ending: Ending) -> None:
        if ending.outcome is RunOutcome.FAILED and run is not None:
            Dataset.objects.filter(pk=run.subject).update(
                state=DatasetState.INVALID, error=ending.sentence
            )


def checked_tables(dataset: Dataset) -> list[Artifact]:
    """The Parquet files that the validation, or the task that derived the dataset, left.

    Raises:
        Conflict: if the dataset is not ready.
    """
    if dataset.state != DatasetState.READY:
        raise Conflict(f"Dataset {dataset.name!r} is {dataset.state}, expected ready.")
    return list(Artifact.objects.filter(run_id=dataset.checked_run_id, epoch=dataset.checked_epoch))


@transaction.atomic
def delete(*, dataset: Dataset, account: Account) -> None:
    """Forget a dataset's objects; its row stays for the lineage of what was made from it.

    A derived dataset has objects of its own: deleting it or its source leaves the other one whole.
    A validation or generation that waits or runs is cancelled: its worker finds the run taken
    away at its next heartbeat.

    Raises:
        Conflict: if something above needs it.
    """
    for run in live_runs(dataset.workspace).select_for_update().filter(subject=str(dataset.pk)):
        close(run, RunStatus.CANCELLED, error=f"Its dataset was deleted by {account.username}.")
    dataset = Dataset.objects.select_for_update(of=("self",)).get(pk=dataset.pk)
    deleting(dataset)
    if dataset.checked_run_id:
        Artifact.objects.filter(run_id=dataset.checked_run_id).delete()
    if dataset.upload_id:
        Artifact.objects.filter(pk=dataset.upload_id).delete()
    Dataset.objects.filter(pk=dataset.pk).update(state=DatasetState.DELETED, checked_run_id=None)
    record(account=account, workspace=dataset.workspace, action="dataset.delete", target=dataset)


def register_kinds() -> None:
    """Tell the engine of the runs this room needs."""
    owner = DatasetOwner()
    kinds.register(kinds.Kind(VALIDATION, "ingest", owner))
    kinds.register(kinds.Kind(SYNTHESIS, "ingest", owner))
