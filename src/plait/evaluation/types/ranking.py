# SPDX-License-Identifier: Apache-2.0
"""Ranking: a query's own candidates put in order, by a cross-encoder or by embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Progress, offset
from plait.evaluation.metrics import Floats
from plait.evaluation.metrics.ranks import names_for, query_values
from plait.evaluation.tasks import Task, group_of, list_in, number_in, read_split, text_in
from plait.evaluation.types.base import Answers, Scored, Values, ability
from plait.evaluation.types.retrieval import embed
from plait.recipes.project import TaskSpec

MAX_CANDIDATES = 10_000


@dataclass(frozen=True, slots=True)
class Candidates:
    """A query with its candidates; a grade above zero says how relevant one is."""

    text: str
    candidates: tuple[str, ...]
    grades: tuple[float, ...]
    group: str
    id: str

    @property
    def label(self) -> str:
        """Nothing: there are no classes."""
        return ""


class Ranking(Scored):
    """Candidates in order."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read queries, their candidates and a grade for each."""
        named = spec.columns
        text, listed = named.text or "text", named.candidates or "candidates"
        items = []
        columns = (text, listed, named.label, named.group)
        for row, where, identity in read_split(spec, folder, split, columns):
            texts = list_in(row, listed, where, "texts")
            grades = [
                number_in(grade, named.label, where)
                for grade in list_in(row, named.label, where, "grades")
            ]
            if len(texts) != len(grades):
                raise BadInput(f"{where} has {len(texts)} candidates but {len(grades)} grades.")
            if len(texts) > MAX_CANDIDATES:
                raise BadInput(f"{where} has more than {MAX_CANDIDATES:,} candidates.")
            texts = [text_in({listed: one}, listed, where) for one in texts]
            if max(grades) <= 0:
                raise BadInput(f"{where} has no candidate with a grade above zero.")
            group = group_of(row, spec, where, identity)
            items.append(
                Candidates(text_in(row, text, where), tuple(texts), tuple(grades), group, identity)
            )
        return Task(spec.name, spec.metric, tuple(items), (), spec.type, spec.seen)

    def open(self, folder: Path) -> Any:
        """Load a cross-encoder (a classifier with one output), or an encoder of sentences."""
        from plait.evaluation.runners import Regressor, SentenceEncoder, has_one_output

        return Regressor.load(folder) if has_one_output(folder) else SentenceEncoder.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Ask the model for scores of pairs, `values(pairs, progress)`, or for embeddings."""
        if not callable(getattr(model, "values", None)):
            ability(model, "encode", self.name)
        total = sum(len(task.items) for task in tasks)
        done = 0
        found: dict[str, Answers] = {}
        for task in tasks:
            step = offset(progress, done, total)
            done += len(task.items)
            scores = _scores(model, task)
            if step is not None:
                step(len(task.items), len(task.items))
            names = names_for(task.metric, corpus=False)
            records = []
            for item, row in zip(task.items, scores, strict=True):
                grades = np.array(item.grades)
                relevant = np.flatnonzero(grades > 0)
                values = query_values(names, row, relevant, grades[relevant])
                records.append(Values(item.id, item.group, values))
            found[task.name] = Answers(tuple(records), {"metrics": list(names)})
        return found


def _scores(model: Any, task: Task) -> list[Floats]:
    """Return the scores of every item's candidates."""
    ends = np.cumsum([len(item.candidates) for item in task.items])
    if callable(getattr(model, "values", None)):
        pairs = [(item.text, one) for item in task.items for one in item.candidates]
        flat = np.asarray(model.values(pairs, None), dtype=float)
        if flat.shape != (len(pairs),):
            raise BadInput(
                f"The model answered with scores of shape {list(flat.shape)} for {len(pairs)} "
                "pairs."
            )
        if not np.isfinite(flat).all():
            raise BadInput("The model's scores have values that are not numbers (NaN).")
        return list(np.split(flat, ends[:-1]))
    queries = embed(model.encode, [item.text for item in task.items], "query", None)
    distinct = list(dict.fromkeys(one for item in task.items for one in item.candidates))
    place = {text: index for index, text in enumerate(distinct)}
    texts = embed(model.encode, distinct, "document", None)
    return [
        texts[[place[one] for one in item.candidates]] @ query
        for item, query in zip(task.items, queries, strict=True)
    ]


TYPE = Ranking
