"""The object store: plain S3 through the ``minio`` SDK, one bucket."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
import urllib3
from django.conf import settings
from minio import Minio
from minio import time as times
from minio.datatypes import Object
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error

log = structlog.get_logger(__name__)
PART_BYTES = 8 * 2**20
CHUNK_BYTES = 2**20
NOT_THERE = {"NoSuchKey", "NoSuchBucket", "NoSuchUpload"}
TOO_SKEWED = "RequestTimeTooSkewed"
Answer = TypeVar("Answer")


class StoreUnavailable(Exception):
    """The object store did not answer, or refused for a reason that may pass (full, 5xx)."""


class ObjectMissing(Exception):
    """There is no object of this key."""


class ObjectDamaged(Exception):
    """What was read is not what was written: the SHA-256 differs."""


@dataclass(frozen=True)
class Stored:
    """An object as it was written.

    Args:
        size: Bytes.
        sha256: In hex.
    """

    key: str
    size: int
    sha256: str


class HashingReader:
    """Reads through to a file and hashes what passes."""

    def __init__(self, source: IO[bytes], progress: Callable[[int], None] | None = None) -> None:
        self.source = source
        self.digest = hashlib.sha256()
        self.size = 0
        self.progress = progress

    def read(self, size: int = -1) -> bytes:
        chunk = self.source.read(size)
        self.digest.update(chunk)
        self.size += len(chunk)
        if self.progress:
            self.progress(self.size)
        return chunk


class StoreClient(Minio):
    """Signs by the server's clock: one that refused our time told its own with the answer."""

    skew = timedelta(0)

    def _build_headers(self, *args: Any, **named: Any) -> tuple[Any, datetime]:
        headers, date = super()._build_headers(*args, **named)
        date += self.skew
        headers["x-amz-date"] = times.to_amz_date(date)
        return headers, date

    def _url_open(self, *args: Any, **named: Any) -> Any:
        try:
            return super()._url_open(*args, **named)
        except S3Error as error:
            server_time = error.response.headers.get("Date")
            if error.code != TOO_SKEWED or not server_time:
                raise
            self.skew = parsedate_to_datetime(server_time) - times.utcnow()
            log.warning("store.clock_differs", seconds=round(self.skew.total_seconds()))
            return super()._url_open(*args, **named)


class ArtifactStore:
    """One bucket of an S3 server.

    Args:
        url: ``http(s)://access:secret@host:port/bucket``.
        patience: Seconds during which a call is tried again while the store is away.

    Raises:
        ValueError: if the URL lacks a part.
    """

    def __init__(self, url: str, *, patience: float = 0.0) -> None:
        parts = urlsplit(url)
        self.bucket = parts.path.strip("/")
        if not (parts.hostname and parts.username and parts.password and self.bucket):
            raise ValueError(
                "UPS_OBJECT_STORE_URL must be http(s)://access:secret@host:port/bucket, "
                f"got {parts.scheme}://…@{parts.hostname}{parts.path}"
            )
        self.patience = patience
        self.client = StoreClient(
            f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname,
            access_key=unquote(parts.username),
            secret_key=unquote(parts.password),
            secure=parts.scheme == "https",
            region="us-east-1",
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=3, read=60),
                maxsize=8,
                retries=urllib3.Retry(total=1, backoff_factor=0.1),
            ),
        )

    def put_file(self, key: str, source: IO[bytes], *, size: int = -1) -> Stored:
        """Store a stream in parts; at most ``PART_BYTES`` of it are in memory."""
        start = source.tell() if source.seekable() else 0

        def put() -> Stored:
            if source.seekable():
                source.seek(start)
            reader = HashingReader(source)
            self.client.put_object(
                self.bucket,
                key,
                reader,  # type: ignore[arg-type]  # only its read() is used
                length=size,
                part_size=PART_BYTES,
                num_parallel_uploads=1,
            )
            return Stored(key, reader.size, reader.digest.hexdigest())

        stored = self._call(put)
        written = self._call(lambda: self.client.stat_object(self.bucket, key))
        if written.size != stored.size:
            raise ObjectDamaged(f"{key}: wrote {stored.size} bytes, the store has {written.size}")
        return stored

    def put_path(self, key: str, path: Path) -> Stored:
        """Store a file."""
        with path.open("rb") as source:
            return self.put_file(key, source, size=path.stat().st_size)

    def fetch(self, key: str, path: Path, *, sha256: str) -> None:
        """Write the object to ``path`` and check it.

        Raises:
            ObjectMissing: if there is none.
            ObjectDamaged: if its SHA-256 is another.
        """

        def get() -> str:
            digest = hashlib.sha256()
            response = self.client.get_object(self.bucket, key)
            try:
                with path.open("wb") as target:
                    for chunk in response.stream(CHUNK_BYTES):
                        digest.update(chunk)
                        target.write(chunk)
            finally:
                response.close()
                response.release_conn()
            return digest.hexdigest()

        got = self._call(get)
        if got != sha256:
            path.unlink()
            raise ObjectDamaged(f"{key}: SHA-256 is {got}, expected {sha256}")

    def below(self, prefix: str) -> Iterator[Object]:
        """Objects below a prefix; the store is asked for the next thousand as they are read."""
        objects = self.client.list_objects(self.bucket, prefix, recursive=True)
        while (entry := self._call(lambda: next(objects, None))) is not None:
            yield entry

    def remove(self, keys: list[str]) -> None:
        """Remove objects; one that is not there is no error."""
        errors = self._call(
            lambda: list(
                self.client.remove_objects(self.bucket, [DeleteObject(key) for key in keys])
            )
        )
        if errors:
            raise StoreUnavailable(f"{len(errors)} objects stay, first: {errors[0]}")

    def check(self) -> None:
        """Raises: StoreUnavailable if the bucket cannot be reached."""
        if not self._call(lambda: self.client.bucket_exists(self.bucket)):
            raise StoreUnavailable(f"there is no bucket {self.bucket!r}")

    def _call(self, call: Callable[[], Answer]) -> Answer:
        deadline = time.monotonic() + self.patience
        wait = 0.25
        while True:
            try:
                return call()
            except S3Error as error:
                if error.code in NOT_THERE:
                    raise ObjectMissing(f"{error.code}: {error.resource}") from error
                trouble = StoreUnavailable(
                    f"the object store answered {error.code}: {error.message}"
                )
                cause: Exception = error
            except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
                trouble = StoreUnavailable(f"the object store does not answer: {error}")
                cause = error
            if time.monotonic() + wait > deadline:
                raise trouble from cause
            log.warning("store.retry", error=str(trouble), wait=wait)
            time.sleep(wait)
            wait = min(wait * 2, 10.0)


_local = threading.local()


def store(*, patience: float = 0.0) -> ArtifactStore:
    """The configured store, one client a thread and patience."""
    clients: dict[Any, ArtifactStore] = _local.__dict__.setdefault("clients", {})
    key = (settings.OBJECT_STORE_URL, patience)
    if key not in clients:
        clients[key] = ArtifactStore(settings.OBJECT_STORE_URL, patience=patience)
    return clients[key]
