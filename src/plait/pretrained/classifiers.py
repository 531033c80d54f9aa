# SPDX-License-Identifier: Apache-2.0
"""Classifiers of texts, with one head or a head for each task, and of pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.pretrained.folders import (
    MAX_CONFIG_BYTES,
    check_folder,
    check_weights,
    read_config,
    refuse_gaps,
)
from plait.pretrained.libraries import libraries, quiet
from plait.widening import compute_wide, stays_narrow

HEADS = "heads"
"""The folder of heads in a model's folder, one for each task (see `plait.heads`)."""
HEAD = "head.safetensors"
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def load_classifier(
    folder: Path,
    *,
    task: str | None = None,
    new_head: Sequence[str] | None = None,
    seed: int = 0,
    predicting: bool = False,
) -> tuple[Any, Any]:
    """Load a sequence classification model and its tokenizer from a folder, in float32.

    Args:
        folder: as ``save_pretrained`` writes it, or with heads for tasks (see `plait.heads`).
        task: whose head to use, where the folder has several; others are the same for every task.
        new_head: labels of a fresh head, in place of any that there is.
        seed: of a fresh head.
        predicting: the model is not trained. A large one may then keep its weights as they are
            stored and widen them layer by layer (see `plait.widening`), with the same results.

    Raises:
        BadInput: naming the folder and what it lacks. Weights without a head are an error unless
            ``new_head`` names the labels of a fresh one.
    """
    names = head_names(Path(folder))
    if names and new_head is None:
        place = Path(folder) / HEADS / _chosen(Path(folder), names, task)
        labels, weights = _read_head(place)
        model, tokenizer, missing = _load(Path(folder), labels, seed)
        _put_head(model, place, weights, assign=False)
        missing = [name for name in missing if name not in weights]
    else:
        stored = stays_narrow(Path(folder)) if predicting and new_head is None else None
        model, tokenizer, missing = _load(Path(folder), new_head, seed, stored)
        missing = [] if new_head is not None else missing
    if missing:
        raise BadInput(
            f"{Path(folder).name} lacks weights that a text classifier needs ({missing[0]}): it "
            "must be a sequence classification model with its head, as save_pretrained writes it."
        )
    return model, tokenizer


def _load(
    folder: Path, new_head: Sequence[str] | None, seed: int, stored: str | None = None
) -> tuple[Any, Any, list[str]]:
    """Return a classifier, its tokenizer and the names of weights that its files lack.

    ``stored``: the format that the weights keep, if they are not widened as a whole.
    """
    torch, transformers = libraries()
    check_folder(folder)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    fresh: dict[str, Any] = {}
    if new_head is not None:
        names = dict(enumerate(new_head))
        fresh = {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: index for index, name in names.items()},
        }
    with quiet(transformers), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what the weights lack besides the head (a pooler) is drawn
        try:
            model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=getattr(torch, stored or "float32"),
                output_loading_info=True,
                # a head in the weights may be for other labels than the fresh one's
                ignore_mismatched_sizes=new_head is not None,
                **options,
                **fresh,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
        except Exception as error:  # transformers raises some twenty kinds for a bad folder
            told = " ".join(str(error).split())[:300]
            raise BadInput(
                f"{folder.name} cannot be loaded as a text classifier: {told}"
            ) from error
    rows = model.get_input_embeddings().weight.shape[0]
    if max(tokenizer.get_vocab().values(), default=-1) >= rows:
        raise BadInput(
            f"{folder.name} has a tokenizer with more tokens than the model's {rows:,}: "
            "they do not belong together."
        )
    wrong = [str(k[0] if isinstance(k, tuple) else k) for k in loading.get("mismatched_keys", ())]
    if any(new_head is None or name.startswith(f"{model.base_model_prefix}.") for name in wrong):
        raise BadInput(f"{folder.name} has weights whose shape contradicts its config.json.")
    return compute_wide(model) if stored else model, tokenizer, sorted(loading["missing_keys"])


