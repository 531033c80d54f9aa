# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from gallery import merge_report
from plait.web import figures
from plait.web.language import Translator
from plait.web.report import merge_view

EN = Translator("en")


def test_the_view_says_what_the_report_says() -> None:
    view = merge_view(merge_report(), EN, "/commons/sentiment")
    assert (view.before, view.after, view.gain) == ("75.0", "81.0", "+6.0")
    assert view.gain_interval == "+2.0 … +10.0"
    assert view.verdict == "passes" and view.verdict_word == "Passes"
    assert view.average.items == "600 items" and view.average.margin == "2.0"
    assert [row.name for row in view.tasks] == ["shop", "press"]
    assert view.tasks[0].scores == ("71.0", "76.0", "79.0", "82.0")
    assert view.tasks[0].items == "300 items, 40 groups"
    assert view.parameters == (("density", "0.5"), ("weight", "#1 0.4, #2 0.6"))
    assert view.credit_total == "+11.0"
    assert [row.label for row in view.credit] == ["shop #1", "press #2"]
    assert view.credit[1].value == "−1.0"
    assert [row.mark for row in view.trials] == ["default", "chosen"]
    assert view.layers == (("encoder", "1", "2.0", "60.0"), ("classifier", "1", "40.0", "–"))
    assert view.contributions == 1 and view.head == "1" * 40
    assert "merge_method: ties" in view.recipe


def test_every_number_of_a_picture_is_in_a_table_too() -> None:
    view = merge_view(merge_report(), EN, "/commons/sentiment")
    shown = set(re.findall(r">([\d.]+)</text>", str(view.plot)))
    scores = {score for row in (view.average, *view.tasks) for score in row.scores}
    assert scores <= shown
    assert {row.value for row in view.credit} <= set(
        re.findall(r">([−+][\d.]+)</text>", str(view.credit_chart))
    )


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [("passes", "passes"), ("regresses", "regresses"), ("not enough data", "unsure")],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_verdict_has_a_word(verdict: str, kind: str, language: str) -> None:
    t = Translator(language)
    view = merge_view(merge_report(verdict=verdict), t, "/a/b")
    assert view.verdict == kind
    assert view.verdict_word == t(f"verdict.{kind}")


def test_a_report_without_search_credit_and_layers_can_be_shown() -> None:
    view = merge_view(
        merge_report(search=None, credit=None, layers=[], inputs=[], notes=None), EN, "/a/b"
    )
    assert view.curve is None and view.credit_chart is None and view.trials == ()
    assert view.credit_total == "" and view.contributions == 0


def test_names_from_outside_are_escaped_in_pictures() -> None:
    report = merge_report()
    report["tasks"][0]["name"] = "<script>alert(1)</script>"
    report["search"]["points"][0]["method"] = '"><script>alert(1)</script>'
    report["credit"]["contributions"][0]["organisation"] = "<b>"
    view = merge_view(report, EN, "/a/b")
    for picture in (view.plot, view.curve, view.credit_chart):
        assert "<script>" not in str(picture) and "<b>" not in str(picture)


def test_how_many_more_items_would_decide_is_said() -> None:
    report = merge_report()
    report["tasks"][1]["difference"]["needed"] = 900
    assert merge_view(report, EN, "/a/b").tasks[1].notes[0].text == (
        "About 900 items would decide it."
    )


def test_figures_are_written_for_people() -> None:
    assert figures.percent(0.8264) == "82.6" and figures.percent(None) == "–"
    assert figures.percent(float("nan")) == "–"
    assert figures.points(-0.031) == "−3.1" and figures.points(0.0001) == "0.0"
    assert figures.size(999) == "999 B" and figures.size(90_900_000) == "90.9 MB"
    assert figures.seconds(48.3) == "48 s" and figures.seconds(3725) == "62 min 5 s"
    assert figures.quantity(22_713_216) == "22.7 M"
    assert figures.probability(0.0002) == "< 0.001"
    assert figures.decimal(-0.25) == "−0.25" and figures.decimal(0.00001) == "1.0e-05"
