# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.lineage import (
    MAX_BYTES,
    Contribution,
    DataUse,
    Lineage,
    Origin,
    dump_lineage,
    parse_lineage,
)

SHA = "a" * 64
REV = "b" * 40


def document() -> dict[str, Any]:
    return {
        "schema": 1,
        "base": {
            "repository": "commons/sentiment",
            "revision": REV,
            "files": {"model.safetensors": SHA},
        },
        "contributions": [
            {
                "number": 3,
                "author": "ann",
                "organisation": "shop",
                "title": "Réviews",
                "revision": "c" * 40,
                "files": {"model.safetensors": "d" * 64},
                "weight": 0.4,
                "licence": "apache-2.0",
            }
        ],
        "recipe": {"merge_method": "ties", "models": [{"model": "commons/sentiment"}]},
        "output": {"files": {"model.safetensors": "e" * 64}},
        "software": {"plait": "0.1.0"},
        "evaluation": {
            "tasks": {
                "shop": {
                    "metric": "balanced_accuracy",
                    "score": 0.83,
                    "interval": [0.8, 0.86],
                    "n": 300,
                }
            },
            "average": 0.84,
        },
        "created": "2026-11-23T10:00:00Z",
    }


def test_what_is_written_is_read_back_and_written_the_same() -> None:
    lineage = parse_lineage(document())
    written = dump_lineage(lineage)
    assert json.loads(written) == document()
    assert dump_lineage(parse_lineage(written)) == written
    assert "Réviews" in written.decode()
    contribution = lineage.contribution(3)
    assert contribution is not None
    assert contribution.author == "ann"
    assert lineage.contribution(4) is None


def test_a_contribution_made_from_another_base_keeps_it() -> None:
    content = document()
    content["contributions"][0]["base"] = content["base"]
    lineage = parse_lineage(content)
    assert lineage.contributions[0].base == lineage.base
    assert json.loads(dump_lineage(lineage)) == content


def test_weights_are_compared_by_their_bytes_not_their_names() -> None:
    origin = Origin("a/b", REV, {"model.safetensors": SHA})
    assert origin.same_weights({"renamed.safetensors": SHA})
    assert not origin.same_weights({"model.safetensors": "0" * 64})
    assert not origin.same_weights({"model.safetensors": SHA, "more.safetensors": "0" * 64})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("schema",), 2, "schema"),
        (("base", "repository"), "../etc", "namespace/name"),
        (("base", "revision"), "main", "40 hexadecimal"),
        (("base", "files"), {}, "between 1 and"),
        (("base", "files"), {"../model.safetensors": SHA}, "no file may have"),
        (("base", "files"), {"/model.safetensors": SHA}, "no file may have"),
        (("base", "files"), {"model.safetensors": "zz"}, "64 hexadecimal"),
        (("contributions",), {}, "must be a list"),
        (("contributions",), [{}] * 1001, "at most 1000"),
        (("contributions", 0, "number"), True, "whole number"),
        (("contributions", 0, "number"), 0, "at least 1"),
        (("contributions", 0, "title"), "x" * 401, "at most 400"),
        (("contributions", 0, "weight"), float("nan"), "finite"),
        (("recipe",), [1], "must be an object"),
        (("output",), None, "must be an object"),
        (("evaluation", "average"), "high", "finite number"),
        (("evaluation", "tasks", "shop", "interval"), [0.1], "low, high"),
        (("created",), "yesterday", "ISO 8601"),
    ],
)
def test_a_malformed_field_is_named(path: tuple[Any, ...], value: Any, said: str) -> None:
    content = document()
    inner: Any = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(BadInput, match=said):
        parse_lineage(content)


def test_the_same_pull_request_twice_is_refused() -> None:
    content = document()
    content["contributions"] *= 2
    with pytest.raises(BadInput, match="twice"):
        parse_lineage(content)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe"])
def test_text_that_is_no_document_is_a_sentence(text: bytes) -> None:
    with pytest.raises(BadInput, match=r"lineage\.json"):
        parse_lineage(text)


def test_a_huge_document_is_not_even_parsed() -> None:
    with pytest.raises(BadInput, match="larger than"):
        parse_lineage(b" " * (MAX_BYTES + 1))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text() | st.sampled_from(["schema", "base", "output"]), inner)
        ),
        max_leaves=10,
    )
)
def test_nothing_but_a_sentence_comes_of_nonsense(value: Any) -> None:
    with pytest.raises(BadInput):
        parse_lineage(value if not isinstance(value, str) else value.encode(errors="replace"))


def test_data_privacy_and_budget_are_kept() -> None:
    base = Origin("org/base", "a" * 40, {"model.safetensors": "0" * 64})
    one = Contribution(
        1, "ann", "shop", "One", "b" * 40, {"model.safetensors": "1" * 64},
        datasets=("imdb", "org/data"), privacy={"epsilon": 8.0, "delta": 1e-5},
    )  # fmt: skip
    made = Lineage(
        base, (one,), {}, {"model.safetensors": "2" * 64},
        data=(DataUse("shop", "test", "gate", "3" * 64, "org/exam", hidden=True),),
        budget={"candidates": 12, "subsets": 4},
    )  # fmt: skip
    assert parse_lineage(dump_lineage(made)) == made
    damaged = dump_lineage(replace(made, data=(DataUse("shop", "test", "gate", "zz"),)))
    with pytest.raises(BadInput, match="items must be a SHA-256"):
        parse_lineage(damaged)
