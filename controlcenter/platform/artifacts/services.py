"""Record and sweep what lies in the object store."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.db import models

from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import Stored, store
from controlcenter.platform.common import clock

log = structlog.get_logger(__name__)
SWEPT_PREFIXES = ("datasets/", "optimized/", "tasks/", "models/", "evaluations/")
SWEEP_AGE = timedelta(hours=24)
SWEEP_BATCH = 500


def record(
    *,
    workspace: models.Model,
    stored: Stored,
    name: str,
    run_id: uuid.UUID | None = None,
    epoch: int | None = None,
) -> Artifact:
    """Note a stored object in the caller's transaction."""
    return Artifact.objects.create(
        workspace_id=workspace.pk,
        key=stored.key,
        name=name,
        size=stored.size,
        sha256=stored.sha256,
        run_id=run_id,
        epoch=epoch,
    )


def fetch_all(artifacts: Iterable[Artifact], folder: Path, *, patience: float = 0.0) -> Path:
    """Write artifacts under their names into ``folder``, each checked against its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for artifact in artifacts:
        target = folder / artifact.name
        target.parent.mkdir(parents=True, exist_ok=True)
        store(patience=patience).fetch(artifact.key, target, sha256=artifact.sha256)
    return folder


def sweep(*, older_than: timedelta = SWEEP_AGE) -> dict[str, int]:
    """Remove objects that no row knows, and parts of uploads that never ended.

    Only things older than ``older_than``: what is being written now has no row yet.
    """
    limit = clock.now() - older_than
    orphans: list[str] = []
    for prefix in SWEPT_PREFIXES:
        batch: list[str] = []
        for stored in store().below(prefix):
            if stored.last_modified and stored.last_modified < limit and stored.object_name:
                batch.append(stored.object_name)
            if len(batch) == SWEEP_BATCH:
                orphans += unknown(batch)
                batch = []
        orphans += unknown(batch)
    if orphans:
        store().remove(orphans)
    parts = abort_uploads(limit)
    if orphans or parts:
        log.info("store.swept", objects=len(orphans), uploads=parts)
    return {"objects": len(orphans), "uploads": parts}


def unknown(keys: list[str]) -> list[str]:
    """Those keys of which no row is kept."""
    recorded = set(Artifact.objects.filter(key__in=keys).values_list("key", flat=True))
    return [key for key in keys if key not in recorded]


def abort_uploads(limit: datetime) -> int:
    """Abort multipart uploads begun before ``limit``; the SDK has no public call for it."""
    client, bucket = store().client, store().bucket
    aborted = 0
    for upload in client._list_multipart_uploads(bucket).uploads:
        begun, upload_id = upload.initiated_time, upload.upload_id
        if upload_id and begun and begun < limit:
            client._abort_multipart_upload(bucket, upload.object_name, upload_id)
            aborted += 1
    return aborted
