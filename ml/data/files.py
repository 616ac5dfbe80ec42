"""The files of an upload: one CSV or Parquet, or a zip of them, which is not to be trusted."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

CHUNK = 1 << 20
OTHER_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"Rar!": "rar",
    b"%PDF": "PDF",
    b"\x89PNG": "PNG",
}

Warn = Callable[[str], None]
Wants = Callable[[str], bool]


class DatasetError(ValueError):
    """The whole file can't be used; the message is for a person."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what one upload may take.

    Args:
        unpacked_bytes: Of all files of a zip together as it declares them, and of those that are
            unpacked as counted while unpacking.
        files: Entries of a zip.
        rejected_rows_shown: Entries of the quality report that are spelled out.
        columns: Of one file.
    """

    unpacked_bytes: int = 4 * 2**30
    files: int = 1000
    rejected_rows_shown: int = 1000
    columns: int = 10_000


@dataclass(frozen=True)
class Source:
    """One readable file: its name in the upload and where it lies."""

    name: str
    path: Path
    kind: Literal["csv", "parquet"]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem.lower()


def open_upload(
    path: Path, *, filename: str, folder: Path, limits: Limits, wants: Wants, warn: Warn
) -> list[Source]:
    """The readable files of an upload; those of a zip are unpacked into ``folder``.

    Args:
        filename: What the uploader called it; what is in it decides how it is read.
        wants: Whether a file of a zip, by its name without folders, is needed.

    Raises:
        DatasetError: if it is empty, of another kind, or a zip that is broken, encrypted, too
            large, or has a path that climbs out.
    """
    magic = _magic(path, filename)
    if magic.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        sources = _unpack(path, filename, folder, limits, wants, warn)
        if not sources:
            raise DatasetError(
                f"{filename} has none of the files expected in it: CSV or Parquet, called as the "
                "mapping says, else users, products, apps, events"
            )
        return sources
    if zipfile.is_zipfile(path) or filename.lower().endswith(".zip"):
        raise DatasetError(f"{filename} is named as a zip but is none, or is damaged")
    return [Source(filename, path, _kind(magic, filename))]


def _magic(path: Path, name: str) -> bytes:
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic:
        raise DatasetError(f"{name} is empty")
    for start, kind in OTHER_MAGIC.items():
        if magic.startswith(start):
            raise DatasetError(f"{name} is a {kind} file, expected CSV, Parquet or a zip of them")
    return magic


def _kind(magic: bytes, name: str) -> Literal["csv", "parquet"]:
    if magic.startswith(b"PAR1"):
        return "parquet"
    if name.lower().endswith(".parquet"):
        raise DatasetError(f"{name} is named as Parquet but is none, or is damaged")
    return "csv"


def _unpack(
    path: Path, filename: str, folder: Path, limits: Limits, wants: Wants, warn: Warn
) -> list[Source]:
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpack_entries(archive, filename, folder, limits, wants, warn)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DatasetError(f"{filename} is a damaged or truncated zip: {error}") from None
    except (NotImplementedError, UnicodeDecodeError) as error:
        raise DatasetError(f"{filename} is a zip that can't be read: {error}") from None


def _unpack_entries(
    archive: zipfile.ZipFile,
    filename: str,
    folder: Path,
    limits: Limits,
    wants: Wants,
    warn: Warn,
) -> list[Source]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > limits.files:
        raise DatasetError(f"{filename} has {len(entries)} files, expected at most {limits.files}")
    for entry in entries:
        _check_name(entry.filename, filename)
    declared = sum(entry.file_size for entry in entries)
    if declared > limits.unpacked_bytes:
        raise DatasetError(
            f"{filename} unpacks to more than {limits.unpacked_bytes} bytes, the limit: it "
            f"declares {declared} for its {len(entries)} files, needed ones and others"
        )
    wanted = [entry for entry in entries if _is_plain(entry) and wants(_name(entry))]
    ignored = [entry.filename for entry in entries if entry not in wanted]
    if ignored:
        warn(f"{filename}: ignored {len(ignored)} other files: {', '.join(ignored[:10])}")
    sources: list[Source] = []
    room = limits.unpacked_bytes
    for index, entry in enumerate(wanted):
        if entry.flag_bits & 1:
            raise DatasetError(f"{filename}: {entry.filename} is encrypted, expected no password")
        name = _name(entry)
        if any(source.name.lower() == name.lower() for source in sources):
            raise DatasetError(f"{filename} has two files called {name}, expected one")
        target = folder / f"{index}"
        room -= _copy(archive, entry, target, room, filename, limits)
        sources.append(Source(name, target, _kind(_magic(target, name), name)))
    return sources


def _check_name(name: str, filename: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or ":" in name.partition("/")[0]:
        raise DatasetError(f"{filename} has the path {name!r}, which climbs out of the zip")


def _name(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename.replace("\\", "/")).name


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    """Neither a link nor what a desktop hides in a zip."""
    is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
    parts = PurePosixPath(entry.filename).parts
    return not is_link and not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _copy(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    target: Path,
    room: int,
    filename: str,
    limits: Limits,
) -> int:
    """Unpack one entry; what comes out is counted, whatever the header says."""
    size = 0
    with archive.open(entry) as packed, target.open("wb") as file:
        while chunk := packed.read(CHUNK):
            size += len(chunk)
            if size > room:
                raise DatasetError(
                    f"{filename} unpacks to more than {limits.unpacked_bytes} bytes, the limit"
                )
            file.write(chunk)
    return size


def find(
    sources: Sequence[Source], *, file: str | None, table: str, filename: str
) -> Source | None:
    """The file of one table: by its given name, else by the table's name, or None.

    Raises:
        DatasetError: if a given file isn't there, or two files have the table's name.
    """
    names = [source.name for source in sources]
    if file is not None:
        wanted = PurePosixPath(file).name.lower()
        matches = [source for source in sources if source.name.lower() == wanted]
        if not matches:
            raise DatasetError(f"{filename} has no file {file!r}, it has {names}")
        return matches[0]
    matches = [source for source in sources if source.stem == table]
    if len(matches) > 1:
        raise DatasetError(f"{filename} has several files for {table}: {names}, expected one")
    return matches[0] if matches else None
