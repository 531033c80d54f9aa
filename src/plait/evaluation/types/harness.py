# SPDX-License-Identifier: Apache-2.0
"""Tasks of the Language Model Evaluation Harness, offline, on a data set's own files.

A YAML file in the data set says how a row becomes a prompt, in lm-eval's words. It is a stranger's:
only what describes a prompt is taken from it, its templates may read a row's fields and nothing
else, and no function that it names is called. What lm-eval would download it cannot name.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.errors import BadInput, MissingExtra
from plait.evaluation.classifier import Progress
from plait.evaluation.tasks import Task, group_of, read_split, split_files
from plait.evaluation.types.base import Answers, Scored, Values
from plait.evaluation.types.language import Passage
from plait.recipes.project import TaskSpec

MAX_CHARACTERS = 100_000
OUTPUTS = ("multiple_choice", "generate_until")
METRICS = ("acc", "acc_norm", "acc_bytes", "exact_match")
"""Metrics of lm-eval that are means over rows."""
TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix")
PLAIN = ("task", "output_type", "target_delimiter", "fewshot_delimiter", "num_fewshot")
KEYS = (*PLAIN, *TEMPLATES, "fewshot_split", "metric_list", "generation_kwargs")
METHODS = ("strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "split", "join")
FILTERS = (
    *("capitalize", "default", "first", "int", "join", "last", "length", "list", "lower"),
    *("replace", "string", "title", "trim", "upper"),
)
READERS = {".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


class Harness(Scored):
    """One task of lm-eval; the score is the first metric that its file names."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: TaskSpec, folder: Path, split: str) -> Task:
        """Read the task's file, and the rows' groups; lm-eval reads the rows again."""
        config = _config(spec, folder)
        rows = read_split(spec, folder, split, (spec.columns.group,))
        items = tuple(
            Passage("", group_of(row, spec, where, identity), identity)
            for row, where, identity in rows
        )
        files = {"test": split_files(folder, split, spec.dataset)}
        shots = config.pop("fewshot_split", None)
        if config.get("num_fewshot"):
            if not isinstance(shots, str) or shots == split:
                raise BadInput(
                    f"{spec.harness} takes examples (num_fewshot) and needs 'fewshot_split': a "
                    "split other than the one that is judged."
                )
            files["train"] = split_files(folder, shots, spec.dataset)
        about = {
            "config": config,
            "files": {name: [str(file) for file in found] for name, found in files.items()},
        }
        return Task(spec.name, spec.metric, items, (), spec.type, spec.seen, about)

    def open(self, folder: Path) -> Any:
        """Load a causal language model."""
        from plait.evaluation.runners import LanguageModel

        return LanguageModel.load(folder)

    def run(
        self, model: Any, tasks: Sequence[Task], progress: Progress | None
    ) -> dict[str, Answers]:
        """Run lm-eval on a language model (with its `model` and `tokenizer`).

        Raises:
            MissingExtra: if lm-eval is not installed.
        """
        total, done = sum(len(task.items) for task in tasks), 0
        found: dict[str, Answers] = {}
        for task in tasks:
            values, name = _run(model, task)
            records = tuple(
                Values(item.id, item.group, (value,))
                for item, value in zip(task.items, values, strict=True)
            )
            found[task.name] = Answers(records, {"metrics": ["harness"], "harness": name})
            done += len(task.items)
            if progress is not None:
                progress(done, total)
        return found


