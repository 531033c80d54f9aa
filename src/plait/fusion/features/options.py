# SPDX-License-Identifier: Apache-2.0
"""What a recipe of feature fusion may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import choice
from plait.recipes.levels import LevelRecipe, Option, parse_level
from plait.recipes.project import TaskSpec

MODALITIES = ("text", "image", "audio")
HEADS = ("concat", "gated", "bilinear", "attention")
TRAININGS = ("joint", "transfer", "combined")
TUNES = ("frozen", "tuned")
BUILT_IN = "log-mel"
"""The encoder that needs no folder: log-mel features and a few convolutions, drawn by the seed."""

OPTIONS = (
    Option("fusion", "gated", "how modalities are fused", "word", words=HEADS),
    Option(
        "training",
        "joint",
        "joint: all at once; transfer: each modality alone, then a head over them as they are; "
        "combined: transfer, then all at once",
        "word",
        words=TRAININGS,
    ),
    Option("width", 256, "numbers that each modality becomes", "whole", low=4, high=8_192),
    Option("dropout", 0.5, "share of what a layer reads that is left out", "number", high=0.95),
    Option(
        "modality_dropout",
        0.25,
        "how often an item loses a modality in training, so that the model learns to do without",
        "number",
        high=0.9,
    ),
    Option("epochs", 100, "how often each item is seen, at most", "whole", low=1, high=10_000),
    Option(
        "patience", 10, "epochs without a better one before it ends", "whole", low=1, high=1_000
    ),
    Option("learning_rate", 3e-4, "of heads and projections", "number", low=1e-9, high=1),
    Option("encoder_learning_rate", 2e-5, "of tuned encoders", "number", low=1e-9, high=1),
    Option("weight_decay", 0.01, "AdamW's", "number", high=10),
    Option("batch_size", 32, "items in one step", "whole", low=1, high=4_096),
    Option("max_length", 64, "the most tokens of a text", "whole", low=1, high=8_192),
    Option("balance_classes", True, "weigh every class the same in the loss", "flag"),
)

MEMBER_KEYS = ("modality", "tune")


@dataclass(frozen=True)
class Member:
    """One encoder of the recipe."""

    name: str
    model: str
    modality: str
    tuned: bool


@dataclass(frozen=True)
class FeatureRecipe:
    """A whole recipe of feature fusion: what every level has, its encoders, and its one task."""

    level: LevelRecipe
    members: tuple[Member, ...]
    task: TaskSpec

    def __getitem__(self, name: str) -> Any:
        return self.level.parameters[name]


def parse(data: Mapping[str, Any], folder: Path) -> FeatureRecipe:
    """Read a recipe of feature fusion.

    Raises:
        BadInput: naming the key and what to write instead.
    """
    level = parse_level(
        data, OPTIONS, folder=folder, member_keys=MEMBER_KEYS, members=(1, len(MODALITIES))
    )
    if level.base_model is not None:
        raise BadInput("Feature fusion has no 'base_model'; name an encoder of each modality.")
    members = []
    for place, member in enumerate(level.models):
        where = f"models[{place}]"
        if "modality" not in member.extra:
            raise BadInput(f"{where} needs 'modality': one of {', '.join(MODALITIES)}.")
        modality = choice(member.extra["modality"], f"{where}.modality", MODALITIES)
        usual = "tuned" if member.model == BUILT_IN else "frozen"
        tune = choice(member.extra.get("tune", usual), f"{where}.tune", TUNES)
        members.append(Member(member.name, member.model, modality, tune == "tuned"))
    for modality in MODALITIES:
        if sum(m.modality == modality for m in members) > 1:
            raise BadInput(
                f"Two encoders read '{modality}'; feature fusion takes one of each modality. "
                "Fuse the outputs of several with 'method: ensemble'."
            )
    if len(level.tasks) != 1:
        raise BadInput(
            f"Feature fusion learns one task, and the recipe has {len(level.tasks)}; name one "
            "under 'tasks'."
        )
    task = level.tasks[0]
    columns = {m: getattr(task.columns, m) for m in MODALITIES}
    for reader in members:
        if columns[reader.modality] is None:
            raise BadInput(
                f"'{reader.name}' reads {reader.modality}, and task '{task.name}' has no such "
                f"column; write 'columns: {{{reader.modality}: NAME}}'."
            )
    return FeatureRecipe(level, tuple(sorted(members, key=_place)), task)


def _place(member: Member) -> int:
    return MODALITIES.index(member.modality)
