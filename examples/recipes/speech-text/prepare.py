# SPDX-License-Identifier: Apache-2.0
"""Make what the recipe reads: prompts of a telephone exchange, recorded and named, and encoders.

Recordings are those of Debian's asterisk-core-sounds-en-wav, the text is a file's name without what
says its label. Weights of the encoders (Resemblyzer, MiniLM) come out of packages. Everything goes
into `work/`, once.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from plait.demo.data import encoder_folder
from plait.demo.modalities import voice_encoder, write_pairs
from plait.demo.modalities_speech import speech_pairs

WORK = Path(__file__).parent / "work"


def prepare(work: Path = WORK) -> None:
    """Write data and encoders that are not there yet."""
    if not (work / "data").exists():
        write_pairs(speech_pairs(work / "unpacked"), work / "data")
        shutil.rmtree(work / "unpacked")
    if not (work / "minilm").exists():
        shutil.copytree(encoder_folder("minilm"), work / "minilm")
    if not (work / "resemblyzer").exists():
        voice_encoder(work / "resemblyzer")
    for file in sorted((work / "data" / "data").glob("*.jsonl")):
        labels = Counter(json.loads(line)["label"] for line in file.read_text("utf-8").splitlines())
        told = ", ".join(f"{count} {label}" for label, count in sorted(labels.items()))
        print(f"{file.stem}: {labels.total()} prompts ({told})")


if __name__ == "__main__":
    prepare()
