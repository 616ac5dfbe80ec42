"""The first rows of an upload, for somebody who writes a mapping for it."""

import tempfile
from pathlib import Path
from typing import Any

from ml.data.files import Limits, open_upload
from ml.data.readers import look, text_rows


def preview(
    path: Path, *, filename: str, rows: int = 20, limits: Limits | None = None
) -> dict[str, Any]:
    """The columns and first rows of each file of an upload, for somebody to write a mapping.

    Returns: ``{"files": [{"name", "kind", "encoding", "delimiter", "columns", "rows"}],
        "warnings"}``; rows are lists of texts.

    Raises:
        DatasetError: if the file can't be read.
    """
    warnings: list[str] = []
    files = []
    suffixes = (".csv", ".tsv", ".parquet")
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="unpacked-") as folder:
        for source in open_upload(
            path,
            filename=filename,
            folder=Path(folder),
            limits=limits,
            wants=lambda name: name.lower().endswith(suffixes),
            warn=warnings.append,
        ):
            layout = look(source, limits)
            files.append(
                {
                    "name": source.name,
                    "kind": source.kind,
                    "encoding": layout.encoding,
                    "delimiter": layout.delimiter,
                    "columns": list(layout.columns),
                    "rows": text_rows(source, layout, rows),
                }
            )
    return {"files": files, "warnings": warnings}
