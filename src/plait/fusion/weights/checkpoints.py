# SPDX-License-Identifier: Apache-2.0
"""A model folder: its safetensors files, what they hold, and what they hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights.checksums import file_stamp
from plait.fusion.weights.naming import layer_counts
from plait.fusion.weights.pytorch import read_bin
from plait.fusion.weights.safetensors import Entry, read_header

MAX_INDEX = 200_000_000
MAX_CONFIG = 20_000_000
GGUF = ".gguf"
STATISTICS = "plait_statistics.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class Checkpoint:
    """A model folder whose headers have been read and checked; no weights are in memory."""

    folder: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, Entry]
    config: Mapping[str, Any]
    stamps: Mapping[Path, tuple[int, int, int, int]] = field(default_factory=dict)
    statistics: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """The model class that config.json names, or "unknown architecture"."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0][:100]
        kind = self.config.get("model_type")
        return kind[:100] if isinstance(kind, str) else "unknown architecture"

    def unchanged(self) -> bool:
        """Tell whether the files are still those that were opened."""
        return all(file_stamp(path) == stamp for path, stamp in self.stamps.items())


@dataclass(frozen=True)
class ModelSummary:
    """What the headers of a model folder say."""

    folder: Path
    architecture: str
    files: tuple[str, ...]
    tensors: int
    parameters: int
    bytes: int
    dtypes: Mapping[str, int]
    layers: int


def check_model(folder: Path | str) -> ModelSummary:
    """Read the headers of a model folder and return what they say; weights are not read.

    Raises:
        BadInput: if there are no safetensors files, or a header does not fit its data.
    """
    model = open_checkpoint(Path(folder))
    dtypes: dict[str, int] = {}
    for entry in model.tensors.values():
        dtypes[entry.code] = dtypes.get(entry.code, 0) + entry.size
    return ModelSummary(
        folder=model.folder,
        architecture=model.architecture,
        files=tuple(p.name for p in model.files),
        tensors=len(model.tensors),
        parameters=sum(e.size for e in model.tensors.values()),
        bytes=sum(e.nbytes for e in model.tensors.values()),
        dtypes=dtypes,
        layers=max(layer_counts(model.tensors).values(), default=0),
    )


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open a model folder: find its files, read and check their headers.

    Raises:
        BadInput: as `check_model`.
    """
    if folder.is_file() and folder.suffix == GGUF:
        return _open_gguf(folder)
    if not folder.is_dir():
        raise BadInput(f"There is no model folder {folder}.")
    index = folder / "model.safetensors.index.json"
    old_index = folder / "pytorch_model.bin.index.json"
    single = folder / "model.safetensors"
    others = sorted(f for f in folder.glob("*.safetensors") if f.name != STATISTICS)
    wanted = None
    if index.is_file():
        files, wanted = _indexed(folder, index, ".safetensors")
    elif single.is_file() or others:
        files = (single,) if single.is_file() else tuple(others)
    elif old_index.is_file():
        index = old_index
        files, wanted = _indexed(folder, index, ".bin")
    else:
        files = tuple(f for f in (folder / "pytorch_model.bin",) if f.is_file())
    if not files and (single_gguf := _only_gguf(folder)):
        return _open_gguf(single_gguf)
    if not files:
        raise BadInput(_nothing_to_read(folder))
    if (folder / "adapter_config.json").is_file() and files[0].name.startswith("adapter"):
        raise BadInput(
            f"{folder} is an adapter (LoRA), not a whole model; name it with its base, "
            "as 'base+adapter'."
        )
    stamps = {path: file_stamp(path) for path in files}
    tensors: dict[str, Entry] = {}
    for path in files:
        for name, entry in (read_bin if path.suffix == ".bin" else read_header)(path).items():
            if name in tensors:
                raise BadInput(
                    f"{folder}: tensor '{name}' is in {tensors[name].path.name} and in {path.name}."
                )
            tensors[name] = entry
    if wanted is not None:
        for name, file in wanted.items():
            if name not in tensors or tensors[name].path.name != file:
                raise BadInput(
                    f"{index} says that '{name[:100]}' is in {file}, but it is not; "
                    "fetch the model again."
                )
    if not tensors:
        raise BadInput(f"{folder} has no tensors in its safetensors files.")
    statistics = {}
    if (folder / STATISTICS).is_file():
        statistics = read_header(folder / STATISTICS)
    config = read_json(folder / "config.json", MAX_CONFIG)
    return Checkpoint(folder, files, tensors, config, stamps, statistics)


def _open_gguf(path: Path) -> Checkpoint:
    """Open a GGUF file; the folder where it lies may have its configuration and tokenizer."""
    from plait.fusion.weights.gguf_models import read_model

    stamps = {path: file_stamp(path)}
    tensors, config = read_model(path, read_json(path.parent / "config.json", MAX_CONFIG))
    if not tensors:
        raise BadInput(f"{path} has no tensors.")
    return Checkpoint(path.parent, (path,), tensors, config, stamps)


def _only_gguf(folder: Path) -> Path | None:
    found = sorted(folder.glob(f"*{GGUF}"))
    if len(found) > 1:
        raise BadInput(f"{folder} has {len(found)} GGUF files; name one of them, as '{found[0]}'.")
    return found[0] if found else None


def with_statistics(model: Checkpoint) -> Checkpoint:
    """Return the model with its file of statistics among its files: what they hold matters too."""
    path = model.folder / STATISTICS
    if not model.statistics or path in model.files:
        return model
    stamps = dict(model.stamps) | {path: file_stamp(path)}
    return replace(model, files=(*model.files, path), stamps=stamps)


def read_json(path: Path, most: int) -> dict[str, Any]:
    """Return the JSON object of a file of at most `most` bytes; an empty one for no file."""
    try:
        if path.stat().st_size > most:
            raise BadInput(f"{path} is larger than {most:,} bytes.")
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not valid JSON; fetch the model again.") from None
    if not isinstance(data, dict):
        raise BadInput(f"{path} must hold a JSON object.")
    return data


def identity(model: Checkpoint, hashes: Mapping[Path, str]) -> str:
    """Return a hash of a model's weights that depends on content alone, not on where it lies."""
    parts = sorted(hashes[path] for path in model.files)
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _indexed(folder: Path, index: Path, suffix: str) -> tuple[tuple[Path, ...], dict[str, str]]:
    data = read_json(index, MAX_INDEX).get("weight_map")
    if not isinstance(data, dict) or not data:
        raise BadInput(f"{index} has no 'weight_map'; fetch the model again.")
    for file in set(map(str, data.values())):
        if Path(file).name != file or not file.endswith(suffix):
            raise BadInput(
                f"{index} names '{file[:100]}', which is not a {suffix} file of this folder."
            )
        if not (folder / file).is_file():
            raise BadInput(f"{folder} lacks {file}, which its index names; fetch the model again.")
    return tuple(folder / f for f in sorted(set(data.values()))), data


def _nothing_to_read(folder: Path) -> str:
    for pattern in _PICKLES:
        found = next(iter(sorted(folder.glob(pattern))), None)
        if found:
            return (
                f"{folder} has only {found.name}, a pickle, which can run code and is not loaded; "
                "save the model again with save_pretrained(..., safe_serialization=True)."
            )
    return f"{folder} has no safetensors file; a model folder needs model.safetensors."
