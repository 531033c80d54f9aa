# SPDX-License-Identifier: Apache-2.0
"""Model folders with one encoder and a head for each of several tasks.

At the top lies the encoder alone, as `AutoModel` loads it: `config.json`, `model.safetensors` and
the tokenizer. `heads/TASK/` holds what turns it into a classifier for a task: `head.safetensors`,
the weights beside the encoder's, and `config.json`, the labels. Fine-tunes of one encoder on tasks
with different labels can so be fused: their encoders are, and every head is kept.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.errors import BadInput, Conflict
from plait.pretrained import (
    HEAD,
    HEADS,
    check_task_name,
    head_names,
    load_classifier,
    load_heads,
)

__all__ = ["HEADS", "head_names", "join_head", "load_heads", "split_head"]

_LABELS = ("id2label", "label2id")


def split_head(classifier: Path, out: Path, task: str) -> Path:
    """Write a text classifier as an encoder with a head of its own for one task.

    Args:
        classifier: a sequence classification model, as `save_pretrained` writes it.
        out: the folder to make.
        task: the head's name, which evaluation tasks are matched with.

    Returns:
        `out`.

    Raises:
        BadInput: if the folder is not a text classifier, has heads already, or the name is not one
            word.
        Conflict: if `out` exists.
    """
    check_task_name(task)
    classifier = Path(classifier)
    if head_names(classifier):
        raise BadInput(f"{classifier.name} has heads of its own for its tasks already.")
    model, tokenizer = load_classifier(classifier)
    encoder = model.base_model
    prefix = f"{model.base_model_prefix}."
    head = {n: t.contiguous() for n, t in model.state_dict().items() if not n.startswith(prefix)}
    if encoder is model or not head:
        raise BadInput(f"A {model.config.model_type} classifier has no head beside its encoder.")
    from safetensors.torch import save_file

    config = model.config.to_dict()
    with _new_folder(Path(out)) as folder:
        place = folder / HEADS / task
        place.mkdir(parents=True)
        _write_json(place / "config.json", {key: config[key] for key in _LABELS})
        save_file(head, place / HEAD, metadata={"format": "pt"})
        encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        top = json.loads((folder / "config.json").read_text("utf-8"))
        top["architectures"] = [type(encoder).__name__]
        _write_json(folder / "config.json", {k: v for k, v in top.items() if k not in _LABELS})
    return Path(out)


def join_head(folder: Path, task: str, out: Path) -> Path:
    """Write the classifier of one task out of a folder with heads, as `transformers` loads it.

    Returns:
        `out`.

    Raises:
        BadInput: if the folder has no head for the task.
        Conflict: if `out` exists.
    """
    folder = Path(folder)
    if not head_names(folder):
        raise BadInput(f"{folder.name} has no heads of its own for tasks ({HEADS}/TASK).")
    model, tokenizer = load_classifier(folder, task=task)
    with _new_folder(Path(out)) as place:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    return Path(out)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a hidden folder that becomes `out` when the block ends without error."""
    if out.exists():
        raise Conflict(f"{out} is there already; choose another folder or remove it first.")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
