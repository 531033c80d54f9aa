# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plait.cards import (
    MAX_HEAD,
    Card,
    card_tags,
    dump_card,
    load_yaml,
    parse_card,
    read_head,
    split_card,
    validate_card,
)
from plait.errors import BadInput

CARD = "---\nlicense: mit\ntags:\n- a\n---\n\n# Title\n\n---\nnot a head\n---\n"


def test_a_card_is_a_head_and_a_text() -> None:
    assert split_card(CARD) == ("license: mit\ntags:\n- a", "\n# Title\n\n---\nnot a head\n---\n")
    assert parse_card(CARD).data == {"license": "mit", "tags": ["a"]}


@pytest.mark.parametrize(
    ("content", "data", "text"),
    [
        ("", {}, ""),
        ("# Title", {}, "# Title"),
        ("---\n---\ntext", {}, "text"),
        ("---\r\nlicense: mit\r\n---\r\ntext", {"license": "mit"}, "text"),
        ("\ufeff---\na: 1\n---", {"a": 1}, ""),
        ("---\nnever closed", {}, "---\nnever closed"),
        ("\n---\na: 1\n---\n", {"a": 1}, ""),
        ("----\na: 1\n---\n", {}, "----\na: 1\n---\n"),
    ],
)
def test_heads_of_all_kinds(content: str, data: dict[str, Any], text: str) -> None:
    assert parse_card(content) == Card(data, text)


def test_plain_values_are_those_of_yaml_1_2() -> None:
    head = (
        "language: no\nyes: on\ndate: 2026-01-02\nclock: 12:30\noct: 010\nbig: 1e3\nt: true\nn: ~"
    )
    assert load_yaml(head) == {
        "language": "no",
        "yes": "on",
        "date": "2026-01-02",
        "clock": "12:30",
        "oct": "010",
        "big": 1000.0,
        "t": True,
        "n": None,
    }


def test_what_is_kept_is_json() -> None:
    data = read_head("---\na: .nan\nb: -.inf\n2: x\ntrue: z\n---\n")
    assert data == {"a": None, "b": None, "2": "x", "true": "z"}
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("a: [", "line"),
        ("a: 1\n b: 2", "line"),
        ("- a\n- b", "mapping"),
        ("just text", "mapping"),
        ("a: &x [1]\nb: *x", "alias"),
        ("a: !!python/object/apply:os.system ['true']", "cannot be read"),
        ("a: !!python/name:os.system", "cannot be read"),
        ("a: " + "[" * 40 + "]" * 40, "nested"),
        ("a: " + "[" * 5000, "nested"),
        ("a: [" + "1," * 30_000 + "]", "values"),
        ("a: " + "x" * MAX_HEAD, "longer"),
        ("a: \x00", "cannot be read"),
        ("? [1, 2]\n: y", "cannot be read"),
        ("? {a: 1}\n: y", "cannot be read"),
    ],
)
def test_strange_heads_are_refused_in_a_sentence(head: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_card(f"---\n{head}\n---\n")
    assert says in refused.value.message
    assert "\n" not in refused.value.message


def test_aliases_do_not_multiply() -> None:
    bomb = "a: &a [x, x]\n" + "\n".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]" for n in range(20)
    )
    with pytest.raises(BadInput, match="alias"):
        load_yaml(bomb)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
    | st.sampled_from(["no", "yes", "on", "2026-01-02", "12:30", "~", "null", "1e3", "0x1f", "<<"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc_", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc_-", min_size=1, max_size=6), plain, max_size=4))
def test_what_is_written_is_read(data: dict[str, Any]) -> None:
    written = dump_card(data, "# Text\n")
    assert parse_card(written) == Card(data, "# Text\n")
    if data:
        # Others read it with YAML 1.1; text must stay text for them too.
        assert yaml.safe_load(written.split("---\n")[1]) is not None


