# SPDX-License-Identifier: Apache-2.0
"""The teachers: what each one predicts on every text, run once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.classifier import NotNumbers
from plait.evaluation.headed import ForTasks
from plait.evaluation.predictors import load_predictor
from plait.fusion.datasets import model_folder
from plait.fusion.weights.finite import why_not_numbers
from plait.fusion.weights.opening import Resolver
from plait.pretrained import head_names, limited_threads, load_classifier, pad
from plait.recipes.levels import LevelRecipe

Logs = NDArray[np.float32]
Step = Callable[[int, int], None]
BATCH = 32


@dataclass(frozen=True)
class Teacher:
    """A teacher's folder, the labels of each of its heads (""; all tasks), the tasks it owns."""

    name: str
    folder: Path
    labels: Mapping[str, tuple[str, ...]]
    tasks: tuple[str, ...] = ()

    def knows(self, task: str) -> bool:
        """Whether it has a head that answers texts of a task."""
        return "" in self.labels or task in self.labels


def find_teachers(
    recipe: LevelRecipe, owned: Mapping[str, tuple[str, ...]], resolve: Resolver | None
) -> list[Teacher]:
    """Find every teacher's folder and read its labels; no weights are read.

    A teacher owns the tasks that `owned` gives it, else those that it has a head for.

    Raises:
        BadInput: if a model is not found or is no classifier.
    """
    found = []
    for member in recipe.models:
        folder = model_folder(member.model, recipe.folder, resolve)
        heads = head_names(folder)
        labels = (
            {task: labels_of(folder / "heads" / task) for task in heads}
            if heads
            else {"": labels_of(folder)}
        )
        single = [one for one in labels.values() if len(one) < 2]
        if single:
            raise BadInput(
                f"'{member.name}' gives one number ({', '.join(single[0])}), not classes; a "
                "teacher needs classes."
            )
        own = owned.get(member.name)
        if own is None:
            own = tuple(t.name for t in recipe.tasks if t.name in labels)
        lacking = [t for t in own if heads and t not in labels]
        if lacking:
            raise BadInput(
                f"'{member.name}' has no head for the task '{lacking[0]}'; it has heads for "
                f"{', '.join(heads)}."
            )
        found.append(Teacher(member.name, folder, labels, own))
    return found


def labels_of(folder: Path) -> tuple[str, ...]:
    """Return the names of a classifier's classes, in their order.

    Raises:
        BadInput: if the folder's config.json does not say.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        told = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        return tuple(str(told[str(index)]) for index in range(len(told)))
    except FileNotFoundError:
        raise BadInput(f"{folder.name} is not a model: it has no config.json.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(
            f"{folder.name} has a config.json without 'id2label', the names of classes 0, 1, …"
        ) from None


def several_heads(teachers: Sequence[Teacher]) -> bool:
    """Whether the student needs a head for each task: teachers have, or their labels differ."""
    spaces = {tuple(sorted(found)) for t in teachers for found in t.labels.values()}
    return len(spaces) > 1 or any("" not in t.labels for t in teachers)


def check_owners(teachers: Sequence[Teacher], tasks: Sequence[str], several: bool) -> None:
    """Refuse tasks that nobody teaches, where each follows its own teacher.

    Raises:
        BadInput: naming the task or the teacher.
    """
    for task in tasks:
        if not any(task in teacher.tasks for teacher in teachers):
            raise BadInput(
                f"No teacher owns the task '{task}'; name it under 'tasks' of the model that does."
            )
    for teacher in teachers:
        if several and not teacher.tasks:
            raise BadInput(
                f"'{teacher.name}' owns no task, but the teachers' labels differ: name its 'tasks'."
            )


def predict(
    teacher: Teacher,
    texts: Mapping[str, Sequence[str]],
    order: Mapping[str, Sequence[str]],
    threads: int | None,
    max_length: int,
    step: Step | None = None,
) -> dict[str, Logs]:
    """Let a teacher answer the texts of each task.

    Args:
        teacher: which is run; its model is in memory only meanwhile.
        texts: by task.
        order: the labels wanted for each task, in their order.
        threads: how many torch may use.
        max_length: the most tokens of a text.
        step: called with texts done, and of how many.

    Returns:
        By task, log-probabilities [texts, labels].
    """
    predictor: Any = load_predictor(teacher.folder, threads=threads, max_length=max_length)
    total, done = sum(len(found) for found in texts.values()), 0
    answers = {}
    for task, rows in texts.items():
        own: Any = predictor.for_task(task) if isinstance(predictor, ForTasks) else predictor

        def tell(count: int, _: int, before: int = done) -> None:
            if step is not None:
                step(before + count, total)

        columns = columns_of(teacher, own.labels, order[task])
        try:
            logs = own.log_probabilities(list(rows), tell) if rows else np.zeros((0, len(columns)))
        except NotNumbers as error:
            raise BadInput(why_not_numbers(teacher.name, teacher.folder)) from error
        answers[task] = np.asarray(logs, dtype=np.float32)[:, columns]
        done += len(rows)
    return answers


def columns_of(teacher: Teacher, labels: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where a teacher has each wanted label, by name (case aside).

    Raises:
        BadInput: if its labels are not these.
    """
    places = {label.lower(): place for place, label in enumerate(labels)}
    if sorted(places) != sorted(label.lower() for label in wanted):
        raise BadInput(
            f"'{teacher.name}' has the labels {', '.join(labels)}, but the student learns "
            f"{', '.join(wanted)}; teachers of one task need the same labels."
        )
    return [places[label.lower()] for label in wanted]


def hidden_states(
    teacher: Teacher,
    texts: Mapping[str, Sequence[str]],
    threads: int | None,
    max_length: int,
    step: Step | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Return a teacher's last hidden states of the texts of each task, [texts, width].

    States are averaged over a text's tokens.

    Raises:
        BadInput: if it is not a text classifier that transformers has.
    """
    import torch

    found = {}
    total, done = sum(len(rows) for rows in texts.values()), 0
    with torch.inference_mode(), limited_threads(threads):
        for task, rows in texts.items():
            model, tokenizer = load_classifier(
                teacher.folder, task=task if "" not in teacher.labels else None
            )
            model.eval()
            encoded = encode(tokenizer, rows, max_length) if rows else []
            order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
            states = np.zeros((len(encoded), model.config.hidden_size), dtype=np.float32)
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                batch = pad(tokenizer, [encoded[i] for i in chosen])
                states[chosen] = pooled(model.base_model(**batch), batch).numpy()
                if step is not None:
                    step(done + min(start + BATCH, len(order)), total)
            found[task] = states
            done += len(rows)
    return found


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return the token numbers of each text."""
    rows = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    return [list(row) for row in rows]


def pooled(output: Any, batch: Mapping[str, Any]) -> Any:
    """Average a model's last hidden states over each text's tokens, [texts, width]."""
    states = output.last_hidden_state
    mask = batch["attention_mask"][..., None].to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1)
