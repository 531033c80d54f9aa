# SPDX-License-Identifier: Apache-2.0
"""How sure a reading is: a tagger's probabilities made into that of the whole fact being right.

Networks are surer than they are right (Guo et al. 2017, arXiv:1706.04599), and a fact is right only
if its three mentions and its predicate all are, so that a product of their probabilities is no
probability of it. As Kuleshov and Liang do with structures (2015, arXiv:1506.00013), a logistic
regression over what the tagger says of the parts is fitted to whether the whole was right, on
validation sentences: of templates and of entities that nothing was trained on. No weight is
negative, so that who is surer of a part is never less sure of the whole. With one weight for all
parts it would be Platt's sigmoid (1999), whose targets it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.evaluation import bootstrap
from plait.evaluation.calibration import reliability
from plait.evaluation.metrics import Floats
from plait.graphs.read.examples import Example
from plait.graphs.read.triples import Found

PARTS = ("subject", "words", "object", "predicate")
"""What `Found.sure` holds: of the three mentions, and of the words saying this predicate."""
LEAST = 1e-4
"""Less sure than this is as little sure."""
FEWEST = 20
"""Facts found without which nothing is fitted."""
PENALTY = 1.0
"""Of the weights' distance from those of the plain product, in facts."""
CHANCE = 0.02
"""How often a wrong reading happens to be something that the graph says."""
NOVEL = (1.0, 4.0)
"""Facts before any is counted that the graph lacks, and that it says: a fifth is new."""
ROUNDS = 100
BINS = 10
RESAMPLES = 1_000


@dataclass(frozen=True)
class Calibrator:
    """From the probabilities of a fact's parts to that of the fact."""

    weights: tuple[float, ...]
    """Of the logarithms of `PARTS`; none is negative."""
    offset: float

    def __call__(self, found: Sequence[Found]) -> Floats:
        """Return the probability of each fact being right."""
        return _sigmoid(_logs(found) @ np.array(self.weights) + self.offset)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"weights": dict(zip(PARTS, self.weights, strict=True)), "offset": self.offset}


def from_json(found: object) -> Calibrator | None:
    """Read what `Calibrator.to_json` gave; None for None.

    Raises:
        ValueError: it is something else.
    """
    if found is None:
        return None
    try:
        weights = tuple(float(found["weights"][name]) for name in PARTS)  # type: ignore[index]
        offset = float(found["offset"])  # type: ignore[index]
    except (KeyError, TypeError):
        raise ValueError("no calibration") from None
    if not np.isfinite([*weights, offset]).all() or min(weights) < 0:
        raise ValueError("no calibration")
    return Calibrator(weights, offset)


def fit(
    examples: Sequence[Example],
    found: Sequence[Sequence[Found]],
    symmetric: Collection[str] = (),
) -> Calibrator | None:
    """Fit a calibration to what was found in sentences whose facts are known.

    Returns:
        None if fewer than `FEWEST` facts were found.
    """
    from scipy.optimize import minimize

    facts = [one for row in found for one in row]
    if len(facts) < FEWEST:
        return None
    logs, right = _logs(facts), rightness(examples, found, symmetric)
    yes = int(right.sum())
    # Platt's targets: no fact is sure to be right because all that were seen are, nor wrong.
    target = np.where(right, (yes + 1) / (yes + 2), 1 / (len(facts) - yes + 2))

    def loss(values: Floats) -> tuple[float, Floats]:
        number = logs @ values[:-1] + values[-1]
        far = values[:-1] - 1.0
        total = float((np.logaddexp(0.0, number) - target * number).sum() + PENALTY * (far @ far))
        slope = _sigmoid(number) - target
        return total, np.append(logs.T @ slope + 2 * PENALTY * far, slope.sum())

    start = np.append(np.ones(len(PARTS)), 0.0)
    bounds = [(0.0, None)] * len(PARTS) + [(None, None)]
    made = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibrator(tuple(float(one) for one in made[:-1]), float(made[-1]))


