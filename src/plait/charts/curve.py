# SPDX-License-Identifier: Apache-2.0
"""Search curve: what was tried, in order, and the best score so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plait.charts.svg import SHAPES, Scale, frame, mark, number, span, text_of, ticks

_HEIGHT = 246.0
_TOP = 30.0
_BOTTOM = 210.0
_LEGEND = 20


@dataclass(frozen=True)
class Trial:
    """One measured candidate: its method, a label that says its parameters, its score."""

    group: str
    label: str
    score: float
    flag: str = ""
    """A word drawn beside the mark (the chosen one, the default)."""
    chosen: bool = False
    faint: bool = False
    """Measured on fewer items than the others: not compared with them by the stepped line."""


def search_curve(
    trials: Sequence[Trial],
    *,
    ident: str,
    title: str,
    description: str,
    axis: str = "",
    show: Callable[[float], str] = str,
    tick: Callable[[float], str] | None = None,
) -> str:
    """Draw scores in the order of measuring, with the best so far as a stepped line.

    Each group (method) has its own shape; the chosen trial is ringed. Returns SVG text.
    """
    low, high = span([trial.score for trial in trials], margin=0.12)
    across = Scale(0.5, len(trials) + 0.5, 12.0, 98.0)
    body = _axes(low, high, len(trials), across, axis, tick or show)
    groups = list(dict.fromkeys(trial.group for trial in trials))
    body.extend(_best_so_far(trials, across, low, high))
    for index, trial in enumerate(trials):
        x, y = across(index + 1), _height(trial.score, low, high)
        shape = SHAPES[groups.index(trial.group) % len(SHAPES)]
        if trial.chosen:
            body.append(
                f'<circle class="ring" cx="{number(x)}%" cy="{number(y)}" r="10" fill="none" '
                'stroke-width="2"/>'
            )
        colour = "k3" if trial.chosen else "k0 faint" if trial.faint else "k0"
        spoken = f"{trial.group} {trial.label}: {show(trial.score)}"
        body.append(mark(shape, x, y, colour, spoken))
    body.extend(
        _flag(trial, across(index + 1), _height(trial.score, low, high))
        for index, trial in enumerate(trials)
        if trial.flag
    )
    above = _LEGEND * -(-len(groups) // 2)
    plot = (
        f'<svg y="{above}" width="100%" height="{number(_HEIGHT)}" overflow="visible">'
        f"{''.join(body)}</svg>"
    )
    return frame(
        [*_legend(groups), plot],
        ident=ident,
        title=title,
        description=description,
        height=above + _HEIGHT,
        css="curve",
    )


def _height(score: float, low: float, high: float) -> float:
    share = (score - low) / (high - low) if math.isfinite(score) and high > low else 0.0
    return _BOTTOM - (_BOTTOM - _TOP) * min(max(share, 0.0), 1.0)


def _axes(
    low: float, high: float, count: int, across: Scale, axis: str, show: Callable[[float], str]
) -> list[str]:
    parts = []
    for value in ticks(low, high, 4):
        y = number(_height(value, low, high))
        parts.append(
            f'<line class="rule" x1="9%" x2="100%" y1="{y}" y2="{y}"/>'
            f'<text class="muted" x="0" y="{y}" dy="4">{text_of(show(value))}</text>'
        )
    for value in ticks(1, max(count, 1), 8):
        if value >= 1 and value == int(value):
            x = number(across(value))
            parts.append(
                f'<text class="muted" x="{x}%" y="{number(_BOTTOM + 16)}" text-anchor="middle">'
                f"{int(value)}</text>"
            )
    if axis:
        parts.append(
            f'<text class="muted" x="100%" y="{number(_HEIGHT - 4)}" text-anchor="end">'
            f"{text_of(axis)}</text>"
        )
    return parts


def _best_so_far(trials: Sequence[Trial], across: Scale, low: float, high: float) -> list[str]:
    parts: list[str] = []
    best = -math.inf
    before: tuple[float, float] | None = None
    for index, trial in enumerate(trials):
        best = best if trial.faint else max(best, trial.score)
        if best == -math.inf:
            continue
        x, y = across(index + 1), _height(best, low, high)
        if before is not None:
            parts.append(_segment(before[0], before[1], x, before[1]))
            if y != before[1]:
                parts.append(_segment(x, before[1], x, y))
        before = (x, y)
    return parts


def _segment(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line class="step" stroke-width="1.5" x1="{number(x1)}%" y1="{number(y1)}" '
        f'x2="{number(x2)}%" y2="{number(y2)}"/>'
    )


def _legend(groups: Sequence[str]) -> list[str]:
    parts = []
    for index, group in enumerate(groups):
        x, y = 1.5 + 50 * (index % 2), 10 + _LEGEND * (index // 2)
        parts.append(mark(SHAPES[index % len(SHAPES)], x, y, "k0", group))
        parts.append(
            f'<text class="muted" x="{number(x)}%" dx="11" y="{number(y + 4)}">'
            f"{text_of(group)}</text>"
        )
    return parts


def _flag(trial: Trial, x: float, y: float) -> str:
    anchor = "end" if x > 75 else "start" if x < 25 else "middle"
    offset = -16.0 if trial.chosen or y > _BOTTOM - 24 else 22.0
    return (
        f'<text class="strong halo" x="{number(x)}%" y="{number(y + offset)}" '
        f'text-anchor="{anchor}">{text_of(trial.flag)}</text>'
    )
