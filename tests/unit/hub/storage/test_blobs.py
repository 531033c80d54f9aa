# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from plait.errors import BadInput, NotFound, RangeNotSatisfiable, StorageFull, TooLarge
from plait.hub import Hub
from plait.hub.database import Blob, now
from plait.hub.storage.blobs import BlobStore

DATA = b"plait" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
OBJECT = f"blobs/{SHA[:2]}/{SHA[2:4]}/{SHA}"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def blobs(hub: Hub) -> BlobStore:
    return hub.blobs


def leftovers(blobs: BlobStore) -> list[Path]:
    return list(blobs.temporary.iterdir())


def age(hub: Hub, sha256: str) -> None:
    with hub.session(write=True) as session:
        session.execute(update(Blob).where(Blob.sha256 == sha256).values(touched_at=LONG_AGO))


def test_what_is_written_is_read_whole_and_in_part(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    assert blobs.write(io.BytesIO(DATA), SHA, len(DATA)) == (SHA, len(DATA))
    assert blobs.write(tmp_path / "file") == (SHA, len(DATA))
    assert blobs.write(iter([DATA[:7], DATA[7:]])) == (SHA, len(DATA))
    assert list(blobs) == [SHA]
    assert [item.name for item in blobs.objects()] == [OBJECT]
    assert b"".join(blobs.read_range(SHA, 3, 10)) == DATA[3:10]
    assert b"".join(blobs.read_range(SHA)) == DATA
    assert blobs.size(SHA) == len(DATA)
    assert blobs.present(SHA)
    assert blobs.verify(SHA) is None
    assert not leftovers(blobs)


def test_a_blob_opens_as_a_file(blobs: BlobStore) -> None:
    blobs.write([DATA])
    with blobs.open(SHA) as stream:
        assert stream.read(7) == DATA[:7]
        assert stream.seek(-10, io.SEEK_END) == len(DATA) - 10
        assert stream.read() == DATA[-10:]
        assert stream.read(1) == b""
        stream.seek(3)
        stream.seek(4, io.SEEK_CUR)
        assert stream.tell() == 7
        assert stream.read() == DATA[7:]


def test_saving_writes_a_file_of_its_own(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.write([DATA])
    blobs.save(SHA, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


def test_no_bytes_at_all_are_a_blob_too(blobs: BlobStore) -> None:
    sha256, size = blobs.write([])
    assert (sha256, size) == (hashlib.sha256(b"").hexdigest(), 0)
    assert b"".join(blobs.read_range(sha256)) == b""


@pytest.mark.parametrize(
    ("sha256", "size", "error"),
    [
        ("0" * 64, None, BadInput),
        (SHA, len(DATA) + 1, BadInput),
        (SHA, len(DATA) - 1, TooLarge),
    ],
)
def test_other_bytes_than_announced_leave_nothing(
    blobs: BlobStore, sha256: str, size: int | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        blobs.write([DATA], sha256, size)
    assert list(blobs) == []
    assert list(blobs.objects()) == []
    assert not leftovers(blobs)


def test_an_endless_upload_ends(blobs: BlobStore) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10**5

    with pytest.raises(TooLarge, match="1000000"):
        blobs.write(endless())
    assert not leftovers(blobs)


def test_an_upload_that_breaks_off_leaves_nothing(blobs: BlobStore) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.write(broken())
    assert list(blobs) == []
    assert not leftovers(blobs)


def test_a_full_disk_is_said_in_a_sentence(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("plait.hub.storage.blobs.BlobStore.adopt", full)
    with pytest.raises(StorageFull, match="room"):
        blobs.write([DATA])
    assert list(blobs) == []
    assert not leftovers(blobs)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_hashes_name_blobs(blobs: BlobStore, name: str) -> None:
    for ask in (blobs.exists, blobs.size, blobs.read_range, blobs.local_path, blobs.delete):
        with pytest.raises(BadInput):
            ask(name)


def test_what_is_not_there(blobs: BlobStore) -> None:
    assert not blobs.exists(SHA)
    assert not blobs.present(SHA)
    assert not blobs.touch(SHA)
    assert not blobs.delete(SHA)
    for ask in (blobs.size, blobs.open, blobs.read_range):
        with pytest.raises(NotFound):
            ask(SHA)


def test_ranges_outside_the_file(blobs: BlobStore) -> None:
    blobs.write([DATA])
    for start, end in ((-1, 5), (5, 4), (0, len(DATA) + 1), (len(DATA) + 1, None)):
        with pytest.raises(RangeNotSatisfiable):
            blobs.read_range(SHA, start, end)


def test_damage_is_found_and_healed_by_sending_again(hub: Hub, blobs: BlobStore) -> None:
    blobs.write([DATA])
    hub.store.put(OBJECT, DATA[:-1] + b"?")
    assert "damaged" in str(blobs.verify(SHA))
    hub.store.put(OBJECT, DATA[:-1])
    assert not blobs.present(SHA)
    assert "damaged" in str(blobs.verify(SHA)) or "bytes" in str(blobs.verify(SHA))
    hub.store.delete(OBJECT)
    assert "missing" in str(blobs.verify(SHA))
    blobs.write([DATA])
    assert blobs.verify(SHA) is None


# -- wanting and collecting ---------------------------------------------------------------------


def test_writing_and_touching_mark_as_wanted(hub: Hub, blobs: BlobStore) -> None:
    blobs.write([DATA])
    cut = now() - timedelta(hours=1)
    for want in (lambda: blobs.write([DATA]), lambda: blobs.touch(SHA)):
        age(hub, SHA)
        want()
        assert not blobs.delete_older(SHA, cut)
    age(hub, SHA)
    assert blobs.delete_older(SHA, cut)
    assert not blobs.exists(SHA)
    assert list(blobs.objects()) == []


def test_an_object_without_a_row_goes_when_it_is_old(hub: Hub, blobs: BlobStore) -> None:
    hub.store.put(OBJECT, DATA)
    found = hub.store.head(OBJECT)
    assert found is not None
    assert not blobs.delete_orphan(SHA, found.modified - 1)
    assert hub.store.head(OBJECT) is not None
    assert blobs.delete_orphan(SHA, found.modified + 1)
    assert hub.store.head(OBJECT) is None
    blobs.write([DATA])
    assert not blobs.delete_orphan(SHA, None), "a row keeps its object"
    assert blobs.verify(SHA) is None


def test_an_object_collected_before_its_row_is_written_is_put_again(
    hub: Hub, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, times = type(hub.store).put, []

    def put_and_collect(store: object, name: str, source: Path | bytes) -> None:
        put(hub.store, name, source)
        times.append(name)
        if len(times) == 1:
            hub.store.delete(name)

    monkeypatch.setattr(type(hub.store), "put", put_and_collect)
    blobs.write([DATA])
    assert len(times) == 2
    assert blobs.verify(SHA) is None


def test_a_crash_between_row_and_object_leaves_an_object_only(
    hub: Hub, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.write([DATA])
    age(hub, SHA)
    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "delete_orphan", lambda *_: os._exit)
        blobs.delete_older(SHA, now())
    assert not blobs.exists(SHA)
    assert [item.name for item in blobs.objects()] == [OBJECT]
    blobs.write([DATA])
    assert blobs.verify(SHA) is None


def test_collecting_and_uploading_race(hub: Hub, blobs: BlobStore) -> None:
    """A blob that somebody was told is there has its bytes, whoever collects at the same time."""
    failures: list[str] = []
    done = threading.Event()
    names = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(4)]

    def collect() -> None:
        while not done.is_set():
            for sha256 in names:
                blobs.delete_older(sha256, now() - timedelta(milliseconds=300))
                blobs.delete_orphan(sha256, None)

    def upload(number: int) -> None:
        try:
            upload_often(number)
        except Exception as error:
            failures.append(repr(error))

    def upload_often(number: int) -> None:
        for _ in range(15):
            for value, sha256 in enumerate(names):
                if number % 2 == 0 or not blobs.touch(sha256):
                    blobs.write([b"%d" % value])
                # Touched now, it stays for the grace period.
                if not blobs.present(sha256):
                    failures.append(sha256)
                age(hub, sha256)

    collector = threading.Thread(target=collect)
    uploaders = [threading.Thread(target=upload, args=(number,)) for number in range(3)]
    collector.start()
    for thread in uploaders:
        thread.start()
    for thread in uploaders:
        thread.join()
    done.set()
    collector.join()
    assert failures == []