@given(st.text(max_size=200))
def test_no_text_is_too_strange_to_look_at(content: str) -> None:
    for candidate in (content, f"---\n{content}\n---\n"):
        try:
            card = parse_card(candidate)
        except BadInput:
            assert validate_card(candidate).errors
            continue
        json.dumps(card.data, allow_nan=False)
        validate_card(candidate)


def test_tags_are_those_of_the_hub() -> None:
    data = {
        "tags": ["x", "y", 3],
        "license": "mit",
        "language": "en",
        "base_model": ["a/b", "c/d"],
        "datasets": ["e/f"],
        "pipeline_tag": "text-classification",
        "library_name": "transformers",
    }
    assert card_tags(data) == [
        "x",
        "y",
        "transformers",
        "text-classification",
        "en",
        "license:mit",
        "dataset:e/f",
        "base_model:a/b",
        "base_model:c/d",
    ]
    assert card_tags({"tags": {"a": 1}, "license": None}) == []


@pytest.mark.parametrize(
    ("content", "kind", "errors", "warnings"),
    [
        (CARD, "model", [], []),
        ("# Title", "model", [], ["no YAML head"]),
        ("---\n---\n", "model", [], ["empty"]),
        ("---\ntags: [a]\n---\n", "dataset", [], []),
        ("\n---\nmodel-index: foo\n---\n", "model", ["'model-index' must be"], []),
        ("---\nlicense: my-own\n---\n", "model", ["'my-own'"], []),
        ("---\nlicense: other\nlicense_name: my-own\n---\n", "model", [], []),
        ("---\nlanguage: [en, zh-Hans, code]\n---\n", "model", [], []),
        ("---\nlanguage: English\n---\n", "model", ["ISO 639"], []),
        ("---\nbase_model: https://example.org/x\n---\n", "model", ["'namespace/name'"], []),
        ("---\nbase_model_relation: cousin\n---\n", "model", ["one of: adapter"], []),
        ("---\npipeline_tag: guessing\n---\n", "model", [], ["'guessing'"]),
        ("---\nmodel-index: [{name: a, results: []}]\n---\n", "model", [], []),
        ("---\nmodel-index: [{results: []}]\n---\n", "model", ["'name'"], []),
        (
            "---\nmodel-index: [{name: a, results: [{task: {type: x}, metrics: [{}]}]}]\n---\n",
            "model",
            ["'dataset'", "'metrics'"],
            [],
        ),
        ("---\nlicense: mit\n", "model", ["closing"], []),
        ("---\na: [\n---\n", "model", ["cannot be read"], []),
        ("---\nlicense: 3\n---\n", "model", ["'license' must be text"], []),
        ("---\nlicense: [mit, {a: 1}]\n---\n", "model", ["'license' must be text"], []),
        ("---\nlicense: mit\ntags: {a: 1}\n---\n", "model", ["'tags' must be"], []),
        ("---\nlicense: mit\ntags: a\ntags: b\n---\n", "model", ["'tags' is given twice"], []),
        ("---\nlicense: mit\nmodel-index: x\n---\n", "model", ["'model-index'"], []),
        ("---\nsdk: gradio\n---\n", "space", [], []),
        ("---\nsdk: abacus\n---\n", "space", ["'sdk' must be"], []),
        ("---\nsdk: static\ncolorFrom: beige\n---\n", "space", ["'colorFrom'"], []),
        ("---\ntitle: x\n---\n", "space", [], ["no 'sdk'"]),
    ],
)
def test_a_card_is_judged(content: str, kind: str, errors: list[str], warnings: list[str]) -> None:
    report = validate_card(content, kind)
    for found, expected in ((report.errors, errors), (report.warnings, warnings)):
        assert len(found) == len(expected), found
        assert all(part in text for part, text in zip(expected, found, strict=True))


def test_the_line_of_a_repeated_key_is_that_of_the_file() -> None:
    report = validate_card("---\nlicense: mit\ntags: a\ntags: b\n---\n")
    assert "line 4" in report.errors[0]
