"""The object store keeps what it gets, says what is wrong, and is swept of what nobody knows."""

import hashlib
import io
from datetime import timedelta

import minio.time
import pytest
from django.conf import settings
from minio.error import ServerError

from controlcenter.platform.artifacts import services
from controlcenter.platform.artifacts.models import Artifact
from controlcenter.platform.artifacts.store import (
    PART_BYTES,
    ArtifactStore,
    ObjectDamaged,
    ObjectMissing,
    StoreUnavailable,
    store,
)

AWAY = "http://access:secret@127.0.0.1:1/bucket"
NOW = timedelta(seconds=-5)


class Unseekable(io.RawIOBase):
    """Bytes that come once, as from a socket."""

    def __init__(self, content):
        self.source = io.BytesIO(content)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.source.read(min(size, 100_000) if size > 0 else size)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 17])
@pytest.mark.parametrize("seekable", [True, False])
def test_what_is_put_comes_back(tmp_path, size, seekable):
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    source = io.BytesIO(content) if seekable else Unseekable(content)
    stored = store().put_file("tests/object", source)
    digest = hashlib.sha256(content).hexdigest()
    assert (stored.size, stored.sha256) == (size, digest)
    store().fetch("tests/object", tmp_path / "back", sha256=digest)
    assert (tmp_path / "back").read_bytes() == content


def test_a_file_is_put_from_where_it_stands(tmp_path):
    source = io.BytesIO(b"headbody")
    source.seek(4)
    assert store().put_file("tests/object", source).size == 4


def test_a_damaged_object_is_not_handed_out(tmp_path):
    store().put_file("tests/object", io.BytesIO(b"other"))
    with pytest.raises(ObjectDamaged, match="expected 0000"):
        store().fetch("tests/object", tmp_path / "back", sha256="0" * 64)
    assert not (tmp_path / "back").exists()


def test_a_missing_object_is_said(tmp_path):
    with pytest.raises(ObjectMissing, match="NoSuchKey"):
        store().fetch("tests/nothing", tmp_path / "back", sha256="0" * 64)


@pytest.mark.parametrize(
    "call",
    [
        lambda away, path: away.put_file("k", io.BytesIO(b"x")),
        lambda away, path: away.fetch("k", path, sha256="0" * 64),
        lambda away, path: away.remove(["k"]),
        lambda away, path: list(away.below("datasets/")),
        lambda away, path: away.check(),
    ],
    ids=["put", "fetch", "remove", "below", "check"],
)
def test_a_store_that_is_away_is_said_by_every_call(tmp_path, call):
    with pytest.raises(StoreUnavailable, match="does not answer"):
        call(ArtifactStore(AWAY), tmp_path / "file")


def test_a_wrong_secret_is_said(settings):
    url = settings.OBJECT_STORE_URL
    secret = url.split("@")[0].rpartition(":")[2]
    with pytest.raises(StoreUnavailable, match="the object store"):
        ArtifactStore(url.replace(secret, "wrong")).put_file("k", io.BytesIO(b"x"))


def test_a_store_that_comes_back_in_time_is_waited_for(monkeypatch):
    patient = ArtifactStore(AWAY, patience=60)
    answers = iter([OSError("refused"), ServerError("full", 507), None])

    def exists(bucket):
        error = next(answers)
        if error:
            raise error
        return True

    waited = []
    monkeypatch.setattr(patient.client, "bucket_exists", exists)
    monkeypatch.setattr("controlcenter.platform.artifacts.store.time.sleep", waited.append)
    patient.check()
    assert len(waited) == 2


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/bucket", "http://a:b@127.0.0.1:1/", "bucket", "http://a@h/b"]
)
def test_an_address_without_a_part_is_refused(url):
    with pytest.raises(ValueError, match="UPS_OBJECT_STORE_URL must be"):
        ArtifactStore(url)


@pytest.mark.django_db
@pytest.mark.usefixtures("own_bucket")
class TestSweep:
    def test_only_what_no_row_knows_is_removed(self, workspace):
        kept = store().put_file("datasets/kept", io.BytesIO(b"kept"))
        services.record(workspace=workspace, stored=kept, name="kept")
        for key in ("datasets/orphan", "tasks/orphan", "elsewhere/orphan"):
            store().put_file(key, io.BytesIO(b"x"))
        assert services.sweep(older_than=NOW)["objects"] == 2
        left = {found.object_name for found in store().below("")}
        assert {"datasets/kept", "elsewhere/orphan"} <= left
        assert not left & {"datasets/orphan", "tasks/orphan"}
        assert Artifact.objects.get().key == "datasets/kept"

    def test_what_is_young_is_left_alone(self, workspace):
        store().put_file("datasets/being-written", io.BytesIO(b"x"))
        client, bucket = store().client, store().bucket
        upload = client._create_multipart_upload(bucket, "datasets/parts", {})
        assert services.sweep() == {"objects": 0, "uploads": 0}
        assert "datasets/being-written" in {f.object_name for f in store().below("datasets/")}
        client._abort_multipart_upload(bucket, "datasets/parts", upload)

    def test_the_parts_of_an_interrupted_upload_are_swept(self, workspace):
        client, bucket = store().client, store().bucket
        upload = client._create_multipart_upload(bucket, "datasets/broken-off", {})
        client._upload_part(bucket, "datasets/broken-off", b"x" * 100, None, upload, 1)
        assert client._list_multipart_uploads(bucket).uploads
        assert services.sweep(older_than=NOW)["uploads"] == 1
        assert not client._list_multipart_uploads(bucket).uploads
        assert "datasets/broken-off" not in {f.object_name for f in store().below("datasets/")}

    def test_many_orphans_go_in_batches(self, workspace, monkeypatch):
        monkeypatch.setattr(services, "SWEEP_BATCH", 3)
        for number in range(8):
            store().put_file(f"models/{number}", io.BytesIO(b"x"))
        assert services.sweep(older_than=NOW)["objects"] == 8
        assert list(store().below("models/")) == []


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("seekable", [True, False])
def test_a_wrong_clock_does_no_harm(monkeypatch, tmp_path, hours, seekable):
    right = minio.time.utcnow
    monkeypatch.setattr(minio.time, "utcnow", lambda: right() + timedelta(hours=hours))
    content = b"0123456789abcdef" * (PART_BYTES // 16 + 1)
    digest = hashlib.sha256(content).hexdigest()
    here = ArtifactStore(settings.OBJECT_STORE_URL)
    source = io.BytesIO(content) if seekable else Unseekable(content)
    assert here.put_file("tests/skewed", source).sha256 == digest
    here.fetch("tests/skewed", tmp_path / "back", sha256=digest)
