# SPDX-License-Identifier: Apache-2.0
"""What embeddings propose: nothing that is known, and with a confidence that holds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled
from plait.graphs.graph import Builder, Graph
from plait.graphs.learn.calibrating import Held, fit, measure
from plait.graphs.learn.candidates import Candidates, ask, known, questions, truth_of
from plait.graphs.learn.places import places
from plait.graphs.learn.triples import Split, split, triples
from plait.graphs.merging import merge
from plait.recipes.graph import GraphFile, Predicate

SIZE = 60
STEPS = (("next", 1), ("second", 2), ("third", 3), ("fifth", 5), ("eighth", 8))
FILE = GraphFile(
    predicates={
        "next": Predicate(datatype="entity", functional=True),
        "second": Predicate(datatype="entity", inverse="before"),
    }
)
MISSING = ("e7", "fifth", "e12")


def ring() -> Graph:
    """Return a ring whose statements are all regular, without one of them."""
    made = Builder(FILE)
    for place in range(SIZE):
        for name, step in STEPS:
            said = (f"e{place}", name, f"e{(place + step) % SIZE}")
            if said != MISSING:
                made.statement(said[0], name, object=said[2], source="s")
    made.statement("e0", "kind", value="start", source="s")
    return made.build()


def test_places_by_types_and_by_roles() -> None:
    made = Builder()
    for place in range(12):
        made.entity(f"film{place}", types=["Film"])
        if place < 11:
            made.statement(f"film{place}", "by", object=f"p{place % 4}", source="s")
        made.statement(f"film{place}", "in", object=f"c{place % 3}", source="s")
        made.statement(f"p{place % 5}", "born", object=f"c{place % 3}", source="s")
    found = triples(made.build())
    where = places(found, found.rows)
    kinds = {name: place for place, name in enumerate(found.relations)}
    subjects = {found.entities[one] for one in where.subjects[kinds["by"]]}
    objects = {found.entities[one] for one in where.objects[kinds["by"]]}
    assert subjects == {f"film{place}" for place in range(12)}  # by type, also the one without
    assert objects == {f"p{place}" for place in range(5)}  # whoever was born somewhere
    assert where.fits(found.rows).all()


def test_questions_leave_out_what_is_known_and_filled() -> None:
    file = GraphFile(
        predicates={
            "capital": Predicate(functional=True),
            "borders": Predicate(symmetric=True),
            "above": Predicate(inverse="below"),
        }
    )
    names = ("above", "below", "borders", "capital")
    rows = np.array([[0, 0, 1], [0, 2, 3], [2, 3, 4]])
    said = known(rows, names, file)
    assert said.objects[1, 1] == {0} and said.objects[3, 2] == {0}
    assert said.filled(2, 3) and not said.filled(0, 3)
    made = Builder(file)
    for place in range(20):
        made.statement(f"a{place}", "borders", object=f"a{(place + 1) % 20}", source="s")
        if place < 15:
            made.statement(f"a{place}", "capital", object=f"city{place}", source="s")
    found = triples(made.build())
    where = places(found, found.rows)
    before = known(found.rows, found.relations, file)
    asked = questions(where, before, [0, 1])
    capitals = {found.entities[s] for s, p in asked if found.relations[p] == "capital"}
    assert capitals == {f"a{place}" for place in range(15, 20)}
    uniform = lambda rows, side: np.zeros((len(rows), len(found.entities)), np.float32)  # noqa: E731
    candidates = ask(uniform, asked, where, before, best=100)
    pairs = {(s, p, o) for s, p, o in candidates.rows.tolist()}
    assert not pairs & {tuple(row) for row in found.rows.tolist()}
    borders = found.relations.index("borders")
    backwards = {(o, borders, s) for s, p, o in found.rows.tolist() if p == borders}
    assert not pairs & backwards
    assert all(s != o for s, _, o in pairs)


def drawn(random: np.random.Generator, count: int, kinds: int) -> Held:
    """Return candidates whose truth is drawn from a sigmoid of their score."""
    score = random.normal(0, 2, count)
    kind = random.integers(0, kinds, count)
    true = random.random(count) < 1 / (1 + np.exp(-(1.5 * score - 2 + kind)))
    rows = np.stack([np.arange(count), kind, np.arange(count)], axis=1)
    one = np.ones(count)
    features = np.stack([score, score - 3, np.zeros(count)], axis=1)
    whole = one.astype(np.int64)
    candidates = Candidates(rows, features, whole, whole, one, true)
    return Held(candidates, int(true.sum()), int(true.sum()))


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_probabilities_hold_where_they_were_not_fitted(method: str) -> None:
    random = np.random.default_rng(1)
    calibrator = fit(drawn(random, 4000, 2), method)
    assert set(calibrator.own) == {0, 1}
    told = measure(calibrator, drawn(random, 4000, 2), 0.6)
    assert told["ece"] < 0.03 < told["ece_of_shares"]
    assert told["brier"] < told["brier_of_base_rate"]
    assert told["precision"] == pytest.approx(told["confidence"], abs=0.05)


def test_few_statements_are_pooled_and_too_few_refused() -> None:
    random = np.random.default_rng(2)
    held = drawn(random, 1000, 2)
    rows = held.candidates.rows.copy()
    rows[:, 1] = np.arange(1000) >= 30  # 30 candidates of predicate 0, the others of 1
    pooled = fit(
        dataclasses.replace(held, candidates=dataclasses.replace(held.candidates, rows=rows))
    )
    assert set(pooled.own) == {1}
    with pytest.raises(BadInput, match="at least"):
        fit(drawn(random, 20, 1))
    with pytest.raises(BadInput, match="no calibration"):
        fit(held, "beta")
    assert truth_of(rows[:2])[0, 0] == {0}


def test_a_missing_statement_is_proposed() -> None:
    pytest.importorskip("pykeen")
    from plait.graphs.learn.predicting import SOURCE, Options, predict
    from plait.graphs.learn.training import Options as Training
    from plait.graphs.learn.training import embed

    graph = ring()
    found = triples(graph)
    parts: Split = split(found, graph.file, shares=(0.12, 0.12))
    made = embed(found, parts, Training("complex", 15, 32, 0.01, 32, threads=1))
    options = Options(threshold=0.05, threads=1)
    prediction = predict(graph, made, options)
    (best,) = [one for one in prediction.proposals if one.subject == "e7"][:1]
    assert (best.subject, best.predicate, best.object) == MISSING
    assert best.rank == 1
    said = {
        (row["subject"], row["predicate"], row["object"]) for row in graph.statements.to_pylist()
    }
    rows = prediction.graph.statements.to_pylist()
    assert rows and not said & {(r["subject"], r["predicate"], r["object"]) for r in rows}
    assert not any(row["predicate"] == "next" for row in rows)  # functional, and filled
    assert {row["source"] for row in rows} == {SOURCE}
    row = next(row for row in rows if (row["subject"], row["predicate"], row["object"]) == MISSING)
    assert row["confidence"] == best.confidence
    assert "ComplEx" in row["evidence"][0] and "rank 1 of" in row["evidence"][0]
    told = prediction.report["test"]
    assert told["brier"] < told["brier_of_base_rate"]
    united = merge(None, [graph, prediction.graph])
    assert len(united.graph) == len(graph) + len(rows)
    # what a person has turned down is not proposed again
    turned = Builder(united.graph.file)
    for each in united.graph.statements.to_pylist():
        rank = "deprecated" if each["source"] == SOURCE else each["rank"]
        turned.add("statements", {**each, "rank": rank})
    assert not predict(turned.build(), made, options).proposals
    with pytest.raises(Cancelled):
        predict(graph, made, options, cancelled=lambda: True)
    with pytest.raises(BadInput, match="nearest is 'fifth'"):
        predict(graph, made, Options(relations=("fift",)))
    with pytest.raises(BadInput, match="between 0 and 1"):
        predict(graph, made, Options(threshold=1.5))
    other = Builder()
    other.statement("x", "y", object="z", source="s")
    with pytest.raises(BadInput, match="another graph"):
        predict(other.build(), made, options)
