# SPDX-License-Identifier: Apache-2.0
"""Layered graph, top to bottom: what was made from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plait.charts.svg import number, text_of

_WIDTH = 168.0
_HEIGHT = 58.0
_ACROSS = 22.0
_DOWN = 34.0
_MARGIN = 4.0
_GUTTER = 22.0


@dataclass(frozen=True)
class Node:
    """A box; ``lane`` is its column, ``kind`` its CSS class, ``href`` where it leads."""

    id: str
    label: str
    detail: str = ""
    kind: str = "node"
    lane: int = 0
    href: str = ""


@dataclass(frozen=True)
class Edge:
    """``target`` was made from ``source``."""

    source: str
    target: str


def layers(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, int]:
    """Assign each node a layer: after everything it was made from, as late as what it made allows.

    Raises:
        ValueError: the edges form a circle, or name a node that is not there.
    """
    known = {node.id for node in nodes}
    for edge in edges:
        if edge.source not in known or edge.target not in known:
            raise ValueError(f"The edge {edge.source} → {edge.target} names an unknown node.")
    early = _longest(nodes, [(edge.source, edge.target) for edge in edges])
    depth = max(early.values(), default=0)
    late = _longest(nodes, [(edge.target, edge.source) for edge in edges])
    makes = {edge.source for edge in edges}
    made = {edge.target for edge in edges}
    # Sources stay on top; what lies between moves down, next to what was made from it.
    return {
        node.id: depth - late[node.id] if node.id in makes and node.id in made else early[node.id]
        for node in nodes
    }


def _longest(nodes: Sequence[Node], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    waiting = {node.id: 0 for node in nodes}
    following: dict[str, list[str]] = {node.id: [] for node in nodes}
    for source, target in arrows:
        waiting[target] += 1
        following[source].append(target)
    ready = [ident for ident, count in waiting.items() if count == 0]
    longest = dict.fromkeys(waiting, 0)
    done = 0
    while ready:
        ident = ready.pop()
        done += 1
        for target in following[ident]:
            longest[target] = max(longest[target], longest[ident] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    if done != len(waiting):
        raise ValueError("The graph has a circle: a thing cannot be made from itself.")
    return longest


def layered_graph(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    *,
    ident: str,
    title: str,
    description: str,
) -> str:
    """Draw boxes in layers with arrows from what was used to what was made.

    Arrows that pass over other layers to another lane run along a gutter at the right.
    Returns SVG text with a fixed view box; nodes with ``href`` are links.
    """
    rows = layers(nodes, edges)
    spots = {node.id: _spot(node, rows) for node in nodes}
    right = max((x for x, _ in spots.values()), default=0.0) + _WIDTH
    width = right + _GUTTER + _MARGIN
    height = max((y for _, y in spots.values()), default=0.0) + _HEIGHT + _MARGIN
    lanes = {node.id: node.lane for node in nodes}
    body = [_arrow(edge, spots, rows, lanes, right) for edge in edges]
    body.extend(_box(node, spots[node.id]) for node in nodes)
    # role="img" would hide the links inside; a group keeps them reachable.
    role = "group" if any(node.href for node in nodes) else "img"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart graph" role="{role}" '
        f'width="{number(width)}" height="{number(height)}" '
        f'viewBox="0 0 {number(width)} {number(height)}" '
        f'aria-labelledby="{ident}-title {ident}-desc">'
        f'<title id="{ident}-title">{text_of(title)}</title>'
        f'<desc id="{ident}-desc">{text_of(description)}</desc>'
        f'<defs><marker id="{ident}-head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" '
        'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        '<path class="head" d="M0 0L8 4L0 8Z"/></marker></defs>'
        + "".join(body).replace("url(#head)", f"url(#{ident}-head)")
        + "</svg>"
    )


def _spot(node: Node, rows: Mapping[str, int]) -> tuple[float, float]:
    return (
        _MARGIN + node.lane * (_WIDTH + _ACROSS),
        _MARGIN + rows[node.id] * (_HEIGHT + _DOWN),
    )


def _arrow(
    edge: Edge,
    spots: Mapping[str, tuple[float, float]],
    rows: Mapping[str, int],
    lanes: Mapping[str, int],
    right: float,
) -> str:
    (x1, y1), (x2, y2) = spots[edge.source], spots[edge.target]
    same_lane = lanes[edge.source] == lanes[edge.target]
    if rows[edge.target] - rows[edge.source] <= 1 or same_lane:
        start_x, end_x = x1 + _WIDTH / 2, x2 + _WIDTH / 2
        start_y, end_y = y1 + _HEIGHT, y2
        bend = min((end_y - start_y) / 2, _DOWN)
        path = (
            f"M{number(start_x)} {number(start_y)}C{number(start_x)} {number(start_y + bend)} "
            f"{number(end_x)} {number(end_y - bend)} {number(end_x)} {number(end_y)}"
        )
    else:
        gutter = right + _GUTTER / 2
        path = (
            f"M{number(x1 + _WIDTH)} {number(y1 + _HEIGHT / 2)}H{number(gutter - 8)}"
            f"q8 0 8 8V{number(y2 + _HEIGHT / 2 - 8)}q0 8 -8 8H{number(x2 + _WIDTH)}"
        )
    return f'<path class="edge" fill="none" d="{path}" marker-end="url(#head)"/>'


def _box(node: Node, spot: tuple[float, float]) -> str:
    x, y = spot
    label = fit(node.label, 20)
    inner = (
        f'<rect class="box" x="{number(x)}" y="{number(y)}" width="{number(_WIDTH)}" '
        f'height="{number(_HEIGHT)}" rx="6"/>'
        f'<text class="strong" x="{number(x + 12)}" y="{number(y + 24)}">{text_of(label)}</text>'
        f'<text class="muted" x="{number(x + 12)}" y="{number(y + 43)}">'
        f"{text_of(fit(node.detail, 23))}</text>"
    )
    full = text_of(f"{node.label} {node.detail}".strip())
    kind = text_of(node.kind)
    if node.href:
        return (
            f'<a class="{kind}" href="{text_of(node.href)}" aria-label="{full}">'
            f"<title>{full}</title>{inner}</a>"
        )
    return f'<g class="{kind}"><title>{full}</title>{inner}</g>'


def fit(text: str, room: int) -> str:
    """Shorten a text to so many places; a Chinese character takes two."""
    wide = sum(2 if ord(letter) > 0x2E80 else 1 for letter in text)
    return text if wide <= room else text[: room - 1] + "…"
