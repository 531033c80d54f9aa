# SPDX-License-Identifier: Apache-2.0
"""``lineage.json``: what a model was made from, by hash, and how.

The document lies beside the weights at ``main``. It names the base, every contribution fused
since, the recipe that fused them and the scores that let it land, so that anybody who may read the
inputs can make the same bytes again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plait.errors import BadInput

FILE = "lineage.json"
"""Its path in a model repository."""
SCHEMA = 1
MAX_BYTES = 4 * 2**20
MAX_CONTRIBUTIONS = 1000
MAX_FILES = 1000
MAX_DATA = 1000
MAX_NUMBERS = 50

_REVISION = re.compile(r"^[0-9a-f]{40}$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_REPOSITORY = re.compile(r"^\w[\w.-]{0,95}/\w[\w.-]{0,95}$")


@dataclass(frozen=True)
class Origin:
    """A model's weights somewhere: the repository, its commit, and each file's SHA-256."""

    repository: str
    revision: str
    files: Mapping[str, str]

    def same_weights(self, files: Mapping[str, str]) -> bool:
        """Tell whether ``files`` are byte for byte these weights, whatever they are called."""
        return sorted(self.files.values()) == sorted(files.values())


@dataclass(frozen=True)
class Contribution:
    """One merged pull request: whose, from which commit, which weights, with which coefficient."""

    number: int
    author: str
    organisation: str
    title: str
    revision: str
    files: Mapping[str, str]
    weight: float | None = None
    licence: str | None = None
    base: Origin | None = None
    """The weights that it was made from, when they are not the lineage's own base."""
    datasets: tuple[str, ...] = ()
    """The data sets that its card names."""
    privacy: Mapping[str, float] | None = None
    """The differential privacy that its card states: epsilon and delta."""

    @property
    def key(self) -> str:
        """What contributions are ordered by: the weights' hashes, never the time of merging."""
        return "".join(sorted(self.files.values())) + self.revision


@dataclass(frozen=True)
class DataUse:
    """Items that chose or judged the model: of which task and split, and by what hash."""

    task: str
    split: str
    role: str
    """``gate``, ``search`` or ``credit``."""
    items: str
    """SHA-256 over the items' bytes and how they are read."""
    dataset: str | None = None
    """The repository, if anybody may read it."""
    revision: str | None = None
    hidden: bool = False
    """Whether nobody can download the items."""


@dataclass(frozen=True)
class TaskScore:
    """A score of the landed model on one task's gate items."""

    metric: str
    score: float
    interval: tuple[float, float]
    n: int


@dataclass(frozen=True)
class Scores:
    """What the landed model measured, per task and on average."""

    tasks: Mapping[str, TaskScore]
    average: float


@dataclass(frozen=True)
class Withdrawal:
    """A contribution that was merged and taken out again: which, from which commit, by whom."""

    number: int
    revision: str
    by: str
    at: str = ""


@dataclass(frozen=True)
class Lineage:
    """The whole document."""

    base: Origin
    contributions: tuple[Contribution, ...]
    recipe: Mapping[str, Any]
    output: Mapping[str, str]
    software: Mapping[str, str] = field(default_factory=dict)
    evaluation: Scores | None = None
    created: str = ""
    withdrawn: tuple[Withdrawal, ...] = ()
    """What was merged once and is no part of it any more."""
    data: tuple[DataUse, ...] = ()
    budget: Mapping[str, float] = field(default_factory=dict)
    """What was spent on choosing and judging: candidates, subsets."""

    def contribution(self, number: int) -> Contribution | None:
        """Return the contribution of that pull request, or None."""
        return next((one for one in self.contributions if one.number == number), None)


