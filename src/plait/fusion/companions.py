# SPDX-License-Identifier: Apache-2.0
"""The files beside the weights: configuration and tokenizer, from the base or the first model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.checkpoints import Checkpoint
from plait.fusion.numbers import NAMES
from plait.fusion.plan import Plan

MAX_COMPANION = 200_000_000
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
)
_OTHER = ("generation_config.json", "preprocessor_config.json", "processor_config.json")
_SENTENCE = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
_DEPTH = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_VOCABULARY = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def check_tokenizers(plan: Plan, models: Mapping[str, Checkpoint]) -> None:
    """Refuse `tokenizer_source: base` for models whose vocabularies are not the base's.

    Raises:
        BadInput: naming the model and the file that differs.
    """
    if plan.recipe.tokenizer_source is None:
        return
    base = models[plan.donor].folder
    for reference, model in models.items():
        for name in _VOCABULARY:
            mine, theirs = base / name, model.folder / name
            if mine.is_file() and theirs.is_file() and _vocabulary(mine) != _vocabulary(theirs):
                raise BadInput(
                    f"The vocabulary of '{reference}' ({name}) is not that of '{plan.donor}'; "
                    "fusing different vocabularies is not supported yet."
                )


def write_companions(
    folder: Path, plan: Plan, models: Mapping[str, Checkpoint], shards: Iterable[str]
) -> None:
    """Copy configuration and tokenizer; the configuration tells depth and format anew."""
    donor = models[plan.donor]
    for name in (*_TOKENIZER, *_OTHER, *_SENTENCE):
        source = donor.folder / name
        if source.is_file() and source.stat().st_size <= MAX_COMPANION:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / name)
    config = dict(donor.config)
    if not config:
        return
    _tell_format(config, plan)
    if plan.recipe.slices:
        _tell_depth(config, max(plan.layers.values()))
    (folder / "config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8"
    )


def _tell_format(config: dict[str, Any], plan: Plan) -> None:
    formats = {job.out for job in plan.jobs if not job.copies}
    if len(formats) != 1:
        return
    for key in ("dtype", "torch_dtype"):
        if key in config:
            config[key] = NAMES[next(iter(formats))]


def _tell_depth(config: dict[str, Any], depth: int) -> None:
    for key in _DEPTH:
        before = config.get(key)
        if isinstance(before, int):
            config[key] = depth
            if isinstance(config.get("layer_types"), list) and len(config["layer_types"]) == before:
                kinds = config["layer_types"]
                config["layer_types"] = [kinds[i % len(kinds)] for i in range(depth)]


def _vocabulary(path: Path) -> object:
    if path.stat().st_size > MAX_COMPANION:
        raise BadInput(f"{path} is larger than {MAX_COMPANION:,} bytes.")
    data = path.read_bytes()
    if path.name != "tokenizer.json":
        return data
    try:
        parsed = json.loads(data)
        return (parsed["model"].get("vocab"), parsed.get("added_tokens"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{path} is not a tokenizer; fetch the model again.") from None
