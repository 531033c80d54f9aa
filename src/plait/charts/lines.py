# SPDX-License-Identifier: Apache-2.0
"""Lines over one axis, each with a band for its interval: curves, paths, layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plait.charts.svg import SHAPES, Scale, frame, mark, number, span, text_of, ticks

_LEFT = 9.0
_RIGHT = 98.0
_TOP = 26.0
_HEIGHT = 190.0
_UNDER = 46.0
_LEGEND = 20.0


@dataclass(frozen=True)
class Spot:
    """One point of a line; `low` and `high` bound its interval, `faint` ones count for less."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    faint: bool = False
    label: str = ""


@dataclass(frozen=True)
class Line:
    """Points under one name; ``series`` 0..3 picks colour and shape, joined by a line or not."""

    label: str
    spots: Sequence[Spot]
    series: int = 0
    joined: bool = True
    dashed: bool = False


@dataclass(frozen=True)
class Flag:
    """An upright line at a place of the axis with a word at its top."""

    x: float
    label: str


def line_chart(
    lines: Sequence[Line],
    *,
    ident: str,
    title: str,
    description: str,
    across: str = "",
    up: str = "",
    flags: Sequence[Flag] = (),
    names: Sequence[str] = (),
    show: Callable[[float], str] = str,
    show_x: Callable[[float], str] = lambda value: f"{value:g}",
    zero: bool = False,
) -> str:
    """Draw lines over a common axis, with bands where points have intervals.

    Args:
        lines: what is drawn; points that are not finite are left out.
        ident: a word that makes ids on a page unlike those of other pictures.
        title: of the picture, for who cannot see it.
        description: what it shows, likewise.
        across: the name of the horizontal axis.
        up: the name of the vertical axis.
        flags: places of the horizontal axis to name.
        names: of places 0, 1, … of the horizontal axis; without them it is one of numbers.
        show: writes a value of the vertical axis.
        show_x: writes a value of the horizontal axis.
        zero: whether the vertical axis starts at zero.

    Returns:
        SVG text.
    """
    kept = [Line(o.label, _finite(o.spots), o.series, o.joined, o.dashed) for o in lines]
    values = [v for line in kept for s in line.spots for v in (s.y, s.low, s.high) if v is not None]
    low, high = span([*values, 0.0] if zero else values, margin=0.08)
    low = 0.0 if zero and low < 0 <= min(values, default=0.0) else low
    places = [s.x for line in kept for s in line.spots] + [flag.x for flag in flags]
    if names:
        scale = Scale(-0.5, len(names) - 0.5, _LEFT, _RIGHT)
    else:
        left, right = (min(places), max(places)) if places else (0.0, 1.0)
        scale = Scale(left, right, _LEFT + 1.5, _RIGHT - 1.5)
    legend = _legend(kept) if len(kept) > 1 else []
    top = _LEGEND * -(-len(kept) // 3) if legend else 0.0
    body = [*_grid(low, high, show, up), *_axis(scale, names, show_x, across)]
    body += [_flag(flag, scale) for flag in flags]
    for line in kept:
        body += _band(line, scale, low, high)
    for line in kept:
        body += _joined(line, scale, low, high)
        body += _marks(line, scale, low, high, show, show_x, names)
    height = top + _TOP + _HEIGHT + _UNDER
    plot = (
        f'<svg y="{number(top)}" width="100%" height="{number(height - top)}" '
        f'overflow="visible">{"".join(body)}</svg>'
    )
    return frame(
        [*legend, plot],
        ident=ident,
        title=title,
        description=description,
        height=height,
        css="lines",
    )


def _finite(spots: Sequence[Spot]) -> list[Spot]:
    return sorted(
        (s for s in spots if math.isfinite(s.x) and math.isfinite(s.y)), key=lambda s: s.x
    )


def _at(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low) if high > low else 0.0
    return _TOP + _HEIGHT * (1 - min(max(share, 0.0), 1.0))


def _grid(low: float, high: float, show: Callable[[float], str], up: str) -> list[str]:
    parts = []
    for value in ticks(low, high, 4):
        y = number(_at(value, low, high))
        parts.append(
            f'<line class="rule" x1="{number(_LEFT - 1)}%" x2="{number(_RIGHT)}%" y1="{y}" '
            f'y2="{y}"/><text class="muted" x="{number(_LEFT - 2)}%" y="{y}" dy="4" '
            f'text-anchor="end">{text_of(show(value))}</text>'
        )
    if up:
        parts.append(f'<text class="muted" x="0" y="{number(_TOP - 14)}">{text_of(up)}</text>')
    return parts


def _axis(
    scale: Scale, names: Sequence[str], show_x: Callable[[float], str], across: str
) -> list[str]:
    bottom = _TOP + _HEIGHT
    parts = [
        (
            f'<line class="axis" x1="{number(_LEFT - 1)}%" x2="{number(_RIGHT)}%" '
            f'y1="{number(bottom)}" y2="{number(bottom)}"/>'
        )
    ]
    step = -(-len(names) // 14) if names else 1
    shown = (
        [(float(place), name) for place, name in enumerate(names) if place % step == 0]
        if names
        else [(value, show_x(value)) for value in ticks(scale.low, scale.high, 7)]
    )
    parts += [
        f'<text class="muted" x="{number(scale(value))}%" y="{number(bottom + 18)}" '
        f'text-anchor="middle">{text_of(name)}</text>'
        for value, name in shown
    ]
    if across:
        parts.append(
            f'<text class="muted" x="{number(_RIGHT)}%" y="{number(bottom + 38)}" '
            f'text-anchor="end">{text_of(across)}</text>'
        )
    return parts


def _flag(flag: Flag, scale: Scale) -> str:
    x = scale(flag.x)
    anchor = "end" if x > 85 else "start" if x < 15 else "middle"
    return (
        f'<line class="guide" x1="{number(x)}%" x2="{number(x)}%" y1="{number(_TOP - 4)}" '
        f'y2="{number(_TOP + _HEIGHT)}"/><text class="strong halo" x="{number(x)}%" '
        f'y="{number(_TOP - 10)}" text-anchor="{anchor}">{text_of(flag.label)}</text>'
    )


def _inner(body: str) -> str:
    """Place a drawing in thousandths of the plot's width: paths cannot be written in percent."""
    return (
        f'<svg x="0" y="0" width="100%" height="{number(_TOP + _HEIGHT)}" '
        f'viewBox="0 0 1000 {number(_TOP + _HEIGHT)}" preserveAspectRatio="none">{body}</svg>'
    )


def _band(line: Line, scale: Scale, low: float, high: float) -> list[str]:
    bounded = [(s.x, s.low, s.high) for s in line.spots if s.low is not None and s.high is not None]
    bounded = [b for b in bounded if math.isfinite(b[1]) and math.isfinite(b[2])]
    if len(bounded) < 2 or not line.joined:
        return []
    there = [f"{number(10 * scale(x))} {number(_at(most, low, high))}" for x, _, most in bounded]
    back = [f"{number(10 * scale(x))} {number(_at(least, low, high))}" for x, least, _ in bounded]
    path = f"M{'L'.join([*there, *reversed(back)])}Z"
    return [_inner(f'<path class="band k{line.series}" d="{path}"/>')]


def _joined(line: Line, scale: Scale, low: float, high: float) -> list[str]:
    if len(line.spots) < 2 or not line.joined:
        return []
    points = [f"{number(10 * scale(s.x))} {number(_at(s.y, low, high))}" for s in line.spots]
    dash = " dash" if line.dashed else ""
    # a class of its own: `.k3` would fill what the line encloses
    return [
        _inner(
            f'<path class="k{line.series} line{dash}" style="fill:none" d="M{"L".join(points)}" '
            'vector-effect="non-scaling-stroke"/>'
        )
    ]


def _marks(
    line: Line,
    scale: Scale,
    low: float,
    high: float,
    show: Callable[[float], str],
    show_x: Callable[[float], str],
    names: Sequence[str],
) -> list[str]:
    shape = SHAPES[line.series % len(SHAPES)]
    parts = []
    for spot in line.spots:
        whole = bool(names) and spot.x == int(spot.x) and 0 <= spot.x < len(names)
        where = names[int(spot.x)] if whole else show_x(spot.x)
        spoken = spot.label or f"{line.label}, {where}: {show(spot.y)}"
        if spot.low is not None and spot.high is not None:
            spoken += f" [{show(spot.low)}, {show(spot.high)}]"
        colour = f"k{line.series}" + (" faint" if spot.faint else "")
        parts.append(mark(shape, scale(spot.x), _at(spot.y, low, high), colour, spoken))
    return parts


def _legend(lines: Sequence[Line]) -> list[str]:
    parts = []
    for place, line in enumerate(lines):
        x, y = 1.5 + 33 * (place % 3), 10 + _LEGEND * (place // 3)
        shape = SHAPES[line.series % len(SHAPES)]
        parts.append(mark(shape, x, y, f"k{line.series}", line.label))
        parts.append(
            f'<text class="muted" x="{number(x)}%" dx="12" y="{number(y + 4)}">'
            f"{text_of(line.label)}</text>"
        )
    return parts
