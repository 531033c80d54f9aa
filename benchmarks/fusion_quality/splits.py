# SPDX-License-Identifier: Apache-2.0
"""Splits of a corpus: no document, template or word in two of them, classes of like size."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion_quality.corpora import Text

PER_GROUP = 12
"""At most so many texts of one document or template in a split."""


def deal(
    name: str, texts: Sequence[Text], wanted: Mapping[str, int], seed: int
) -> dict[str, list[Text]]:
    """Deal whole groups to the splits in the order given, until each class has its share.

    Groups come in the order of a hash of the seed and their name, so splits are the same
    everywhere. A class with too few texts has fewer in the last split, `train`.
    """

    def order(text: str) -> bytes:
        return hashlib.sha256(f"{seed}|{name}|{text}".encode()).digest()

    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.group, []).append(text)
    left = sorted(groups, key=order)
    classes = sorted({text.label for text in texts})
    splits: dict[str, list[Text]] = {}
    for split, count in wanted.items():
        quota = Counter({label: -(-count // len(classes)) for label in classes})
        chosen: list[Text] = []
        later = []
        for group in left:
            took = 0
            for text in sorted(groups[group], key=lambda t: order(t.text)):
                if took < PER_GROUP and quota[text.label] > 0:
                    quota[text.label] -= 1
                    took += 1
                    chosen.append(text)
            if not took:
                later.append(group)
        left = later
        splits[split] = sorted(chosen, key=lambda t: order(t.text))
    return splits


def write(folder: Path, splits: Mapping[str, Sequence[Text]]) -> None:
    """Write splits as a data set: `data/SPLIT.jsonl` with columns text, label and group."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, texts in splits.items():
        rows = [{"text": t.text, "label": t.label, "group": t.group} for t in texts]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "data" / f"{split}.jsonl").write_text(lines, "utf-8")