def _run(model: Any, task: Task) -> tuple[list[float], str]:
    """Return each row's value of the first metric, and the metric's name."""
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtra(error.name or "lm-eval", "eval") from None
    inner, tokenizer = getattr(model, "model", None), getattr(model, "tokenizer", None)
    if inner is None or tokenizer is None:
        raise BadInput(
            f"A task of type lm-eval needs a causal language model; {type(model).__name__} is none."
        )
    config = dict(task.about["config"])
    name = config["metric_list"][0]["metric"]
    files = task.about["files"]
    with tempfile.TemporaryDirectory() as cache, _quiet():
        config |= {
            "task": task.name,
            "dataset_path": READERS[Path(files["test"][0]).suffix],
            "dataset_kwargs": {"data_files": files, "cache_dir": cache},
            "test_split": "test",
        }
        if "train" in files:
            config["fewshot_split"] = "train"
        try:
            harness = HFLM(
                pretrained=inner,
                tokenizer=tokenizer,
                backend="causal",
                batch_size=8,
                max_length=model.max_length,
                prefix_token_id=model.begin,
                device="cpu",
            )
            said = simple_evaluate(
                model=harness,
                tasks=[config],
                task_manager=TaskManager(include_defaults=False),
                log_samples=True,
                bootstrap_iters=0,
            )
        except (ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:
            told = " ".join(str(error).split())[:300]
            raise BadInput(f"Task '{task.name}': lm-eval refuses it: {told}") from error
        except Exception as error:  # jinja's errors for fields that a row lacks
            if type(error).__module__.split(".")[0] not in ("jinja2", "datasets"):
                raise
            told = " ".join(str(error).split())[:300]
            raise BadInput(f"Task '{task.name}': lm-eval cannot read its rows: {told}") from error
    samples = sorted(said["samples"][task.name], key=lambda one: one["doc_id"])
    if [one["doc_id"] for one in samples] != list(range(len(task.items))):
        raise BadInput(f"Task '{task.name}': lm-eval did not answer every row once.")
    return [float(one[name]) for one in samples], name


def _config(spec: TaskSpec, folder: Path) -> dict[str, Any]:
    """Return what a task's file says, checked.

    Raises:
        BadInput: naming the file and the key.
    """
    from plait.recipes._reading import choice, keys, read_mapping, whole

    name = spec.harness or ""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        raise BadInput(f"Task '{spec.name}': data set {spec.dataset} has no file '{name[:100]}'.")
    try:
        if file.stat().st_size > 4 * MAX_CHARACTERS:
            raise BadInput(f"{name} is larger than {4 * MAX_CHARACTERS:,} bytes.")
        content = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"{name} of data set {spec.dataset} is not UTF-8 text.") from None
    data = dict(keys(read_mapping(content, name, MAX_CHARACTERS), name, KEYS))
    choice(data.get("output_type"), f"{name}: output_type", OUTPUTS)
    if "num_fewshot" in data:
        whole(data["num_fewshot"], f"{name}: num_fewshot", 0, 64)
    for key in ("doc_to_text", "doc_to_target"):
        if data.get(key) is None:
            raise BadInput(f"{name} needs '{key}'.")
    for key in TEMPLATES:
        for template in _texts(data.get(key)):
            _check_template(template, f"{name}: {key}")
    metrics = data.get("metric_list")
    if not isinstance(metrics, list) or not metrics:
        raise BadInput(f"{name} needs 'metric_list', like [{{metric: acc}}].")
    for one in metrics:
        known = ("metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation")
        entry = keys(one, f"{name}: metric_list", known)
        choice(entry.get("metric"), f"{name}: metric_list.metric", METRICS)
        if entry.get("aggregation", "mean") != "mean" or not entry.get("higher_is_better", True):
            raise BadInput(f"{name}: metric_list takes means of which more is better, no others.")
    # said in full, as lm-eval warns of what is left out
    data["metric_list"] = [{"aggregation": "mean", "higher_is_better": True, **m} for m in metrics]
    options = data.get("generation_kwargs")
    if options is not None:
        keys(options, f"{name}: generation_kwargs", ("until", "max_gen_toks", "do_sample"))
        whole(options.get("max_gen_toks", 64), f"{name}: generation_kwargs.max_gen_toks", 1, 1024)
        if options.get("do_sample"):
            raise BadInput(f"{name}: generation_kwargs: answers are not drawn, so that runs agree.")
    return data


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)


def _check_template(template: str, where: str) -> None:
    """Refuse a template that does more than to put fields of a row together.

    lm-eval renders templates without a sandbox.
    """
    try:
        import jinja2
        from jinja2 import nodes
    except ImportError:
        raise MissingExtra("lm-eval", "eval") from None
    plain = (
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const),
        *(nodes.Getitem, nodes.Slice, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand),
        *(nodes.Not, nodes.And, nodes.Or, nodes.Add, nodes.Sub, nodes.Concat, nodes.List),
        *(nodes.Tuple, nodes.For, nodes.Keyword),
    )
    try:
        tree = jinja2.Environment().parse(template)  # noqa: S701 - parsed, never rendered here
    except jinja2.TemplateError as error:
        raise BadInput(f"{where} is no template: {error}.") from None
    for node in tree.find_all(nodes.Node):
        good = isinstance(node, plain)
        if isinstance(node, nodes.Name):
            good = not node.name.startswith("_")
        elif isinstance(node, nodes.Const):
            good = not (isinstance(node.value, str) and node.value.startswith("_"))
        elif isinstance(node, nodes.Getattr):
            good = not node.attr.startswith("_")
        elif isinstance(node, nodes.Getitem):  # a text out of the row could name any attribute
            known = isinstance(node.arg, nodes.Const | nodes.Slice)
            good = known or (isinstance(node.arg, nodes.Filter) and node.arg.name == "int")
        elif isinstance(node, nodes.Filter):
            good = node.name in FILTERS
        elif isinstance(node, nodes.Call):
            good = isinstance(node.node, nodes.Getattr) and node.node.attr in METHODS
        if not good:
            raise BadInput(
                f"{where} uses {type(node).__name__.lower()} in a way that is not allowed: a "
                "template may put fields of a row together, with "
                f"{', '.join(FILTERS)} and text methods like strip()."
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's progress and advice off the terminal."""
    log = logging.getLogger("lm_eval")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(before)


TYPE = Harness
