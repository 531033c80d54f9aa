# SPDX-License-Identifier: Apache-2.0
"""The student: one encoder with one head, or with a head for each task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.evaluation.classifier import TextClassifier
from plait.evaluation.headed import HeadedClassifier
from plait.fusion.distillation.teachers import Teacher
from plait.pretrained import HEAD, HEADS, head_names, load_classifier, load_heads
from plait.training.classifier import freeze

SPREAD = 0.02
"""Standard deviation of a new head's weights, as BERT's."""


class Student:
    """Classifiers by task that share one encoder; a student with one head has it under ""."""

    def __init__(self, models: Mapping[str, Any], tokenizer: Any, max_length: int) -> None:
        self.models = dict(models)
        self.tokenizer = tokenizer
        first = next(iter(self.models.values()))
        self.encoder = first.base_model
        limit = getattr(first.config, "max_position_embeddings", max_length)
        self.max_length = min(max_length, limit)
        self.new_heads: tuple[str, ...] = ()
        """Heads that were initialised at random."""

    def head(self, task: str) -> str:
        """Return under which name the head for a task is."""
        return "" if "" in self.models else task

    def labels(self, task: str) -> tuple[str, ...]:
        """Return the names of a task's classes, in their order."""
        config = self.models[self.head(task)].config
        return tuple(str(config.id2label[i]) for i in range(config.num_labels))

    def parameters(self) -> list[Any]:
        """Return every parameter once."""
        unique = {id(p): p for model in self.models.values() for p in model.parameters()}
        return list(unique.values())

    def freeze(self, *, embeddings: bool, heads: bool) -> None:
        """Leave the word vectors or the heads as they are; new heads are always trained."""
        for task, model in self.models.items():
            freeze(model, embeddings=embeddings, head=heads and task not in self.new_heads)

    def train(self) -> None:
        """Let every part drop out what it drops in training."""
        for model in self.models.values():
            model.train()

    def predictor(self, threads: int | None) -> Any:
        """Return what predicts with the student as it is now."""
        made = {
            task: TextClassifier(model, self.tokenizer, max_length=self.max_length, threads=threads)
            for task, model in self.models.items()
        }
        return made[""] if "" in made else HeadedClassifier(self.encoder, made)

    def snapshot(self) -> list[Any]:
        """Return a copy of what training changes."""
        return [p.detach().clone() for p in self.parameters() if p.requires_grad]

    def restore(self, state: Sequence[Any]) -> None:
        """Put a copy back."""
        import torch

        with torch.no_grad():
            trained = [p for p in self.parameters() if p.requires_grad]
            for parameter, kept in zip(trained, state, strict=True):
                parameter.copy_(kept)

    def save(self, folder: Path) -> None:
        """Write a classifier, or an encoder with its heads, as `plait.heads` reads it."""
        self.tokenizer.save_pretrained(folder)
        if "" in self.models:
            self.models[""].save_pretrained(folder)
            return
        from safetensors.torch import save_file

        self.encoder.save_pretrained(folder)
        top = json.loads((folder / "config.json").read_text("utf-8"))
        top["architectures"] = [type(self.encoder).__name__]
        labels = ("id2label", "label2id")
        _write(folder / "config.json", {k: v for k, v in top.items() if k not in labels})
        for task, model in self.models.items():
            place = folder / HEADS / task
            place.mkdir(parents=True)
            config = model.config.to_dict()
            _write(place / "config.json", {key: config[key] for key in labels})
            save_file(_head_of(model), place / HEAD, metadata={"format": "pt"})


def open_student(
    folder: Path,
    teachers: Sequence[Teacher],
    tasks: Sequence[str],
    *,
    several: bool,
    max_length: int,
    seed: int,
) -> Student:
    """Load what the student starts as, and give it the heads that it lacks.

    Args:
        folder: a classifier, an encoder, or an encoder with heads.
        teachers: whose labels it learns; of one head the first teacher's, if it has none itself.
        tasks: the tasks that need a head each, if there are several.
        several: whether there are.
        max_length: the most tokens of a text.
        seed: draws new heads.

    Raises:
        BadInput: if the folder is no model of texts, or a head cannot be had.
    """
    if not several:
        model, tokenizer, new = _with_one_head(folder, teachers, seed)
        student = Student({"": model}, tokenizer, max_length)
        if new:
            student.new_heads = ("",)
            _initialise(model, seed)
        return student
    own = head_names(folder)
    models: dict[str, Any] = {}
    new_heads = []
    if own:
        loaded, tokenizer = load_heads(folder)
        models = {task: loaded[task] for task in tasks if task in loaded}
    for task in tasks:
        if task in models:
            continue
        owner = next(teacher for teacher in teachers if task in teacher.tasks)
        labels = owner.labels.get(task) or owner.labels[""]
        model, tokenizer = load_classifier(folder, new_head=labels, seed=seed)
        if models:
            first = next(iter(models.values()))
            setattr(model, model.base_model_prefix, first.base_model)
        if not _take_head(model, owner, task):
            _initialise(model, seed + len(models))
            new_heads.append(task)
        models[task] = model
    student = Student({task: models[task] for task in tasks}, tokenizer, max_length)
    student.new_heads = tuple(new_heads)
    return student


def _with_one_head(folder: Path, teachers: Sequence[Teacher], seed: int) -> tuple[Any, Any, bool]:
    labels = teachers[0].labels[""]
    try:
        model, tokenizer = load_classifier(folder)
    except BadInput:  # no head: an encoder alone; whatever else is wrong is told again below
        model, tokenizer = load_classifier(folder, new_head=labels, seed=seed)
        return model, tokenizer, True
    names = sorted(str(name).lower() for name in model.config.id2label.values())
    if names == sorted(label.lower() for label in labels):
        return model, tokenizer, False
    model, tokenizer = load_classifier(folder, new_head=labels, seed=seed)
    return model, tokenizer, True


def _take_head(model: Any, owner: Teacher, task: str) -> bool:
    """Give a model the head of a task's teacher, if it fits; say whether it did."""
    try:
        teacher, _ = load_classifier(owner.folder, task=task if "" not in owner.labels else None)
    except BadInput:
        return False  # an ensemble, say: it teaches, and has no head to give
    theirs, ours = _head_of(teacher), _head_of(model)
    if {n: t.shape for n, t in theirs.items()} != {n: t.shape for n, t in ours.items()}:
        return False
    model.load_state_dict(theirs, strict=False)
    return True


def _initialise(model: Any, seed: int) -> None:
    """Give a model a head of small random weights, whatever head was in its folder."""
    import torch

    random = torch.Generator().manual_seed(seed)
    prefix = f"{model.base_model_prefix}."
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(prefix):
                continue
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, SPREAD, generator=random)


def _head_of(model: Any) -> dict[str, Any]:
    prefix = f"{model.base_model_prefix}."
    return {n: t.contiguous() for n, t in model.state_dict().items() if not n.startswith(prefix)}


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
