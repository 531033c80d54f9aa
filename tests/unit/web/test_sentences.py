# SPDX-License-Identifier: Apache-2.0
"""The sentences of reports in the reader's language: all that the hub writes, nothing else."""

from __future__ import annotations

import re

import pytest

from plait import licences
from plait.evaluation import verdicts
from plait.evaluation.comparison import Comparison, Difference
from plait.recipes.project import parse_project
from plait.web.sentences import translate

_LATIN = re.compile(r"\b(the|is|are|of|points|loss|gain|would)\b", re.IGNORECASE)


def difference(effect: float, low: float, groups: int, p: float) -> Difference:
    high = 2 * effect - low
    return Difference(effect, low, high, low, high, p, p, 300, groups)


def test_every_verdict_of_the_gate_is_told_in_chinese() -> None:
    project = parse_project(
        b"tasks:\n- {name: shop, dataset: a/b, role: protected, margin: 0.05}\n"
        b"- {name: press, dataset: a/b, role: protected, margin: 0}\n"
        b"- {name: goal, dataset: a/b, role: target}\n- {name: gone, dataset: a/b}\n"
    )
    told = set()
    for effect in (-0.2, -0.01, 0.0, 0.002, 0.03):
        for least in (effect - 0.3, effect - 0.04, effect - 0.001):
            for groups, p in ((100, 0.001), (100, 0.9), (3, 0.5)):
                one = difference(effect, least, groups, p)
                found = Comparison(dict.fromkeys(("shop", "press", "goal"), one), one, 0.95)
                judged = verdicts.judge(found, project.gate, project.tasks)
                told |= {judged.reason, judged.average.note}
                told |= {task.note for task in judged.tasks.values()}
    assert len(told) > 60
    for text in told:
        said = translate(text, "zh")
        assert said.translated, text
        assert not _LATIN.search(said.text), said.text


def test_what_licences_ask_is_told_in_chinese() -> None:
    names = sorted(licences.table())
    untold = set()
    for name in names:
        for other in ("gpl-3.0", "cc-by-nc-4.0", "house-rules", None):
            verdict = licences.judge({"a/b": name, "main": other})
            for text in [*(r.text for r in verdict.reasons), *verdict.notices]:
                if not translate(text, "zh").translated:
                    untold.add(text)
    assert untold == set()


@pytest.mark.parametrize(
    "text",
    ["Hello.", "The average changes by +1.0 points, a significant loss. And more.", "x" * 5000,
     "shop changes by lots, a gain.", "{0} changes by +1.0 points, a gain!", "'" * 3999],
)  # fmt: skip
def test_other_texts_stay_as_they_are(text: str) -> None:
    said = translate(text, "zh")
    assert (said.text, said.translated) == (text, False)
    assert translate(text, "en") == type(said)(text, True)


def test_what_is_filled_in_is_kept_and_not_read_as_a_form() -> None:
    said = translate("{x}{y} changes by −3.0 points, a gain.", "zh")
    assert said.translated and "{x}{y}" in said.text and "−3.0 个百分点" in said.text
    assert translate("row 7, column 'a, b'", "zh").text == "第 7 行，列“a, b”"
