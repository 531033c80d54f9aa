# SPDX-License-Identifier: Apache-2.0
"""Layer by layer: how far contributions are from their base, and where they pull apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from plait.charts import Line, Spot, heatmap, line_chart, stacked, standalone
from plait.errors import BadInput
from plait.fusion.levels import beside
from plait.fusion.resolve import resolve_model
from plait.fusion.results import REPORT
from plait.fusion.weights import compare_layers
from plait.fusion.weights.opening import Resolver
from plait.recipes.fusion import FusionRecipe, load_recipe
from plait.recipes.references import split_adapter

MOST_PAIRS = 15
"""With more pairs of contributions than these, a matrix over all layers replaces the rows."""


@dataclass(frozen=True)
class Contributions:
    """A base, the models made from it by name, and the model that they were fused to."""

    base: Path
    models: Mapping[str, Path]
    fused: Path | None = None

    @classmethod
    def of(cls, source: Path, base: str | None = None) -> Contributions:
        """Find the models of a recipe's file, or of a fused model's folder.

        Args:
            source: the file or the folder.
            base: in place of the recipe's `base_model`.

        Raises:
            BadInput: if it names no base, fewer than one model, or one that is not found.
        """
        fused = source if source.is_dir() else None
        resolve: Resolver | None = None
        if fused is not None:
            recipe = _recipe_of(fused)
        else:
            recipe, resolve = load_recipe(source), beside(source, None)
        origin = base or recipe.base_model
        if origin is None:
            raise BadInput("The recipe names no base_model; say with --base what it was made from.")
        if any(split_adapter(one)[1] for one in recipe.references()):
            raise BadInput("Layers of models with adapters (model+adapter) cannot be compared yet.")
        find = resolve or resolve_model
        models = [one for one in recipe.references() if one != recipe.base_model]
        names = _short(models)
        found = {names[i]: Path(find(one)) for i, one in enumerate(models) if one != origin}
        if not found:
            raise BadInput("The recipe names no model besides the base.")
        return cls(Path(find(origin)), found, fused)


def measure_layers(found: Contributions) -> dict[str, Any]:
    """Return, for each layer, each model's distance from the base and each pair's conflicts.

    A distance is the length of the change over the length of the base's weights (L2 norms). A
    conflict is, of the weights that both models changed, the share that they changed in opposite
    directions: half of them by chance.

    Returns:
        Plain values: `layers`, `distances` by model, `conflicts` by pair, and `all`, the share of
        conflicts over every layer, by pair.
    """
    sides = dict(found.models)
    if found.fused is not None:
        sides["fused"] = found.fused
    rows = {name: compare_layers(found.base, [], folder) for name, folder in sides.items()}
    layers = [row["name"] for row in next(iter(rows.values()))]
    distances = {
        name: {row["name"]: row["relative_change"] for row in listed}
        for name, listed in rows.items()
    }
    conflicts: dict[str, dict[str, float | None]] = {}
    overall: dict[str, float | None] = {}
    for one, other in combinations(found.models, 2):
        pair = compare_layers(found.base, [found.models[one], found.models[other]], found.base)
        conflicts[f"{one} · {other}"] = {
            row["name"]: None if row["sign_agreement"] is None else 1 - row["sign_agreement"]
            for row in pair
        }
        overall[f"{one} · {other}"] = _weighted(pair)
    return {
        "layers": layers,
        "models": list(found.models),
        "distances": {
            name: [row.get(layer) for layer in layers] for name, row in distances.items()
        },
        "conflicts": {
            name: [row.get(layer) for layer in layers] for name, row in conflicts.items()
        },
        "all": overall,
    }


def draw_layers(data: Mapping[str, Any]) -> str:
    """Draw what `measure_layers` found: distances as lines, conflicts as a heat map.

    Returns:
        A stand-alone SVG file.
    """
    labels = _labels(data["layers"])
    lines = []
    with_fused = "fused" in data["distances"] and "fused" not in data["models"]
    for place, (name, values) in enumerate(data["distances"].items()):
        spots = [Spot(i, v) for i, v in enumerate(values) if v is not None]
        last = with_fused and name == "fused"
        series = 3 if last else place % (3 if with_fused else 4)
        lines.append(Line(name, spots, series, dashed=last or place > series))
    parts = [
        (
            "Distance from the base, % of its length",
            line_chart(
                lines,
                ident="distances",
                title="Distance from the base by layer",
                description="Length of each model's change over the length of the base's weights.",
                names=labels,
                across="layer",
                show=lambda value: f"{100 * value:.3g}",
                zero=True,
            ),
        )
    ]
    if data["conflicts"]:
        parts.append(_conflicts(data, labels))
    return standalone(
        stacked(
            parts,
            ident="layers",
            title="Contributions layer by layer",
            description="How far each model is from the base, and the share of weights that two "
            "models changed in opposite directions.",
        )
    )


def _conflicts(data: Mapping[str, Any], labels: list[str]) -> tuple[str, str]:
    heading = "Conflicts of signs, % of the weights that both changed (50: by chance)"
    told = "Share of the weights that two models changed in opposite directions."
    if len(data["conflicts"]) <= MOST_PAIRS:
        return heading, heatmap(
            list(data["conflicts"].values()),
            list(data["conflicts"]),
            labels,
            ident="conflicts",
            title="Conflicts of signs by pair and layer",
            description=told,
            show=lambda value: f"{100 * value:.0f}",
            low=0.0,
            high=0.6,
            series=2,
        )
    names = data["models"]
    cells = [
        [data["all"].get(f"{a} · {b}", data["all"].get(f"{b} · {a}")) for b in names] for a in names
    ]
    return heading, heatmap(
        cells,
        names,
        names,
        ident="conflicts",
        title="Conflicts of signs by pair, over all layers",
        description=told,
        show=lambda value: f"{100 * value:.0f}",
        low=0.0,
        high=0.6,
        series=2,
    )


def _weighted(rows: list[dict[str, Any]]) -> float | None:
    known = [row for row in rows if row["sign_agreement"] is not None]
    total = sum(row["parameters"] for row in known)
    if not total:
        return None
    return float(sum(row["parameters"] * (1 - row["sign_agreement"]) for row in known) / total)


def _labels(layers: list[str]) -> list[str]:
    """Return short names of layers, all different: their last parts if these are."""
    paths = [layer.split(".") for layer in layers]
    for length in range(1, max(map(len, paths), default=1) + 1):
        short = [".".join(path[-length:]) for path in paths]
        if len(set(short)) == len(short):
            return short
    return layers


def _short(references: list[str]) -> list[str]:
    """Return the shortest ends of paths that tell models apart."""
    paths = [reference.rstrip("/").split("/") for reference in references]
    for length in range(1, max(map(len, paths), default=1) + 1):
        short = ["/".join(path[-length:]) for path in paths]
        if len(set(short)) == len(short):
            return short
    return references


def _recipe_of(folder: Path) -> FusionRecipe:
    try:
        report = json.loads((folder / REPORT).read_text("utf-8"))
        recipe = report["recipe"]
    except FileNotFoundError:
        raise BadInput(f"{folder} was not made by a fusion: it has no {REPORT}.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{folder / REPORT} cannot be read as a fusion's report.") from None
    if not isinstance(recipe, Mapping) or "merge_method" not in recipe:
        raise BadInput(f"{folder} is no fusion of weights; its members have no layers in common.")
    return load_recipe(recipe)
