"""The edges of the event log for who computes with them: as frames, and up to which position."""

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from controlcenter.platform.log.edges import COLUMNS, edges_between
from controlcenter.platform.log.positions import LogPosition
from ml.data.frames import EVENT_COLUMNS

POSITION = "log.json"
"""Up to which position in the event log a graph knows it."""


def read_log(workspace_id: uuid.UUID, *, until: LogPosition) -> pl.DataFrame:
    """The edges of the workspace's event log, with the columns of ``EVENT_COLUMNS``."""
    frames = [event_frame(rows) for rows in edges_between(workspace_id, until=until)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict(EVENT_COLUMNS))


def event_frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Edges of the log as a frame."""
    types = {name: EVENT_COLUMNS[name] for name in COLUMNS}
    return pl.DataFrame(rows, schema=types, orient="row")


def save_position(position: LogPosition, folder: Path) -> None:
    """Note up to where a built graph knows the log."""
    assert position.at is not None
    saved = {"snapshot": position.snapshot, "at": position.at.isoformat()}
    (folder / POSITION).write_text(json.dumps(saved))


def load_position(folder: Path) -> LogPosition | None:
    """Up to where a built graph knows the log; None for graphs from before this was kept."""
    path = folder / POSITION
    if not path.is_file():
        return None
    saved = json.loads(path.read_text())
    return LogPosition(saved["snapshot"], datetime.fromisoformat(saved["at"]))
