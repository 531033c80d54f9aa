# SPDX-License-Identifier: Apache-2.0
"""Score against size: every candidate a mark with its interval, the front as a stepped line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plait.charts.svg import SHAPES, Scale, frame, mark, number, span, text_of, ticks

_TOP, _BOTTOM = 14.0, 250.0
_LEGEND = 20


@dataclass(frozen=True)
class Point:
    """One candidate: its group (level), size, score and interval."""

    label: str
    group: str
    size: float
    score: float
    low: float
    high: float
    front: bool = False
    """Whether nothing scores more at this size."""
    chosen: bool = False


def frontier(
    points: Sequence[Point],
    *,
    ident: str,
    title: str,
    description: str,
    axis: str,
    show: Callable[[float], str] = str,
    size: Callable[[float], str] = str,
) -> str:
    """Draw scores over the logarithm of sizes; each group has its own shape. Returns SVG text."""
    low, high = span([end for p in points for end in (p.low, p.high)], margin=0.08)
    sizes = [math.log(max(p.size, 1.0)) for p in points]
    left, right = span(sizes, margin=0.15)
    across = Scale(left, right, 12.0, 96.0)
    groups = list(dict.fromkeys(p.group for p in points))

    def height(score: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (score - low) / (high - low)

    body = _axes(low, high, height, show)
    for value in sorted(
        {round(p.size, -max(0, int(math.log10(max(p.size, 1))) - 1)) for p in points}
    ):
        x = number(across(math.log(max(value, 1.0))))
        body.append(
            f'<text class="muted" x="{x}%" y="{number(_BOTTOM + 18)}" text-anchor="middle">'
            f"{text_of(size(value))}</text>"
        )
    body.append(
        f'<text class="muted" x="100%" y="{number(_BOTTOM + 38)}" text-anchor="end">'
        f"{text_of(axis)}</text>"
    )
    body += _steps(points, across, height)
    for place, point in enumerate(points):
        # marks of one size would hide each other: they stand side by side
        same = [i for i, other in enumerate(sizes) if abs(other - sizes[place]) < 0.02]
        aside = 1.3 * (same.index(place) - (len(same) - 1) / 2)
        body += _draw(point, across(sizes[place]) + aside, height, groups, show, size)
    above = _LEGEND * -(-len(groups) // 2)
    plot = (
        f'<svg y="{above}" width="100%" height="{number(_BOTTOM + 44)}" overflow="visible">'
        f"{''.join(body)}</svg>"
    )
    return frame(
        [*_legend(groups), plot],
        ident=ident,
        title=title,
        description=description,
        height=above + _BOTTOM + 44,
        css="frontier",
    )


def _axes(
    low: float, high: float, height: Callable[[float], float], show: Callable[[float], str]
) -> list[str]:
    parts = []
    for value in ticks(low, high, 5):
        y = number(height(value))
        parts.append(
            f'<line class="rule" x1="9%" x2="100%" y1="{y}" y2="{y}"/>'
            f'<text class="muted" x="0" y="{y}" dy="4">{text_of(show(value))}</text>'
        )
    return parts


def _steps(points: Sequence[Point], across: Scale, height: Callable[[float], float]) -> list[str]:
    front = sorted((p for p in points if p.front), key=lambda p: (p.size, -p.score))
    parts = []
    best: Point | None = None
    for point in front:
        if best is not None and point.score <= best.score:
            continue
        if best is not None:
            x1, x2 = (number(across(math.log(max(p.size, 1.0)))) for p in (best, point))
            y1, y2 = number(height(best.score)), number(height(point.score))
            parts.append(
                f'<line class="step" stroke-width="1.5" x1="{x1}%" y1="{y1}" x2="{x2}%" y2="{y1}"/>'
                f'<line class="step" stroke-width="1.5" x1="{x2}%" y1="{y1}" x2="{x2}%" y2="{y2}"/>'
            )
        best = point
    return parts


def _draw(
    point: Point,
    x: float,
    height: Callable[[float], float],
    groups: Sequence[str],
    show: Callable[[float], str],
    size: Callable[[float], str],
) -> list[str]:
    colour = "k3" if point.chosen else "k1" if point.front else "k0"
    y = height(point.score)
    whisker = (
        f'<line class="whisker {colour}" stroke-width="1" x1="{number(x)}%" x2="{number(x)}%" '
        f'y1="{number(height(point.low))}" y2="{number(height(point.high))}"/>'
    )
    parts = [whisker]
    if point.chosen:
        parts.append(
            f'<circle class="ring" cx="{number(x)}%" cy="{number(y)}" r="10" fill="none" '
            'stroke-width="2"/>'
            f'<text class="strong halo" x="{number(x)}%" y="{number(y - 15)}" '
            f'text-anchor="middle">{text_of(point.label)}</text>'
        )
    spoken = f"{point.label}: {show(point.score)} [{show(point.low)}, {show(point.high)}]"
    shape = SHAPES[groups.index(point.group) % len(SHAPES)]
    parts.append(mark(shape, x, y, colour, f"{spoken}, {size(point.size)}"))
    return parts


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
