# SPDX-License-Identifier: Apache-2.0
"""``plait demo graph``: two real graphs, stock clients, real HTTP, a worker process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.demo.graphs import countries
from plait.errors import PlaitError

pytest.importorskip("pyshacl", reason="the graph extra is not installed")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any], str]]:
    try:
        countries()
    except PlaitError as error:
        pytest.skip(f"the demo's graphs cannot be had: {error}")
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*(sys.executable, "-m", "plait", "demo", "graph", "--no-serve", "--size", "small"),
         *("--dir", str(folder / "demo"), "--report", str(folder / "report.json"))],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield folder / "demo", json.loads((folder / "report.json").read_text()), done.stdout


def test_countries_are_found_behind_their_own_names(demo: tuple[Path, Any, str]) -> None:
    found = demo[1]["alignment"]
    assert found["key"] == 250
    assert found["hits_at_1"] > 0.96
    assert found["precision"] > 0.96
    assert found["recall"] > 0.96


def test_a_broken_shape_is_refused_and_a_good_graph_merged(demo: tuple[Path, Any, str]) -> None:
    report = demo[1]
    assert report["refused"]["status"] != "merged"
    assert "above zero" in report["refused"]["said"]
    assert report["merged"]["status"] == "merged"


def test_nothing_is_lost_and_what_is_one_is_shown_as_one(demo: tuple[Path, Any, str]) -> None:
    report = demo[1]
    parts = report["atlas"]["statements"] + report["gazetteer"]["statements"]
    assert report["union"]["statements"] == parts
    assert report["view"]["entities"] == report["union"]["entities"] - report["alignment"]["pairs"]


def test_one_conflict_is_settled_by_a_person(demo: tuple[Path, Any, str]) -> None:
    held = demo[1]["conflicts"]
    assert 0 < held["open"] < held["count"]
    assert held["open_afterwards"] == held["open"] - 1
    assert "Astana" in held["settled"]


def test_gephi_can_read_the_union(demo: tuple[Path, Any, str]) -> None:
    networkx = pytest.importorskip("networkx")
    read = networkx.read_gexf(demo[0] / "countries.gexf", version="1.3")
    assert read.number_of_nodes() == demo[1]["view"]["entities"]
    borders = [data for *_, data in read.edges(data=True) if data["predicate"] == "borders"]
    assert {"geonames", "world-countries"} == {one["source"] for one in borders}


def test_it_says_where_the_pages_are_and_how_long_it_took(demo: tuple[Path, Any, str]) -> None:
    for address in demo[1]["pages"].values():
        assert address in demo[2]
    assert demo[1]["seconds"]["total"] < 600


def test_what_sentences_say_is_proposed_and_merged(demo: tuple[Path, dict[str, Any], str]) -> None:
    found = demo[1]["read"]
    if "skipped" in found:
        pytest.skip(found["skipped"])
    assert set(found["scores"]) == {"templates", "entities", "written"}
    assert found["scores"]["entities"]["triples"]["f1"] > 0.2
    assert found["scores"]["written"]["by_kind"]["negated"]["sentences"] >= 10
    assert found["read"] > found["known"] > 0
    assert found["proposed"] > 0
    assert found["status"] == "merged"
    for line in ("templates held out", "entities held out", "sentences written by hand"):
        assert line in demo[2]
