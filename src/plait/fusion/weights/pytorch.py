# SPDX-License-Identifier: Apache-2.0
"""PyTorch's .bin files: where their tensors lie, without running anything of theirs.

Such a file is a zip archive with a pickle, which says what tensors there are, and one uncompressed
member for each storage. The pickle is read by an unpickler that knows six names and nothing else:
a file that asks for any other is refused. Tensors are then read in place, as those of safetensors.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from plait.errors import BadInput
from plait.fusion.weights.numbers import STORAGE
from plait.fusion.weights.safetensors import MAX_NAME, MAX_RANK, Entry

MAX_PICKLE = 100_000_000
# what zipfile says of archives that are none, or use what it does not know
_DAMAGED = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
)
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_STORAGES = {
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "DoubleStorage": "F64",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}


@dataclass(frozen=True)
class _Kind:
    """Stands for a class of storages; it cannot be made or called."""

    code: str


@dataclass(frozen=True)
class _Storage:
    code: str
    member: str
    size: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_bin(path: Path) -> dict[str, Entry]:
    """Return the tensors of a PyTorch file by name.

    Raises:
        BadInput: if it is not a zip archive of tensors alone, or they do not fit their storages.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _entries(path, archive)
    except _DAMAGED:
        raise BadInput(
            f"{path} is damaged, or not a PyTorch file of version 1.6 or later; save it again with "
            "save_pretrained(..., safe_serialization=True)."
        ) from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, Entry]:
    members = {info.filename: info for info in archive.infolist()}
    main = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(main) != 1 or members[main[0]].file_size > MAX_PICKLE:
        raise BadInput(f"{path} is not a PyTorch file: it has no (or too large a) data.pkl.")
    root = main[0].removesuffix("data.pkl")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise BadInput(f"{path} holds big-endian numbers; save it again on a common machine.")
    try:
        found = _Unpickler(io.BytesIO(archive.read(main[0])), path).load()
    except BadInput:
        raise
    except Exception:  # a damaged pickle can fail in any way
        raise BadInput(f"{path} is damaged: its list of tensors cannot be read.") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise BadInput(f"{path} does not hold a model's tensors by name.")
    starts: dict[str, int] = {}
    entries = {}
    with path.open("rb") as file:
        for name, value in found.items():
            if not isinstance(name, str) or len(name) > MAX_NAME or not isinstance(value, _Tensor):
                raise BadInput(f"{path}: '{str(name)[:100]}' is not a tensor.")
            member = f"{root}data/{value.storage.member}"
            if member not in starts:
                starts[member] = _start(path, file, members.get(member))
            entries[name] = _entry(path, name, value, members[member], starts[member])
    return entries


def _start(path: Path, file: Any, info: zipfile.ZipInfo | None) -> int:
    """Return where the bytes of an archive's member begin in the file."""
    if info is None or info.compress_type != zipfile.ZIP_STORED:
        raise BadInput(f"{path} is damaged: a tensor's bytes are missing or compressed.")
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise BadInput(f"{path} is damaged: its archive's directory does not fit.")
    _, name, extra = _LOCAL_HEADER.unpack(header)
    return int(info.header_offset + _LOCAL_HEADER.size + name + extra)


def _entry(path: Path, name: str, value: _Tensor, info: zipfile.ZipInfo, start: int) -> Entry:
    size = math.prod(value.shape)
    width = STORAGE[value.storage.code].itemsize
    expected = []
    step = 1
    for length in reversed(value.shape):
        expected.append(step)
        step *= length
    contiguous = all(
        length == 1 or stride == wanted
        for length, stride, wanted in zip(
            value.shape, value.strides, reversed(expected), strict=True
        )
    )
    if not contiguous and size:
        raise BadInput(
            f"{path}: tensor '{name[:100]}' is not stored row by row; save the model again with "
            "save_pretrained(..., safe_serialization=True)."
        )
    if value.offset < 0 or (value.offset + size) * width > info.file_size:
        raise BadInput(f"{path}: tensor '{name[:100]}' goes beyond its bytes; fetch it again.")
    offset = start + value.offset * width
    if offset + size * width > path.stat().st_size:
        raise BadInput(f"{path} is truncated: it ends inside '{name[:100]}'; fetch it again.")
    return Entry(name, value.storage.code, value.shape, path, offset, size * width)


class _Unpickler(pickle.Unpickler):
    """Knows how tensors are written; any other name ends the reading."""

    def __init__(self, file: io.BytesIO, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module, name) not in known:
            self._refuse(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _Kind(code=code), str(member), _, int(size)) if size >= 0:
                return _Storage(code, member, size)
        raise pickle.UnpicklingError("not a storage")

    def _refuse(self, what: str) -> NoReturn:
        raise BadInput(
            f"{self._path} asks for '{what[:100]}': it is more than tensors and could run code; "
            "nothing of it was run. Save the model as safetensors."
        )


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> _Tensor:
    whole = isinstance(shape, tuple) and isinstance(strides, tuple) and type(offset) is int
    if (
        not isinstance(storage, _Storage)
        or not whole
        or len(shape) != len(strides)
        or len(shape) > MAX_RANK
        or not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, *strides))
    ):
        raise pickle.UnpicklingError("not a tensor")
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: Any, *rest: Any) -> _Tensor:
    if not isinstance(data, _Tensor):
        raise pickle.UnpicklingError("not a tensor")
    return data
