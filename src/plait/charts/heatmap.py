# SPDX-License-Identifier: Apache-2.0
"""Heat map: a number in every cell of a table, and a colour that says it again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from plait.charts.svg import frame, number, text_of

_ROW = 30.0
_HEAD = 26.0
_ASIDE = 24.0
_TILTED = 84.0
_DEEP = 0.5
"""The deepest colour: ink on it keeps a contrast of 4.5 to 1, on light and on dark paper."""
_LIGHT = 0.04


def heatmap(
    cells: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    ident: str,
    title: str,
    description: str,
    show: Callable[[float], str] = str,
    low: float | None = None,
    high: float | None = None,
    series: int = 3,
    best: bool = False,
) -> str:
    """Draw a table of numbers, deeper in colour the larger they are.

    Args:
        cells: [rows][columns]; None, or what is not finite, is an empty cell.
        rows: their names.
        columns: their names, tilted where there is no room for them.
        ident: a word that makes ids on a page unlike those of other pictures.
        title: of the picture, for who cannot see it.
        description: what it shows, likewise.
        show: writes a cell's number.
        low: the number without colour (default: the least).
        high: the number in full colour (default: the greatest).
        series: the colour, 0..3.
        best: whether the greatest number of every column has a frame.

    Returns:
        SVG text.
    """
    known = [v for row in cells for v in row if v is not None and math.isfinite(v)]
    least = low if low is not None else min(known, default=0.0)
    most = high if high is not None else max(known, default=1.0)
    width = (100 - _ASIDE) / max(1, len(columns))
    room = width * 7.2 / 7.0  # letters that fit, of a picture 720 pixels wide
    tilted = any(len(name) > room for name in columns)
    if tilted:  # the last name leans over the edge
        width *= 0.95
    top = _TILTED if tilted else _HEAD
    body = []
    for place, name in enumerate(columns):
        x = number(_ASIDE + (place + 0.5) * width)
        turn = 'transform="rotate(-40)" text-anchor="start"' if tilted else 'text-anchor="middle"'
        body.append(
            f'<svg x="{x}%" y="{number(top - 8)}" width="1" height="1" overflow="visible">'
            f'<text class="muted" {turn}>{text_of(_fit(name, 16))}<title>{text_of(name)}</title>'
            "</text></svg>"
        )
    winners = _winners(cells, len(columns)) if best else {}
    for line, (name, row) in enumerate(zip(rows, cells, strict=True)):
        y = top + _ROW * line
        body.append(
            f'<text x="{number(_ASIDE - 1.5)}%" y="{number(y + 20)}" text-anchor="end">'
            f"{text_of(_fit(name, 24))}<title>{text_of(name)}</title></text>"
        )
        for place, value in enumerate(row):
            x1 = _ASIDE + place * width
            if value is None or not math.isfinite(value):
                body.append(
                    f'<text class="muted" x="{number(x1 + width / 2)}%" y="{number(y + 20)}" '
                    f'text-anchor="middle">\N{EN DASH}<title>{text_of(name)}, '
                    f"{text_of(columns[place])}: nothing</title></text>"
                )
                continue
            share = (value - least) / (most - least) if most > least else 0.5
            share = min(max(share, 0.0), 1.0)
            depth = _LIGHT + (_DEEP - _LIGHT) * share
            spoken = f"{name}, {columns[place]}: {show(value)}"
            body.append(
                f'<rect class="cell k{series}" x="{number(x1 + 0.15)}%" y="{number(y + 1)}" '
                f'width="{number(width - 0.3)}%" height="{number(_ROW - 2)}" rx="2" '
                f'fill-opacity="{number(depth)}" stroke="none"><title>{text_of(spoken)}</title>'
                f'</rect><text class="{"strong" if winners.get(place) == line else ""}" '
                f'x="{number(x1 + width / 2)}%" y="{number(y + 20)}" text-anchor="middle">'
                f"{text_of(show(value))}</text>"
            )
            if winners.get(place) == line:
                body.append(
                    f'<rect class="best" fill="none" x="{number(x1 + 0.15)}%" '
                    f'y="{number(y + 1)}" width="{number(width - 0.3)}%" '
                    f'height="{number(_ROW - 2)}" rx="2"/>'
                )
    return frame(
        body,
        ident=ident,
        title=title,
        description=description,
        height=top + _ROW * len(rows) + 6,
        css="heatmap",
    )


def _winners(cells: Sequence[Sequence[float | None]], columns: int) -> dict[int, int]:
    found = {}
    for place in range(columns):
        values = [
            (value, -line)
            for line, row in enumerate(cells)
            if (value := row[place]) is not None and math.isfinite(value)
        ]
        if values:
            found[place] = -max(values)[1]
    return found


def _fit(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
