# SPDX-License-Identifier: Apache-2.0
"""The fusion recipe: mergekit's configuration language, read into frozen values.

A recipe names its models, a method and the method's parameters. A parameter is a number, a flag or
a word; or a *gradient* over the layers (a list); or *rules*, a list of `{filter, value}` of which
the first whose filter is a substring of the tensor's name holds. Which methods and parameters exist
is not known here: `plait.fusion` checks that when it plans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plait.errors import BadInput
from plait.recipes._reading import is_text
from plait.recipes.levels import Splits, dump_splits, parse_splits
from plait.recipes.parameters import (
    Gradient,
    Rule,
    Rules,
    Scalar,
    Setting,
    dump_parameters,
    evaluate,
    hint,
    nearest,
    parse_parameters,
    short,
)
from plait.recipes.project import TaskSpec, dump_tasks, parse_tasks
from plait.recipes.references import reference
from plait.recipes.search import SearchSpec, dump_search, parse_search
from plait.recipes.sources import (
    Module,
    Slice,
    Source,
    dump_modules,
    dump_parts,
    parse_modules,
    parse_parts,
)
from plait.recipes.tokenizer import TokenizerSpec, dump_tokenizer, parse_tokenizer

__all__ = [
    "FusionRecipe",
    "Gradient",
    "Module",
    "Rule",
    "Rules",
    "Scalar",
    "Setting",
    "Slice",
    "Source",
    "TokenizerSpec",
    "dump_recipe",
    "evaluate",
    "hint",
    "load_recipe",
    "nearest",
    "parse_recipe",
]

MAX_RECIPE_BYTES = 4_000_000
MAX_TEMPLATE = 1_000_000
MAX_STAGES = 100
_STAGE = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")

DTYPES = ("float32", "float16", "bfloat16", "float64")
ORDERS = ("given", "canonical")
DIALECTS = ("mergekit", "paper", "peft")
_TOP = (
    "name",
    "merge_method",
    "models",
    "slices",
    "modules",
    "base_model",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "seed",
    "order",
    "dialect",
    "tasks",
    "splits",
    "search",
)


@dataclass(frozen=True)
class FusionRecipe:
    """A whole fusion recipe; one of `models`, `slices` and `modules` is not empty."""

    method: str
    models: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    modules: Mapping[str, Module] = field(default_factory=dict)
    base_model: str | None = None
    parameters: Mapping[str, Setting] = field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer: TokenizerSpec | None = None
    chat_template: str | None = None
    seed: int = 0
    order: str = "given"
    dialect: str | None = None
    tasks: tuple[TaskSpec, ...] = ()
    """What the result is for: data that a search, or a method that needs data, looks at."""
    splits: Splits = field(default_factory=Splits)
    search: SearchSpec | None = None
    """Coefficients to choose on validation items before anything is fused."""

    def references(self) -> tuple[str, ...]:
        """Return every model that the recipe names, once, the base first."""
        names = [self.base_model] if self.base_model else []
        parts: list[FusionRecipe | Module] = [self, *self.modules.values()]
        for module in parts:
            names += [s.model for s in module.models]
            for part in module.slices:
                names += [part.base_model] if part.base_model else []
                names += [s.model for s in part.sources]
        names += self.tokenizer.references() if self.tokenizer else ()
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
    stages = load_stages(recipe)
    if len(stages) > 1:
        raise BadInput(
            f"The recipe has {len(stages)} documents, each a fusion; only 'fuse' into a folder "
            "runs several."
        )
    return stages[0][1]


def load_stages(
    recipe: str | Path | Mapping[str, Any] | FusionRecipe,
) -> list[tuple[str | None, FusionRecipe]]:
    """Read a recipe of one or more documents: (name, recipe) of each, in an order to run them.

    A document may use another's name in place of a model. The one to end with comes last: that
    without a name, else that which no other uses.

    Raises:
        BadInput: as `load_recipe`, and for names that are double or go in circles.
    """
    if isinstance(recipe, FusionRecipe):
        return [(None, recipe)]
    if isinstance(recipe, Mapping):
        return [(_name(recipe), parse_recipe(recipe))]
    text, origin = _text_of(recipe)
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise BadInput(f"{origin} is not valid YAML: {_problem(error)}.") from None
    except (RecursionError, ValueError):
        raise BadInput(f"{origin} is not valid YAML: it is nested too deeply.") from None
    documents = [d for d in documents if d is not None]
    if not documents or not all(isinstance(d, Mapping) for d in documents):
        raise BadInput(f"{origin} is not a recipe: it must be a mapping with 'merge_method' in it.")
    if len(documents) > MAX_STAGES:
        raise BadInput(f"{origin} has {len(documents):,} documents; {MAX_STAGES} is the most.")
    return _ordered([(_name(d), parse_recipe(d)) for d in documents])


def _ordered(
    stages: list[tuple[str | None, FusionRecipe]],
) -> list[tuple[str | None, FusionRecipe]]:
    names = [name for name, _ in stages]
    if len(set(names)) < len(names):
        double = next(n for n in names if names.count(n) > 1)
        raise BadInput(
            f"Two documents of the recipe are named '{double}'."
            if double
            else "Only one document of a recipe, the last to be made, can be without 'name'."
        )
    waiting = dict(stages)
    done: list[tuple[str | None, FusionRecipe]] = []
    while waiting:
        ready = [n for n, r in waiting.items() if not set(r.references()) & (set(waiting) - {None})]
        ready = [n for n in ready if n is not None] or ready
        if not ready:
            raise BadInput("The recipe's documents use each other in a circle.")
        done.append((ready[0], waiting.pop(ready[0])))
    return done


def _name(data: Mapping[str, Any]) -> str | None:
    name = data.get("name")
    if name is not None and (not isinstance(name, str) or not _STAGE.fullmatch(name)):
        raise BadInput("'name' must be a word of letters, digits, '.', '-' and '_'.")
    return name


def parse_recipe(data: Mapping[str, Any]) -> FusionRecipe:
    """Turn the plain values of a recipe into a `FusionRecipe`.

    Raises:
        BadInput: for an unknown or missing key, or a value of the wrong kind.
    """
    for key in data:
        if key not in _TOP:
            raise BadInput(f"The recipe has an unknown key '{short(key)}'{hint(str(key), _TOP)}")
    method = data.get("merge_method")
    if not isinstance(method, str):
        raise BadInput("The recipe needs 'merge_method', for example 'merge_method: linear'.")
    models: tuple[Source, ...] = ()
    slices: tuple[Slice, ...] = ()
    modules: dict[str, Module] = {}
    if data.get("modules") is None:
        models, slices = parse_parts(data, "The recipe")
    elif data.get("models") is not None or data.get("slices") is not None:
        raise BadInput("The recipe needs one of 'models', 'slices' and 'modules', not several.")
    else:
        modules = parse_modules(data["modules"])
    base = data.get("base_model")
    return FusionRecipe(
        method=method,
        models=models,
        slices=slices,
        modules=modules,
        base_model=None if base is None else reference(base, "base_model"),
        parameters=parse_parameters(data.get("parameters"), "parameters"),
        dtype=_choice(data.get("dtype"), "dtype", DTYPES),
        out_dtype=_choice(data.get("out_dtype"), "out_dtype", DTYPES),
        tokenizer=parse_tokenizer(data),
        chat_template=_template(data.get("chat_template")),
        seed=_seed(data.get("seed", 0)),
        order=_choice(data.get("order", "given"), "order", ORDERS) or "given",
        dialect=_choice(data.get("dialect"), "dialect", DIALECTS),
        tasks=parse_tasks(data.get("tasks"), "tasks"),
        splits=parse_splits(data.get("splits")),
        search=parse_search(data.get("search")),
    )


def dump_recipe(recipe: FusionRecipe) -> dict[str, Any]:
    """Return the recipe as plain values that `parse_recipe` reads back to an equal recipe."""
    data: dict[str, Any] = {"merge_method": recipe.method}
    data |= dump_parts(recipe.models, recipe.slices)
    if recipe.modules:
        data["modules"] = dump_modules(recipe.modules)
    for key in ("base_model", "dtype", "out_dtype", "chat_template", "dialect"):
        if getattr(recipe, key) is not None:
            data[key] = getattr(recipe, key)
    data |= dump_tokenizer(recipe.tokenizer)
    data |= dump_parameters(recipe.parameters)
    if recipe.seed:
        data["seed"] = recipe.seed
    if recipe.order != "given":
        data["order"] = recipe.order
    if recipe.tasks:
        data["tasks"] = dump_tasks(recipe.tasks)
    if recipe.splits != Splits():
        data["splits"] = dump_splits(recipe.splits)
    if recipe.search is not None:
        data["search"] = dump_search(recipe.search)
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
    if isinstance(recipe, str) and is_text(recipe):
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


def _choice(value: object, where: str, known: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if value not in known:
        raise BadInput(
            f"'{where}' is '{short(value)}' but must be one of {', '.join(known)}"
            f"{hint(str(value), known)}"
        )
    return str(value)


def _template(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEMPLATE:
        raise BadInput("'chat_template' must be 'auto', a template's name, or a Jinja template.")
    return value


def _seed(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise BadInput("'seed' must be a whole number from 0 to 2^63 - 1.")
    return value
