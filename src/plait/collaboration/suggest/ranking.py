# SPDX-License-Identifier: Apache-2.0
"""Reading a sample, ranking model folders by transferability, and telling which could be fused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput, Cancelled, PlaitError

MAX_BYTES = 2 * 2**20
MAX_ROWS = 1_000
MAX_CHARACTERS = 4_000
MAX_LABELS = 100
ORDER = "knn"
"""The measure that models are ranked by: the one that found good encoders best in the benchmark."""


@dataclass(frozen=True)
class Sample:
    """Texts with their labels."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def classes(self) -> list[int]:
        """The labels as numbers, from 0 in the order of their names."""
        names = {name: place for place, name in enumerate(sorted(set(self.labels)))}
        return [names[label] for label in self.labels]


def parse_sample(content: bytes) -> Sample:
    """Read CSV (with a header) or JSON Lines with columns ``text`` and ``label``.

    Raises:
        BadInput: it is neither, or too large, or too small to say anything.
    """
    if len(content) > MAX_BYTES:
        raise BadInput(f"A sample may have {MAX_BYTES // 2**20} MB; send fewer rows.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("The sample must be UTF-8 text: CSV or JSON Lines.") from None
    rows = _lines(text) if text.lstrip()[:1] == "{" else _table(text)
    texts, labels = [], []
    for number, row in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise BadInput(f"A sample may have {MAX_ROWS} rows; send fewer.")
        value, label = row.get("text"), row.get("label")
        if not isinstance(value, str) or not value.strip() or label is None or label == "":
            raise BadInput(f"Row {number} of the sample needs a text and a label.")
        if not isinstance(label, str | int | bool):
            raise BadInput(f"The label of row {number} of the sample must be a word or a number.")
        texts.append(value[:MAX_CHARACTERS])
        labels.append(str(label)[:200])
    counts = {label: labels.count(label) for label in set(labels)}
    if len(texts) < 20 or len(counts) < 2 or len(counts) > MAX_LABELS or min(counts.values()) < 2:
        raise BadInput(
            f"A sample needs 20 rows or more, and 2 to {MAX_LABELS} labels with two rows each."
        )
    return Sample(tuple(texts), tuple(labels))


def rank_models(
    folders: Mapping[str, Path],
    sample: Sample,
    progress: Callable[[float, str], None] = lambda fraction, stage: None,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Measure encoders frozen on a sample.

    Returns:
        The models, best first, each with its measures and their intervals; and those that cannot
        be measured, with the reason.
    """
    from plait.evaluation.transferability import embed, measure

    found: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []
    for place, (name, folder) in enumerate(folders.items()):

        def tell(done: int, total: int, name: str = name, place: int = place) -> None:
            progress((place + done / max(total, 1)) / len(folders), f"reading with {name}")

        try:
            features = embed(folder, sample.texts, tell)
            measured = measure(features, sample.classes)
        except Cancelled:
            raise
        except PlaitError as error:
            told = error.message.replace(str(folder), name).replace(folder.name, name)
            left.append({"model": name, "reason": told[:300]})
            continue
        found.append({"model": name, **measured.to_json()})
    found.sort(key=lambda row: (-row[ORDER]["value"], -row["logme"]["value"], row["model"]))
    best = found[0][ORDER]["value"] if found else 0.0
    for row in found:
        row["near_best"] = row[ORDER]["high"] >= best
    return found, left


def fusable(folders: Mapping[str, Path], bases: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tell of each pair of models how they could be fused.

    Weights can be fused if every tensor of the encoder is in both with one shape; that this is also
    worth trying is known if both name one base.

    Args:
        folders: the models.
        bases: the base that each one's card names, where it does.
    """
    from plait.fusion.weights.checkpoints import open_checkpoint

    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, folder in folders.items():
        try:
            tensors = open_checkpoint(folder).tensors
        except PlaitError:
            continue
        shapes[name] = {_bare(key): tuple(one.shape) for key, one in tensors.items() if _body(key)}
    names = list(shapes)
    made = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            alike = shapes[one] == shapes[other]
            base = bases.get(one) or one
            same = alike and base.lower() == (bases.get(other) or other).lower()
            level = "weights" if same else "weights, if one base" if alike else "outputs"
            made.append({"models": [one, other], "level": level})
    return made


_HEADS = ("classifier", "pooler", "score", "position_ids", "cls.")


def _body(key: str) -> bool:
    return not any(
        part in key for part in ("classifier", "pooler", "score", "position_ids", "cls.")
    )


def _bare(key: str) -> str:
    """Drop the name of the encoder inside a model with a head, as ``bert.``."""
    head, dot, rest = key.partition(".")
    return rest if dot and head not in ("embeddings", "encoder", "layers", "transformer") else key


def _lines(text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise BadInput(f"Line {number} of the sample is not a JSON object.")
        rows.append(row)
    return rows


def _table(text: str) -> list[dict[str, Any]]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        names = reader.fieldnames or []
        if "text" not in names or "label" not in names:
            raise BadInput("The sample's first line must name the columns 'text' and 'label'.")
        return [dict(row) for _, row in zip(range(MAX_ROWS + 1), reader, strict=False)]
    except csv.Error as error:
        raise BadInput(f"The sample is no CSV: {error}.") from None
