# SPDX-License-Identifier: Apache-2.0
"""The files beside the weights: configuration and tokenizer, from the base or the first model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.fusion.weights.checkpoints import GGUF, MAX_CONFIG, Checkpoint, read_json
from plait.fusion.weights.gguf_models import write_tokenizer
from plait.fusion.weights.numbers import NAMES
from plait.fusion.weights.plan import Plan
from plait.fusion.weights.templates import FILE as TEMPLATE
from plait.fusion.weights.templates import chosen_template
from plait.fusion.weights.vocabulary import BINARY
from plait.pretrained import HEAD, HEADS, head_names

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
_HEAD_FILES = (HEAD, "config.json")
_DEPTH = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
# files that repeat a vocabulary which tokenizer.json has in full
_REPEATED = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", *BINARY)


def write_companions(
    folder: Path, plan: Plan, models: Mapping[str, Checkpoint], shards: Iterable[str]
) -> None:
    """Copy configuration and tokenizer; the configuration tells depth and format anew."""
    donor = models[plan.donor]
    spec = plan.recipe.tokenizer
    words = models[spec.source] if spec and spec.source not in ("base", "union") else donor
    for name in (*_TOKENIZER, *_OTHER, *_SENTENCE):
        source = (words if name in _TOKENIZER else donor).folder / name
        if source.is_file() and source.stat().st_size <= MAX_COMPANION:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / name)
    for task, place in find_heads(models).items():
        (folder / HEADS / task).mkdir(parents=True, exist_ok=True)
        for name in _HEAD_FILES:
            shutil.copyfile(place / name, folder / HEADS / task / name)
    source = words.files[0]
    if source.suffix == GGUF and not any((folder / name).exists() for name in _TOKENIZER):
        write_tokenizer(source, folder)
    _write_tokenizer(folder, plan)
    _write_template(folder, plan, models)
    config = dict(donor.config)
    if not config:
        return
    _tell_format(config, plan)
    if plan.vocabulary and "vocab_size" in config:
        config["vocab_size"] = plan.vocabulary.size
    if plan.recipe.slices:
        _tell_depth(config, _DEPTH, max(plan.layers.values()))
    for name, module in plan.recipe.modules.items():
        if module.slices:
            _tell_module(config, name, plan.layers)
    (folder / "config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8"
    )


def find_heads(models: Mapping[str, Checkpoint]) -> dict[str, Path]:
    """Return the folder of each task's head, of all models together (see `plait.heads`).

    Raises:
        BadInput: if two models have different heads for one task.
    """
    found: dict[str, Path] = {}
    for model in models.values():
        for task in head_names(model.folder):
            place = model.folder / HEADS / task
            other = found.setdefault(task, place)
            if any((place / n).read_bytes() != (other / n).read_bytes() for n in _HEAD_FILES):
                raise BadInput(
                    f"{model.folder} and {other.parent.parent} have different heads for the task "
                    f"'{task}'; name one of them otherwise, or fuse whole classifiers."
                )
    return found


def _tell_format(config: dict[str, Any], plan: Plan) -> None:
    formats = {job.out for job in plan.jobs if not job.copies}
    if len(formats) != 1:
        return
    for key in ("dtype", "torch_dtype"):
        if key in config:
            config[key] = NAMES[next(iter(formats))]


def _tell_module(config: dict[str, Any], name: str, layers: Mapping[str, int]) -> None:
    """Tell the new depth of one part: in its own settings, or under its own key."""
    depths = [n for stack, n in layers.items() if name in stack.split(".")[:2] or name == "default"]
    if not depths:
        return
    if name == "decoder" and "num_decoder_layers" in config:
        _tell_depth(config, ("num_decoder_layers",), depths[0])
    elif name == "decoder" and "decoder_layers" in config:
        _tell_depth(config, ("decoder_layers",), depths[0])
    elif name == "encoder" and "encoder_layers" in config:
        _tell_depth(config, ("encoder_layers",), depths[0])
    else:
        for inner in (f"{name}_config", f"{name.removesuffix('_model')}_config"):
            if isinstance(config.get(inner), dict):
                config[inner] = dict(config[inner])
                _tell_depth(config[inner], _DEPTH, depths[0])
                return
        _tell_depth(config, _DEPTH, depths[0])


def _tell_depth(config: dict[str, Any], keys: Iterable[str], depth: int) -> None:
    for key in keys:
        before = config.get(key)
        if isinstance(before, int):
            config[key] = depth
            if isinstance(config.get("layer_types"), list) and len(config["layer_types"]) == before:
                kinds = config["layer_types"]
                config["layer_types"] = [kinds[i % len(kinds)] for i in range(depth)]


def _write_tokenizer(folder: Path, plan: Plan) -> None:
    """Write the vocabulary of all models in place of the donor's."""
    unified = plan.vocabulary
    if unified is None or unified.data is None:
        return
    if unified.file == "tokenizer.json":
        for name in _REPEATED:
            (folder / name).unlink(missing_ok=True)
    if unified.file == "vocab.txt":
        text = "".join(f"{token}\n" for token in unified.data["lines"])
    else:
        text = json.dumps(unified.data, ensure_ascii=False, indent=1)
    (folder / unified.file).write_text(text, "utf-8")


def _write_template(folder: Path, plan: Plan, models: Mapping[str, Checkpoint]) -> None:
    asked = plan.recipe.chat_template
    template = chosen_template(asked, models) if asked else None
    if template is None:
        return
    (folder / TEMPLATE).write_text(template, "utf-8")
    (folder / "chat_template.json").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    settings = read_json(path, MAX_CONFIG)
    if settings.pop("chat_template", None) is not None:
        path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", "utf-8")
