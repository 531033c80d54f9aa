# SPDX-License-Identifier: Apache-2.0
"""Metrics and reports give what the libraries that define them give."""

from __future__ import annotations

import math
import random
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.evaluation import ItemScore, TaskResult, classification_report, confusion_matrix
from plait.evaluation.metrics import METRICS, metric
from plait.evaluation.metrics.ranks import query_values, ranking_score
from plait.evaluation.metrics.texts import chrf_counts, exact_match, rouge_l, token_f1
from plait.evaluation.reports import entity_report
from plait.evaluation.results import score_items
from plait.evaluation.types import task_type
from plait.evaluation.types.regression import Value
from plait.evaluation.types.tokens import Tagged
from plait.recipes.tasks import KINDS, UNBOUNDED

sklearn = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8),
    min_size=1,
    max_size=6,
)
NUMBERS = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(-20, 20), st.integers(0, 3)),
    min_size=3,
    max_size=25,
)
WORDS = st.lists(st.sampled_from(["the", "cat", "Sat.", "on", "a", "mat", "5"]), max_size=8)


def classified(rows: Sequence[tuple[int, int]], classes: int = 4) -> TaskResult:
    items = tuple(ItemScore(str(k), str(k), t, p, 0.5) for k, (t, p) in enumerate(rows))
    labels = [f"class {k}" for k in range(classes)]
    return score_items("accuracy", items, {"classes": classes, "labels": labels})


