# SPDX-License-Identifier: Apache-2.0
"""Bar chart around a zero line, for values that add up: the credit of contributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plait.charts.svg import Scale, frame, number, text_of

_ROW = 46.0


@dataclass(frozen=True)
class Bar:
    """One bar; ``series`` 0..3 picks its colour."""

    label: str
    value: float
    series: int = 3


def bar_chart(
    bars: Sequence[Bar],
    *,
    ident: str,
    title: str,
    description: str,
    show: Callable[[float], str] = str,
) -> str:
    """Draw horizontal bars from a common zero line, label above, value at the right.

    Returns SVG text.
    """
    finite = [bar.value for bar in bars if math.isfinite(bar.value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if low == high:
        high = low + 1.0
    scale = Scale(low, high, 0.0, 86.0)
    height = _ROW * len(bars) + 4
    zero = number(scale(0.0))
    body: list[str] = []
    body.append(f'<line class="axis" x1="{zero}%" x2="{zero}%" y1="22" y2="{number(height - 4)}"/>')
    for index, bar in enumerate(bars):
        top = _ROW * index
        x1, x2 = sorted((scale(0.0), scale(bar.value if math.isfinite(bar.value) else 0.0)))
        body.append(
            f'<text class="halo" x="0" y="{number(top + 17)}">{text_of(bar.label)}</text>'
            f'<rect class="bar k{bar.series}" x="{number(x1)}%" y="{number(top + 24)}" '
            f'width="{number(max(x2 - x1, 0.3))}%" height="14" rx="2">'
            f"<title>{text_of(bar.label)}: {text_of(show(bar.value))}</title></rect>"
            f'<text class="strong" x="100%" y="{number(top + 36)}" text-anchor="end">'
            f"{text_of(show(bar.value))}</text>"
        )
    return frame(body, ident=ident, title=title, description=description, height=height, css="bars")
