# SPDX-License-Identifier: Apache-2.0
"""How sure a predicted statement is: scores made into probabilities on the validation statements.

Scores of embeddings are no probabilities (Tabacof and Costabello 2020, arXiv:1912.10000; Safavi et
al. 2020, arXiv:2004.01168). A logistic regression over a candidate's score, share and rank gives
one number, for all predicates together; isotonic regression (Zadrozny and Elkan 2002) or Platt's
sigmoid (1999) makes a probability of it, for each predicate that has enough validation statements
and for the others together.

Positives are the held-out statements, negatives all other candidates of all questions that could be
asked, so that a probability is meant for a graph that lacks as large a share of its statements as
was held out. What is true and not in the graph counts as false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput
from plait.evaluation.calibration import reliability
from plait.evaluation.metrics import Floats
from plait.graphs.learn.candidates import (
    Candidates,
    Known,
    Progress,
    ask,
    known,
    questions,
    truth_of,
)
from plait.graphs.learn.places import Places
from plait.graphs.learn.ranking import Scores
from plait.graphs.learn.triples import Rows
from plait.recipes.graph import GraphFile

METHODS = ("isotonic", "platt")
LEAST = {"isotonic": 50, "platt": 20}
"""Validation statements that a predicate needs for a map of its own."""
LEAST_ALL = 20
"""Validation statements without which nothing can be calibrated."""
MOST_QUESTIONS = 4_000
"""With an answer, and as many without, that calibration asks; they stand for the others."""
BEST, OTHERS = 30, 30
"""Candidates kept of each such question: the best, and some of the rest that stand for it."""
BINS = 10


@dataclass(frozen=True)
class Curve:
    """A rising map from the regression's number to a probability, as points between which is a
    straight line (isotonic), or as a sigmoid's slope and offset.
    """

    points: tuple[Floats, Floats] | None = None
    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, values: Floats) -> Floats:
        """Return probabilities."""
        if self.points is not None:
            return np.asarray(np.interp(values, *self.points), dtype=np.float64)
        return sigmoid(self.slope * values + self.offset)


@dataclass(frozen=True)
class Calibrator:
    """From what is known of candidates to the probability that they are true."""

    method: str
    mean: Floats
    scale: Floats
    weights: Floats
    """Of the standardised features."""
    together: Curve
    own: Mapping[int, Curve]
    """By predicate."""

    def number(self, found: Candidates) -> Floats:
        """Return the regression's number of each candidate."""
        made: Floats = ((found.features - self.mean) / self.scale) @ self.weights
        return made

    def __call__(self, found: Candidates) -> Floats:
        """Return each candidate's probability."""
        values = self.number(found)
        made = self.together(values)
        for kind, curve in self.own.items():
            here = found.rows[:, 1] == kind
            made[here] = curve(values[here])
        return made


@dataclass(frozen=True)
class Held:
    """Candidates of held-out statements, and how many of these are no candidates at all."""

    candidates: Candidates
    statements: int
    reachable: int


def held_out(
    scores: Scores,
    where: Places,
    rows: Rows,
    before: Rows,
    aside: Rows,
    relations: tuple[str, ...],
    file: GraphFile,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    stage: str = "asking what is known",
    cancelled: Callable[[], bool] | None = None,
) -> Held:
    """Ask about held-out statements as if they were not known.

    Args:
        rows: the held-out statements.
        before: statements that are known.
        aside: true statements that are neither asked for nor count as false.
    """
    said = known(before, relations, file)
    all_said = known(np.concatenate([before, aside]), relations, file)
    truth = truth_of(rows)
    every = questions(where, said, np.unique(rows[:, 1]).tolist())
    asked_for = np.fromiter(
        ((s, p) in truth for s, p in every.tolist()), dtype=bool, count=len(every)
    )
    random = np.random.default_rng(seed)
    chosen, weights = [], []
    for part in (np.flatnonzero(asked_for), np.flatnonzero(~asked_for)):
        if len(part):
            taken = np.sort(random.permutation(part)[:MOST_QUESTIONS])
            chosen.append(every[taken])
            weights.append(np.full(len(taken), len(part) / len(taken)))
    if not chosen:
        return Held(ask(scores, every, where, all_said, best=1), len(rows), 0)
    hidden = Known(all_said.objects, said.functional, said.loops)
    found = ask(
        scores,
        np.concatenate(chosen),
        where,
        hidden,
        best=BEST,
        others=OTHERS,
        truth=truth,
        weights=np.concatenate(weights),
        seed=seed,
        progress=progress,
        stage=stage,
        cancelled=cancelled,
    )
    return Held(found, len(rows), round(float(found.weight[found.true].sum())))


