# SPDX-License-Identifier: Apache-2.0
"""Link prediction: statements that embeddings hold for likely, as a graph with a source of its own.

What a prediction says of itself is its confidence, which is calibrated on held-out statements, and
as evidence the model and the rank that it gave the object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from plait.errors import BadInput, TooLarge
from plait.graphs.graph import Builder, Graph
from plait.graphs.learn import models
from plait.graphs.learn.calibrating import fit, held_out, measure
from plait.graphs.learn.candidates import Candidates, Progress, ask, known, questions
from plait.graphs.learn.embeddings import Embeddings
from plait.graphs.learn.places import places
from plait.graphs.learn.triples import Rows, Triples, check_relation, literal_name
from plait.graphs.view import collapsed
from plait.pretrained import limited_threads
from plait.recipes.graph import Source

SOURCE = "predicted"
ABOUT = Source("Link prediction by Plait", trust=0.3)
"""The same for every prediction, so that predictions of several models unite."""
MOST_QUESTIONS = 2_000_000


@dataclass(frozen=True)
class Options:
    """What is asked and what is proposed."""

    threshold: float = 0.5
    """The least confidence of a proposal."""
    best: int = 10
    """Proposals for one subject and predicate, at most."""
    most: int = 1_000
    """Proposals in all, the surest first."""
    relations: tuple[str, ...] | None = None
    """Predicates that are asked for (None: all)."""
    calibration: str = "isotonic"
    seed: int = 0
    threads: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A statement that is not in the graph, and how likely it is."""

    subject: str
    predicate: str
    object: str
    """An entity, or a literal as N-Triples writes it."""
    confidence: float
    rank: int
    candidates: int


@dataclass(frozen=True)
class Prediction:
    """Proposals, the surest first, and how far such confidence holds on the test statements."""

    graph: Graph
    """The proposals alone, with the entities that they name."""
    proposals: tuple[Proposal, ...]
    report: dict[str, Any] = field(default_factory=dict)


