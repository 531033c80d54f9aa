# SPDX-License-Identifier: Apache-2.0
"""A large file that arrives in parts, in any order, each as often as its sender likes.

The parts are written into one file of the hub's temporary folder, each at its place; a small file
beside it says which have arrived. The name of the upload follows from what is uploaded, by whom
and where to, so that whoever starts anew goes on where they were. An abandoned upload is removed
by `plait gc` like everything in the temporary folder.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from plait.errors import BadInput, TooLarge
from plait.hub.storage.base import CHUNK, storage_errors

if TYPE_CHECKING:
    from plait.hub.facade import Hub

MAX_PARTS = 10_000
_DATA = "data"


class Source(Protocol):
    """What the bytes of a part are read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        ...


@dataclass(frozen=True)
class PartedUpload:
    """A file of ``size`` bytes that arrives in parts of ``part_size``, the last one smaller."""

    folder: Path
    sha256: str
    size: int
    part_size: int

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-self.size // self.part_size)

    def part_length(self, number: int) -> int:
        """Length of part ``number``; the first is 1.

        Raises:
            BadInput: there is no such part.
        """
        if not 1 <= number <= self.count:
            raise BadInput(f"The upload has {self.count} parts, none with the number {number}.")
        return min(self.part_size, self.size - (number - 1) * self.part_size)

    def write(self, number: int, source: Source) -> str:
        """Keep a part and return the ETag by which the sender names it at the end.

        Raises:
            BadInput, TooLarge: the part does not have its length.
            StorageFull: the disk is full.
        """
        length = self.part_length(number)
        with storage_errors(f"a part of sha256 {self.sha256}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            marker = self.folder / str(number)
            marker.unlink(missing_ok=True)
            descriptor = os.open(self.folder / _DATA, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b", buffering=0) as stream:
                stream.seek((number - 1) * self.part_size)
                left = length
                while left and (data := source.read(min(CHUNK, left))):
                    stream.write(data)
                    left -= len(data)
                if left:
                    raise BadInput(
                        f"Part {number} should have {length} bytes but {length - left} arrived. "
                        "Send it again."
                    )
                if source.read(1):
                    raise TooLarge(f"Part {number} has more than its {length} bytes.")
                os.fsync(stream.fileno())
            etag = secrets.token_hex(16)
            fresh = self.folder / f"{number}.new"
            fresh.write_text(etag)
            fresh.replace(marker)
        return etag

    def finish(self, hub: Hub, parts: Mapping[int, str]) -> None:
        """Check that all parts are there and make the blob of them.

        Args:
            hub: the hub.
            parts: the ETag of each part, by its number.

        Raises:
            BadInput: a part is missing, or the bytes do not have the SHA-256 that was announced.
        """
        if hub.blobs.exists(self.sha256) and not self.folder.is_dir():
            return  # The same request, sent again.
        if sorted(parts) != list(range(1, self.count + 1)):
            raise BadInput(f"The upload has {self.count} parts; {len(parts)} were named.")
        for number, etag in parts.items():
            try:
                known = (self.folder / str(number)).read_text()
            except FileNotFoundError:
                raise BadInput(f"Part {number} has not arrived. Send it again.") from None
            if not hmac.compare_digest(known.encode(), etag.strip('"').encode()):
                raise BadInput(f"Part {number} was sent anew since. Finish with its newest ETag.")
        data = self.folder / _DATA
        if data.stat().st_size != self.size:
            raise BadInput(f"{data.stat().st_size} bytes arrived and not {self.size}. Send again.")
        with data.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != self.sha256:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise BadInput(
                f"The bytes sent for sha256 {self.sha256} have sha256 {actual}. Upload them again."
            )
        hub.blobs.adopt(data, self.sha256)
        shutil.rmtree(self.folder, ignore_errors=True)


def parted_upload(
    hub: Hub, repository_id: int, user_id: int | None, sha256: str, size: int, part_size: int
) -> PartedUpload:
    """Return the upload of these bytes by this user to this repository, begun or not."""
    text = f"multipart\0{repository_id}\0{user_id}\0{sha256}\0{size}\0{part_size}"
    name = hmac.new(hub.secret, text.encode(), hashlib.sha256).hexdigest()[:32]
    return PartedUpload(hub.settings.temporary_dir / f"parts-{name}", sha256, size, part_size)


def part_size(hub: Hub, size: int) -> int:
    """Return the length of the parts of a file of ``size`` bytes: the setting, or what it takes."""
    return max(hub.settings.lfs_part_size, -(-size // MAX_PARTS))
