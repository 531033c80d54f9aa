# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET

import pytest

from plait.charts import Edge, Node, network


def many(count: int) -> tuple[list[Node], list[Edge]]:
    nodes = [Node("base", "base", "org/base"), Node("now", "main", "82.1")]
    nodes += [Node(f"c{i}", f"org{i % 9} #{i}", f"Fine-tune {i}", href=f"/x/{i}") for i in
              range(count)]  # fmt: skip
    edges = [edge for i in range(count) for edge in (Edge("base", f"c{i}"), Edge(f"c{i}", "now"))]
    return nodes, edges


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for part in ET.fromstring(svg).iter():
        name = part.get("data-node")
        if name:
            rect = next(one for one in part if one.tag.endswith("rect"))
            found[name] = tuple(float(rect.get(k, "0")) for k in ("x", "y", "width", "height"))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("count", [1, 30, 498])
def test_no_two_boxes_touch_and_all_lie_inside(count: int) -> None:
    started = time.process_time()
    nodes, edges = many(count)
    svg = network(nodes, edges, ident="g", title="t", description="d")
    assert time.process_time() - started < 3
    found = boxes(svg)
    assert len(found) == count + 2
    _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', svg)[1].split())  # type: ignore[index]
    places = sorted(found.values())
    for x, y, w, h in places:
        assert x >= 0 and x + w <= width
        assert y >= 0 and y + h <= height
    for index, (x, y, w, h) in enumerate(places):
        for x2, y2, _, _ in places[index + 1 :]:
            assert x2 >= x + w or abs(y2 - y) >= h
    assert len(svg) < 500_000
    # what was made lies below what it was made from
    assert found["base"][1] < found["c0"][1] < found["now"][1]


def test_marks_and_escapes() -> None:
    nodes = [Node("a", "<b>", 'x" onload="'), Node("b", "plain")]
    svg = network(nodes, [Edge("a", "b")], ident="g", title="t", description="d", marked={"b"})
    assert "<b>" not in svg
    assert 'onload="' not in svg
    assert svg.count(" hit") == 1


def test_a_circle_is_refused() -> None:
    nodes = [Node("a", "a"), Node("b", "b")]
    with pytest.raises(ValueError, match="circle"):
        network(nodes, [Edge("a", "b"), Edge("b", "a")], ident="g", title="t", description="d")
