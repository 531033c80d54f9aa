# SPDX-License-Identifier: Apache-2.0
"""A layered graph of many boxes: wide layers are wrapped, boxes are small, arrows thin.

Layers are as in `plait.charts.graph`; within a layer, boxes stand near what they were made from:
the barycentre heuristic of Sugiyama, Tagawa & Toda, "Methods for Visual Understanding of
Hierarchical System Structures", IEEE Transactions on Systems, Man, and Cybernetics 11, 1981.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from plait.charts.graph import Edge, Node, fit, layers
from plait.charts.svg import number, text_of

_WIDTH = 150.0
_HEIGHT = 42.0
_ACROSS = 14.0
_DOWN = 58.0
_WRAP = 12.0
"""Between two rows of one layer."""
_MARGIN = 6.0
_SWEEPS = 4


def network(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    *,
    ident: str,
    title: str,
    description: str,
    columns: int = 6,
    marked: Collection[str] = (),
) -> str:
    """Draw many boxes in layers, from what was used at the top to what was made below.

    Args:
        nodes: with `href` they are links.
        edges: from what was used to what was made.
        ident: begins the ids of the picture's parts.
        title: read aloud.
        description: read aloud.
        columns: boxes side by side before a layer goes on in the next row.
        marked: ids of nodes that were searched for.

    Raises:
        ValueError: the edges form a circle, or name a node that is not there.
    """
    rows = layers(nodes, edges)
    spots = _places(nodes, edges, rows, columns)
    width = max((x for x, _ in spots.values()), default=0.0) + _WIDTH + _MARGIN
    height = max((y for _, y in spots.values()), default=0.0) + _HEIGHT + _MARGIN
    many = " many" if len(edges) > 60 else ""
    body = [_arrow(edge, spots) for edge in edges]
    body += [_box(node, spots[node.id], node.id in marked) for node in nodes]
    role = "group" if any(node.href for node in nodes) else "img"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart graph network{many}" '
        f'role="{role}" width="{number(width)}" height="{number(height)}" '
        f'viewBox="0 0 {number(width)} {number(height)}" '
        f'aria-labelledby="{ident}-title {ident}-desc">'
        f'<title id="{ident}-title">{text_of(title)}</title>'
        f'<desc id="{ident}-desc">{text_of(description)}</desc>' + "".join(body) + "</svg>"
    )


def _places(
    nodes: Sequence[Node], edges: Sequence[Edge], rows: Mapping[str, int], columns: int
) -> dict[str, tuple[float, float]]:
    by_row: dict[int, list[str]] = {}
    for node in nodes:
        by_row.setdefault(rows[node.id], []).append(node.id)
    order = _ordered(by_row, edges)
    widest = min(columns, max((len(names) for names in order.values()), default=1))
    spots: dict[str, tuple[float, float]] = {}
    top = _MARGIN
    for row in sorted(order):
        names = order[row]
        lines = [names[start : start + columns] for start in range(0, len(names), columns)]
        for line in lines:
            free = (widest - len(line)) * (_WIDTH + _ACROSS) / 2
            for place, name in enumerate(line):
                spots[name] = (_MARGIN + free + place * (_WIDTH + _ACROSS), top)
            top += _HEIGHT + _WRAP
        top += _DOWN - _WRAP
    return spots


def _ordered(by_row: Mapping[int, list[str]], edges: Sequence[Edge]) -> dict[int, list[str]]:
    """Order each layer by the mean place of its neighbours, from above and from below in turn."""
    near: dict[str, list[str]] = {}
    for edge in edges:
        near.setdefault(edge.source, []).append(edge.target)
        near.setdefault(edge.target, []).append(edge.source)
    order = {row: list(names) for row, names in by_row.items()}
    for sweep in range(_SWEEPS):
        place = {
            name: index / max(1, len(names) - 1) if len(names) > 1 else 0.5
            for names in order.values()
            for index, name in enumerate(names)
        }
        for row in sorted(order, reverse=bool(sweep % 2)):
            names = order[row]
            mean = {
                name: sum(place[n] for n in near.get(name, ())) / len(near[name])
                if near.get(name)
                else place[name]
                for name in names
            }
            names.sort(key=lambda name: (round(mean[name], 9), place[name]))
    return order


def _arrow(edge: Edge, spots: Mapping[str, tuple[float, float]]) -> str:
    (x1, y1), (x2, y2) = spots[edge.source], spots[edge.target]
    x1, x2 = x1 + _WIDTH / 2, x2 + _WIDTH / 2
    y1 += _HEIGHT
    bend = max(12.0, min((y2 - y1) / 2, 60.0))
    return (
        f'<path class="edge" fill="none" data-from="{text_of(edge.source)}" '
        f'data-to="{text_of(edge.target)}" '
        f'd="M{number(x1)} {number(y1)}C{number(x1)} {number(y1 + bend)} '
        f'{number(x2)} {number(y2 - bend)} {number(x2)} {number(y2)}"/>'
    )


def _box(node: Node, spot: tuple[float, float], marked: bool) -> str:
    x, y = spot
    kind = text_of(node.kind) + (" hit" if marked else "")
    full = text_of(f"{node.label} {node.detail}".strip())
    inner = (
        f'<rect class="box" x="{number(x)}" y="{number(y)}" width="{number(_WIDTH)}" '
        f'height="{number(_HEIGHT)}" rx="5"/>'
        f'<text class="strong" x="{number(x + 9)}" y="{number(y + 17)}">'
        f"{text_of(fit(node.label, 20))}</text>"
        f'<text class="muted" x="{number(x + 9)}" y="{number(y + 33)}">'
        f"{text_of(fit(node.detail, 22))}</text>"
    )
    name = f'data-node="{text_of(node.id)}"'
    if node.href:
        return (
            f'<a class="{kind}" {name} href="{text_of(node.href)}" aria-label="{full}">'
            f"<title>{full}</title>{inner}</a>"
        )
    return f'<g class="{kind}" {name}><title>{full}</title>{inner}</g>'
