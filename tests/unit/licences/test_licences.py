# SPDX-License-Identifier: Apache-2.0
"""Licences together: the table holds what it should, and verdicts obey their laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.licences import choices, judge, table
from plait.licences.verdict import CONFLICT, ORDER
from plait.terms import LICENSES

NAMES = sorted(table())
stated = st.one_of(st.sampled_from(NAMES), st.none(), st.just("MIT OR GPL-3.0-only"))
sources = st.dictionaries(st.sampled_from("abcdef"), stated, min_size=1, max_size=4)


def test_every_licence_that_a_card_may_name_is_in_the_table() -> None:
    assert LICENSES - set(table()) == {"other", "unknown"}


def test_entries_are_whole() -> None:
    for terms in table().values():
        assert terms.url.startswith("https://"), terms.id
        assert set(terms.into) <= set(table()), terms.id
        assert not terms.into or terms.share_alike, terms.id


@pytest.mark.parametrize(
    ("first", "second", "outcome", "result"),
    [
        ("cc0-1.0", "unlicense", "compatible", "cc0-1.0 AND unlicense"),
        ("apache-2.0", "mit", "compatible with notices", "apache-2.0 AND mit"),
        ("apache-2.0", "cc-by-nc-4.0", "compatible with notices", "cc-by-nc-4.0"),
        ("gpl-3.0", "cc-by-sa-4.0", "compatible with notices", "gpl-3.0"),
        ("gpl-2.0", "gpl-3.0", "conflict", None),
        ("gpl-2.0-or-later", "gpl-3.0", "compatible with notices", "gpl-3.0"),
        ("gpl-3.0", "bigscience-openrail-m", "conflict", None),
        ("cc-by-sa-4.0", "cc-by-nc-4.0", "conflict", None),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0", "compatible with notices", "cc-by-nc-sa-4.0"),
        ("cc-by-nd-4.0", "cc0-1.0", "conflict", None),
        ("llama3.1", "apache-2.0", "compatible with notices", "llama3.1"),
        ("llama3.1", "gpl-3.0", "conflict", None),
        ("mit", None, "unknown", None),
        ("mit", "my-own-licence", "unknown", None),
        ("eupl-1.2", "mpl-2.0", "compatible with notices", None),
    ],
)
def test_pairs(first: str, second: str | None, outcome: str, result: str | None) -> None:
    verdict = judge({"one": first, "two": second})
    assert verdict.outcome == outcome, verdict
    if result is not None:
        assert verdict.result == result
    if outcome in ("conflict", "unknown"):
        assert verdict.reasons
        assert verdict.result is None


def test_of_a_choice_the_best_is_taken() -> None:
    verdict = judge({"a": "MIT OR GPL-3.0-only", "b": "creativeml-openrail-m"})
    assert verdict.outcome == "compatible with notices"
    assert verdict.chosen == {"a": ("mit",), "b": ("creativeml-openrail-m",)}


def test_expressions_are_read_as_spdx_means_them() -> None:
    found = choices("(MIT OR GPL-3.0-only) AND CC-BY-4.0")
    assert set(found) == {frozenset({"mit", "cc-by-4.0"}), frozenset({"gpl-3.0", "cc-by-4.0"})}
    assert choices("GPL-2.0-only WITH Classpath-exception-2.0") == (frozenset({"gpl-2.0"}),)
    assert choices("gpl-2.0+") == (frozenset({"gpl-2.0-or-later"}),)


@pytest.mark.parametrize("text", ["MIT OR", "(MIT", "MIT AND AND x", "x" * 501, "()"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        choices(text)


def test_an_expression_of_too_many_choices_is_refused() -> None:
    text = " AND ".join(f"(a{n} OR b{n})" for n in range(12))
    with pytest.raises(BadInput, match="choices"):
        choices(text)
    assert judge({"a": text}).outcome == "unknown"


@given(sources)
def test_order_and_doubles_change_nothing(given: dict[str, str | None]) -> None:
    verdict = judge(given)
    backwards = judge(dict(reversed(list(given.items()))))
    assert verdict == backwards
    doubled = judge(given | {f"{name}-again": value for name, value in given.items()})
    assert (doubled.outcome, doubled.result) == (verdict.outcome, verdict.result)


@given(sources, st.sampled_from(NAMES))
def test_a_source_more_never_resolves_a_conflict(given: dict[str, str | None], more: str) -> None:
    before, after = judge(given), judge(given | {"zz": more})
    if before.outcome == CONFLICT:
        # a share-alike licence may name another that unites two others; nothing else may
        assert after.outcome == CONFLICT or table()[more].share_alike
    elif not table()[more].share_alike:
        assert ORDER.index(after.outcome) >= ORDER.index(before.outcome)


@given(st.text(max_size=80))
def test_any_text_gets_a_verdict(text: str) -> None:
    assert judge({"a": text}).outcome in ORDER