def predict(
    graph: Graph,
    made: Embeddings,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Prediction:
    """Propose statements that embeddings of a graph hold for likely.

    Args:
        graph: as it is now; what it says, also deprecated, is not proposed.
        made: embeddings of it, or of an earlier state.

    Raises:
        BadInput: an option is out of bounds, or nothing of the graph is in the embeddings.
        TooLarge: there are too many questions; with their number.
        Cancelled: if `cancelled` says so.
        MissingExtra: PyKEEN is not installed.
    """
    options = options or Options()
    _check(options)
    names = made.triples
    for name in options.relations or ():
        check_relation(name, names.relations)
    view = collapsed(graph)
    here = replace(names, types=_types(view, names))
    now = _rows(view, names)
    if not len(now):
        raise BadInput(
            "The graph says nothing of the embeddings' entities: they are another graph's."
        )
    parts = made.split
    where = places(here, parts.training)
    with limited_threads(options.threads):
        scores = made.scores()
        report: dict[str, Any] = {}
        calibrator = None
        for name, rows, before, aside in (
            ("validation", parts.validation, parts.training, parts.testing),
            ("test", parts.testing, np.concatenate([parts.training, parts.validation]), None),
        ):
            held = held_out(
                scores,
                where,
                rows,
                before,
                rows[:0] if aside is None else aside,
                names.relations,
                graph.file,
                seed=options.seed,
                progress=progress,
                stage=f"asking for the {name} statements",
                cancelled=cancelled,
            )
            if calibrator is None:
                calibrator = fit(held, options.calibration)
            report[name] = measure(calibrator, held, options.threshold)
        assert calibrator is not None
        before_all = known(np.concatenate([parts.all, now]), names.relations, graph.file)
        wanted = options.relations or names.relations
        asked = questions(where, before_all, [names.relations.index(name) for name in wanted])
        if len(asked) > MOST_QUESTIONS:
            raise TooLarge(
                f"{len(asked):,} pairs of a subject and a predicate could be asked; Plait asks up "
                f"to {MOST_QUESTIONS:,}. Choose predicates with --relations."
            )
        found = ask(
            scores,
            asked,
            where,
            before_all,
            best=options.best,
            progress=progress,
            stage="asking what is not known",
            cancelled=cancelled,
        )
    proposals = _chosen(found, calibrator(found), before_all.functional, options, names)
    own = sorted(names.relations[kind] for kind in calibrator.own)
    report |= {
        "model": made.model,
        "questions": len(asked),
        "proposals": len(proposals),
        "calibration": options.calibration,
        "calibrated_alone": own,
    }
    return Prediction(_graph(view, made, proposals), tuple(proposals), report)


def _chosen(
    found: Candidates,
    sure: Any,
    functional: Collection[int],
    options: Options,
    names: Triples,
) -> list[Proposal]:
    taken: set[tuple[int, int]] = set()
    made: list[Proposal] = []
    order = np.lexsort((found.rank, -sure))
    for place in order.tolist():
        if sure[place] < options.threshold or len(made) >= options.most:
            break
        subject, predicate, target = found.rows[place].tolist()
        if predicate in functional:
            if (subject, predicate) in taken:
                continue
            taken.add((subject, predicate))
        made.append(
            Proposal(
                names.entities[subject],
                names.relations[predicate],
                names.entities[target],
                round(float(sure[place]), 4),
                int(found.rank[place]),
                int(found.of[place]),
            )
        )
    return made


def _graph(view: Graph, made: Embeddings, proposals: list[Proposal]) -> Graph:
    title = models.check_model(made.model).title
    mrr = made.report.get("test", {}).get("mrr")
    told = f"{title} embeddings of dimension {made.dimension}"
    told += f" (MRR {mrr:.3f} on held-out statements)" if mrr is not None else ""
    file = replace(view.file, sources={**view.file.sources, SOURCE: ABOUT})
    builder = Builder(file)
    named = {one for each in proposals for one in (each.subject, each.object)}
    for row in view.entities.to_pylist():
        if row["id"] in named:
            builder.add("entities", row)
    for each in proposals:
        literal = made.triples.literals.get(each.object)
        said: dict[str, Any] = (
            {"object": each.object}
            if literal is None
            else {
                "value": literal.value,
                "datatype": literal.datatype,
                "language": literal.language,
            }
        )
        builder.statement(
            each.subject,
            each.predicate,
            source=SOURCE,
            confidence=each.confidence,
            evidence=[f"{told}: rank {each.rank:,} of {each.candidates:,} candidates"],
            **said,
        )
    return builder.build()


def _types(view: Graph, names: Triples) -> dict[int, tuple[str, ...]]:
    number = {name: place for place, name in enumerate(names.entities)}
    columns = (view.entities.column(name).to_pylist() for name in ("id", "types"))
    return {
        number[identifier]: tuple(held)
        for identifier, held in zip(*columns, strict=True)
        if held and identifier in number
    }


def _rows(view: Graph, names: Triples) -> Rows:
    """Return what the graph says now, of what the embeddings know."""
    number = {name: place for place, name in enumerate(names.entities)}
    kinds = {name: place for place, name in enumerate(names.relations)}
    columns = [
        view.statements.column(name).to_pylist()
        for name in ("subject", "predicate", "object", "value", "datatype", "language")
    ]
    made = set()
    for subject, predicate, target, value, datatype, language in zip(*columns, strict=True):
        if target is None:
            target = literal_name(value, datatype, language)
        if subject in number and predicate in kinds and target in number:
            made.add((number[subject], kinds[predicate], number[target]))
    return np.array(sorted(made), dtype=np.int64).reshape(-1, 3)


def _check(options: Options) -> None:
    if not 0 < options.threshold < 1:
        raise BadInput(f"The threshold must lie between 0 and 1, not at {options.threshold}.")
    for name, value, most in (("best", options.best, 1_000), ("most", options.most, 1_000_000)):
        if not 1 <= value <= most:
            raise BadInput(f"--{name} must be from 1 to {most:,}, not {value:,}.")
