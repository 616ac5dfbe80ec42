"""The files of runs: how many, how large, and one hash over them."""

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Collection

from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.runs.commits import CHECKPOINT


def files_of(run_ids: Collection[uuid.UUID | str]) -> dict[uuid.UUID | None, list[Artifact]]:
    """The files of runs, by run, in the order of their names."""
    by_run: dict[uuid.UUID | None, list[Artifact]] = defaultdict(list)
    rows = Artifact.objects.filter(run_id__in=run_ids).exclude(name=CHECKPOINT)
    for artifact in sorted(rows, key=lambda file: file.name):
        by_run[artifact.run_id].append(artifact)
    return by_run


def files_size(files: list[Artifact]) -> dict[str, float]:
    """How many there are and their bytes together; nothing where there are none."""
    return {"files": len(files), "bytes": sum(file.size for file in files)} if files else {}


def digest(files: list[Artifact]) -> str:
    """SHA-256 over the names and hashes of files: what a model keeps as the hash of its data."""
    if not files:
        return ""
    lines = "".join(f"{file.name} {file.sha256}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
