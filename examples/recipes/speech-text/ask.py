# SPDX-License-Identifier: Apache-2.0
"""Ask the fused model with stock transformers: what are prompts named "3" for?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, AutoProcessor

WORK = Path(__file__).parent / "work"


def main() -> None:
    """Print the labels of some test prompts, and the model's with and without the recording."""
    model = AutoModelForSequenceClassification.from_pretrained(WORK / "out", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(WORK / "out", trust_remote_code=True)
    lines = (WORK / "data" / "data" / "test.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["text"] in ("3", "13", "7")]
    names = [row["text"] for row in rows]
    sounds = [str(WORK / "data" / row["audio"]) for row in rows]
    both = labels(model, processor(text=names, audio=sounds))
    alone = labels(model, processor(text=names))
    print("name  label     both      name alone")
    for row, one, other in zip(rows, both, alone, strict=True):
        print(f"{row['text']:<5} {row['label']:<9} {one:<9} {other}")


def labels(model: Any, inputs: Any) -> list[str]:
    """Return the most likely label of each item."""
    found = model.eval()(**inputs).logits.argmax(-1)
    return [model.config.id2label[int(number)] for number in found]


if __name__ == "__main__":
    main()