def parse_lineage(document: bytes | str | Mapping[str, Any]) -> Lineage:
    """Read a lineage document that anybody may have written.

    Raises:
        BadInput: it is too large, not JSON, or a field is missing, malformed or out of bounds.
    """
    if isinstance(document, bytes | str):
        if len(document) > MAX_BYTES:
            raise BadInput(f"{FILE} is larger than {MAX_BYTES // 2**20} MiB.")
        try:
            document = json.loads(document)
        except (ValueError, RecursionError):
            raise BadInput(
                f"{FILE} is not valid JSON. Restore the one of an earlier commit."
            ) from None
    top = _mapping(document, "the document")
    if top.get("schema") != SCHEMA:
        raise BadInput(
            f"{FILE} says schema {top.get('schema')!r}; this version of Plait reads {SCHEMA}."
        )
    rows = _list(top.get("contributions", []), "contributions", MAX_CONTRIBUTIONS)
    contributions = tuple(_contribution(row, f"contributions[{i}]") for i, row in enumerate(rows))
    if len({one.number for one in contributions}) != len(contributions):
        raise BadInput(f"{FILE} names the same pull request twice among its contributions.")
    evaluation = top.get("evaluation")
    output = _mapping(top.get("output"), "output")
    return Lineage(
        base=_origin(top.get("base"), "base"),
        contributions=contributions,
        recipe=dict(_mapping(top.get("recipe", {}), "recipe")),
        output=_files(output.get("files"), "output.files"),
        software={
            _text(key, "software", 64): _text(value, f"software.{key}", 64)
            for key, value in _mapping(top.get("software", {}), "software").items()
        },
        evaluation=None if evaluation is None else _scores(evaluation),
        created=_time(top.get("created", "")),
        withdrawn=tuple(
            _withdrawal(row, f"withdrawn[{i}]")
            for i, row in enumerate(_list(top.get("withdrawn", []), "withdrawn", MAX_CONTRIBUTIONS))
        ),
        data=tuple(
            _data_use(row, f"data[{i}]")
            for i, row in enumerate(_list(top.get("data", []), "data", MAX_DATA))
        ),
        budget=_numbers(top.get("budget", {}), "budget"),
    )


