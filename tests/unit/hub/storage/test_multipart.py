# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
from io import BytesIO

import pytest

from plait.errors import BadInput, TooLarge
from plait.hub.storage.multipart import PartedUpload, part_size, parted_upload
from plait.hub.upkeep.collect import collect

from ..conftest import World

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()
PART = 3000


def begin(world: World, sha256: str = SHA, size: int = len(DATA)) -> PartedUpload:
    return parted_upload(world.hub, 1, 2, sha256, size, PART)


def parts(data: bytes = DATA) -> dict[int, bytes]:
    return {
        number + 1: data[start : start + PART]
        for number, start in enumerate(range(0, len(data), PART))
    }


def test_parts_in_any_order_make_the_file(world: World) -> None:
    upload = begin(world)
    assert upload.count == 4
    etags = {number: upload.write(number, BytesIO(parts()[number])) for number in (4, 2, 1, 3)}
    upload.finish(world.hub, {number: f'"{etag}"' for number, etag in etags.items()})
    assert world.hub.blobs.verify(SHA) is None
    assert list(world.hub.settings.temporary_dir.iterdir()) == []
    upload.finish(world.hub, etags)  # The answer was lost, the client asks again.


def test_who_starts_anew_goes_on(world: World) -> None:
    etags = {number: begin(world).write(number, BytesIO(parts()[number])) for number in (1, 2)}
    again = begin(world)
    for number in (3, 4):
        etags[number] = again.write(number, BytesIO(parts()[number]))
    again.finish(world.hub, etags)
    assert world.hub.blobs.verify(SHA) is None
    others = [
        parted_upload(world.hub, *who, SHA, len(DATA), PART).folder for who in ((1, 3), (2, 2))
    ]
    assert again.folder not in others


def test_what_does_not_fit_is_refused(world: World) -> None:
    upload = begin(world)
    for number in (0, 5, -1):
        with pytest.raises(BadInput, match="4 parts"):
            upload.write(number, BytesIO(b"x"))
    with pytest.raises(BadInput, match="3000 bytes but 10"):
        upload.write(1, BytesIO(b"x" * 10))
    with pytest.raises(TooLarge):
        upload.write(1, BytesIO(b"x" * 3001))
    etags = {number: upload.write(number, BytesIO(data)) for number, data in parts().items()}
    for wrong in (
        {number: etag for number, etag in etags.items() if number != 2},
        {**etags, 5: "x"},
        {**etags, 2: etags[1]},
        {},
    ):
        with pytest.raises(BadInput):
            upload.finish(world.hub, wrong)
    sent_anew = upload.write(2, BytesIO(parts()[2]))
    with pytest.raises(BadInput, match="anew"):
        upload.finish(world.hub, etags)
    upload.finish(world.hub, {**etags, 2: sent_anew})
    assert world.hub.blobs.exists(SHA)


def test_a_part_that_broke_off_has_not_arrived(world: World) -> None:
    upload = begin(world)
    etags = {number: upload.write(number, BytesIO(data)) for number, data in parts().items()}
    with pytest.raises(BadInput):
        upload.write(3, BytesIO(b"short"))
    with pytest.raises(BadInput, match="Part 3 has not arrived"):
        upload.finish(world.hub, etags)


def test_other_bytes_than_announced_are_thrown_away(world: World) -> None:
    upload = begin(world, sha256="0" * 64)
    etags = {number: upload.write(number, BytesIO(data)) for number, data in parts().items()}
    with pytest.raises(BadInput, match=SHA):
        upload.finish(world.hub, etags)
    assert not world.hub.blobs.exists("0" * 64)
    assert not upload.folder.exists()


def test_abandoned_parts_are_collected(world: World) -> None:
    upload = begin(world)
    upload.write(1, BytesIO(parts()[1]))
    assert collect(world.hub).temporary == []
    for entry in [*upload.folder.iterdir(), upload.folder]:
        os.utime(entry, (1, 1))
    assert len(collect(world.hub).temporary) == 1
    assert not upload.folder.exists()


def test_parts_grow_with_the_file(world: World) -> None:
    usual = world.hub.settings.lfs_part_size
    assert part_size(world.hub, usual + 1) == usual
    assert -(-(10**13) // part_size(world.hub, 10**13)) <= 10_000
