# SPDX-License-Identifier: Apache-2.0
"""What running and training models will take: CPU-seconds, memory and bytes, from headers alone.

Running a model on a token takes two operations for each parameter that is no row of a table
(Kaplan et al. 2020, arXiv:2001.08361, section 2.1), training it some three times as many; how many
of them this machine does in a second is measured with a matrix product.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plait.evaluation.tasks import Task
from plait.fusion.weights.check import ModelFacts
from plait.fusion.weights.checkpoints import STATISTICS
from plait.fusion.weights.licences import licence_of
from plait.fusion.weights.safetensors import Entry, read_header
from plait.fusion.weights.vocabulary import read_vocabulary
from plait.pretrained import read_config

RUNTIME = 400_000_000
"""Bytes that torch and transformers take by themselves."""
STARTING = 5.0
"""CPU-seconds to import them and to open the models."""
EFFICIENCY = 0.5
"""Of the speed of large matrix products, what running a model on a batch comes to."""
TRAINING = 3.5
"""How many times the work of an answer a step of training is."""
STATE = 5
"""Numbers kept for each parameter in training: itself, its gradient, two of Adam's, a copy."""
KEPT = 68
"""Bytes that a layer keeps of a token for each number of its width, for the way back: 34 with two
bytes a number (Korthikanti et al. 2022, arXiv:2205.05198, section 4.1), here there are four."""
LONGEST = 4
"""How many times the mean the longest texts are, which a batch is of: texts alike go together."""
CHARACTERS = 4  # of a token


_LOOKED_UP = ("embed", "wte", "wpe", "shared.weight")


@dataclass(frozen=True)
class ModelSize:
    """How large a model folder is: bytes of weights, parameters, and those that are multiplied."""

    bytes: int
    work: int
    parameters: int


def model_size(folder: Path) -> ModelSize:
    """Return a folder's size and work, from the headers of its safetensors files.

    Word and position vectors are looked up, not multiplied, and are no work. Every head counts
    towards the size; they are too small to count towards the work differently.
    """
    size = work = every = 0
    for file in sorted(folder.rglob("*.safetensors")):
        if file.name == STATISTICS:
            continue
        size += file.stat().st_size
        for name, entry in read_header(file).items():
            every += entry.size
            if not any(word in name for word in _LOOKED_UP):
                work += entry.size
    return ModelSize(size, work, every)


def training_memory(folder: Path, *, batch: int, tokens: float) -> float:
    """Return the bytes of a model in training on `batch` texts at a time, `tokens` their mean.

    Word vectors are taken to be frozen.
    """
    config, size = read_config(folder), model_size(folder)
    width = config.get("hidden_size") or config.get("dim") or config.get("d_model") or 0
    layers = config.get("num_hidden_layers") or config.get("n_layers") or 0
    kept = KEPT * width * layers if isinstance(width, int) and isinstance(layers, int) else 0
    return 4 * size.parameters + 4 * (STATE - 1) * size.work + kept * batch * LONGEST * tokens


def folder_facts(name: str, folder: Path, *, reads_text: bool = True) -> ModelFacts:
    """Return what the headers, the configuration and the card of a model's folder say."""
    config = read_config(folder)
    entries = folder_tensors(folder)
    vocabulary = read_vocabulary(folder) if reads_text else None
    names = config.get("architectures")
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    return ModelFacts(
        reference=name,
        architecture=names[0] if isinstance(names, list) and names else config["model_type"],
        parameters=sum(e.size for e in entries),
        bytes=sum(e.nbytes for e in entries),
        formats=tuple(sorted({e.kind for e in entries})),
        layers=layers if isinstance(layers, int) else 0,
        vocabulary=len(vocabulary.tokens) if vocabulary else None,
        tied=False,
        licence=licence_of(folder),
    )


def folder_tensors(folder: Path) -> list[Entry]:
    """Return the tensors of a model's folder and of its heads'; no weights are read."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("heads/*/*.safetensors")])
    return [e for f in files if f.name != STATISTICS for e in read_header(f).values()]


def tokens_of(texts: Iterable[str], max_length: int) -> int:
    """Return about how many tokens texts have, each cut at `max_length`."""
    return sum(min(max_length, math.ceil(len(text) / CHARACTERS) + 2) for text in texts)


def task_tokens(tasks: Sequence[Task], max_length: int) -> int:
    """Return about how many tokens the texts of some tasks' items have."""
    return tokens_of((item.text for task in tasks for item in task.items), max_length)


def seconds(parameters: float, tokens: float) -> float:
    """Return the CPU-seconds in which a model answers so many tokens.

    `parameters` leaves out those of tables, which are looked up.
    """
    return 2 * parameters * tokens / (EFFICIENCY * speed())


def speed() -> float:
    """Return multiplications and additions of a large matrix product in a CPU-second, measured."""
    if not _measured:
        matrix = np.ones((512, 512), dtype=np.float32)
        matrix @ matrix
        started, rounds = time.process_time(), 4
        for _ in range(rounds):
            matrix @ matrix
        _measured.append(rounds * 2 * 512**3 / max(time.process_time() - started, 1e-6))
    return _measured[0]


_measured: list[float] = []