def dump_lineage(lineage: Lineage) -> bytes:
    """Write the document in its one form: sorted keys, two spaces, a newline at the end."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "base": _origin_json(lineage.base),
        "contributions": [_contribution_json(one) for one in lineage.contributions],
        "recipe": lineage.recipe,
        "output": {"files": dict(lineage.output)},
        "software": dict(lineage.software),
    }
    if lineage.evaluation is not None:
        document["evaluation"] = {
            "tasks": {
                name: {
                    "metric": task.metric,
                    "score": task.score,
                    "interval": list(task.interval),
                    "n": task.n,
                }
                for name, task in lineage.evaluation.tasks.items()
            },
            "average": lineage.evaluation.average,
        }
    if lineage.created:
        document["created"] = lineage.created
    if lineage.withdrawn:
        document["withdrawn"] = [
            {"number": one.number, "revision": one.revision, "by": one.by, "at": one.at}
            for one in lineage.withdrawn
        ]
    if lineage.data:
        document["data"] = [_data_json(one) for one in lineage.data]
    if lineage.budget:
        document["budget"] = dict(lineage.budget)
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _origin_json(origin: Origin) -> dict[str, Any]:
    return {
        "repository": origin.repository,
        "revision": origin.revision,
        "files": dict(origin.files),
    }


def _contribution_json(one: Contribution) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": one.number,
        "author": one.author,
        "organisation": one.organisation,
        "title": one.title,
        "revision": one.revision,
        "files": dict(one.files),
        "weight": one.weight,
        "licence": one.licence,
    }
    if one.base is not None:
        row["base"] = _origin_json(one.base)
    if one.datasets:
        row["datasets"] = list(one.datasets)
    if one.privacy is not None:
        row["privacy"] = dict(one.privacy)
    return row


def _data_json(one: DataUse) -> dict[str, Any]:
    row: dict[str, Any] = {
        "task": one.task,
        "split": one.split,
        "role": one.role,
        "items": one.items,
    }
    if one.dataset is not None:
        row["dataset"] = one.dataset
    if one.revision is not None:
        row["revision"] = one.revision
    if one.hidden:
        row["hidden"] = True
    return row


def _contribution(value: object, where: str) -> Contribution:
    row = _mapping(value, where)
    weight = row.get("weight")
    licence = row.get("licence")
    base = row.get("base")
    return Contribution(
        number=_whole(row.get("number"), f"{where}.number", 1),
        author=_text(row.get("author"), f"{where}.author", 96),
        organisation=_text(row.get("organisation"), f"{where}.organisation", 96),
        title=_text(row.get("title"), f"{where}.title", 400),
        revision=_revision(row.get("revision"), f"{where}.revision"),
        files=_files(row.get("files"), f"{where}.files"),
        weight=None if weight is None else _number(weight, f"{where}.weight"),
        licence=None if licence is None else _text(licence, f"{where}.licence", 96),
        base=None if base is None else _origin(base, f"{where}.base"),
        datasets=tuple(
            _text(name, f"{where}.datasets", 193)
            for name in _list(row.get("datasets", []), f"{where}.datasets", MAX_DATA)
        ),
        privacy=None
        if row.get("privacy") is None
        else _numbers(row.get("privacy"), f"{where}.privacy"),
    )


def _data_use(value: object, where: str) -> DataUse:
    row = _mapping(value, where)
    items = _text(row.get("items"), f"{where}.items", 64)
    if not _SHA256.match(items):
        raise BadInput(f"{FILE}: {where}.items must be a SHA-256 (64 hex digits).")
    dataset, revision = row.get("dataset"), row.get("revision")
    return DataUse(
        task=_text(row.get("task"), f"{where}.task", 96),
        split=_text(row.get("split"), f"{where}.split", 96),
        role=_text(row.get("role"), f"{where}.role", 16),
        items=items,
        dataset=None if dataset is None else _text(dataset, f"{where}.dataset", 193),
        revision=None if revision is None else _revision(revision, f"{where}.revision"),
        hidden=row.get("hidden") is True,
    )


def _numbers(value: object, where: str) -> dict[str, float]:
    row = _mapping(value, where)
    if len(row) > MAX_NUMBERS:
        raise BadInput(f"{FILE}: {where} has {len(row)} entries; at most {MAX_NUMBERS} are read.")
    return {_text(key, where, 64): _number(one, f"{where}.{key}") for key, one in row.items()}


def _withdrawal(value: object, where: str) -> Withdrawal:
    row = _mapping(value, where)
    return Withdrawal(
        number=_whole(row.get("number"), f"{where}.number", 1),
        revision=_revision(row.get("revision"), f"{where}.revision"),
        by=_text(row.get("by"), f"{where}.by", 96),
        at=_time(row.get("at", "")),
    )


def _origin(value: object, where: str) -> Origin:
    row = _mapping(value, where)
    repository = _text(row.get("repository"), f"{where}.repository", 193)
    if not _REPOSITORY.match(repository):
        raise BadInput(f"{FILE}: {where}.repository must be namespace/name, not {repository!r}.")
    return Origin(
        repository=repository,
        revision=_revision(row.get("revision"), f"{where}.revision"),
        files=_files(row.get("files"), f"{where}.files"),
    )


def _scores(value: object) -> Scores:
    row = _mapping(value, "evaluation")
    tasks = _mapping(row.get("tasks"), "evaluation.tasks")
    return Scores(
        tasks={
            _text(name, "evaluation.tasks", 96): _task_score(task, f"evaluation.tasks.{name}")
            for name, task in tasks.items()
        },
        average=_number(row.get("average"), "evaluation.average"),
    )


def _task_score(value: object, where: str) -> TaskScore:
    row = _mapping(value, where)
    interval = _list(row.get("interval"), f"{where}.interval", 2)
    if len(interval) != 2:
        raise BadInput(f"{FILE}: {where}.interval must be [low, high].")
    return TaskScore(
        metric=_text(row.get("metric"), f"{where}.metric", 96),
        score=_number(row.get("score"), f"{where}.score"),
        interval=(
            _number(interval[0], f"{where}.interval"),
            _number(interval[1], f"{where}.interval"),
        ),
        n=_whole(row.get("n"), f"{where}.n", 0),
    )


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BadInput(f"{FILE}: {where} must be an object.")
    return value


def _list(value: object, where: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{FILE}: {where} must be a list.")
    if len(value) > most:
        raise BadInput(f"{FILE}: {where} has {len(value)} entries; at most {most} are read.")
    return value


def _text(value: object, where: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise BadInput(f"{FILE}: {where} must be text of at most {longest} characters.")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{FILE}: {where} must be a finite number.")
    return float(value)


def _whole(value: object, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise BadInput(f"{FILE}: {where} must be a whole number of at least {least}.")
    return value


def _revision(value: object, where: str) -> str:
    if not isinstance(value, str) or not _REVISION.match(value):
        raise BadInput(f"{FILE}: {where} must be a commit id of 40 hexadecimal digits.")
    return value


def _files(value: object, where: str) -> dict[str, str]:
    files = _mapping(value, where)
    if not 1 <= len(files) <= MAX_FILES:
        raise BadInput(f"{FILE}: {where} must name between 1 and {MAX_FILES} files.")
    for path, sha in files.items():
        parts = path.split("/")
        if len(path) > 1024 or path.startswith("/") or ".." in parts or "" in parts:
            raise BadInput(
                f"{FILE}: {where} holds the path {path[:100]!r}, which no file may have."
            )
        if not isinstance(sha, str) or not _SHA256.match(sha):
            raise BadInput(f"{FILE}: {where}[{path!r}] must be a SHA-256 of 64 hexadecimal digits.")
    return dict(files)


def _time(value: object) -> str:
    text = _text(value, "created", 40)
    if text:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise BadInput(f"{FILE}: created must be an ISO 8601 time, not {text!r}.") from None
    return text
