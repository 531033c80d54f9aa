# SPDX-License-Identifier: Apache-2.0
"""The usual values of each method's coefficients, those worth a try, and how far they may vary.

The first of the values to try is the default: what a person takes who does not search. They are
the values of the methods' papers where these give any (task arithmetic 2212.04089: 0.3 to 0.5 for
several tasks; TIES 2306.01708: a fifth to a half kept, factor 1; DARE 2311.03099; DELLA 2406.11617;
Model Breadcrumbs 2312.06795: a tenth left out below, a hundredth above; Iso-C 2502.04959).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plait.errors import BadInput
from plait.fusion.search.candidates import Candidate
from plait.fusion.weights import methods
from plait.fusion.weights.methods.base import Method
from plait.recipes.search import Choices, Range

RANGES: dict[str, Range | Choices] = {
    "weight": Range(0.0, 1.5),
    "lambda": Range(0.3, 1.5),
    "density": Range(0.1, 1.0),
    "gamma": Range(0.0, 0.1),
    "t": Range(0.0, 1.0),
    "scale": Range(0.0, 1.5),
    "select_topk": Range(0.05, 1.0),
    "common": Range(0.1, 0.95),
    "r": Range(0.0, 0.5),
    "alpha": Range(0.0, 1.0),
    "shrink": Range(0.1, 1.0),
    "filter_wise": Choices((False, True)),
}
"""How far a coefficient varies where the recipe does not say it."""

_NARROWER: dict[tuple[str, str], Range] = {
    ("della", "density"): Range(0.2, 0.9),
    ("della_linear", "density"): Range(0.2, 0.9),
}
"""Half of `epsilon` must fit on either side of these."""

_VARIED: dict[str, tuple[str, ...]] = {
    "task_arithmetic": ("weight",),
    "ties": ("density", "lambda"),
    "dare_linear": ("weight", "density"),
    "dare_ties": ("weight", "density"),
    "della": ("density", "lambda"),
    "della_linear": ("weight", "density"),
    "breadcrumbs": ("weight", "density"),
    "breadcrumbs_ties": ("weight", "density"),
    "tsv_m": ("lambda",),
    "iso_c": ("lambda",),
    "iso_cts": ("lambda", "common"),
    "wudi": ("lambda",),
    "knots_ties": ("density", "lambda"),
}
"""One of two coefficients that do the same (a weight for all models, and lambda), and none that the
method divides out again (a weight for all models where they are made to sum to one)."""


def default_ranges(method: Method, per_model: bool) -> dict[str, Range | Choices]:
    """Return the coefficients of a method that a search varies by itself, and how far.

    With `per_model`, each model's weight is one of them wherever models have a weight.
    """
    listed = [p.name for p in method.parameters if p.name in RANGES]
    names = list(_VARIED.get(method.name, [n for n in listed if n not in ("weight", "lambda")]))
    if per_model and "weight" in listed and "weight" not in names:
        names.insert(0, "weight")
    return {name: _NARROWER.get((method.name, name), RANGES[name]) for name in names}


def default_values(method: str, count: int) -> dict[str, Any]:
    """Return the values of a method's coefficients that a person takes who does not search.

    Raises:
        BadInput: if the method has a coefficient that has no usual value.
    """
    return default_grid(method, count)[0].values


def default_grid(method: str, count: int) -> list[Candidate]:
    """Return the values of a method that are worth a try for `count` models, the usual ones first.

    Raises:
        BadInput: if there is no such method, or one of its coefficients has no usual value.
    """
    found = methods.get(method)
    values = _VALUES.get(method)
    if values is None:
        required = [p.name for p in found.parameters if p.default is None]
        unknown = [name for name in required if name not in ("weight", "t")]
        if unknown:
            raise BadInput(
                f"The search knows no value of '{unknown[0]}' to try for the method '{method}'; "
                "fix the method and give its parameters."
            )
        plain = {"weight": 1.0, "t": 0.5}
        return [Candidate.of(method, **{name: plain[name] for name in required})]
    return list(dict.fromkeys(Candidate.of(method, **one) for one in values(count)))


def fits(method: Method, count: int) -> bool:
    """Tell whether a method can fuse `count` models (besides a base that it has)."""
    least, most = method.models
    return least <= count and (most is None or count <= most)


def _share(count: int) -> float:
    return round(1 / count, 4)


def _added(count: int) -> Sequence[float]:
    """Weights of changes that are added up as they are."""
    return (1.0,) if count == 1 else (0.4, 0.5, 0.3, _share(count))


def _task_arithmetic(count: int) -> Iterator[dict[str, Any]]:
    for weight in _added(count):
        yield {"weight": weight}


def _ties(count: int) -> Iterator[dict[str, Any]]:
    for scale in (1.0,) if count == 1 else (1.0, 0.8):
        for density in (0.5,) if count == 1 else (0.5, 0.3):
            yield {"weight": 1.0, "density": density, "lambda": scale, "normalize": True}


def _dare_ties(count: int) -> Iterator[dict[str, Any]]:
    for density in (0.7, 0.5):
        yield {"weight": _share(count), "density": density}


def _dare_linear(count: int) -> Iterator[dict[str, Any]]:
    for weight in _added(count)[:2]:
        yield {"weight": weight, "density": 0.7}


def _della(count: int) -> Iterator[dict[str, Any]]:
    for density in (0.7, 0.5):
        yield {"weight": 1.0, "density": density, "epsilon": 0.15, "lambda": 1.0}


def _della_linear(count: int) -> Iterator[dict[str, Any]]:
    for weight in _added(count)[:2]:
        yield {"weight": weight, "density": 0.7, "epsilon": 0.15}


def _breadcrumbs(count: int) -> Iterator[dict[str, Any]]:
    for weight in _added(count)[:2]:
        yield {"weight": weight, "density": 0.9, "gamma": 0.01}


def _scaled(count: int) -> Iterator[dict[str, Any]]:
    for scale in (1.0, 0.8, 1.2):
        yield {"weight": 1.0, "lambda": scale}


def _knots(count: int) -> Iterator[dict[str, Any]]:
    for density in (0.5, 0.3):
        yield {"weight": 1.0, "density": density, "lambda": 1.0}


def _iso_cts(count: int) -> Iterator[dict[str, Any]]:
    for scale in (1.0, 0.8, 1.2):
        yield {"weight": 1.0, "lambda": scale, "common": 0.8}


def _listed(name: str, *values: Any) -> Callable[[int], Iterator[dict[str, Any]]]:
    return lambda count: iter([{name: value} for value in values])


_VALUES: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "linear": _listed("weight", 1.0),
    "slerp": _listed("t", 0.5, 0.7, 0.3),
    "nearswap": _listed("t", 0.001, 0.01),
    "passthrough": _listed("scale", 1.0),
    "task_arithmetic": _task_arithmetic,
    "ties": _ties,
    "dare_linear": _dare_linear,
    "dare_ties": _dare_ties,
    "della": _della,
    "della_linear": _della_linear,
    "breadcrumbs": _breadcrumbs,
    "breadcrumbs_ties": _breadcrumbs,
    "sce": _listed("select_topk", 1.0, 0.5, 0.1),
    "ramplus_tl": _listed("r", 0.1, 0.3),
    "model_stock": _listed("filter_wise", False, True),
    "tsv_m": _scaled,
    "iso_c": _scaled,
    "iso_cts": _iso_cts,
    "wudi": _scaled,
    "knots_ties": _knots,
}
