# SPDX-License-Identifier: Apache-2.0
"""The drivers of text and cards, and which path goes to which driver."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.cards import dump_card, parse_card
from plait.collaboration.merging.card import END, START, update_card
from plait.collaboration.merging.changes import driver_of
from plait.collaboration.merging.drivers import Resolution
from plait.collaboration.merging.drivers.card import merge_card
from plait.collaboration.merging.text import merge_lines


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"),
        ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nc\n", "A\nb\nc\n"),
        ("a\nb\nc\n", "a\nb\nc\n", "a\nc\n", "a\nc\n"),
        ("a\n", "X\n", "X\n", "X\n"),
        ("a\n", "X\n", "Y\n", None),
        ("a\nb\n", "b\n", "a2\nb\n", None),
        ("a\nb\nc\nd\ne\n", "0\na\nb\nc\nd\ne\n", "a\nb\nc\nd\n", "0\na\nb\nc\nd\n"),
        ("", "x\n", "y\n", None),
        ("no end", "no end", "no end!\n", "no end!\n"),
    ],
)
def test_lines_merge_three_ways(base: str, ours: str, theirs: str, merged: str | None) -> None:
    assert merge_lines(base, ours, theirs) == merged
    assert merge_lines(base, theirs, ours) == merged


_LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), max_size=7).map("".join)


@settings(max_examples=200, deadline=None)
@given(_LINES, _LINES, _LINES)
def test_a_merge_is_symmetric_and_loses_no_side(base: str, ours: str, theirs: str) -> None:
    merged = merge_lines(base, ours, theirs)
    assert merged == merge_lines(base, theirs, ours)
    assert merge_lines(base, ours, base) == ours
    assert merge_lines(base, ours, ours) == ours


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git")
def test_git_agrees_where_changes_are_apart(tmp_path: Path) -> None:
    base = "".join(f"line {i}\n" for i in range(40))
    ours = base.replace("line 5\n", "five\nand more\n").replace("line 20\n", "")
    theirs = base.replace("line 12\n", "twelve\n").replace("line 39\n", "the end\n")
    for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert merge_lines(base, ours, theirs) == done.stdout


def merge_cards(base: str, ours: str, theirs: str) -> str | None:
    return merge_card(base, ours, theirs)[0]


def card(head: str, body: str = "# Model\n") -> str:
    return f"---\n{head}---\n{body}"


def test_card_keys_of_both_sides_are_kept() -> None:
    base = card("license: mit\ntags:\n- a\n- b\n")
    ours = card("license: mit\ntags:\n- a\n- b\n- ours\nlanguage: en\n")
    theirs = card("license: mit\ntags:\n- b\n- theirs\nlibrary_name: x\n")
    merged = merge_cards(base, ours, theirs)
    assert merged is not None
    assert parse_card(merged).data == {
        "license": "mit",
        "tags": ["b", "ours", "theirs"],
        "language": "en",
        "library_name": "x",
    }


def test_card_contradictions_are_a_conflict() -> None:
    base = card("license: mit\n")
    assert merge_cards(base, card("license: a\n"), card("license: b\n")) is None
    assert merge_cards(base, card("tags: [a]\n"), card("license: b\n")) is None
    assert merge_cards(base, card("license: [\n"), card("license: b\n")) is None


def result(dataset: str, **metrics: float) -> str:
    lines = (
        f"  - task: {{type: t}}\n    dataset: {{type: {dataset}, name: {dataset}}}\n    metrics:\n"
    )
    return lines + "".join(f"    - {{type: {k}, value: {v}}}\n" for k, v in metrics.items())


def results(*parts: str) -> str:
    return card("model-index:\n- name: m\n  results:\n" + "".join(parts))


def test_results_of_both_sides_are_kept() -> None:
    base = results(result("shop", accuracy=0.5))
    ours = results(result("shop", accuracy=0.5, f1=0.4), result("press", accuracy=0.7))
    theirs = results(result("shop", accuracy=0.6), result("cinema", accuracy=0.8))
    merged, places = merge_card(base, ours, theirs)
    assert merged is not None
    assert places == ()
    assert merged == merge_card(base, theirs, ours)[0]
    (model,) = parse_card(merged).data["model-index"]
    found = {
        (r["dataset"]["type"], m["type"]): m["value"]
        for r in model["results"]
        for m in r["metrics"]
    }
    assert found == {
        ("shop", "accuracy"): 0.6,
        ("shop", "f1"): 0.4,
        ("press", "accuracy"): 0.7,
        ("cinema", "accuracy"): 0.8,
    }


def test_two_values_of_one_result_are_a_conflict() -> None:
    base, ours, theirs = (results(result("shop", accuracy=score)) for score in (0.5, 0.6, 0.7))
    merged, (place,) = merge_card(base, ours, theirs)
    assert merged is None
    assert (place.main, place.pull) == (0.6, 0.7)
    assert "shop" in place.where
    settled, _ = merge_card(base, ours, theirs, Resolution(places={place.id: "pull"}))
    assert settled is not None
    assert parse_card(settled) == parse_card(theirs)


def test_a_key_that_both_add_is_written_once() -> None:
    base = card("license: mit\ntags: [a]\n")
    ours = card("language: en\nlicense: mit\ntags: [a]\n")
    theirs = card("license: mit\ntags: [a]\nlanguage: en\n")
    merged, _ = merge_card(base, ours, theirs)
    assert merged is not None
    assert merged.count("language") == 1


_HEADS = st.dictionaries(
    st.sampled_from(["license", "tags", "language"]),
    st.one_of(st.sampled_from(["x", "y"]), st.lists(st.sampled_from(["p", "q", "r"]), max_size=3)),
    max_size=3,
)


@settings(max_examples=80, deadline=None)
@given(_HEADS, _HEADS, _HEADS)
def test_cards_merge_alike_from_either_side(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    before, left, right = (dump_card(head, "# Card\n") for head in (base, ours, theirs))
    one, places = merge_card(before, left, right)
    other, same = merge_card(before, right, left)
    assert {p.id for p in places} == {p.id for p in same}
    if one is not None and other is not None:
        assert parse_card(one) == parse_card(other)
        assert parse_card(merge_card(before, one, right)[0] or "") == parse_card(one)


def test_the_hubs_part_of_a_card_is_written_once() -> None:
    text = card("license: mit\nbase_model: people/chose\n", "# Model\n\nText.\n")
    once = update_card(text, {"base_model": "a/b"}, [{"name": "m", "results": []}], "first")
    twice = update_card(once, {"base_model": "a/b"}, [{"name": "m", "results": [1]}], "second")
    data = parse_card(twice).data
    assert data["base_model"] == "people/chose"
    assert data["model-index"] == [{"name": "m", "results": [1]}]
    assert "first" not in twice
    assert twice.count(START) == twice.count(END) == 1
    assert "Text.\n" in twice
    assert update_card(twice, {}, [{"name": "m", "results": [1]}], "second") == twice


def test_a_card_that_cannot_be_read_keeps_its_text() -> None:
    broken = "---\nlicense: [\n---\n# Model\n"
    assert update_card(broken, {"base_model": "a/b"}, [], "made").startswith(broken)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("model.safetensors", "weights"),
        ("model-00001-of-00002.safetensors", "weights"),
        ("model.safetensors.index.json", "weights"),
        ("pytorch_model.bin", "pickle"),
        ("optimizer.pt", "pickle"),
        ("config.json", "model"),
        ("tokenizer.json", "model"),
        ("README.md", "card"),
        ("docs/README.md", "text"),
        ("checkpoint-5/model.safetensors", "text"),
        ("lineage.json", "hub"),
        ("adapter_config.json", "weights"),
        ("plait_resolutions.yaml", "resolutions"),
        ("plait.yaml", "text"),
    ],
)
def test_every_path_has_its_driver(path: str, kind: str) -> None:
    assert driver_of(path) == kind


def test_only_models_have_weights() -> None:
    assert driver_of("model.safetensors", "dataset") == "text"
    assert driver_of("README.md", "dataset") == "card"
