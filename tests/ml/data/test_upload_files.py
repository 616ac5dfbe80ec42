"""Zips that are not to be trusted, and files that are none of ours."""

import io
import struct
import zipfile

import polars as pl
import pytest

from ml.contracts.mapping import parse_mapping
from ml.data.files import DatasetError, Limits, open_upload

USERS = "user_id,plan\nu1,a\n"


@pytest.fixture
def upload(tmp_path):
    def make(data, filename="upload.zip", limits=None, wants=lambda name: name.endswith(".csv")):
        path = tmp_path / "received"
        path.write_bytes(data)
        folder = tmp_path / "unpacked"
        folder.mkdir()
        warnings = []
        sources = open_upload(
            path,
            filename=filename,
            folder=folder,
            limits=limits or Limits(),
            wants=wants,
            warn=warnings.append,
        )
        return sources, warnings

    return make


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # without the time: the bytes name a test
            archive.writestr(entry, content, compression)
    return out.getvalue()


def test_what_is_in_a_file_decides(upload):
    frame = io.BytesIO()
    pl.DataFrame({"user_id": ["u1"]}).write_parquet(frame)
    (source,), _ = upload(frame.getvalue(), "users.csv")
    assert source.kind == "parquet"


def test_files_in_folders_are_found_and_others_ignored(upload):
    files = {"data/users.csv": USERS, "data/README.md": "hello", "__MACOSX/data/._users.csv": "x"}
    sources, warnings = upload(zipped({**files, "inner.zip": zipped({"users.csv": USERS})}))
    assert [source.name for source in sources] == ["users.csv"]
    assert sources[0].path.read_text() == USERS
    assert (
        "ignored 3 other files: data/README.md, __MACOSX/data/._users.csv, inner.zip" in warnings[0]
    )


def test_truncated(upload):
    whole = zipped({"users.csv": USERS * 1000})
    with pytest.raises(DatasetError, match="damaged or truncated"):
        upload(whole[: len(whole) // 2])


def test_damaged_content(upload):
    whole = bytearray(zipped({"users.csv": USERS * 50}, zipfile.ZIP_STORED))
    whole[100] ^= 0xFF
    with pytest.raises(DatasetError, match="damaged or truncated"):
        upload(bytes(whole))


def test_bomb_is_bound_while_unpacking(upload, tmp_path):
    limits = Limits(unpacked_bytes=3 << 20)
    with pytest.raises(DatasetError, match="unpacks to more than 3145728 bytes"):
        upload(zipped({"users.csv": b"0" * (64 << 20)}), limits=limits)
    assert sum(file.stat().st_size for file in (tmp_path / "unpacked").iterdir()) <= 3 << 20


def test_a_header_that_lies_about_the_size(upload):
    whole = bytearray(zipped({"users.csv": b"0" * (8 << 20)}))
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = whole.rfind(signature) + offset
        assert struct.unpack_from("<I", whole, place)[0] == 8 << 20
        struct.pack_into("<I", whole, place, 10)
    with pytest.raises(DatasetError):
        upload(bytes(whole), limits=Limits(unpacked_bytes=1 << 20))


def test_the_bound_is_for_all_files_together(upload):
    files = {"users.csv": b"0" * 600, "events.csv": b"0" * 600}
    with pytest.raises(DatasetError, match="more than 1000 bytes"):
        upload(zipped(files), limits=Limits(unpacked_bytes=1000))


def test_files_that_are_not_needed_are_not_unpacked(upload, tmp_path):
    upload(zipped({"users.csv": USERS, "photo.bin": b"0" * 4000}), limits=Limits(5000))
    (file,) = (tmp_path / "unpacked").iterdir()
    assert file.read_text() == USERS


@pytest.mark.parametrize("other", ["events.csv", "photo.bin", "__MACOSX/users.csv"])
def test_what_a_zip_declares_counts_for_all_its_files(upload, other, tmp_path):
    with pytest.raises(DatasetError, match=r"unpacks to more than 5000 bytes.*declares 6018"):
        upload(zipped({"users.csv": USERS, other: b"0" * 6000}), limits=Limits(5000))
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_too_many_files(upload):
    with pytest.raises(DatasetError, match="has 4 files, expected at most 3"):
        upload(zipped({f"{i}.csv": "x" for i in range(4)}), limits=Limits(files=3))


@pytest.mark.parametrize(
    "name", ["../users.csv", "a/../../users.csv", "/users.csv", "..\\users.csv", "C:\\users.csv"]
)
def test_a_path_that_climbs_out(upload, name, tmp_path):
    with pytest.raises(DatasetError, match="climbs out"):
        upload(zipped({name: USERS}))
    assert not (tmp_path / "users.csv").exists()


def test_encrypted(upload):
    whole = bytearray(zipped({"users.csv": USERS}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.find(signature) + offset] |= 1
    with pytest.raises(DatasetError, match="encrypted"):
        upload(bytes(whole))


def test_a_link_is_not_followed(upload):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("users.csv")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DatasetError, match="none of the files expected"):
        upload(out.getvalue())


@pytest.mark.parametrize(
    ("data", "filename", "message"),
    [
        (b"", "users.csv", "users.csv is empty"),
        (zipped({"users.csv": ""}), "a.zip", "users.csv is empty"),
        (zipped({}), "a.zip", "none of the files expected"),
        (zipped({"a/users.csv": "x", "b/users.csv": "x"}), "a.zip", "two files called users.csv"),
        (b"\x1f\x8b\x08rest", "users.csv.gz", "is a gzip file"),
        (b"user_id\nu1\n", "users.zip", "named as a zip but is none"),
        (b"user_id\nu1\n", "users.parquet", "named as Parquet but is none"),
    ],
)
def test_files_that_are_refused(upload, data, filename, message):
    with pytest.raises(DatasetError, match=message):
        upload(data, filename)


RATINGS = {"format": "narrow", "tables": {"events": [{
    "columns": {"1": {"role": "actor"}, "2": {"role": "target"}}, "type": "call",
}]}}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "delimiter"), [("7::93::5\n7::94::3\n", True), ("7,93,5\n7,94,3\n", False)]
)
def test_a_file_without_a_header_is_told_that_it_needs_one(read, text, delimiter):
    with pytest.raises(DatasetError) as error:
        read(text, parse_mapping(RATINGS), "ratings.dat.csv")
    assert "has no column '1'" in str(error.value)
    assert "the first line has to name the columns" in str(error.value)
    assert ("give delimiter" in str(error.value)) == delimiter


def test_parquet_has_no_first_line(read):
    out = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(out)
    with pytest.raises(DatasetError, match="has no column '1'") as error:
        read(out.getvalue(), parse_mapping(RATINGS), "ratings.parquet")
    assert "first line" not in str(error.value)