def fit(held: Held, method: str = "isotonic") -> Calibrator:
    """Fit probabilities to the candidates of the validation statements.

    Raises:
        BadInput: there is no such method, or there are too few validation statements.
    """
    from sklearn.linear_model import LogisticRegression

    if method not in METHODS:
        raise BadInput(f"There is no calibration '{method}'; there is {' and '.join(METHODS)}.")
    found = held.candidates
    if int(found.true.sum()) < LEAST_ALL or bool(found.true.all()):
        raise BadInput(
            f"{int(found.true.sum())} validation statements can be asked for; {LEAST_ALL} at least "
            "are needed to say how sure a prediction is. Train on a larger graph, or hold out more."
        )
    mean, scale = found.features.mean(axis=0), found.features.std(axis=0) + 1e-9
    features = (found.features - mean) / scale
    model = LogisticRegression(C=100.0, max_iter=1000)
    model.fit(features, found.true, sample_weight=found.weight / found.weight.mean())
    weights = model.coef_[0].astype(np.float64)
    values = features @ weights
    own = {}
    for kind in np.unique(found.rows[:, 1]).tolist():
        here = found.rows[:, 1] == kind
        if int(found.true[here].sum()) >= LEAST[method]:
            own[kind] = _curve(values[here], found.true[here], found.weight[here], method)
    together = _curve(values, found.true, found.weight, method)
    return Calibrator(method, mean, scale, weights, together, own)


def measure(calibrator: Calibrator, held: Held, threshold: float) -> dict[str, Any]:
    """Return how far probabilities of held-out statements hold, as plain values.

    Of all candidates: Brier's score beside that of their base rate and that of the model's own
    shares (a softmax over all entities), and the expected calibration error. Of those at least
    `threshold`, which would be proposed: how many, what was said of them and how many are true.
    """
    found = held.candidates
    sure, weight = calibrator(found), found.weight
    base = float(np.average(found.true, weights=weight))

    def brier(said: Any) -> float:
        return float(np.average((said - found.true) ** 2, weights=weight))

    rows, ece = reliability(sure, found.true, weights=weight, bins=BINS)
    share = np.exp(found.features[:, 1])
    over = sure >= threshold
    proposed = float(weight[over].sum())
    right = float(weight[over & found.true].sum())
    said = float(np.average(sure[over], weights=weight[over])) if proposed else None
    return {
        "statements": held.statements,
        "reachable": held.reachable,
        "candidates": round(float(weight.sum())),
        "base_rate": base,
        "brier": brier(sure),
        "brier_of_base_rate": brier(base),
        "brier_of_shares": brier(share),
        "ece": ece,
        "ece_of_shares": reliability(share, found.true, weights=weight, bins=BINS)[1],
        "bins": [[one.low, one.high, one.n, one.confidence, one.accuracy] for one in rows],
        "threshold": threshold,
        "proposed": round(proposed),
        "confidence": said,
        "precision": right / proposed if proposed else None,
        "recall": right / held.statements,
    }


def sigmoid(values: Any) -> Floats:
    """Return 1 / (1 + exp(-values))."""
    made: Floats = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return made


def _curve(values: Floats, true: NDArray[np.bool_], weight: Floats, method: str) -> Curve:
    if method == "platt":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=100.0, max_iter=1000)
        model.fit(values[:, None], true, sample_weight=weight / weight.mean())
        slope = float(model.coef_[0, 0])
        if slope > 0:
            return Curve(None, slope, float(model.intercept_[0]))
        # where scores say nothing of a predicate, its base rate is all that is known
        rate = float(np.average(true, weights=weight))
        return Curve(None, 0.0, float(np.log(rate / (1 - rate))))
    from sklearn.isotonic import IsotonicRegression

    # no probability is 0 or 1: half a statement more might have been true, or false
    least = 0.5 / (float(weight.sum()) + 1)
    most = 1 - 0.5 / (int(true.sum()) + 1)
    model = IsotonicRegression(y_min=least, y_max=most, out_of_bounds="clip")
    model.fit(values, true.astype(np.float64), sample_weight=weight)
    return Curve((np.asarray(model.X_thresholds_), np.asarray(model.y_thresholds_)))
