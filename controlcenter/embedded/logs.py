"""Log files of the supervised processes: bounded, and quoted when something does not start."""

import shutil
from pathlib import Path

LARGEST_BYTES = 20 * 2**20


def bound(folder: Path, *, largest: int = LARGEST_BYTES) -> None:
    """Move what a log beyond the bound holds to ``NAME.log.1`` and empty it.

    The writers append, so they go on in the emptied file.
    """
    for path in folder.glob("*.log"):
        if path.stat().st_size > largest:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            with path.open("r+b") as file:
                file.truncate(0)


def tail(path: Path, *, lines: int = 20) -> str:
    """The last lines of a log, or nothing where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16_384))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