def rightness(
    examples: Sequence[Example],
    found: Sequence[Sequence[Found]],
    symmetric: Collection[str] = (),
) -> NDArray[np.bool_]:
    """Tell of each fact found, sentence after sentence, whether it is one of the true ones."""
    return np.array(
        [
            each.triple(symmetric) in one.triples
            for one, row in zip(examples, found, strict=True)
            for each in row
        ],
        dtype=bool,
    )


def given(sure: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the probability of being right, given whether the graph says the same already.

    What it says already was hardly misread; of what it does not, more is wrong, the more so the
    fewer new facts the texts tell. That share is estimated from the texts themselves, without
    knowing what is right, by expectation maximisation, as Saerens et al. (2002, "Adjusting the
    outputs of a classifier to new a priori probabilities") do it, with `NOVEL` facts to begin with.

    Args:
        sure: the probability of each fact by its sentence alone.
        known: whether the graph says it.
    """
    if not len(sure):
        return sure
    held = np.clip(sure, LEAST, 1 - LEAST)
    odds = held / (1 - held)
    new, old = NOVEL
    share = new / (new + old)
    made: Floats = held
    for _ in range(ROUNDS):
        times = np.where(known, (1 - share) / CHANCE, share / (1 - CHANCE))
        made = odds * times / (1 + odds * times)
        told = float(made[~known].sum())
        share = (new + told) / (new + old + told + float(made[known].sum()))
    return made


def plain(found: Sequence[Found]) -> Floats:
    """Return the uncalibrated confidence of each fact: the product of its mentions' own."""
    return np.array([one.probability for one in found], dtype=np.float64)


@dataclass(frozen=True)
class Sureness:
    """How far what was said of facts is true of them."""

    facts: int
    confidence: float
    """The mean of what was said; `right` the share that is right."""
    right: float
    right_interval: tuple[float, float]
    """95%, by bootstrap over groups of sentences."""
    ece: float
    """Expected calibration error, in `BINS` bins of equal width."""
    brier: float
    bins: tuple[tuple[float, float, int, float, float], ...]
    """Of each bin its ends, its facts, their mean confidence, and the share that is right."""
    proposed: int
    """Facts of at least the threshold; `proposed_right` of them are right."""
    proposed_right: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            name: [list(one) if isinstance(one, tuple) else one for one in value]
            if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }  # fmt: skip


def measure(
    said: Floats,
    right: NDArray[np.bool_],
    groups: Sequence[str],
    *,
    threshold: float = 0.5,
    seed: int = 0,
) -> Sureness | None:
    """Compare what was said of facts with what is true of them; None where none was found.

    Args:
        said: each fact's confidence; `right` whether it is right, `groups` what it depends on.
        threshold: from which facts would be proposed.
        seed: of the bootstrap.
    """
    if not len(said):
        return None
    rows, ece = reliability(said, right, bins=BINS)
    over = said >= threshold
    return Sureness(
        len(said),
        float(said.mean()),
        float(right.mean()),
        _interval(right, groups, seed),
        ece,
        float(((said - right) ** 2).mean()),
        tuple((one.low, one.high, one.n, one.confidence, one.accuracy) for one in rows),
        int(over.sum()),
        int((over & right).sum()),
    )


def _interval(right: NDArray[np.bool_], groups: Sequence[str], seed: int) -> tuple[float, float]:
    from plait.evaluation.measures import Additive
    from plait.evaluation.metrics.counts import micro_precision

    number = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    table = np.zeros((len(number), 3, 1))
    places = [number[name] for name in groups]
    np.add.at(table, (places, 1, 0), 1.0)
    np.add.at(table, (places, 2, 0), right.astype(np.float64))
    sized = Additive(table[:, None], micro_precision, 1.0 / len(right))
    sample = bootstrap.resample(sized, resamples=RESAMPLES, seed=seed, key="right")
    return bootstrap.interval([sample], lambda scores: scores[..., 0], bounds=(0.0, 1.0))


def _logs(found: Sequence[Found]) -> Floats:
    sure = np.array([one.sure for one in found], dtype=np.float64).reshape(-1, len(PARTS))
    made: Floats = np.log(np.clip(sure, LEAST, 1.0))
    return made


def _sigmoid(values: Floats) -> Floats:
    made: Floats = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return made
