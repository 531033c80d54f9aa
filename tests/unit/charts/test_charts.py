# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.charts import (
    Bar,
    Edge,
    Flag,
    Line,
    Mark,
    Node,
    Row,
    Spot,
    Trial,
    bar_chart,
    heatmap,
    interval_plot,
    layered_graph,
    line_chart,
    search_curve,
    stacked,
    standalone,
)
from plait.charts.graph import layers
from plait.charts.svg import Scale, span, ticks

SVG = "{http://www.w3.org/2000/svg}"
NAMES = {"ident": "x", "title": "Scores", "description": "What was measured"}
numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


def show(value: float) -> str:
    return f"{value:.1f}"


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)


def percents(picture: str) -> list[float]:
    return [float(found) for found in re.findall(r'="(-?[\d.]+)%"', picture)]


def test_a_picture_has_a_name_a_description_and_no_style_of_its_own() -> None:
    for picture in (
        interval_plot([Row("a", (Mark("m", 1, 0, 2),))], **NAMES),
        search_curve([Trial("g", "p", 1.0)], **NAMES),
        bar_chart([Bar("a", 1.0)], **NAMES),
        layered_graph([Node("a", "A")], [], **NAMES),
    ):
        root = parsed(picture)
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == "x-title x-desc"
        assert root.findtext(f"{SVG}title") == "Scores"
        assert root.findtext(f"{SVG}desc") == "What was measured"
        assert "style" not in picture and "#" not in picture.replace("url(#x-head)", "")


def test_marks_lie_where_their_values_are() -> None:
    rows = [Row("task", (Mark("low", 0.2), Mark("mid", 0.5, 0.4, 0.6, 1), Mark("high", 0.8)))]
    picture = interval_plot(rows, show=show, **NAMES)
    marks = [float(x) for x in re.findall(r'<svg x="([\d.]+)%"', picture)]
    assert marks[0] < marks[1] < marks[2]
    assert marks[1] - marks[0] == pytest.approx(marks[2] - marks[1], abs=0.02)
    whisker = re.search(r'class="whisker k1".*?x1="([\d.]+)%" x2="([\d.]+)%"', picture)
    assert whisker is not None
    assert float(whisker[1]) < marks[1] < float(whisker[2])


def test_series_differ_in_shape_and_not_in_colour_alone() -> None:
    marks = tuple(Mark(str(index), 1.0, series=index) for index in range(4))
    picture = interval_plot([Row("task", marks)], **NAMES)
    assert len(set(re.findall(r'class="mark k\d" d="([^"]+)"', picture))) == 4


def test_the_chosen_trial_is_ringed_and_named_and_the_line_never_falls() -> None:
    scores = [0.5, 0.7, 0.6, 0.9, 0.8]
    trials = [
        Trial("ties", f"w {i}", score, "chosen" if i == 3 else "", i == 3)
        for i, score in enumerate(scores)
    ]
    picture = search_curve(trials, show=show, **NAMES)
    assert picture.count('class="ring"') == 1 and ">chosen</text>" in picture
    heights = [float(y) for y in re.findall(r'class="step".*?y2="([\d.]+)"', picture)]
    assert heights == sorted(heights, reverse=True)


def test_bars_of_losses_lie_left_of_zero() -> None:
    picture = bar_chart([Bar("gain", 2.0), Bar("loss", -1.0)], show=show, **NAMES)
    zero = re.search(r'class="axis" x1="([\d.]+)%"', picture)
    bars = re.findall(r'<rect class="bar k\d" x="([\d.]+)%" y="[\d.]+" width="([\d.]+)%"', picture)
    assert zero is not None and len(bars) == 2
    assert float(bars[0][0]) == pytest.approx(float(zero[1]))
    assert float(bars[1][0]) + float(bars[1][1]) == pytest.approx(float(zero[1]), abs=0.05)
    assert float(bars[0][1]) == pytest.approx(2 * float(bars[1][1]), abs=0.05)


NODES = [
    Node("base", "base"),
    Node("c1", "first", lane=1, href="/c1"),
    Node("c2", "second", lane=1),
    Node("m1", "main"),
    Node("m2", "main now"),
]
EDGES = [
    Edge("base", "c1"),
    Edge("base", "c2"),
    Edge("base", "m1"),
    Edge("c1", "m1"),
    Edge("m1", "m2"),
    Edge("c2", "m2"),
]


def test_what_was_made_lies_below_what_it_was_made_from() -> None:
    rows = layers(NODES, EDGES)
    assert all(rows[edge.source] < rows[edge.target] for edge in EDGES)
    assert rows == {"base": 0, "c1": 1, "m1": 2, "c2": 2, "m2": 3}


def test_boxes_do_not_overlap_and_links_stay_reachable() -> None:
    picture = layered_graph(NODES, EDGES, **NAMES)
    root = parsed(picture)
    places = {
        (box.get("x"), box.get("y")) for box in root.iter(f"{SVG}rect") if box.get("class") == "box"
    }
    assert len(places) == len(NODES)
    assert root.get("role") == "group"
    assert [link.get("href") for link in root.iter(f"{SVG}a")] == ["/c1"]
    assert len(list(root.iter(f"{SVG}path"))) == len(EDGES) + 1


def test_a_circle_and_an_unknown_node_are_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        layers([Node("a", "a"), Node("b", "b")], [Edge("a", "b"), Edge("b", "a")])
    with pytest.raises(ValueError, match="unknown node"):
        layers([Node("a", "a")], [Edge("a", "z")])


