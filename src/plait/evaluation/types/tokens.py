# SPDX-License-Identifier: Apache-2.0
"""Token classification: a tag for each token of a sentence, scored by whole entities.

Entities are what seqeval finds in BIO tags: as conlleval does, where `I-X` may begin an entity, or
in strict mode (`strict_f1`), where only `B-X` does. Tags that are not BIO (parts of speech) can be
scored by `token_accuracy`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput, MissingExtra
from plait.evaluation.classifier import Progress
from plait.evaluation.metrics import Floats
from plait.evaluation.tasks import MAX_LABELS, Label, Task, group_of, list_in, read_split
from plait.evaluation.types.base import About, Answers, TaskType, ability, by_group, group_numbers
from plait.recipes.project import TaskSpec
from plait.recipes.tasks import KINDS

MAX_TOKENS = 10_000
_BIO = re.compile(r"O|[BI]-.+", re.DOTALL)
Entity = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class TokenItem:
    """A sentence in tokens, with the true tag of each."""

    tokens: tuple[str, ...]
    tags: tuple[Label, ...]
    group: str
    id: str

    @property
    def text(self) -> str:
        """The tokens with spaces between them."""
        return " ".join(self.tokens)

    @property
    def label(self) -> str:
        """Nothing: a sentence has many."""
        return ""


@dataclass(frozen=True, slots=True)
class Tagged:
    """What a model made of one sentence, in numbers of tags."""

    id: str
    group: str
    tags: tuple[int, ...]
    predicted: tuple[int, ...]


class TokenClassification(TaskType):
    """A tag for each token."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read tokens and tags, two lists of one length."""
        named = spec.columns
        text = named.text or "tokens"
        items = []
        for row, where, identity in read_split(
            spec, folder, split, (text, named.label, named.group)
        ):
            tokens = list_in(row, text, where, "tokens")
            tags = list_in(row, named.label, where, "tags")
            if len(tokens) != len(tags):
                raise BadInput(f"{where} has {len(tokens)} tokens but {len(tags)} tags.")
            if len(tokens) > MAX_TOKENS:
                raise BadInput(f"{where} has more than {MAX_TOKENS:,} tokens; split the sentence.")
            if not all(isinstance(token, str) and token for token in tokens):
                raise BadInput(f"Column '{text}' in {where} must be a list of texts, none empty.")
            for tag in tags:
                if isinstance(tag, bool) or not isinstance(tag, int | str) or tag == "":
                    raise BadInput(f"Column '{named.label}' in {where} must be a list of tags.")
                if isinstance(tag, str):
                    _check_bio([tag], spec.metric, f"Column '{named.label}' in {where}")
            group = group_of(row, spec, where, identity)
            items.append(TokenItem(tuple(tokens), tuple(tags), group, identity))
        labels = sorted({tag for item in items for tag in item.tags}, key=str)
        if len({type(tag) for tag in labels}) > 1:
            raise BadInput(f"Task '{spec.name}': the tags mix numbers and names; use one of these.")
        if len(labels) > MAX_LABELS:
            raise BadInput(f"Task '{spec.name}' has more than {MAX_LABELS:,} tags.")
        return Task(spec.name, spec.metric, tuple(items), tuple(labels), spec.type, spec.seen)

    def open(self, folder: Path) -> Any:
        """Load a token classifier of transformers."""
        from plait.evaluation.runners import TokenTagger

        return TokenTagger.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Ask the model for the tags of every sentence: `tag(sentences, progress)`."""
        tag = ability(model, "tag", self.name)
        items = [item for task in tasks for item in task.items]
        said = tag([item.tokens for item in items], progress)
        found: dict[str, Answers] = {}
        start = 0
        for task in tasks:
            part = said[start : start + len(task.items)]
            start += len(task.items)
            true = [_names(task, item.tags, model.labels) for item in task.items]
            for item, tags in zip(task.items, part, strict=True):
                if len(tags) != len(item.tokens):
                    raise BadInput(
                        f"The model gave {len(tags)} tags for {len(item.tokens)} tokens."
                    )
            told = {str(tag) for tag in task.labels if isinstance(tag, str)} | set(model.labels)
            names = sorted({tag for row in (*true, *part) for tag in row} | told)
            where = f"The model's tags for task '{task.name}'"
            _check_bio([tag for row in part for tag in row], task.metric, where)
            number = {name: index for index, name in enumerate(names)}
            records = tuple(
                Tagged(
                    item.id,
                    item.group,
                    tuple(number[tag] for tag in right),
                    tuple(number[tag] for tag in given),
                )
                for item, right, given in zip(task.items, true, part, strict=True)
            )
            found[task.name] = Answers(records, {"tags": names})
        return found

    def table(self, records: Sequence[Tagged], name: str, about: About) -> Floats:
        """Return counts of entities by type [groups, 3, types]; of tokens right, and all."""
        groups = group_numbers(records)
        if name == "token_accuracy":
            pairs = [
                (sum(a == b for a, b in zip(r.tags, r.predicted, strict=True)), len(r.tags))
                for r in records
            ]
            return by_group(np.array(pairs, dtype=np.float64), groups)
        tags = list(about["tags"])
        kinds = {kind: k for k, kind in enumerate(_kinds(tags))}
        rows = np.zeros((len(records), 3, max(1, len(kinds))))
        strict = name.startswith("strict")
        for place, record in enumerate(records):
            true = entities([tags[t] for t in record.tags], strict=strict)
            given = entities([tags[t] for t in record.predicted], strict=strict)
            for line, found in enumerate((true, given, true & given)):
                for kind, _, _ in found:
                    rows[place, line, kinds[kind]] += 1
        return by_group(rows, groups)

    def row(self, record: Tagged) -> list[Any]:
        """Return a record as plain values."""
        return [record.id, record.group, list(record.tags), list(record.predicted)]

    def record(self, row: Sequence[Any]) -> Tagged:
        """Read back what `row` gave."""
        tags, predicted = (tuple(int(tag) for tag in part) for part in row[2:4])
        return Tagged(str(row[0]), str(row[1]), tags, predicted)

    def truth(self, record: Tagged) -> int:
        """Return the number of tokens: the tags' numbers may differ from model to model."""
        return len(record.tags)

    def check_about(self, about: About, records: Sequence[Tagged]) -> None:
        """Refuse tags that there are not."""
        tags = [str(tag) for tag in about["tags"]]
        for record in records:
            if len(record.tags) != len(record.predicted):
                raise ValueError("not one tag for each token")
            if any(not 0 <= tag < len(tags) for tag in (*record.tags, *record.predicted)):
                raise ValueError("a tag beyond the tags")

    def common(self, abouts: Sequence[About]) -> About:
        """Return the tags of all models (see `measure`, which numbers them anew)."""
        return {"tags": sorted({tag for about in abouts for tag in about["tags"]})}

    def measure(self, answers: Sequence[Sequence[Any]], abouts: Sequence[About], name: str) -> Any:
        """Return one or several models' records as a measure, by tags that they share."""
        shared = self.common(abouts)
        number = {tag: index for index, tag in enumerate(shared["tags"])}
        made = []
        for records, about in zip(answers, abouts, strict=True):
            new = [number[tag] for tag in about["tags"]]
            made.append(
                [
                    Tagged(
                        r.id,
                        r.group,
                        tuple(new[t] for t in r.tags),
                        tuple(new[t] for t in r.predicted),
                    )
                    for r in records
                ]
            )
        if any([r.tags for r in made[0]] != [r.tags for r in other] for other in made[1:]):
            raise BadInput("The models were not measured on the same tags.")
        return super().measure(made, [shared] * len(made), name)

    def metrics(self, about: About) -> tuple[str, ...]:
        """Return the metrics of the type; of tags that are not BIO, only that of tokens."""
        if all(_BIO.fullmatch(tag) for tag in about["tags"]):
            return KINDS[self.name].metrics
        return ("token_accuracy",)

    def resolution(self, items: int, table: Floats, name: str) -> float:
        """Return what one entity (or token) makes."""
        total = table[:, 0].sum(axis=0)
        return 1.0 / max(1.0, float(total[1] if name == "token_accuracy" else total[0].sum()))


