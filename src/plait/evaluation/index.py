# SPDX-License-Identifier: Apache-2.0
"""Results in a model's card: `model-index` as the Hub reads it, and `.eval_results/*.yaml`.

The second is the Hub's newer form, one file for each data set, told of in its documentation
(huggingface.co/docs/hub/eval-results) and read by the stock client's `parse_eval_result_entries`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from plait.cards import dump_card, load_yaml, merge_results, parse_card
from plait.errors import BadInput
from plait.evaluation.results import Evaluation, TaskResult
from plait.recipes.project import TaskSpec

CARD = "README.md"
RESULTS = ".eval_results"
DIGITS = 6
PIPELINES = {
    "text-classification": ("text-classification", "Text Classification"),
    "image-classification": ("image-classification", "Image Classification"),
    "audio-classification": ("audio-classification", "Audio Classification"),
    "multimodal-classification": ("any-to-any", "Multimodal Classification"),
    "token-classification": ("token-classification", "Token Classification"),
    "regression": ("text-classification", "Text Scoring"),
    "retrieval": ("text-retrieval", "Text Retrieval"),
    "ranking": ("text-ranking", "Text Ranking"),
    "generation": ("text-generation", "Text Generation"),
    "language-modeling": ("text-generation", "Language Modeling"),
    "lm-eval": ("text-generation", "Text Generation"),
}
"""The Hub's task for each type of task, and what a reader is shown."""

NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "f1": "Entity F1",
    "mse": "Mean squared error",
    "mae": "Mean absolute error",
    "r2": "R²",
    "mrr": "Mean reciprocal rank",
    "map": "Mean average precision",
    "chrf": "chrF2",
    "rouge_l": "ROUGE-L",
}
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def model_index(
    name: str, evaluation: Evaluation, specs: Sequence[TaskSpec], *, every: bool = False
) -> list[dict[str, Any]]:
    """Return results as a card's `model-index`.

    Args:
        name: the model's.
        evaluation: what was found.
        specs: the tasks, for their data sets.
        every: all metrics of each task, not only its own.

    Raises:
        BadInput: if a task's spec is missing.
    """
    known = {spec.name: spec for spec in specs}
    results = []
    for task, result in evaluation.tasks.items():
        if task not in known:
            raise BadInput(f"There is no spec of task '{task}'; its data set cannot be named.")
        spec = known[task]
        kind, title = PIPELINES[spec.type]
        dataset = dataset_of(spec, evaluation.split)
        scores = result.scores if every else {result.metric: result.score}
        metrics = [_metric(one, value, result) for one, value in scores.items()]
        results.append(
            {"task": {"type": kind, "name": title}, "dataset": dataset, "metrics": metrics}
        )
    return [{"name": name, "results": results}]


def dataset_of(spec: TaskSpec, split: str) -> dict[str, str]:
    """Return how a card names a task's data: a repository, or a folder's name alone."""
    known = _REPOSITORY.fullmatch(spec.dataset) is not None
    dataset = {"name": spec.name, "type": spec.dataset if known else Path(spec.dataset).name}
    dataset["split"] = split
    if spec.revision != "main":
        dataset["revision"] = spec.revision
    return dataset


def write_card(
    folder: Path,
    evaluation: Evaluation,
    specs: Sequence[TaskSpec],
    *,
    every: bool = False,
    name: str | None = None,
) -> Path:
    """Write results into the `model-index` of a model folder's README.md.

    A result of the same task, data set, split and metric is replaced; all others stay, and so does
    one that names its source or was verified: it is somebody else's. `name` is the model's, where
    the card has none yet (default: the folder's).

    Raises:
        BadInput: if the card cannot be read.
    """
    card = Path(folder) / CARD
    content = card.read_text("utf-8") if card.is_file() else f"# {Path(folder).resolve().name}\n"
    parsed = parse_card(content)
    before = parsed.data.get("model-index")
    known = _name(before) or name or Path(folder).resolve().name
    new = model_index(known, evaluation, specs, every=every)
    data = {**parsed.data, "model-index": merge_results(before, new)}
    _replace(card, dump_card(data, parsed.text))
    return card


def write_eval_results(
    folder: Path, evaluation: Evaluation, specs: Sequence[TaskSpec], *, today: str | None = None
) -> list[Path]:
    """Write `.eval_results/DATASET.yaml`, an entry for each task; entries of others stay.

    Only data sets that are repositories (namespace/name) can be named there.

    Returns:
        The files that were written.

    Raises:
        BadInput: if a file that is there cannot be read.
    """
    date = today or datetime.datetime.now(datetime.UTC).date().isoformat()
    known = {spec.name: spec for spec in specs}
    by_file: dict[str, list[dict[str, Any]]] = {}
    for task, result in evaluation.tasks.items():
        spec = known.get(task)
        if spec is None or not _REPOSITORY.fullmatch(spec.dataset):
            continue
        dataset: dict[str, Any] = {"id": spec.dataset, "task_id": task}
        if spec.revision != "main":
            dataset["revision"] = spec.revision
        low, high = (_short(one) for one in result.interval)
        notes = f"{result.metric} on {evaluation.split}, n={result.n}, 95% interval {low} to {high}"
        entry = {"dataset": dataset, "value": _short(result.score), "date": date, "notes": notes}
        by_file.setdefault(spec.dataset.replace("/", "__") + ".yaml", []).append(entry)
    written = []
    for name, entries in by_file.items():
        file = Path(folder) / RESULTS / name
        kept = [one for one in _entries(file) if not _same_entry(one, entries)]
        file.parent.mkdir(exist_ok=True)
        _replace(file, yaml.safe_dump(kept + entries, sort_keys=False, allow_unicode=True))
        written.append(file)
    return written


def _metric(name: str, value: float, result: TaskResult) -> dict[str, Any]:
    shown = str(result.about.get("harness", name)) if name == "harness" else name
    made: dict[str, Any] = {
        "type": shown,
        "value": _short(value),
        "name": NAMES.get(shown, shown.replace("_", " ")),
    }
    if name == result.metric:
        interval = [_short(one) for one in result.interval]
        made["args"] = {"interval": interval, "n": result.n, "groups": result.groups}
    return made


def _short(value: float) -> float:
    return round(float(value), DIGITS)


def _name(index: Any) -> str | None:
    if isinstance(index, list) and index and isinstance(index[0], Mapping):
        name = index[0].get("name")
        return name if isinstance(name, str) else None
    return None


def _entries(file: Path) -> list[Any]:
    if not file.is_file():
        return []
    found = load_yaml(file.read_text("utf-8"), what=f"{RESULTS}/{file.name}")
    if not isinstance(found, list):
        raise BadInput(f"{RESULTS}/{file.name} must be a list of results.")
    return found


def _same_entry(one: Any, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether an entry is an earlier one of ours: of the same task, with no source named."""
    if not isinstance(one, Mapping) or "source" in one or "verifyToken" in one:
        return False
    dataset = one.get("dataset")
    if not isinstance(dataset, Mapping):
        return False
    ours = {(entry["dataset"]["id"], entry["dataset"]["task_id"]) for entry in entries}
    return (dataset.get("id"), dataset.get("task_id")) in ours


def _replace(file: Path, content: str) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(content, "utf-8")
    part.replace(file)
