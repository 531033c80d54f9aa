# SPDX-License-Identifier: Apache-2.0
"""Cards: README.md and its YAML head."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from plait.errors import BadInput
from plait.terms import LICENSES, TASKS

MAX_HEAD = 2**18
MAX_DEPTH = 32
MAX_NODES = 20_000

_FENCE = re.compile(
    r"\A\ufeff?(?:[ \t]*\r?\n)*---[ \t]*\r?\n(?P<head>.*?)^---[ \t]*(?:\r?\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BaseLoader):  # type: ignore[misc]
    """YAML's safe loader with YAML 1.2's plain values: ``no`` is Norwegian, a date stays text."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,30})$"), list("-+0123456789")
)
_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?|[-+]?[0-9]+[eE][-+]?[0-9]{1,4}"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def _float(loader: Any, node: Any) -> float | None:
    text = loader.construct_scalar(node).lower()
    # JSON, which the head is kept and sent as, has no infinities.
    return None if "inf" in text or "nan" in text else float(text)


_Loader.add_constructor("tag:yaml.org,2002:float", _float)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or YAML 1.2 would take for something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclass(frozen=True)
class Card:
    """A card's YAML head and its Markdown text."""

    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""


def split_card(content: str) -> tuple[str | None, str]:
    """Split README.md into the YAML between its ``---`` lines (None without) and the Markdown."""
    match = _FENCE.match(content)
    if match is None:
        return None, content
    return match["head"].rstrip("\r\n"), content[match.end() :]


def load_yaml(text: str, *, what: str = "The YAML", limit: int = MAX_HEAD) -> Any:
    """Load a stranger's YAML: no tags that make objects, no aliases, bounded size and depth.

    Raises:
        BadInput: it is not YAML, or goes beyond a bound; the message says where.
    """
    if len(text) > limit:
        raise BadInput(f"{what} is longer than {limit} characters.")
    try:
        _check_events(text, what)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, narrowed further
    except yaml.YAMLError as error:
        raise BadInput(f"{what} cannot be read: {_explain(error)}") from None
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise BadInput(f"{what} cannot be read: {error}") from None


