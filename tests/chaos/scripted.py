"""A stage that does what its task's name says: short steps with checkpoints, and a file at the end.

What it commits is a hash over all its steps, so that a step that was skipped or done twice, or half
a checkpoint, is seen.
"""

import hashlib
import json
import time
from typing import Any

from controlcenter.modelling.tasks.models import Task
from workers.runtime.execution import Execution

HEAD = 64
"""Bytes of a checkpoint before its filling: step and hash."""


def script_of(task: Task, stage: str) -> dict[str, Any] | None:
    """The script of a stage; None: the task is no scripted one."""
    if not task.name.startswith("{"):
        return None
    told: dict[str, Any] = json.loads(task.name).get(stage, {})
    return told


def digest_after(steps: int) -> str:
    """What a stage of so many steps commits."""
    digest = ""
    for step in range(steps):
        digest = following(digest, step)
    return digest


def following(digest: str, step: int) -> str:
    return hashlib.sha256(f"{digest} {step}".encode()).hexdigest()[:32]


def filling(digest: str, kib: int) -> bytes:
    """Bytes that belong to a hash, the same each time."""
    block = hashlib.sha512(digest.encode()).digest() * 16
    return block * kib


def work(execution: Execution, script: dict[str, Any]) -> None:
    steps, kib = script.get("steps", 0), script.get("kib", 0)
    begun, digest = resume(execution.load_checkpoint(), kib) if steps else (0, "")
    for step in range(begun, steps):
        time.sleep(script.get("seconds", 0.0))
        digest = following(digest, step)
        head = f"{step + 1} {digest}".ljust(HEAD).encode()
        if script.get("checkpoints", True):
            execution.save_checkpoint(head + filling(digest, kib))
        execution.progress((step + 1) / steps, f"step {step + 1}", step=step + 1)
    files = []
    if steps:
        path = execution.folder / "result"
        path.write_text(digest)
        files.append(execution.put(path, "result"))

    def effect(commit: Any) -> None:
        for stored, name in files:
            commit.artifact(stored, name)
        commit.metrics = {"steps": steps, "begun": begun, "digest": digest}

    execution.commit(effect)


def resume(checkpoint: bytes | None, kib: int) -> tuple[int, str]:
    """Where to go on.

    Raises:
        ValueError: if the checkpoint is not whole.
    """
    if checkpoint is None:
        return 0, ""
    step, digest = checkpoint[:HEAD].decode().split()
    if checkpoint[HEAD:] != filling(digest, kib):
        raise ValueError(f"half a checkpoint: {len(checkpoint)} bytes of step {step}")
    return int(step), digest
