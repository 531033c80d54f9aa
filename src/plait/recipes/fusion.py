# SPDX-License-Identifier: Apache-2.0
"""The fusion recipe: mergekit's configuration language, read into frozen values.

A recipe names its models, a method and the method's parameters. A parameter is a number, a flag or
a word; or a *gradient* over the layers (a list); or *rules*, a list of `{filter, value}` of which
the first whose filter is a substring of the tensor's name holds. Which methods and parameters exist
is not known here: `plait.fusion` checks that when it plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plait.errors import BadInput
from plait.recipes.parameters import (
    MAX_LAYERS,
    Gradient,
    Rule,
    Rules,
    Scalar,
    Setting,
    dump_parameters,
    evaluate,
    hint,
    keys,
    nearest,
    parse_parameters,
    short,
)

__all__ = [
    "FusionRecipe",
    "Gradient",
    "Rule",
    "Rules",
    "Scalar",
    "Setting",
    "Slice",
    "Source",
    "dump_recipe",
    "evaluate",
    "hint",
    "load_recipe",
    "nearest",
    "parse_recipe",
]

MAX_RECIPE_BYTES = 4_000_000
MAX_MODELS = 1_000

DTYPES = ("float32", "float16", "bfloat16", "float64")
ORDERS = ("given", "canonical")
DIALECTS = ("mergekit", "paper", "peft")
_TOP = (
    "merge_method",
    "models",
    "slices",
    "base_model",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "seed",
    "order",
    "dialect",
)
_LATER = {
    "modules": "'modules' (a recipe for each part of a model) is not supported yet; "
    "write one recipe for each part",
    "chat_template": "'chat_template' is not supported yet; remove it, "
    "the fused model keeps the chat template of its base",
}


@dataclass(frozen=True)
class Source:
    """One model of a fusion (in a slice: some of its layers) and its own parameters."""

    model: str
    layer_range: tuple[int, int] | None = None
    parameters: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """Consecutive layers of the result: the same number of layers of each source."""

    sources: tuple[Source, ...]
    parameters: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class FusionRecipe:
    """A whole fusion recipe; `models` or `slices` is non-empty, never both."""

    method: str
    models: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    base_model: str | None = None
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer_source: str | None = None
    seed: int = 0
    order: str = "given"
    dialect: str | None = None

    def references(self) -> tuple[str, ...]:
        """Return every model that the recipe names, once, the base first."""
        names = [self.base_model] if self.base_model else []
        names += [s.model for s in self.models]
        names += [s.model for part in self.slices for s in part.sources]
        return tuple(dict.fromkeys(names))


def load_recipe(recipe: str | Path | Mapping[str, Any] | FusionRecipe) -> FusionRecipe:
    """Read a recipe from a file, a YAML text, a mapping, or return it as it is.

    Raises:
        BadInput: with a sentence that names what is wrong in the recipe and what to write instead.
    """
    if isinstance(recipe, FusionRecipe):
        return recipe
    if isinstance(recipe, Mapping):
        return parse_recipe(recipe)
    text, origin = _text_of(recipe)
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        raise BadInput(f"{origin} is not valid YAML: {_problem(error)}.") from None
    except (RecursionError, ValueError):
        raise BadInput(f"{origin} is not valid YAML: it is nested too deeply.") from None
    if not isinstance(data, Mapping):
        raise BadInput(f"{origin} is not a recipe: it must be a mapping with 'merge_method' in it.")
    return parse_recipe(data)


def parse_recipe(data: Mapping[str, Any]) -> FusionRecipe:
    """Turn the plain values of a recipe into a `FusionRecipe`.

    Raises:
        BadInput: for an unknown or missing key, or a value of the wrong kind.
    """
    for key in data:
        if key in _LATER:
            raise BadInput(f"{_LATER[key]}.")
        if key not in _TOP:
            raise BadInput(f"The recipe has an unknown key '{short(key)}'{hint(str(key), _TOP)}")
    method = data.get("merge_method")
    if not isinstance(method, str):
        raise BadInput("The recipe needs 'merge_method', for example 'merge_method: linear'.")
    models, slices = data.get("models"), data.get("slices")
    if (models is None) == (slices is None):
        raise BadInput("The recipe needs either 'models' or 'slices' (and not both).")
    base = data.get("base_model")
    return FusionRecipe(
        method=method,
        models=() if models is None else _models(models),
        slices=() if slices is None else _slices(slices),
        base_model=None if base is None else _reference(base, "base_model"),
        parameters=parse_parameters(data.get("parameters"), "parameters"),
        dtype=_choice(data.get("dtype"), "dtype", DTYPES),
        out_dtype=_choice(data.get("out_dtype"), "out_dtype", DTYPES),
        tokenizer_source=_tokenizer(data),
        seed=_seed(data.get("seed", 0)),
        order=_choice(data.get("order", "given"), "order", ORDERS) or "given",
        dialect=_choice(data.get("dialect"), "dialect", DIALECTS),
    )


def dump_recipe(recipe: FusionRecipe) -> dict[str, Any]:
    """Return the recipe as plain values that `parse_recipe` reads back to an equal recipe."""
    data: dict[str, Any] = {"merge_method": recipe.method}
    if recipe.models:
        data["models"] = [_dump_source(s) for s in recipe.models]
    if recipe.slices:
        data["slices"] = [
            {"sources": [_dump_source(s) for s in part.sources]} | dump_parameters(part.parameters)
            for part in recipe.slices
        ]
    for key in ("base_model", "dtype", "out_dtype", "tokenizer_source", "dialect"):
        if getattr(recipe, key) is not None:
            data[key] = getattr(recipe, key)
    data |= dump_parameters(recipe.parameters)
    if recipe.seed:
        data["seed"] = recipe.seed
    if recipe.order != "given":
        data["order"] = recipe.order
    return data


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice (YAML itself would keep the last silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key != "<<" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{short(key)}' is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _text_of(recipe: str | Path) -> tuple[str, str]:
    if isinstance(recipe, str) and ("\n" in recipe or ": " in recipe):
        if len(recipe) > MAX_RECIPE_BYTES:
            raise BadInput(f"The recipe is longer than {MAX_RECIPE_BYTES:,} characters.")
        return recipe, "The recipe"
    path = Path(recipe)
    try:
        size = path.stat().st_size
        if size > MAX_RECIPE_BYTES:
            raise BadInput(f"The recipe {path} is larger than {MAX_RECIPE_BYTES:,} bytes.")
        return path.read_text("utf-8"), f"The recipe {path}"
    except FileNotFoundError:
        raise BadInput(f"There is no recipe file {path}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"The recipe {path} is not UTF-8 text.") from None
    except OSError as error:
        raise BadInput(f"The recipe {path} cannot be read: {error.strerror}.") from None


def _problem(error: yaml.YAMLError) -> str:
    what = getattr(error, "problem", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    return short(what) + (f" (line {mark.line + 1})" if mark else "")


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise BadInput(f"'{where}' must be a list with at least one entry.")
    if len(value) > MAX_MODELS:
        raise BadInput(f"'{where}' has {len(value):,} entries; {MAX_MODELS:,} is the most.")
    return list(value)


def _models(value: object) -> tuple[Source, ...]:
    sources = []
    for index, item in enumerate(_list(value, "models")):
        where = f"models[{index}]"
        entry = keys(
            item, where, ("model", "parameters"), "; a model's own values go under 'parameters'."
        )
        sources.append(
            Source(
                _reference(entry.get("model"), f"{where}.model"),
                None,
                parse_parameters(entry.get("parameters"), f"{where}.parameters"),
            )
        )
    return tuple(sources)


def _slices(value: object) -> tuple[Slice, ...]:
    slices = []
    for index, item in enumerate(_list(value, "slices")):
        where = f"slices[{index}]"
        entry = keys(item, where, ("sources", "parameters"))
        sources = []
        for number, source in enumerate(_list(entry.get("sources"), f"{where}.sources")):
            spot = f"{where}.sources[{number}]"
            values = keys(source, spot, ("model", "layer_range", "parameters"))
            sources.append(
                Source(
                    _reference(values.get("model"), f"{spot}.model"),
                    _layer_range(values.get("layer_range"), f"{spot}.layer_range"),
                    parse_parameters(values.get("parameters"), f"{spot}.parameters"),
                )
            )
        lengths = {s.layer_range[1] - s.layer_range[0] for s in sources if s.layer_range}
        if len(lengths) > 1:
            raise BadInput(f"{where}: every source must have as many layers as the others.")
        slices.append(
            Slice(tuple(sources), parse_parameters(entry.get("parameters"), f"{where}.parameters"))
        )
    return tuple(slices)


def _layer_range(value: object, where: str) -> tuple[int, int]:
    whole = isinstance(value, list | tuple) and all(type(v) is int for v in value)
    if not whole or len(value) != 2 or not 0 <= value[0] < value[1] <= MAX_LAYERS:  # type: ignore[arg-type,index]
        raise BadInput(
            f"'{where}' must be two whole numbers [first, one past the last], like [0, 6]."
        )
    return (value[0], value[1])  # type: ignore[index]


def _reference(value: object, where: str) -> str:
    """Return a model reference as a string, mergekit's {model: {path, revision}} too."""
    if isinstance(value, Mapping):
        if value.get("lora"):
            raise BadInput(
                f"'{where}' names a LoRA adapter, which is not supported yet; merge it first."
            )
        inner = value.get("model", value)
        if isinstance(inner, Mapping) and isinstance(inner.get("path"), str):
            revision = inner.get("revision")
            value = f"{inner['path']}@{revision}" if revision else inner["path"]
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > 4096:
        raise BadInput(f"'{where}' must name a model: a folder or a repository such as 'org/name'.")
    if "+" in value and not Path(value).exists():
        raise BadInput(
            f"'{where}' is '{short(value)}': 'model+lora' is not supported yet; "
            "merge the adapter first."
        )
    return value


