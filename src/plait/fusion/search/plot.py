# SPDX-License-Identifier: Apache-2.0
"""The curve of a search as SVG, drawn from its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.charts import Flag, Line, Spot, Trial, line_chart, search_curve, standalone
from plait.errors import BadInput
from plait.recipes.fusion import hint


def plot(report: Mapping[str, Any], parameter: str | None = None) -> str:
    """Draw a search: score over the one coefficient that varied, or in the order of measuring.

    Args:
        report: what is under `search` in a fusion's report.
        parameter: draw the score over this coefficient, although others varied as well.

    Returns:
        A stand-alone SVG file.

    Raises:
        BadInput: if no such coefficient varied.
    """
    curves = list(report.get("curves") or ())
    alone = [one for one in curves if one.get("alone")]
    methods = {str(point["method"]) for point in report["points"]}
    if parameter is not None:
        names = [str(one["parameter"]) for one in curves]
        found = [one for one in curves if one["parameter"] == parameter]
        if not found:
            raise BadInput(
                f"The search did not vary '{parameter[:60]}'{hint(parameter, names)} It varied: "
                f"{', '.join(dict.fromkeys(names)) or 'nothing that has an order'}."
            )
        return standalone(_over(report, max(found, key=lambda one: len(one["points"]))))
    if len(methods) == 1 and len(alone) == 1 and len(curves) == 1:
        return standalone(_over(report, alone[0]))
    return standalone(_in_order(report))


def percent(value: float) -> str:
    """Write a score in percent with one decimal."""
    return f"{100 * value:.1f}"


def _over(report: Mapping[str, Any], curve: Mapping[str, Any]) -> str:
    alone = bool(curve.get("alone"))
    whole = [p for p in curve["points"] if p["low"] is not None]
    dropped = [p for p in curve["points"] if p["low"] is None]
    name = str(curve["parameter"])
    lines = [
        Line(
            f"on all {_items(report)} items",
            [Spot(p["value"], p["score"], p["low"], p["high"]) for p in whole],
            3,
            joined=alone,
        )
    ]
    if dropped:
        lines.append(
            Line(
                "dropped early, on fewer items",
                [Spot(p["value"], p["score"], faint=True) for p in dropped],
                0,
                joined=False,
            )
        )
    flags = []
    if curve.get("default") is not None:
        same = curve.get("default") == curve.get("chosen")
        flags.append(Flag(curve["default"], "default, chosen" if same else "default"))
        if not same and curve.get("chosen") is not None:
            flags.append(Flag(curve["chosen"], "chosen"))
    elif curve.get("chosen") is not None:
        flags.append(Flag(curve["chosen"], "chosen"))
    return line_chart(
        lines,
        ident="search",
        title=f"Score over {name}",
        description=f"{report['metric']} on the {report['split']} items. {report['reason']}",
        across=name,
        up=f"{str(report['metric']).replace('_', ' ')}, %",
        flags=flags,
        show=percent,
    )


def _in_order(report: Mapping[str, Any]) -> str:
    trials = []
    for place, point in enumerate(report["points"]):
        chosen, default = place == report["chosen"], place == report["default"]
        words = [word for word, holds in (("default", default), ("chosen", chosen)) if holds]
        told = ", ".join(f"{name} {_short(value)}" for name, value in point["parameters"].items())
        trials.append(
            Trial(
                str(point["method"]),
                told or "as written",
                float(point["score"]),
                ", ".join(words),
                chosen,
                faint=not point["whole"],
            )
        )
    return search_curve(
        trials,
        ident="search",
        title="Scores in the order of measuring",
        description=f"{report['metric']} on the {report['split']} items; pale marks were dropped "
        f"early, after a part of the items. {report['reason']}",
        axis="candidates, in order",
        show=percent,
        tick=lambda value: f"{100 * value:.4g}",
    )


def _items(report: Mapping[str, Any]) -> str:
    return f"{sum(task['items'] for task in report['tasks']):,}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
