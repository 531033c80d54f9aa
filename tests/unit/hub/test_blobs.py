# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import hashlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.errors import BadInput, NotFound, RangeNotSatisfiable, StorageFull, TooLarge
from plait.hub.blobs import BlobStore

DATA = b"plait" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", tmp_path / "tmp", max_size=10**6)


def leftovers(store: BlobStore) -> list[Path]:
    return list(store.temporary.iterdir()) if store.temporary.exists() else []


def test_what_is_written_is_read_whole_and_in_part(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    assert store.write(io.BytesIO(DATA), SHA, len(DATA)) == (SHA, len(DATA))
    assert store.write(tmp_path / "file") == (SHA, len(DATA))
    assert store.write(iter([DATA[:7], DATA[7:]])) == (SHA, len(DATA))
    assert list(store) == [SHA]
    with store.open(SHA) as stream:
        assert stream.read() == DATA
    assert b"".join(store.read_range(SHA, 3, 10)) == DATA[3:10]
    assert b"".join(store.read_range(SHA)) == DATA
    assert store.size(SHA) == len(DATA)
    assert not leftovers(store)
    assert not os.access(store.path(SHA), os.W_OK) or os.geteuid() == 0


def test_no_bytes_at_all_are_a_blob_too(store: BlobStore) -> None:
    sha256, size = store.write([])
    assert (sha256, size) == (hashlib.sha256(b"").hexdigest(), 0)
    assert b"".join(store.read_range(sha256)) == b""


@pytest.mark.parametrize(
    ("sha256", "size", "error"),
    [
        ("0" * 64, None, BadInput),
        (SHA, len(DATA) + 1, BadInput),
        (SHA, len(DATA) - 1, TooLarge),
    ],
)
def test_other_bytes_than_announced_leave_nothing(
    store: BlobStore, sha256: str, size: int | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.write([DATA], sha256, size)
    assert list(store) == []
    assert not leftovers(store)


def test_an_endless_upload_ends(store: BlobStore) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10**5

    with pytest.raises(TooLarge, match="1000000"):
        store.write(endless())
    assert not leftovers(store)


def test_an_upload_that_breaks_off_leaves_nothing(store: BlobStore) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.write(broken())
    assert list(store) == []
    assert not leftovers(store)


def test_a_full_disk_is_said_in_a_sentence(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="room"):
        store.write([DATA])
    assert list(store) == []
    assert not leftovers(store)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_hashes_name_blobs(store: BlobStore, name: str) -> None:
    with pytest.raises(BadInput):
        store.path(name)


def test_what_is_not_there(store: BlobStore) -> None:
    assert not store.exists(SHA)
    assert not store.touch(SHA)
    assert not store.delete(SHA)
    for ask in (store.size, store.open, store.read_range):
        with pytest.raises(NotFound):
            ask(SHA)


def test_ranges_outside_the_file(store: BlobStore) -> None:
    store.write([DATA])
    for start, end in ((-1, 5), (5, 4), (0, len(DATA) + 1), (len(DATA) + 1, None)):
        with pytest.raises(RangeNotSatisfiable):
            store.read_range(SHA, start, end)


def test_writing_again_marks_as_wanted(store: BlobStore) -> None:
    store.write([DATA])
    os.utime(store.path(SHA), (1, 1))
    cut = time.time() - 3600
    store.write([DATA])
    assert not store.delete_older(SHA, cut)
    os.utime(store.path(SHA), (1, 1))
    assert store.delete_older(SHA, cut)
    assert not store.exists(SHA)


def test_a_finished_file_is_taken_over(store: BlobStore) -> None:
    store.temporary.mkdir()
    part = store.temporary / "part"
    part.write_bytes(DATA)
    store.adopt(part, SHA)
    assert not part.exists()
    assert b"".join(store.read_range(SHA)) == DATA
