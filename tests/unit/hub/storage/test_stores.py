# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from plait.errors import BadInput, StoreUnavailable
from plait.hub.storage import DiskStore, ObjectStore, open_store
from plait.settings import Settings

NAME = "blobs/ab/cd/abcd" + "0" * 60
OTHER = "xorbs/12/34/1234" + "f" * 60 + ".index"


def data(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_what_is_put_is_read_in_whole_and_in_part(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "hub" / "tmp" / "source"
    source.write_bytes(data(3_000_000))
    before = time.time()
    store.put(NAME, source)
    store.put(OTHER, b"index")
    assert source.read_bytes() == data(3_000_000), "the caller's file stays"
    found = store.head(NAME)
    assert found is not None
    assert (found.name, found.size) == (NAME, 3_000_000)
    assert abs(found.modified - before) < 60
    assert b"".join(store.read(NAME)) == data(3_000_000)
    assert b"".join(store.read(NAME, 2_999_990)) == data(3_000_000)[-10:]
    assert b"".join(store.read(NAME, 5, 2_000_000)) == data(3_000_000)[5:2_000_000]
    assert b"".join(store.read(NAME, 7, 7)) == b""
    assert [item.name for item in store.list("blobs")] == [NAME]
    assert [(item.name, item.size) for item in store.list("xorbs")] == [(OTHER, 5)]


def test_putting_again_is_harmless(store: ObjectStore) -> None:
    for _ in range(2):
        store.put(NAME, b"same")
    assert b"".join(store.read(NAME)) == b"same"


def test_nothing_is_something_too(store: ObjectStore) -> None:
    store.put(NAME, b"")
    found = store.head(NAME)
    assert found is not None
    assert found.size == 0
    assert b"".join(store.read(NAME)) == b""


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.head(NAME) is None
    store.delete(NAME)
    assert list(store.list("blobs")) == []
    with pytest.raises(FileNotFoundError):
        store.read(NAME)
    store.put(NAME, b"gone soon")
    store.delete(NAME)
    assert store.head(NAME) is None
    assert store.local_path(NAME) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../plait.db",
        "blobs/../../etc/passwd",
        "blobs/ab/cd/" + "0" * 64,
        NAME.upper(),
        NAME + "\n",
        NAME + "/x",
        "other/ab/cd/abcd" + "0" * 60,
    ],
)
def test_only_hashes_are_names(store: ObjectStore, name: str) -> None:
    for use in (store.head, store.read, store.delete):
        with pytest.raises(BadInput):
            use(name)
    with pytest.raises(BadInput):
        store.put(name, b"x")


def test_signed_addresses_open_one_object_for_a_time(store: ObjectStore) -> None:
    store.put(NAME, data(1000))
    headers = {"Content-Type": "text/plain", "Content-Disposition": 'attachment; filename="a ü"'}
    url = store.signed_url(NAME, 60, headers={**headers, "Content-Disposition": "inline"})
    if isinstance(store, DiskStore):
        assert url is None
        return
    assert url is not None
    with urlopen(url, timeout=10) as answer:
        assert answer.read() == data(1000)
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["Content-Disposition"] == "inline"
    with urlopen(Request(url, headers={"Range": "bytes=10-19"}), timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, data(1000)[10:20])
    for wrong in (url.replace("Expires=60", "Expires=6000"), url.replace("0000?", "0001?")):
        with pytest.raises(HTTPError, match="403"):
            urlopen(wrong, timeout=10)


def test_a_signed_part_opens_nothing_else(store: ObjectStore) -> None:
    store.put(NAME, data(1000))
    url = store.signed_url(NAME, 60, part=(100, 200))
    if isinstance(store, DiskStore):
        assert url is None
        return
    assert url is not None
    with urlopen(Request(url, headers={"Range": "bytes=100-199"}), timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, data(1000)[100:200])
    for wrong in ({"Range": "bytes=100-200"}, {"Range": "bytes=0-199"}, {}):
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(url, headers=wrong), timeout=10)


def test_only_a_folder_has_files(store: ObjectStore) -> None:
    store.put(NAME, b"bytes")
    path = store.local_path(NAME)
    if isinstance(store, DiskStore):
        assert path is not None
        assert path.read_bytes() == b"bytes"
        assert path.stat().st_mode & 0o222 == 0
    else:
        assert path is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"store": "ftp://x/y"}, "PLAIT_STORE"),
        ({"store": "s3://"}, "bucket"),
        ({"store": "s3://Bucket_/x"}, "bucket"),
        ({"store": "s3://bucket/../x"}, "prefix"),
        ({"store": "s3://bucket/x", "s3_endpoint": "store:8333"}, "PLAIT_S3_ENDPOINT"),
        ({"store": "s3://bucket", "s3_access_key": "a"}, "PLAIT_S3_SECRET_KEY"),
        ({"accel_redirect": "blobs"}, "PLAIT_ACCEL_REDIRECT"),
        ({"lfs_part_size": 1}, "PLAIT_LFS_PART_SIZE"),
    ],
)
def test_settings_that_cannot_be_are_named(
    tmp_path: Path, values: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        open_store(Settings(tmp_path, **values), environ={})  # type: ignore[arg-type]


def test_the_usual_variables_are_read(tmp_path: Path) -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_REGION": "eu-north-1",
        "AWS_SESSION_TOKEN": "session",
    }
    store = open_store(Settings(tmp_path, store="s3://bucket/a/b"), environ=environ)
    assert store.address == "s3://bucket/a/b"
    url = store.signed_url(NAME, 60)
    assert url is not None
    assert url.startswith(f"https://s3.eu-north-1.amazonaws.com/bucket/a/b/{NAME}?")
    assert "X-Amz-Security-Token=session" in url
    assert "word" not in url
    own = Settings(tmp_path, store="s3://bucket", s3_endpoint="https://inside:9000")
    assert open_store(own, environ={}).signed_url(NAME, 60) is None, "the machine's own role"


def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    store = open_store(
        Settings(
            tmp_path,
            store="s3://bucket",
            s3_endpoint="http://127.0.0.1:9",
            s3_access_key="a",
            s3_secret_key="b",
        ),
        environ={},
    )
    with pytest.raises(StoreUnavailable, match="s3://bucket"):
        store.head(NAME)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from plait.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "plait.hub.storage.s3", raising=False)
    with pytest.raises(MissingExtra, match=r"plait\[s3\]"):
        open_store(Settings(tmp_path, store="s3://bucket"), environ={})
