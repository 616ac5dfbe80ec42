"""Reading Parquet that is not to be trusted.

On some damaged files Polars' decoder aborts the process, which no exception handler sees, and a
few bytes can unpack to billions of rows. So the file is decoded once in a process of its own, with
a bound, before it is read here.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ml.data.files import DatasetError, Source
from ml.data.quality import LINE

ROWS = 200_000
TOO_LARGE = 3
DAMAGED = 4


def probe(source: Source, limit: int) -> None:
    """Decode all of the file in another process.

    Args:
        limit: Bound on the bytes of the decoded columns.

    Raises:
        DatasetError: if it is damaged or larger.
    """
    command = [sys.executable, "-m", "ml.data.parquet", str(source.path), str(limit)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False, text=True)
    if done.returncode == TOO_LARGE:
        raise DatasetError(f"{source.name} unpacks to more than {limit} bytes, the limit")
    if done.returncode:
        reason = done.stdout.strip() or "decoding it failed"
        raise DatasetError(f"{source.name} is a damaged Parquet file: {reason}")


def columns(source: Source) -> tuple[str, ...]:
    with _errors(source):
        return tuple(pl.read_parquet_schema(source.path))


def batches(
    source: Source, wanted: tuple[str, ...], done: Callable[[float], None]
) -> Iterator[pl.DataFrame]:
    """The wanted columns as typed in the file, with LINE, the number of the row from 1."""
    with _errors(source):
        scan = pl.scan_parquet(source.path)
        height = scan.select(pl.len()).collect().item()
        for start in range(0, max(1, height), ROWS):
            part = scan.select(wanted).slice(start, ROWS).collect()
            line = pl.int_range(start + 1, start + 1 + part.height, dtype=pl.Int64, eager=True)
            yield part.with_columns(line.alias(LINE))
            done(min(1.0, (start + part.height) / max(1, height)))


def head(source: Source, rows: int) -> list[list[str | None]]:
    """The first rows as text."""
    with _errors(source):
        frame = pl.scan_parquet(source.path).head(rows).collect()
    return [[None if cell is None else str(cell) for cell in row] for row in frame.iter_rows()]


@contextmanager
def _errors(source: Source) -> Iterator[None]:
    """Turns what goes wrong into a sentence for a person."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DatasetError(f"{source.name} is a damaged Parquet file: {error}") from None


def _decode(path: Path, limit: int) -> int:
    """What the other process does; returns its exit code."""
    source = Source(path.name, path, "parquet")
    size = 0
    try:
        for part in batches(source, columns(source), lambda _: None):
            size += int(part.estimated_size())
            if size > limit:
                return TOO_LARGE
    except DatasetError as error:
        print(str(error).partition(": ")[2])
        return DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(_decode(Path(sys.argv[1]), int(sys.argv[2])))
