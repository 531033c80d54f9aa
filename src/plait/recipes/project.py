# SPDX-License-Identifier: Apache-2.0
"""A repository's ``plait.yaml``: what its model is judged by, and how pull requests are fused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes._reading import choice, keys, number, read_mapping, short, text, whole
from plait.recipes.merging import MergeSpec, parse_merge
from plait.recipes.questions import EvaluationSpec, parse_evaluation
from plait.recipes.tasks import KINDS, UNBOUNDED, metric_family

FILE = "plait.yaml"
MAX_CHARACTERS = 256_000
MAX_TASKS = 200
MAX_BUDGET = 1_000

TASK_TYPES = tuple(KINDS)
MAX_NEW_TOKENS = 1024
ROLES = ("protected", "target", "watched")
DEFAULT_METHODS = ("task_arithmetic", "ties")

_KEYS = ("base", "fusion", "tasks", "gate", "credit", "evaluation", "merge", "leaderboard")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METHOD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Columns:
    """Names of a data set's columns; without a group column every item is its own group.

    `image` and `audio` name columns that hold the path of a file inside the data set's folder; with
    either, an item may lack its text (and the task its text column: `text: null`). `pair` names the
    second text of a regression's pairs, `candidates` the texts that a ranking orders. What `text`
    and `label` are by default, `plait.recipes.tasks.KINDS` says for each type of task.
    """

    text: str | None = "text"
    label: str = "label"
    group: str | None = None
    image: str | None = None
    audio: str | None = None
    pair: str | None = None
    candidates: str | None = None


@dataclass(frozen=True)
class TaskSpec:
    """One task: a data set, its columns, a metric, and what the gate asks of it.

    A *protected* task may lose at most ``margin``; a *target* task must gain as well; a *watched*
    task is shown and decides nothing. A task that no contributor owns is ``seen: false``: what is
    gained there was not trained for, and averages over seen and unseen tasks stand beside each
    other.
    """

    name: str
    dataset: str
    type: str = "text-classification"
    revision: str = "main"
    metric: str = "balanced_accuracy"
    columns: Columns = field(default_factory=Columns)
    role: str = "protected"
    margin: float = 0.05
    seen: bool = True
    max_new_tokens: int = 64
    """Of generation: the most tokens that a model may answer with."""
    harness: str | None = None
    """Of lm-eval: the YAML file in the data set that describes the task."""


@dataclass(frozen=True)
class FusionSpec:
    """How pull requests are fused: one method with fixed parameters, or a search over methods."""

    method: str = "search"
    methods: tuple[str, ...] = DEFAULT_METHODS
    parameters: Mapping[str, Any] = field(default_factory=dict)
    budget: int = 12
    search_split: str = "validation"


@dataclass(frozen=True)
class GateSpec:
    """The rule that a merge must pass; margins are in the metric's unit (0 to 1)."""

    split: str = "gate"
    confidence: float = 0.95
    minimum_gain: float = 0.0
    margin: float = 0.02
    smallest_effect: float = 0.02
    """The smallest gain that is worth having: items are counted as enough when such a gain, were it
    true, would be found with the chance `power`."""
    power: float = 0.8


@dataclass(frozen=True)
class CreditSpec:
    """What may be spent on saying who contributed what."""

    exact: int = 10
    """Up to so many contributions every subset is measured; with more, orders are sampled."""
    samples: int = 16
    """Sampled orders of the contributions; each is used forwards and backwards."""
    split: str | None = None
    """The items that credit is measured on; None for the gate's."""


@dataclass(frozen=True)
class LeaderboardSpec:
    """In a data set: the items that models submitted to its leaderboard are scored on."""

    split: str = "test"
    ranks: str = "private"
    """Of a hidden split: ``private`` shows each only the rows of their own models."""


