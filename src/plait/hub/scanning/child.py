# SPDX-License-Identifier: Apache-2.0
"""What looks into one file, in a process of its own with bounded time and memory.

It runs alone, as ``python -I child.py FILE NAME MEMORY SECONDS``, imports nothing of Plait, and
writes one line of JSON. It reads pickles opcode by opcode; nothing is ever loaded.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
import lzma
import re
import resource
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

MAX_DEPTH = 3
"""Archives inside archives."""
MAX_MEMBERS = 50_000
MAX_UNPACKED = 512 * 2**20
"""Bytes unpacked of one file, all of its members together."""
MAX_IMPORTS = 200
MAX_FICKLING = 8 * 2**20
"""A pickle above this is left to one scanner: the second holds it as a syntax tree."""

_PICKLES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill"})
_TORCH = frozenset({".pt", ".pth", ".bin", ".ckpt"})
_NUMPY = b"\x93NUMPY"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_LAMBDA = re.compile(rb'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
_OBJECTS = re.compile(rb"'[|<>=]?O\d*'")


class TooMuch(Exception):
    """The file holds more than is looked at."""


@dataclass
class Findings:
    """What was found so far."""

    imports: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unpacked: int = 0
    members: int = 0

    def note(self, text: str) -> None:
        """Keep a remark, which makes the file suspicious."""
        if text not in self.notes and len(self.notes) < 20:
            self.notes.append(text[:300])

    def add(self, module: str, name: str, safety: str) -> None:
        """Keep an import of a pickle: ``innocuous``, ``suspicious`` or ``dangerous``."""
        key = (str(module)[:200], str(name)[:200])
        if len(self.imports) < MAX_IMPORTS or safety == "dangerous":
            self.imports[key] = safety

    def verdict(self) -> str:
        """``unsafe``, ``suspicious`` or ``safe``."""
        if "dangerous" in self.imports.values():
            return "unsafe"
        return "suspicious" if self.notes or "suspicious" in self.imports.values() else "safe"


def inspect(stream: IO[bytes], name: str, found: Findings, depth: int = 0) -> None:
    """Look into a file by its first bytes and its name's end.

    Raises:
        TooMuch: it unpacks to more than is looked at.
    """
    start = stream.read(16)
    stream.seek(0)
    suffix = PurePosixPath(name).suffix.lower()
    if start.startswith(_HDF5):
        _search_lambda(stream, found)
        return
    if start.startswith(_NUMPY):
        _inspect_array(stream, name, found)
        return
    unpacked = _decompressed(stream, start, found)
    if unpacked is not None:
        if depth >= MAX_DEPTH:
            raise TooMuch("It holds archives inside archives, too deep.")
        inspect(unpacked, name.removesuffix(suffix) or name, found, depth + 1)
        return
    stream.seek(0)
    is_zip = zipfile.is_zipfile(stream)
    stream.seek(0)
    if is_zip or start.startswith(_ZIP):
        _inspect_archive(stream, name, found, depth)
    # What ends as an archive may begin as a pickle, which is read from its beginning.
    if not start.startswith(_ZIP):
        stream.seek(0)
        _inspect_pickle(stream, name, suffix, found)


def _inspect_archive(stream: IO[bytes], name: str, found: Findings, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise TooMuch("It holds archives inside archives, too deep.")
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError):
        found.note("The archive cannot be read.")
        return
    with archive:
        for member in archive.infolist():
            found.members += 1
            if found.members > MAX_MEMBERS:
                raise TooMuch(f"It holds more than {MAX_MEMBERS} files.")
            try:
                with archive.open(member) as part:
                    start = part.read(16)
                if _of_interest(member.filename, start):
                    with archive.open(member) as part:
                        data = _bounded(part, found)
                    inner = f"{name}/{member.filename}"
                    if member.filename.endswith("config.json"):
                        if _LAMBDA.search(data):
                            found.note("A Lambda layer holds Python code.")
                    else:
                        inspect(io.BytesIO(data), inner, found, depth + 1)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError):
                found.note("A member of the archive cannot be read.")
            except (zlib.error, lzma.LZMAError, ValueError, struct.error):
                found.note("A member of the archive is damaged.")


def _of_interest(name: str, start: bytes) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return (
        suffix in _PICKLES
        or name.endswith("config.json")
        or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))
        or start.startswith((_NUMPY, _HDF5, _ZIP))
    )


def _bounded(part: Any, found: Findings) -> bytes:
    data: bytes = part.read(MAX_UNPACKED - found.unpacked + 1)
    found.unpacked += len(data)
    if found.unpacked > MAX_UNPACKED:
        raise TooMuch(f"It unpacks to more than {MAX_UNPACKED >> 20} MiB.")
    return data


def _decompressed(stream: IO[bytes], start: bytes, found: Findings) -> IO[bytes] | None:
    """Unpack what joblib and others read through: gzip, bzip2, xz or zlib."""
    try:
        if start.startswith(b"\x1f\x8b"):
            return io.BytesIO(_bounded(gzip.GzipFile(fileobj=stream), found))
        if start.startswith(b"BZh"):
            return io.BytesIO(_bounded(bz2.BZ2File(stream), found))
        if start.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
            return io.BytesIO(_bounded(lzma.LZMAFile(stream), found))
        if start[:1] == b"\x78" and start[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
            room = MAX_UNPACKED - found.unpacked + 1
            machine, data = zlib.decompressobj(), bytearray()
            while len(data) < room and (part := stream.read(2**16)):
                data += machine.decompress(part, room - len(data))
                while machine.unconsumed_tail and len(data) < room:
                    data += machine.decompress(machine.unconsumed_tail, room - len(data))
            return io.BytesIO(_bounded(io.BytesIO(bytes(data)), found))
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError):
        found.note("It begins like a compressed file and cannot be unpacked.")
    return None


def _inspect_array(stream: IO[bytes], name: str, found: Findings) -> None:
    head = stream.read(12)
    wide = head[6:7] in (b"\x02", b"\x03")
    size = int.from_bytes(head[8:12] if wide else head[8:10], "little")
    stream.seek(12 if wide else 10)
    header = stream.read(min(size, 2**20))
    if _OBJECTS.search(header):
        # An array of objects is a pickle behind a header.
        rest = io.BytesIO(_bounded(stream, found))
        _inspect_pickle(rest, name, ".pkl", found)


def _search_lambda(stream: IO[bytes], found: Findings) -> None:
    rest = b""
    while part := stream.read(2**20):
        if _LAMBDA.search(rest + part):
            found.note("A Lambda layer holds Python code.")
            return
        rest = part[-64:]


def _inspect_pickle(stream: IO[bytes], name: str, suffix: str, found: Findings) -> None:
    from picklescan.scanner import (  # type: ignore[import-untyped]
        scan_bytes,
        scan_pickle_bytes,
    )

    if suffix in _TORCH:
        result = scan_bytes(stream, name, suffix)
    else:
        result = scan_pickle_bytes(stream, name)
    for one in result.globals:
        found.add(one.module, one.name, one.safety.value)
    if result.scan_err:
        found.note("It is a pickle only in part: not all of it can be read.")
    stream.seek(0)
    data = stream.read(MAX_FICKLING + 1)
    if len(data) <= MAX_FICKLING and (result.globals or data[:1] == b"\x80"):
        _ask_fickling(data, found)


def _ask_fickling(data: bytes, found: Findings) -> None:
    """Ask the second scanner, where it is installed, for what is malicious beyond doubt.

    What it only finds unusual is usual in models: it says that of every PyTorch file.
    """
    try:
        from fickling.analysis import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            Severity,
            check_safety,
        )
        from fickling.fickle import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            StackedPickle,
        )
    except ImportError:
        return
    try:
        for pickled in StackedPickle.load(io.BytesIO(data)):
            if check_safety(pickled).severity >= Severity.LIKELY_OVERTLY_MALICIOUS:
                found.add("fickling", "overtly malicious", "dangerous")
    except MemoryError:
        raise
    except Exception:
        # It follows fewer opcodes than Python; the first scanner has read them already.
        return


def _limit(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def report(path: str, name: str) -> dict[str, Any]:
    """Look into the file at ``path``, which people call ``name``."""
    found = Findings()
    reason = ""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - this file stands alone
            inspect(stream, name, found)
    except TooMuch as error:
        reason = str(error)
    except (MemoryError, RecursionError):
        reason = "Looking into it takes more memory than a scan may use."
    except Exception as error:
        reason = f"It cannot be read ({type(error).__name__})."
    verdict = found.verdict()
    if reason and verdict != "unsafe":
        verdict = "failed"
    rank = {"dangerous": 0, "suspicious": 1}
    imports = sorted(found.imports.items(), key=lambda item: (rank.get(item[1], 2), item[0]))
    return {
        "verdict": verdict,
        "imports": [
            {"module": module, "name": what, "safety": safety}
            for (module, what), safety in imports[:MAX_IMPORTS]
        ],
        "notes": found.notes,
        "reason": reason,
    }


def main() -> None:
    """Run as a process of its own."""
    path, name, memory, seconds = sys.argv[1:5]
    _limit(int(memory), int(seconds))
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps(report(path, name)) + "\n")


if __name__ == "__main__":
    main()