@given(st.lists(st.tuples(numbers, numbers, numbers, st.text(max_size=30)), min_size=1, max_size=8))
def test_any_numbers_and_texts_give_a_well_formed_picture(
    values: list[tuple[float, float, float, str]],
) -> None:
    marks = tuple(Mark(text, a, b, c, i % 4) for i, (a, b, c, text) in enumerate(values))
    trials = [Trial(text, text, a, text, i == 0) for i, (a, _, _, text) in enumerate(values)]
    pictures = [
        interval_plot([Row(values[0][3], marks, values[0][3])], **NAMES),
        search_curve(trials, **NAMES),
        bar_chart([Bar(text, a) for a, _, _, text in values], **NAMES),
        layered_graph(
            [Node(str(i), v[3], v[3], href=v[3]) for i, v in enumerate(values)], [], **NAMES
        ),
    ]
    for picture in pictures:
        parsed(picture)
        parsed(standalone(picture))
        assert all(-0.001 <= value <= 100.001 for value in percents(picture))
        assert "nan" not in " ".join(re.findall(r'(?:x|y|d|width)\d?="([^"]*)"', picture))


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.68, 0.93) == [0.7, 0.75, 0.8, 0.85, 0.9]
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(1, 1) == [1]
    assert ticks(math.nan, 2) == []


def test_a_scale_keeps_outliers_inside() -> None:
    scale = Scale(0, 1, 10, 90)
    assert (scale(0), scale(1), scale(0.5), scale(7), scale(-7)) == (10, 90, 50, 90, 10)
    assert span([]) == (0.0, 1.0)
    low, high = span([3.0])
    assert low < 3 < high


def test_a_file_of_its_own_brings_its_colours() -> None:
    picture = standalone(bar_chart([Bar("a", 1.0)], **NAMES), width=500)
    root = parsed(picture)
    inner = root.find(f"{SVG}svg")
    assert root.get("width") == "500" and root.find(f"{SVG}style") is not None
    assert inner is not None and inner.get("width") == "460" and inner.get("x") == "20"
    parsed(standalone(layered_graph(NODES, EDGES, **NAMES)))


@given(
    values=st.lists(st.tuples(numbers, numbers), min_size=0, max_size=6),
    zero=st.booleans(),
    joined=st.booleans(),
)
def test_lines_are_drawn_whatever_the_numbers(
    values: list[tuple[float, float]], zero: bool, joined: bool
) -> None:
    spots = [Spot(x, y, y - 1, y + 1) for x, y in values]
    picture = line_chart(
        [Line("a <b>", spots, 0, joined), Line("c", spots, 3)],
        **NAMES,
        flags=[Flag(0.5, "here & now")],
        show=show,
        zero=zero,
    )
    root = parsed(standalone(picture))
    finite = sum(math.isfinite(x) and math.isfinite(y) for x, y in values)
    marks = [e for e in root.iter(f"{SVG}path") if "mark" in e.get("class", "")]
    assert len(marks) == 2 * finite + 2  # and two in the legend
    assert "a <b>" in "".join(root.itertext())
    assert not re.search(r"\b(nan|inf)\b", "".join(e.get("d", "") for e in root.iter()))


def test_a_band_is_drawn_where_points_have_intervals() -> None:
    with_band = line_chart([Line("a", [Spot(0, 1, 0, 2), Spot(1, 2, 1, 3)])], **NAMES)
    assert "band" in with_band
    assert "band" not in line_chart([Line("a", [Spot(0, 1), Spot(1, 2)])], **NAMES)


@given(
    cells=st.lists(st.lists(st.one_of(st.none(), numbers), min_size=3, max_size=3), max_size=4),
    best=st.booleans(),
)
def test_every_cell_of_a_heatmap_has_its_number(
    cells: list[list[float | None]], best: bool
) -> None:
    rows = [f"row {i}" for i in range(len(cells))]
    root = parsed(heatmap(cells, rows, ["a", "b", "c"], **NAMES, show=show, best=best))
    known = [v for row in cells for v in row if v is not None and math.isfinite(v)]
    drawn = [e for e in root.iter(f"{SVG}rect") if "cell" in e.get("class", "")]
    assert len(drawn) == len(known)
    texts = [e.text for e in root.iter(f"{SVG}text")]
    for value in known:
        assert show(value) in texts
    for cell in drawn:
        # ink stays readable on the deepest colour
        assert 0 <= float(cell.get("fill-opacity", "1")) <= 0.5


def test_the_best_of_every_column_has_a_frame() -> None:
    root = parsed(heatmap([[1.0, 5.0], [3.0, 2.0]], ["x", "y"], ["a", "b"], **NAMES, best=True))
    assert sum(e.get("class") == "best" for e in root.iter(f"{SVG}rect")) == 2


def test_pictures_under_one_another_are_one_picture() -> None:
    one = line_chart([Line("a", [Spot(0, 1), Spot(1, 2)])], **NAMES)
    whole = stacked([("First", one), ("Second", one)], ident="all", title="T", description="D")
    root = parsed(standalone(whole))
    assert "First" in "".join(root.itertext()) and "Second" in "".join(root.itertext())
    inner = root.find(f"{SVG}svg")
    assert inner is not None
    height = float(re.search(r'height="([\d.]+)"', one)[1])  # type: ignore[index]
    assert float(inner.get("height", "0")) > 2 * height
