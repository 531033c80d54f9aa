# SPDX-License-Identifier: Apache-2.0
"""Retrieval: which texts of a corpus belong to a query, found by the cosine of embeddings.

The corpus is `data/corpus.jsonl` (or .csv, .parquet) with columns `id` and `text`; a split's rows
are queries, each with the ids of what is relevant to it: a list, or a mapping from id to grade.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.evaluation.classifier import Progress, offset
from plait.evaluation.metrics import Floats
from plait.evaluation.metrics.ranks import names_for, query_values
from plait.evaluation.tasks import (
    MAX_ITEMS,
    Task,
    group_of,
    number_in,
    read_rows,
    read_split,
    split_files,
    text_in,
)
from plait.evaluation.types.base import Answers, Scored, Values, ability
from plait.recipes.project import TaskSpec

CORPUS = "corpus"
QUERIES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and the places in the corpus of what is relevant to it, with grades above zero."""

    text: str
    relevant: tuple[tuple[int, float], ...]
    group: str
    id: str

    @property
    def label(self) -> str:
        """Nothing: there are no classes."""
        return ""


class Retrieval(Scored):
    """Queries against a corpus."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read queries with what is relevant to them, and the corpus."""
        named = spec.columns
        text = named.text or "text"
        place, corpus = _corpus(spec, folder)
        items = []
        for row, where, identity in read_split(
            spec, folder, split, (text, named.label, named.group)
        ):
            grades = _relevant(row, named.label, where)
            for one in grades:
                if one not in place:
                    raise BadInput(
                        f"Column '{named.label}' in {where} has the id '{one[:60]}', which the "
                        f"corpus of data set {spec.dataset} does not have."
                    )
            found = tuple((place[one], grade) for one, grade in grades.items() if grade > 0)
            if not found:
                raise BadInput(f"Column '{named.label}' in {where} names nothing that is relevant.")
            group = group_of(row, spec, where, identity)
            items.append(Query(text_in(row, text, where), found, group, identity))
        about = {"corpus": corpus}
        return Task(spec.name, spec.metric, tuple(items), (), spec.type, spec.seen, about)

    def open(self, folder: Path) -> Any:
        """Load an encoder of sentences."""
        from plait.evaluation.runners import SentenceEncoder

        return SentenceEncoder.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Ask the model for embeddings: `encode(texts, kind, progress)` [texts, width]."""
        encode = ability(model, "encode", self.name)
        total = sum(len(task.items) + len(task.about["corpus"]) for task in tasks)
        done = 0
        found: dict[str, Answers] = {}
        for task in tasks:
            corpus = task.about["corpus"]
            texts = embed(encode, corpus, "document", offset(progress, done, total))
            done += len(corpus)
            asked = [item.text for item in task.items]
            queries = embed(encode, asked, "query", offset(progress, done, total))
            done += len(asked)
            names = names_for(task.metric, corpus=True)
            records = []
            for start in range(0, len(asked), QUERIES_AT_ONCE):
                scores = queries[start : start + QUERIES_AT_ONCE] @ texts.T
                for item, row in zip(task.items[start:], scores, strict=False):
                    relevant, grades = (np.array(part) for part in zip(*item.relevant, strict=True))
                    values = query_values(names, row, relevant, grades)
                    records.append(Values(item.id, item.group, values))
            found[task.name] = Answers(tuple(records), {"metrics": list(names)})
        return found


def embed(encode: Any, texts: Sequence[str], kind: str, progress: Progress | None) -> Floats:
    """Return embeddings of length 1, [texts, width].

    Raises:
        BadInput: if they are not numbers, or not one for each text.
    """
    found = np.asarray(encode(texts, kind, progress), dtype=np.float32)
    if found.ndim != 2 or len(found) != len(texts):
        raise BadInput(
            f"The model answered with embeddings of shape {list(found.shape)} for {len(texts)} "
            "texts."
        )
    if not np.isfinite(found).all():
        raise BadInput("The model's embeddings have values that are not numbers (NaN).")
    lengths: Floats = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return found / lengths


def _corpus(spec: TaskSpec, folder: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    place: dict[str, int] = {}
    texts: list[str] = []
    for file in split_files(folder, CORPUS, spec.dataset):
        where = f"{file.name} of data set {spec.dataset}"
        for number, row in enumerate(read_rows(file, where, ["id", "text"]), start=1):
            if len(texts) >= MAX_ITEMS:
                raise BadInput(f"{where} has more than {MAX_ITEMS:,} texts.")
            here = f"row {number} of {where}"
            identity = row["id"]
            if isinstance(identity, bool) or not isinstance(identity, int | str) or identity == "":
                raise BadInput(f"Column 'id' in {here} must be a number or a name.")
            if str(identity) in place:
                raise BadInput(f"{here}: the id '{str(identity)[:60]}' is there twice.")
            place[str(identity)] = len(texts)
            texts.append(text_in(row, "text", here))
    return place, tuple(texts)


def _relevant(row: Mapping[str, Any], column: str, where: str) -> dict[str, float]:
    """Return the grades of what is relevant, by id."""
    value = row[column]
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
        value = [value]
    if isinstance(value, Mapping):
        pairs = [(key, grade) for key, grade in value.items() if grade is not None]
    elif isinstance(value, list):
        pairs = [(one, 1) for one in value]
    else:
        pairs = []
    if not pairs or any(isinstance(k, bool) or not isinstance(k, int | str) for k, _ in pairs):
        raise BadInput(
            f"Column '{column}' in {where} must be a list of ids of the corpus, or a mapping from "
            "id to grade, and not empty."
        )
    return {str(key): number_in(grade, column, where) for key, grade in pairs}


TYPE = Retrieval