def _check_events(text: str, what: str) -> None:
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise BadInput(f"{what} uses an alias (*{event.anchor}); write the value out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH:
            raise BadInput(f"{what} is nested more than {MAX_DEPTH} deep.")
        if nodes > MAX_NODES:
            raise BadInput(f"{what} has more than {MAX_NODES} values.")


def _explain(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    problem = " ".join(str(problem or error).split())
    return f"{problem} in line {mark.line + 1}." if mark is not None else f"{problem}."


def parse_card(content: str) -> Card:
    """Read README.md.

    Raises:
        BadInput: its head is not YAML, or not a mapping.
    """
    head, text = split_card(content)
    if head is None:
        return Card({}, text)
    data = load_yaml(head, what="The card's YAML head")
    if data is None:
        return Card({}, text)
    if not isinstance(data, dict):
        raise BadInput("The card's YAML head must be a mapping (lines of 'key: value').")
    return Card(_plain(data), text)


def read_head(content: str) -> dict[str, Any]:
    """Return the YAML head of README.md as plain JSON values; raises as `parse_card`."""
    return parse_card(content).data


def dump_card(data: Mapping[str, Any], text: str) -> str:
    """Write README.md; keys keep their order."""
    if not data:
        return text
    head = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n{text}"


def _plain(value: Any) -> Any:
    """Reduce to what JSON can hold."""
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else json.dumps(_plain(key)): _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def merge_results(index: Any, new: list[dict[str, Any]]) -> list[Any]:
    """Put new results into a card's `model-index`, in the place of those that they replace.

    Replaced is a metric's value of the same task, data set (with its config) and split. What is
    verified or names its source is somebody else's word and stays, and so does all that is not a
    result as the Hub has it.

    Args:
        index: what the card has, if anything.
        new: a `model-index` of one model.
    """
    if not isinstance(index, list) or not index or not isinstance(index[0], dict):
        return list(new)
    first = dict(index[0])
    found = first.get("results")
    told = {
        (result_key(result), metric["type"])
        for result in new[0]["results"]
        for metric in result["metrics"]
    }
    kept: list[Any] = []
    for result in found if isinstance(found, list) else []:
        metrics = result.get("metrics") if isinstance(result, dict) else None
        if not isinstance(metrics, list) or result.get("source"):
            kept.append(result)
            continue
        key = result_key(result)
        left = [
            metric
            for metric in metrics
            if not isinstance(metric, dict)
            or metric.get("verified")
            or (key, metric.get("type")) not in told
        ]
        if left:
            kept.append({**result, "metrics": left})
    first.setdefault("name", new[0]["name"])
    first["results"] = kept + new[0]["results"]
    return [first, *index[1:]]


def result_key(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a result is of."""
    task, dataset = (result.get(key) for key in ("task", "dataset"))
    task, dataset = (part if isinstance(part, dict) else {} for part in (task, dataset))
    parts = [dataset.get(key) for key in ("type", "name", "config", "split")]
    return tuple(str(part) for part in (task.get("type"), *parts))


def card_tags(data: Mapping[str, Any]) -> list[str]:
    """List the tags by which a card is found, in the Hub's form (``license:mit``, ``en``, …)."""
    tags: list[str] = []

    def add(key: str, prefix: str = "") -> None:
        value = data.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item.strip():
                tags.append(prefix + item.strip())

    add("tags")
    add("library_name")
    add("pipeline_tag")
    add("language")
    add("license", "license:")
    add("datasets", "dataset:")
    add("base_model", "base_model:")
    add("task_categories", "task_categories:")
    add("size_categories", "size_categories:")
    return list(dict.fromkeys(tags))


@dataclass(frozen=True)
class CardReport:
    """What is wrong with a card: ``errors`` forbid it, ``warnings`` are advice."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


_STRINGS = ("license", "license_name", "license_link", "pipeline_tag", "library_name", "title")
_STRING_LISTS = ("tags", "datasets", "base_model", "language", "metrics", "task_categories")
_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_RELATIONS = ("adapter", "merge", "quantized", "finetune")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}|code|multilingual")
_REPOSITORY = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?")
_SDKS = ("gradio", "docker", "static", "streamlit")


def validate_card(content: str, repo_type: str = "model") -> CardReport:
    """Check README.md before it is committed (what the Hub's ``/api/validate-yaml`` answers)."""
    head, _ = split_card(content)
    if head is None:
        if content.lstrip("\ufeff").startswith("---"):
            return CardReport(("The card's YAML head has no closing '---' line.",))
        return CardReport(
            warnings=("The card has no YAML head. Add one that names at least the license.",)
        )
    try:
        data = parse_card(content).data
    except BadInput as error:
        return CardReport((error.message,))
    errors = [
        *duplicate_keys(head),
        *_wrong_kinds(data),
        *_wrong_words(data),
        *_wrong_results(data),
    ]
    warnings = _unknown_tasks(data)
    if not data:
        warnings.append("The card's YAML head is empty. Name at least the license.")
    if repo_type == "space" and data:
        sdk = data.get("sdk")
        if sdk is None:
            warnings.append(f"The card names no 'sdk'. It is one of: {', '.join(_SDKS)}.")
        elif sdk not in _SDKS:
            errors.append(f"'sdk' must be one of: {', '.join(_SDKS)}.")
        for key in ("colorFrom", "colorTo"):
            if data.get(key) is not None and data[key] not in _COLORS:
                errors.append(f"'{key}' must be one of: {', '.join(_COLORS)}.")
    return CardReport(tuple(errors), tuple(warnings))


def _wrong_words(data: Mapping[str, Any]) -> list[str]:
    """Check what has a list of words or a form on the Hub, as the Hub does."""
    errors = []
    for value in _texts(data, "license"):
        if value.lower() not in LICENSES:
            errors.append(
                f"'license' is {_shown(value)}, which is no license that the Hub knows by an id. "
                "Use its id (as mit or apache-2.0), or 'other' with 'license_name' and "
                "'license_link'."
            )
    for value in _texts(data, "language"):
        if not _LANGUAGE.fullmatch(value):
            errors.append(
                f"'language' holds {_shown(value)}. Use an ISO 639 code of two or three letters, "
                "as 'en', or 'code' or 'multilingual'."
            )
    for key, what in (("base_model", "model"), ("datasets", "dataset")):
        for value in _texts(data, key):
            if not _REPOSITORY.fullmatch(value):
                errors.append(
                    f"'{key}' holds {_shown(value)}, which cannot name a {what}. "
                    "Write it as 'namespace/name'."
                )
    relation = data.get("base_model_relation")
    if relation is not None and relation not in _RELATIONS:
        errors.append(f"'base_model_relation' must be one of: {', '.join(_RELATIONS)}.")
    return errors


def _unknown_tasks(data: Mapping[str, Any]) -> list[str]:
    return [
        f"'{key}' holds {_shown(value)}, which is no task that the Hub knows."
        for key in ("pipeline_tag", "task_categories")
        for value in _texts(data, key)
        if value not in TASKS
    ]


def _wrong_results(data: Mapping[str, Any]) -> list[str]:
    """Check that each result names its task, dataset and metrics, without which none is shown."""
    index = data.get("model-index")
    errors = []
    for number, model in enumerate(index if isinstance(index, list) else []):
        here = f"'model-index[{number}]'"
        if not isinstance(model, dict):
            continue
        if not isinstance(model.get("name"), str):
            errors.append(f"{here} must have a 'name'.")
        results = model.get("results")
        if not isinstance(results, list):
            errors.append(f"{here} must have a list of 'results'.")
            continue
        for place, result in enumerate(results[:1000]):
            for key in ("task", "dataset"):
                part = result.get(key) if isinstance(result, dict) else None
                if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                    errors.append(f"{here}: result {place} must have a '{key}' with a 'type'.")
            metrics = result.get("metrics") if isinstance(result, dict) else None
            if not isinstance(metrics, list) or not all(
                isinstance(metric, dict) and "type" in metric and "value" in metric
                for metric in metrics
            ):
                errors.append(
                    f"{here}: result {place} must have 'metrics', each with 'type' and 'value'."
                )
    return errors[:20]


def _texts(data: Mapping[str, Any], key: str) -> list[str]:
    value = data.get(key)
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)][:100]


def _shown(value: str) -> str:
    return repr(value[:60])


def duplicate_keys(head: str) -> list[str]:
    """Say which of a head's keys are given twice, and where."""
    node = yaml.compose(head, Loader=_Loader)
    if not isinstance(node, yaml.MappingNode):
        return []
    seen: set[str] = set()
    found = []
    for key, _ in node.value:
        name = str(key.value)
        if name in seen:
            found.append(f"'{name[:80]}' is given twice, again in line {key.start_mark.line + 2}.")
        seen.add(name)
    return found


def _wrong_kinds(data: Mapping[str, Any]) -> list[str]:
    errors = []
    for key in _STRINGS:
        value = data.get(key)
        if key == "license" and isinstance(value, list):
            value = "" if all(isinstance(item, str) for item in value) else value
        if value is not None and not isinstance(value, str):
            errors.append(f"'{key}' must be text.")
    for key in _STRING_LISTS:
        value = data.get(key)
        items = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(item, str) for item in items):
            errors.append(f"'{key}' must be text or a list of texts.")
    index = data.get("model-index")
    if index is not None and not (
        isinstance(index, list) and all(isinstance(item, dict) for item in index)
    ):
        errors.append("'model-index' must be a list of mappings.")
    return errors