def tagged(sentences: Sequence[Sequence[tuple[str, str]]], name: str = "f1") -> TaskResult:
    items = tuple(
        Tagged(
            str(k),
            str(k // 2),
            tuple(TAGS.index(true) for true, _ in row),
            tuple(TAGS.index(given) for _, given in row),
        )
        for k, row in enumerate(sentences)
    )
    return score_items(name, items, {"tags": TAGS}, "token-classification")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_reports_and_confusion_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    result = classified(rows)
    true, given_ = ([row[k] for row in rows] for k in range(2))
    names = [f"class {k}" for k in range(4)]
    there = sorted({*true, *given_})
    options: dict[str, Any] = {
        "labels": there,
        "target_names": [names[k] for k in there],
        "zero_division": 0.0,
    }
    text = sklearn.classification_report(true, given_, digits=3, **options)
    if any(t == p for t, p in rows):
        assert classification_report(result, digits=3) == text
    else:  # without a hit its support is a float: 1.0 for 1
        text = re.sub(r"  (\d+)\.0$", r"    \1", text, flags=re.MULTILINE)
        assert classification_report(result, digits=3) == text
    theirs = sklearn.classification_report(true, given_, output_dict=True, **options)
    ours = classification_report(result, output_dict=True)
    assert list(ours) == list(theirs)
    for name, row in theirs.items():
        assert ours[name] == pytest.approx(row)
    expected = sklearn.confusion_matrix(true, given_, labels=range(4))
    assert (confusion_matrix(result) == expected).all()
    assert result.scores["accuracy"] == pytest.approx(sklearn.accuracy_score(true, given_))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = sklearn.balanced_accuracy_score(true, given_)
    assert result.scores["balanced_accuracy"] == pytest.approx(balanced)
    assert result.scores["macro_f1"] == pytest.approx(
        sklearn.f1_score(true, given_, average="macro", zero_division=0)
    )


@settings(deadline=None, max_examples=60)
@given(SENTENCES)
def test_entities_are_seqevals(sentences: list[list[tuple[str, str]]]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    from seqeval.scheme import IOB2

    result = tagged(sentences)
    true, given_ = ([[pair[k] for pair in row] for row in sentences] for k in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert result.scores["f1"] == pytest.approx(seqeval.f1_score(true, given_))
        assert result.scores["precision"] == pytest.approx(seqeval.precision_score(true, given_))
        assert result.scores["recall"] == pytest.approx(seqeval.recall_score(true, given_))
        accuracy = seqeval.accuracy_score(true, given_)
        assert result.scores["token_accuracy"] == pytest.approx(accuracy)
        strict = (
            seqeval.classification_report(
                true, given_, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
            )
            if any(tag.startswith("B") for row in (*true, *given_) for tag in row)
            else None
        )
        if strict is not None:
            assert result.scores["strict_f1"] == pytest.approx(strict["micro avg"]["f1-score"])
            assert entity_report(result, strict=True, output_dict=True) == {
                name: pytest.approx(row) for name, row in strict.items()
            }
        if any(tag != "O" for row in (*true, *given_) for tag in row):
            theirs = seqeval.classification_report(true, given_, digits=3, zero_division=0)
            assert entity_report(result, digits=3) == theirs
            macro = seqeval.f1_score(true, given_, average="macro", zero_division=0)
            assert result.scores["macro_entity_f1"] == pytest.approx(macro)


@pytest.mark.parametrize(
    "counts",
    [((12, 5), (3, 11), (0, 3)), ((9, 12), (7, 10), (5, 0)), ((6, 6), (10, 10), (3, 0))],
)
def test_averages_round_as_seqevals_do(counts: tuple[tuple[int, ...], ...]) -> None:
    """Sixteenths and the like are halves in the third digit: the last bit decides what is shown."""
    seqeval = pytest.importorskip("seqeval.metrics")
    names = ["LOC", "PER"]
    sentences: list[list[tuple[str, str]]] = []
    for name, true, given_, hits in zip(names, *counts, strict=True):
        sentences += [[(f"B-{name}", f"B-{name}")]] * hits
        sentences += [[(f"B-{name}", "O")]] * (true - hits)
        sentences += [[("O", f"B-{name}")]] * (given_ - hits)
    tags = ["O", "B-LOC", "B-PER"]
    items = tuple(
        Tagged(str(k), str(k), (tags.index(row[0][0]),), (tags.index(row[0][1]),))
        for k, row in enumerate(sentences)
    )
    result = score_items("f1", items, {"tags": tags}, "token-classification")
    true_, found = ([[pair[k] for pair in row] for row in sentences] for k in range(2))
    for digits in (2, 3, 4):
        theirs = seqeval.classification_report(true_, found, digits=digits, zero_division=0)
        assert entity_report(result, digits=digits) == theirs


@settings(deadline=None, max_examples=60)
@given(NUMBERS)
def test_regression_is_scikit_learns_and_scipys(rows: list[tuple[int, int, int]]) -> None:
    items = tuple(Value(str(k), str(g), x / 4, y / 4) for k, (x, y, g) in enumerate(rows))
    x, y = (np.array([row[k] / 4 for row in rows]) for k in range(2))
    scores = score_items("mse", items, {}, "regression").scores
    assert scores["mse"] == pytest.approx(sklearn.mean_squared_error(x, y))
    assert scores["mae"] == pytest.approx(sklearn.mean_absolute_error(x, y))
    assert scores["r2"] == pytest.approx(sklearn.r2_score(x, y)) or x.std() == 0
    if x.std() > 0 and y.std() > 0:
        assert scores["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
        assert scores["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    else:
        assert scores["pearson"] == scores["spearman"] == 0


def test_a_correlation_drawn_again_is_that_of_the_items_drawn() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 12)).round(1)
    groups = np.repeat(np.arange(6), 2)
    items = [Value(str(k), str(groups[k]), x[k], y[k]) for k in range(12)]
    for name, reference in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        measure = task_type("regression").measure([items], [{}], name)
        drawn = np.random.default_rng(7).multinomial(6, np.full(6, 1 / 6), size=3)
        if name == "spearman":
            got = measure._scores(drawn[:, groups].astype(float))[:, 0]  # type: ignore[attr-defined]
        else:
            got = metric(name)(np.tensordot(drawn, measure.table, 1))[:, 0]  # type: ignore[attr-defined]
        for row, score in zip(drawn, got, strict=True):
            taken = np.repeat(np.arange(12), row[groups])
            assert score == pytest.approx(reference(x[taken], y[taken]).statistic, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=12))
def test_rankings_are_those_of_a_sorted_list(rows: list[tuple[int, int]]) -> None:
    scores, grades = (np.array([row[k] for row in rows], dtype=float) for k in range(2))
    relevant = np.flatnonzero(grades > 0)
    if not len(relevant):
        return
    # ties against the model: less relevant first
    order = sorted(range(len(rows)), key=lambda k: (-scores[k], grades[k]))
    got = query_values(("recall@2", "mrr", "map", "ndcg@3"), scores, relevant, grades[relevant])
    found = [grades[k] for k in order]
    hits = [k + 1 for k, grade in enumerate(found) if grade > 0]
    assert got[0] == pytest.approx(sum(k <= 2 for k in hits) / len(hits))
    assert got[1] == pytest.approx(1 / hits[0])
    assert got[2] == pytest.approx(np.mean([(n + 1) / k for n, k in enumerate(hits)]))
    unique = np.array([len(rows) - order.index(k) for k in range(len(rows))], dtype=float)
    assert got[3] == pytest.approx(sklearn.ndcg_score([grades], [unique], k=3))


def test_a_model_that_scores_all_alike_finds_nothing_first() -> None:
    values = query_values(("mrr", "recall@1"), np.ones(10), np.array([0]), np.array([1.0]))
    assert values == (0.1, 0.0)
    assert ranking_score("mrr", np.array([1]), np.array([1.0])) == 1.0


@settings(deadline=None, max_examples=60)
@given(WORDS, st.lists(WORDS.filter(bool), min_size=1, max_size=3))
def test_texts_are_scored_as_rouge_score_and_sacrebleu_do(
    answer: list[str], references: list[list[str]]
) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    chrf = pytest.importorskip("sacrebleu.metrics").CHRF()
    text, wanted = " ".join(answer), [" ".join(one) for one in references]
    best = max(scorer.score(one, text)["rougeL"].fmeasure for one in wanted)
    assert rouge_l(text, wanted) == pytest.approx(best)
    ours = float(metric("chrf")(np.array(chrf_counts(text, wanted), dtype=float)))
    assert ours * 100 == pytest.approx(chrf.sentence_score(text, wanted).score, abs=1e-6)


def test_corpus_chrf_is_sacrebleus() -> None:
    chrf = pytest.importorskip("sacrebleu.metrics").CHRF()
    pairs = [("the cat sat", "a cat sat down"), ("好的 谢谢", "谢谢 你"), ("no", "yes it is")]
    counts = np.array([chrf_counts(answer, [one]) for answer, one in pairs], dtype=float)
    theirs = chrf.corpus_score([a for a, _ in pairs], [[one for _, one in pairs]]).score
    assert float(metric("chrf")(counts.sum(axis=0))) * 100 == pytest.approx(theirs)


def test_answers_are_compared_as_squad_does() -> None:
    assert exact_match("The  Eiffel Tower!", ["eiffel tower"]) == 1
    assert exact_match("Eiffel", ["eiffel tower", "paris"]) == 0
    assert token_f1("tower of Paris", ["the Eiffel tower", "Paris tower"]) == pytest.approx(0.8)


def test_every_metric_of_a_task_exists_and_says_where_it_is_from() -> None:
    for kind in KINDS.values():
        for name in kind.metrics:
            assert METRICS[name].source
        assert metric(kind.usual).name == kind.usual
    named = {name for kind in KINDS.values() for name in kind.metrics}
    assert named == set(METRICS)
    assert {name for name, one in METRICS.items() if not one.higher} == set(UNBOUNDED)


@settings(deadline=None, max_examples=25)
@given(SENTENCES, st.randoms(use_true_random=False))
def test_the_order_of_items_changes_nothing(
    sentences: list[list[tuple[str, str]]], chance: random.Random
) -> None:
    other = list(sentences)
    chance.shuffle(other)
    one, two = tagged(sentences).scores, tagged(other).scores
    assert all(one[name] == pytest.approx(two[name]) for name in one)


def test_perplexity_is_the_exponent_of_the_mean_loss() -> None:
    table = np.array([math.log(8) * 10, 10, 30])
    assert float(metric("perplexity")(table)) == pytest.approx(8)
    assert float(metric("bits_per_byte")(table)) == pytest.approx(1)