def load_heads(folder: Path) -> tuple[dict[str, Any], Any]:
    """Load the classifier of every task of a folder with heads, and its tokenizer.

    The classifiers share one encoder: it is in memory once, and what changes it changes all.

    Raises:
        BadInput: as `load_classifier`, or if the folder has no heads.
    """
    folder = Path(folder)
    names = head_names(folder)
    if not names:
        raise BadInput(f"{folder.name} has no heads for tasks ({HEADS}/TASK/{HEAD}).")
    first, tokenizer = load_classifier(folder, task=names[0])
    found = {names[0]: first}
    import copy

    import torch

    for name in names[1:]:
        labels, weights = _read_head(folder / HEADS / name)
        config = copy.deepcopy(first.config)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        with torch.device("meta"):  # nothing is drawn: every weight is replaced
            model = type(first)(config)
        setattr(model, model.base_model_prefix, first.base_model)
        _put_head(model, folder / HEADS / name, weights, assign=True)
        found[name] = model
    return found, tokenizer


def head_names(folder: Path) -> tuple[str, ...]:
    """Return the tasks that a model folder has heads of its own for; none for other folders."""
    place = folder / HEADS
    if not place.is_dir():
        return ()
    files = (HEAD, "config.json")
    return tuple(
        sorted(p.name for p in place.iterdir() if all((p / name).is_file() for name in files))
    )


def check_task_name(task: str) -> None:
    """Refuse a name that cannot be a head's.

    Raises:
        BadInput: if it is not one word.
    """
    if not _TASK.fullmatch(task):
        raise BadInput(
            f"A head's task must be one word of letters, digits, '-' or '_', not '{task[:60]}'."
        )


def _chosen(folder: Path, names: Sequence[str], task: str | None) -> str:
    if task in names:
        return str(task)
    if task is None and len(names) == 1:
        return names[0]
    asked = "say which task's is meant" if task is None else f"none of them for '{task[:60]}'"
    raise BadInput(f"{folder.name} has a head for each of {', '.join(names[:20])}; {asked}.")


def _read_head(place: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the labels of a head, in order, and its weights."""
    import safetensors.torch

    where = f"{place.parent.parent.name}/{HEADS}/{place.name}"
    check_task_name(place.name)
    try:
        if (place / "config.json").stat().st_size > MAX_CONFIG_BYTES:
            raise BadInput(f"{where} has a config.json that is too large.")
        told = json.loads((place / "config.json").read_text("utf-8"))["id2label"]
        labels = [str(told[str(index)]) for index in range(len(told))]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(
            f"{where} needs a config.json with 'id2label', the names of classes 0, 1, …"
        ) from None
    try:
        weights = safetensors.torch.load_file(place / HEAD)
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{where}/{HEAD} cannot be read: {error}.") from None
    return labels, weights


def _put_head(model: Any, place: Path, weights: Mapping[str, Any], *, assign: bool) -> None:
    """Give a model a head's weights, which must be all that it has beside its encoder."""
    prefix = f"{model.base_model_prefix}."
    wanted = {n: t for n, t in model.state_dict().items() if not n.startswith(prefix)}
    where = f"{place.parent.parent.name}/{HEADS}/{place.name}"
    if sorted(wanted) != sorted(weights):
        raise BadInput(
            f"{where} holds {', '.join(sorted(weights)[:5]) or 'nothing'}, but the head of a "
            f"{model.config.model_type} classifier is {', '.join(sorted(wanted))}."
        )
    for name, tensor in weights.items():
        if tuple(tensor.shape) != tuple(wanted[name].shape):
            raise BadInput(
                f"{where}: '{name}' has shape {list(tensor.shape)}, but the encoder and the labels "
                f"ask for {list(wanted[name].shape)}."
            )
    model.load_state_dict({n: t.float() for n, t in weights.items()}, strict=False, assign=assign)


def load_image_classifier(folder: Path) -> tuple[Any, Any]:
    """Load an image classification model and its image processor from a folder, in float32.

    Raises:
        BadInput: naming the folder and what it lacks.
        MissingExtra: if torch, transformers or pillow is not installed.
    """
    torch, transformers = libraries()
    folder = Path(folder)
    config = read_config(folder)
    check_weights(folder, config)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet(transformers):
        try:
            model, loading = transformers.AutoModelForImageClassification.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            processor = transformers.AutoImageProcessor.from_pretrained(str(folder), **options)
        except Exception as error:  # transformers raises some twenty kinds for a bad folder
            told = " ".join(str(error).split())[:300]
            raise BadInput(
                f"{folder.name} cannot be loaded as an image classifier: {told}"
            ) from error
    refuse_gaps(folder, loading)
    return model, processor
