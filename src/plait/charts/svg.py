# SPDX-License-Identifier: Apache-2.0
"""Escaping, scales, marks and the frame that every picture shares."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SHAPES = ("circle", "square", "triangle", "diamond")
"""Marks differ by shape as well as by colour, so that no meaning hangs on colour alone."""

_SHAPE_PATHS = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
    "square": "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "triangle": "M0 -5.5L5.5 4.5H-5.5Z",
    "diamond": "M0 -6.5L6.5 0L0 6.5L-6.5 0Z",
}

_MARGIN = 20
"""Pixels around a picture in a file of its own."""

_STANDALONE_STYLE = """
svg{--paper:#fff;--ink:#22201c;--muted:#615c52;--rule:#ddd7ca;--k0:#6f6a60;--k1:#9a5b00;
--k2:#a03a2e;--k3:#2b4c9b;background:var(--paper);color:var(--ink);font:13px system-ui,sans-serif}
@media (prefers-color-scheme:dark){svg{--paper:#16171a;--ink:#ebe8e1;--muted:#aaa599;--rule:#363940;
--k0:#a49e91;--k1:#e3ac48;--k2:#ee8d7b;--k3:#93b0ff}}
text{fill:var(--ink)}.muted{fill:var(--muted)}.strong{font-weight:600}
.rule{stroke:var(--rule);fill:none}.axis{stroke:var(--muted)}.step{stroke:var(--k3);fill:none}
.head{fill:var(--muted)}.ring{stroke:var(--k3)}
.halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
.edge{stroke:var(--muted);fill:none}.box{fill:var(--paper);stroke:var(--muted)}
.k0{fill:var(--k0);stroke:var(--k0)}.k1{fill:var(--k1);stroke:var(--k1)}
.k2{fill:var(--k2);stroke:var(--k2)}.k3{fill:var(--k3);stroke:var(--k3)}
.mark.k0{fill:var(--paper);stroke-width:2}.band{stroke:none;fill-opacity:.16}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:5 4}
.guide{stroke:var(--muted);stroke-dasharray:2 3}.faint{fill-opacity:.45;stroke-opacity:.45}
.cell{stroke:none}.best{fill:none;stroke:var(--ink);stroke-width:2}
"""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_of(value: str) -> str:
    """Escape text for an element or a quoted attribute; drop what XML cannot hold."""
    return escape(_NOT_XML.sub("", value), quote=True)


def number(value: float) -> str:
    """Write a coordinate with at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten) that lie within [low, high]."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


@dataclass(frozen=True)
class Scale:
    """A linear map from data to percent of the picture's width."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        """Return the position of ``value`` in percent, kept within the scale."""
        if self.high <= self.low:
            return (self.left + self.right) / 2
        share = (value - self.low) / (self.high - self.low)
        return self.left + (self.right - self.left) * min(max(share, 0.0), 1.0)


def span(values: Sequence[float], *, margin: float = 0.06) -> tuple[float, float]:
    """Return the range of finite values with a margin on both sides; never empty."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    extra = (high - low) * margin or max(abs(high) * 0.05, 0.01)
    return low - extra, high + extra


def mark(shape: str, x: float, y: float, colour: str, tooltip: str) -> str:
    """Draw one mark; x in percent of the width, y in pixels."""
    return (
        f'<svg x="{number(x)}%" y="{number(y)}" width="1" height="1" overflow="visible">'
        f'<path class="mark {colour}" d="{_SHAPE_PATHS[shape]}"><title>{text_of(tooltip)}</title>'
        "</path></svg>"
    )


def frame(
    body: Sequence[str], *, ident: str, title: str, description: str, height: float, css: str
) -> str:
    """Wrap drawn parts into one fluid picture with a name and a description."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {css}" role="img" width="100%" '
        f'height="{number(height)}" aria-labelledby="{ident}-title {ident}-desc">'
        f'<title id="{ident}-title">{text_of(title)}</title>'
        f'<desc id="{ident}-desc">{text_of(description)}</desc>' + "".join(body) + "</svg>"
    )


def stacked(parts: Sequence[tuple[str, str]], *, ident: str, title: str, description: str) -> str:
    """Put fluid pictures under one another, each under a heading, as one picture."""
    body = []
    y = 0.0
    for heading, picture in parts:
        found = re.search(r' height="([\d.]+)"', picture)
        assert found is not None, "frame writes it"
        body.append(
            f'<text class="strong" x="0" y="{number(y + 14)}">{text_of(heading)}</text>'
            + picture.replace("<svg ", f'<svg y="{number(y + 30)}" ', 1)
        )
        y += 30 + float(found[1]) + 16
    return frame(body, ident=ident, title=title, description=description, height=y, css="stacked")


def standalone(picture: str, width: int = 760) -> str:
    """Turn a picture into a file of its own: fixed width, a margin, and its own colours."""
    opened, rest = picture.split(">", 1)
    opened = opened.replace('width="100%"', f'width="{width - 2 * _MARGIN}"', 1)
    own = re.search(r'width="([\d.]+)" height="([\d.]+)"', opened)
    assert own is not None, "frame and layered_graph write both"
    outer_width = float(own[1]) + 2 * _MARGIN
    outer_height = float(own[2]) + 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(outer_width)}" '
        f'height="{number(outer_height)}"><style>{_STANDALONE_STYLE.strip()}</style>'
        f'{opened} x="{_MARGIN}" y="{_MARGIN}">{rest}</svg>\n'
    )