def _choice(value: object, where: str, known: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if value not in known:
        raise BadInput(
            f"'{where}' is '{short(value)}' but must be one of {', '.join(known)}"
            f"{hint(str(value), known)}"
        )
    return str(value)


def _tokenizer(data: Mapping[str, Any]) -> str | None:
    source = data.get("tokenizer_source")
    if data.get("tokenizer") is not None:
        if source is not None:
            raise BadInput("Give 'tokenizer' or 'tokenizer_source', not both.")
        entry = keys(data["tokenizer"], "'tokenizer'", ("source", "tokens", "pad_to_multiple_of"))
        if entry.get("tokens") or entry.get("pad_to_multiple_of"):
            raise BadInput(
                "'tokenizer.tokens' and 'pad_to_multiple_of' are not supported yet; remove them."
            )
        source = entry.get("source")
    if source in (None, "base"):
        return None if source is None else "base"
    raise BadInput(
        f"A tokenizer source of '{short(source)}' is not supported yet; use 'base', "
        "which keeps the base model's tokenizer."
    )


def _seed(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise BadInput("'seed' must be a whole number from 0 to 2^63 - 1.")
    return value


def _dump_source(source: Source) -> dict[str, Any]:
    data: dict[str, Any] = {"model": source.model}
    if source.layer_range:
        data["layer_range"] = list(source.layer_range)
    return data | dump_parameters(source.parameters)
