# SPDX-License-Identifier: Apache-2.0
"""Dot plot: each row a thing that is measured, each mark a model with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plait.charts.svg import SHAPES, Scale, frame, mark, number, span, text_of, ticks

_HEAD = 24
_LINE = 18
_GAP = 12
_AXIS = 26


@dataclass(frozen=True)
class Mark:
    """One measured value with its interval; ``series`` 0..3 picks colour and shape."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0


@dataclass(frozen=True)
class Row:
    """A group of marks under one heading; ``note`` stands at the heading's right."""

    label: str
    marks: tuple[Mark, ...]
    note: str = ""


def interval_plot(
    rows: Sequence[Row],
    *,
    ident: str,
    title: str,
    description: str,
    show: Callable[[float], str] = str,
    tick: Callable[[float], str] | None = None,
) -> str:
    """Draw rows of marks with intervals over one axis.

    ``show`` writes a value beside its mark, ``tick`` one on the axis. Returns SVG text.
    """
    ends = [
        end
        for row in rows
        for item in row.marks
        for end in (item.value, item.low, item.high)
        if end is not None
    ]
    low, high = span(ends)
    scale = Scale(low, high, 27.0, 88.0)
    height = sum(_HEAD + _LINE * len(row.marks) + _GAP for row in rows) + _AXIS
    body = _axis(scale, height, tick or show)
    top = 0.0
    for index, row in enumerate(rows):
        if index:
            body.append(_rule(top))
        body.append(
            f'<text class="strong" x="0" y="{number(top + 19)}">{text_of(row.label)}</text>'
        )
        if row.note:
            body.append(
                f'<text class="strong" x="100%" y="{number(top + 19)}" text-anchor="end">'
                f"{text_of(row.note)}</text>"
            )
        for line, item in enumerate(row.marks):
            body.append(_mark_line(item, scale, top + _HEAD + _LINE * line + 11, show))
        top += _HEAD + _LINE * len(row.marks) + _GAP
    return frame(
        body, ident=ident, title=title, description=description, height=height, css="intervals"
    )


def _rule(y: float) -> str:
    return f'<line class="rule" x1="0" x2="100%" y1="{number(y)}" y2="{number(y)}"/>'


def _axis(scale: Scale, height: float, show: Callable[[float], str]) -> list[str]:
    parts = []
    for value in ticks(scale.low, scale.high):
        x = number(scale(value))
        parts.append(
            f'<line class="rule" x1="{x}%" x2="{x}%" y1="26" y2="{number(height - 20)}"/>'
            f'<text class="muted" x="{x}%" y="{number(height - 5)}" text-anchor="middle">'
            f"{text_of(show(value))}</text>"
        )
    return parts


def _mark_line(item: Mark, scale: Scale, y: float, show: Callable[[float], str]) -> str:
    colour = f"k{item.series % len(SHAPES)}"
    label_class = "strong" if item.series == len(SHAPES) - 1 else "muted"
    spoken = f"{item.label}: {show(item.value)}"
    place = f'class="{label_class}" y="{number(y + 4)}"'
    parts = [
        f'<text {place} x="0">{text_of(item.label)}</text>',
        f'<text {place} x="100%" text-anchor="end">{text_of(show(item.value))}</text>',
    ]
    if item.low is not None and item.high is not None:
        spoken += f" [{show(item.low)}, {show(item.high)}]"
        parts.append(
            f'<line class="whisker {colour}" stroke-width="2" stroke-linecap="round" '
            f'x1="{number(scale(item.low))}%" x2="{number(scale(item.high))}%" '
            f'y1="{number(y)}" y2="{number(y)}"/>'
        )
    parts.append(mark(SHAPES[item.series % len(SHAPES)], scale(item.value), y, colour, spoken))
    return "".join(parts)