def entities(tags: Sequence[str], *, strict: bool) -> set[Entity]:
    """Return the entities of a sentence, as seqeval finds them: type, first token, end.

    Raises:
        MissingExtra: if seqeval is not installed.
    """
    try:
        from seqeval.metrics.sequence_labeling import get_entities
        from seqeval.scheme import IOB2, Entities
    except ImportError:
        raise MissingExtra("seqeval", "train") from None
    if strict:
        found = Entities([list(tags)], IOB2).entities[0]
        return {(one.tag, one.start, one.end) for one in found}
    return {(str(kind), first, last + 1) for kind, first, last in get_entities(list(tags))}


def _kinds(tags: Sequence[str]) -> list[str]:
    return sorted({tag[2:] for tag in tags if tag != "O"})


def _names(task: Task, tags: Sequence[Label], labels: Sequence[str]) -> list[str]:
    """Return tags as names; numbers are the places of the model's labels."""
    made = []
    for tag in tags:
        if isinstance(tag, int):
            if not 0 <= tag < len(labels):
                raise BadInput(
                    f"Task '{task.name}' has the label '{tag}', which the model does not give; "
                    f"it has 0 to {len(labels) - 1}."
                )
            tag = labels[tag]
        made.append(tag)
    _check_bio(made, task.metric, f"A tag of task '{task.name}'")
    return made


def _check_bio(tags: Sequence[str], metric: str, where: str) -> None:
    for tag in set(tags):
        if metric != "token_accuracy" and not _BIO.fullmatch(tag):
            raise BadInput(
                f"{where}: '{tag[:60]}' is not a BIO tag (O, B-type or I-type). Score tags of "
                "another kind with 'metric: token_accuracy'."
            )


TYPE = TokenClassification