@dataclass(frozen=True)
class ProjectSpec:
    """A whole ``plait.yaml``."""

    base: str | None = None
    fusion: FusionSpec = field(default_factory=FusionSpec)
    tasks: tuple[TaskSpec, ...] = ()
    gate: GateSpec = field(default_factory=GateSpec)
    credit: CreditSpec = field(default_factory=CreditSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    """In a data set: who may be judged with it, and which of its splits are hidden."""
    leaderboard: LeaderboardSpec = field(default_factory=LeaderboardSpec)
    merge: MergeSpec = field(default_factory=MergeSpec)
    """Which driver merges which file, and how tables merge."""


def load_project(path: Path) -> ProjectSpec:
    """Read a ``plait.yaml`` file.

    Raises:
        BadInput: if the file is missing, too large, or says something that is not understood.
    """
    try:
        if path.stat().st_size > 4 * MAX_CHARACTERS:
            raise BadInput(f"{path} is larger than {4 * MAX_CHARACTERS:,} bytes.")
        content = path.read_text("utf-8")
    except FileNotFoundError:
        raise BadInput(
            f"There is no file {path}; it names the tasks to judge a model by."
        ) from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    return parse_project(content, str(path))


def parse_project(content: str | bytes | Mapping[str, Any], origin: str = FILE) -> ProjectSpec:
    """Turn a ``plait.yaml``'s text, bytes or plain values into a `ProjectSpec`.

    Raises:
        BadInput: naming ``origin``, the key and what to write instead.
    """
    if isinstance(content, bytes):
        try:
            content = content.decode("utf-8")
        except UnicodeDecodeError:
            raise BadInput(f"{origin} is not UTF-8 text.") from None
    if isinstance(content, str):
        content = read_mapping(content, origin, MAX_CHARACTERS)
    data = keys(content, origin, _KEYS)
    base = data.get("base")
    return ProjectSpec(
        base=None if base is None else text(base, f"{origin}: base"),
        fusion=_fusion(data.get("fusion"), f"{origin}: fusion"),
        tasks=parse_tasks(data.get("tasks"), f"{origin}: tasks"),
        gate=_gate(data.get("gate"), f"{origin}: gate"),
        credit=_credit(data.get("credit"), f"{origin}: credit"),
        evaluation=parse_evaluation(data.get("evaluation"), f"{origin}: evaluation"),
        merge=parse_merge(data.get("merge"), f"{origin}: merge"),
        leaderboard=_leaderboard(data.get("leaderboard"), f"{origin}: leaderboard"),
    )


def _fusion(value: object, where: str) -> FusionSpec:
    if value is None:
        return FusionSpec()
    data = keys(value, where, ("method", "methods", "parameters", "budget", "search_split"))
    method = _word(data.get("method", "search"), f"{where}.method", _METHOD)
    if method != "search" and "methods" in data:
        raise BadInput(
            f"{where}.methods belongs to 'method: search', but the method is '{method}'."
        )
    names = data.get("methods", list(DEFAULT_METHODS))
    if not isinstance(names, list) or not 1 <= len(names) <= 50:
        raise BadInput(f"{where}.methods must be a list of 1 to 50 methods, like [ties].")
    parameters = data.get("parameters") or {}
    if not isinstance(parameters, Mapping) or not all(isinstance(k, str) for k in parameters):
        raise BadInput(f"{where}.parameters must be a mapping, like {{weight: 0.5}}.")
    return FusionSpec(
        method=method,
        methods=tuple(_word(m, f"{where}.methods", _METHOD) for m in names),
        parameters=dict(parameters),
        budget=whole(data.get("budget", 12), f"{where}.budget", 1, MAX_BUDGET),
        search_split=_word(data.get("search_split", "validation"), f"{where}.search_split", _SPLIT),
    )


def parse_tasks(value: object, where: str) -> tuple[TaskSpec, ...]:
    """Read a list of tasks, as in `plait.yaml` and in recipes.

    Raises:
        BadInput: naming the entry, its key and what to write instead.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_TASKS:
        raise BadInput(f"{where} must be a list of at most {MAX_TASKS} tasks.")
    made = tuple(_task(item, f"{where}[{i}]") for i, item in enumerate(value))
    seen: set[str] = set()
    for task in made:
        if task.name in seen:
            raise BadInput(f"{where} has two tasks named '{task.name}'; give each its own name.")
        seen.add(task.name)
    return made


def _task(value: object, where: str) -> TaskSpec:
    known = ("name", "type", "dataset", "revision", "metric", "columns", "role", "margin", "seen")
    data = keys(value, where, (*known, "max_new_tokens", "harness"))
    for key in ("name", "dataset"):
        if data.get(key) is None:
            raise BadInput(f"{where} needs '{key}'.")
    kind = choice(data.get("type", TASK_TYPES[0]), f"{where}.type", TASK_TYPES)
    metric = _metric(data.get("metric", KINDS[kind].usual), f"{where}.metric", kind)
    for key, owner in (("max_new_tokens", "generation"), ("harness", "lm-eval")):
        if key in data and kind != owner:
            raise BadInput(f"{where}.{key} belongs to 'type: {owner}', but the type is '{kind}'.")
    if kind == "lm-eval" and data.get("harness") is None:
        raise BadInput(f"{where} needs 'harness': the YAML file of the task in its data set.")
    seen = data.get("seen", True)
    if not isinstance(seen, bool):
        raise BadInput(f"{where}.seen must be true or false, not '{short(seen)}'.")
    most = 1e9 if metric in UNBOUNDED else 1
    return TaskSpec(
        name=_word(data["name"], f"{where}.name", _NAME),
        dataset=text(data["dataset"], f"{where}.dataset"),
        type=kind,
        revision=text(data.get("revision", "main"), f"{where}.revision"),
        metric=metric,
        columns=_columns(data.get("columns"), f"{where}.columns", kind),
        role=choice(data.get("role", "protected"), f"{where}.role", ROLES),
        margin=number(data.get("margin", 0.05), f"{where}.margin", 0, most),
        seen=seen,
        max_new_tokens=whole(
            data.get("max_new_tokens", 64), f"{where}.max_new_tokens", 1, MAX_NEW_TOKENS
        ),
        harness=None if data.get("harness") is None else text(data["harness"], f"{where}.harness"),
    )


def _metric(value: object, where: str, kind: str) -> str:
    """Return the name of a metric that this type of task has."""
    known = KINDS[kind].metrics
    family, cutoff = metric_family(value) if isinstance(value, str) else ("", None)
    if family not in known or (family.endswith("@k") and cutoff is None):
        shown = tuple(name.replace("@k", "@10") for name in known)
        return choice(value, f"{where} of {kind}", shown)
    return str(value)


def dump_tasks(tasks: Sequence[TaskSpec]) -> list[dict[str, Any]]:
    """Return tasks as plain values that `parse_tasks` reads back to equal ones."""
    made = []
    for task in tasks:
        data = _plain(task)
        usual = KINDS[task.type]
        if (usual.text, usual.label) != (Columns.text, Columns.label) or usual.image or usual.audio:
            # what is a default here may not be the type's
            written = {"text": task.columns.text, "label": task.columns.label}
            for key in ("image", "audio", "candidates"):
                written[key] = getattr(task.columns, key)
            data["columns"] = {**data.get("columns", {}), **written}
        made.append(data)
    return made


def _plain(value: Any) -> dict[str, Any]:
    """Return a dataclass's fields that are not at their defaults, nested ones too."""
    data: dict[str, Any] = {}
    for one in fields(value):
        found = getattr(value, one.name)
        usual = one.default_factory() if one.default_factory is not MISSING else one.default
        if found != usual:
            data[one.name] = _plain(found) if is_dataclass(found) else found
    return data


def _columns(value: object, where: str, kind: str) -> Columns:
    usual = KINDS[kind]
    known = ("text", "label", "group", "image", "audio", "pair", "candidates")
    data = keys({} if value is None else value, where, known)

    def named(key: str, usual: str | None) -> str | None:
        value = data.get(key, usual)
        return None if value is None else text(value, f"{where}.{key}")

    written, image = named("text", usual.text), named("image", usual.image)
    audio, candidates = named("audio", usual.audio), named("candidates", usual.candidates)
    if written is None and image is None and audio is None and kind != "lm-eval":
        raise BadInput(f"{where} names no text, image or audio column; a model needs one to read.")
    return Columns(
        text=written,
        label=text(data.get("label", usual.label), f"{where}.label"),
        group=named("group", None),
        image=image,
        audio=audio,
        pair=named("pair", None),
        candidates=candidates,
    )


def _leaderboard(value: object, where: str) -> LeaderboardSpec:
    data = keys({} if value is None else value, where, ("split", "ranks"))
    return LeaderboardSpec(
        split=_word(data.get("split", "test"), f"{where}.split", _SPLIT),
        ranks=choice(data.get("ranks", "private"), f"{where}.ranks", ("private", "public")),
    )


def _gate(value: object, where: str) -> GateSpec:
    if value is None:
        return GateSpec()
    known = ("split", "confidence", "minimum_gain", "margin", "smallest_effect", "power")
    data = keys(value, where, known)
    return GateSpec(
        split=_word(data.get("split", "gate"), f"{where}.split", _SPLIT),
        confidence=number(data.get("confidence", 0.95), f"{where}.confidence", 0.5, 0.9999),
        minimum_gain=number(data.get("minimum_gain", 0.0), f"{where}.minimum_gain", -1, 1),
        margin=number(data.get("margin", 0.02), f"{where}.margin", 0, 1),
        smallest_effect=number(
            data.get("smallest_effect", 0.02), f"{where}.smallest_effect", 1e-4, 1
        ),
        power=number(data.get("power", 0.8), f"{where}.power", 0.5, 0.999),
    )


def _credit(value: object, where: str) -> CreditSpec:
    if value is None:
        return CreditSpec()
    data = keys(value, where, ("exact", "samples", "split"))
    split = data.get("split")
    return CreditSpec(
        exact=whole(data.get("exact", 10), f"{where}.exact", 0, 10),
        samples=whole(data.get("samples", 16), f"{where}.samples", 2, 1_000),
        split=None if split is None else _word(split, f"{where}.split", _SPLIT),
    )


def _word(value: object, where: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadInput(
            f"{where} must be one word of letters, digits, '-' or '_', not '{short(value)}'."
        )
    return value
