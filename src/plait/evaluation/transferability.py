# SPDX-License-Identifier: Apache-2.0
"""How well an encoder suits somebody's data, told from its frozen embeddings without fine-tuning.

Three measures of one matrix of embeddings and its labels:

* *LogME* (You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
  ICML 2021, arXiv 2102.11005): the logarithm of the evidence of a Bayesian linear model, per item,
  maximised over its two precisions by the fixed-point iteration of the paper's journal version.
* *k-NN*: the share of items that their nearest neighbours (cosine) label rightly.
* *frozen probe*: the share that logistic regression labels rightly out of fold.

And how alike two samples of texts are, from the same embeddings: the proxy A-distance (Ben-David et
al., "Analysis of Representations for Domain Adaptation", NIPS 2006) and the share of nearest
neighbours from the own sample (Schilling, "Multivariate Two-Sample Tests Based on Nearest
Neighbors", JASA 1986).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import BadInput, MissingExtra

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Progress = Callable[[int, int], None]

NEIGHBOURS = 5
FOLDS = 5
HALVES = 40
"""Random halves of the sample, from which LogME's interval is told."""
RESAMPLES = 1_000
MAX_LENGTH = 128
BATCH = 32
LEAST = 20
"""Items that a sample needs."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Transferability:
    """What the frozen embeddings of one encoder say about a labelled sample."""

    logme: Estimate
    knn: Estimate
    probe: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name).to_json() for name in ("logme", "knn", "probe")}


@dataclass(frozen=True)
class Likeness:
    """How alike two samples are: 0 is the same to a linear classifier, 2 is wholly apart."""

    distance: Estimate
    """The proxy A-distance."""
    own_neighbours: float
    """Share of nearest neighbours from the own sample: 0.5 where both mix perfectly."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"distance": self.distance.to_json(), "own_neighbours": self.own_neighbours}


def embed(folder: Path, texts: Sequence[str], progress: Progress | None = None) -> Floats:
    """Return the mean over tokens of an encoder's last states, [texts, width].

    Raises:
        BadInput: if the folder holds no encoder of texts.
        MissingExtra: if torch or transformers is not installed.
    """
    from plait.pretrained import load_encoder, pad

    model, tokenizer = load_encoder(folder, "text")
    import torch

    limit = min(MAX_LENGTH, int(getattr(model.config, "max_position_embeddings", MAX_LENGTH)) or 1)
    rows = [
        tokenizer(text, truncation=True, max_length=limit)["input_ids"] or [0] for text in texts
    ]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found: list[Any] = [None] * len(rows)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            if progress is not None:
                progress(start, len(order))
            batch = pad(tokenizer, [rows[place] for place in places])
            try:
                states = model(**batch).last_hidden_state
            except (TypeError, ValueError, AttributeError) as error:
                raise BadInput(f"{Path(folder).name} is no encoder of texts.") from error
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            for place, row in zip(places, means.double().numpy(), strict=True):
                found[place] = row
    return np.stack(found)


def measure(features: Floats, labels: Sequence[int], *, seed: int = 0) -> Transferability:
    """Measure how well embeddings tell the labels.

    Args:
        features: [items, width].
        labels: of the items, from 0.
        seed: of the folds and resamples.

    Raises:
        BadInput: if there are too few items or labels.
        MissingExtra: if scikit-learn is not installed.
    """
    features, classes = _checked(features, labels)
    return Transferability(
        _logme_interval(features, classes, seed),
        _share(knn_right(features, classes), seed),
        _share(probe_right(features, classes, seed=seed), seed),
    )


def logme(features: Floats, labels: Sequence[int] | Integers) -> float:
    """Return LogME: the log evidence per item, averaged over the classes (one against the rest).

    Args:
        features: [items, width].
        labels: of the items, from 0.
    """
    classes = np.asarray(labels)
    items, width = features.shape
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    # Directions of no length say nothing; without them rounding does not either.
    kept = s > s.max(initial=0.0) * max(features.shape) * np.finfo(float).eps
    u, sigma = u[:, kept], s[kept] ** 2
    targets = [(classes == one).astype(float) for one in np.unique(classes)]
    return float(np.mean([_evidence(u, sigma, y, items, width) for y in targets]))


def _evidence(u: Floats, sigma: Floats, y: Floats, items: int, width: int) -> float:
    """Maximise the evidence over alpha (of the weights) and beta (of the noise), per item."""
    projected = (u.T @ y) ** 2
    outside = max(float(y @ y) - float(projected.sum()), 0.0)
    alpha = beta = 1.0
    found = 0.0
    for _ in range(11):
        t = alpha / beta
        gamma = float((sigma / (sigma + t)).sum())
        length = float((sigma * projected / (t + sigma) ** 2).sum())
        residual = float((projected / (1 + sigma / t) ** 2).sum()) + outside
        alpha = gamma / (length + 1e-5)
        beta = (items - gamma) / (residual + 1e-5)
        # Evidence at these two, with the posterior mean that belongs to their ratio.
        ratio = alpha / beta
        m2 = float((sigma * projected / (ratio + sigma) ** 2).sum())
        r2 = float((projected / (1 + sigma / ratio) ** 2).sum()) + outside
        found = (
            width / 2 * np.log(alpha)
            + items / 2 * np.log(beta)
            - 0.5 * float(np.log(alpha + beta * sigma).sum())
            - 0.5 * (width - len(sigma)) * np.log(alpha)
            - beta / 2 * r2
            - alpha / 2 * m2
            - items / 2 * np.log(2 * np.pi)
        )
        if abs(ratio - t) / t <= 1e-3:
            break
    return float(found) / items


def knn_right(features: Floats, labels: Integers, neighbours: int = NEIGHBOURS) -> Floats:
    """Tell of each item whether its nearest others (cosine) vote for its label: 1 or 0."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    count = int(labels.max()) + 1
    order = np.argsort(-near, axis=1, kind="stable")[:, : min(neighbours, len(labels) - 1)]
    votes = np.zeros((len(labels), count))
    weights = np.take_along_axis(near, order, axis=1) + 2.0
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[order]), weights)
    right: Floats = (votes.argmax(axis=1) == labels).astype(float)
    return right


def probe_right(features: Floats, labels: Integers, folds: int = FOLDS, *, seed: int = 0) -> Floats:
    """Tell of each item whether logistic regression on the other folds gives its label: 1 or 0."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtra(error.name or "scikit-learn", "train") from None
    smallest = int(np.bincount(labels).min())
    right = np.zeros(len(labels))
    split = StratifiedKFold(max(2, min(folds, smallest)), shuffle=True, random_state=seed)
    for train, test in split.split(features, labels):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        model.fit(features[train], labels[train])
        right[test] = model.predict(features[test]) == labels[test]
    return right


def likeness(one: Floats, other: Floats, *, seed: int = 0) -> Likeness:
    """Tell how alike two samples of embeddings are; the larger is cut to the smaller's size.

    Raises:
        BadInput: if one has fewer than `LEAST` items.
    """
    random = np.random.default_rng(seed)
    size = min(len(one), len(other))
    if size < LEAST:
        raise BadInput(f"Two samples are compared from {LEAST} items each on; one has {size}.")
    first, second = (
        rows[np.sort(random.choice(len(rows), size, replace=False))] for rows in (one, other)
    )
    features = np.concatenate([first, second])
    side = np.repeat(np.array([0, 1]), size)
    right = probe_right(features, side, seed=seed)
    share = _share(right, seed)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    order = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
    own = float((side[order] == side[:, None]).mean())
    # 2 (1 - 2 error), and no less than nothing: a classifier worse than chance tells none apart.
    distance = [max(0.0, 2 * (2 * value - 1)) for value in (share.value, share.low, share.high)]
    return Likeness(Estimate(*distance), own)


def _checked(features: Floats, labels: Sequence[int]) -> tuple[Floats, Integers]:
    classes = np.asarray(labels, dtype=np.int64)
    if len(classes) != len(features) or len(classes) < LEAST:
        raise BadInput(f"A sample needs at least {LEAST} labelled items; it has {len(classes)}.")
    counts = np.bincount(classes)
    if len(counts) < 2 or (counts < 2).any():
        raise BadInput("A sample needs two labels or more, and two items or more of each.")
    if not np.isfinite(features).all():
        raise BadInput("The encoder's embeddings are not finite numbers.")
    return np.asarray(features, dtype=float), classes


def _logme_interval(features: Floats, labels: Integers, seed: int) -> Estimate:
    """An item drawn twice would be evidence twice, so halves are drawn instead of resamples."""
    value = logme(features, labels)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(HALVES):
        rows = random.permutation(len(labels))[: len(labels) // 2]
        if len(np.unique(labels[rows])) == len(np.unique(labels)):
            found.append(logme(features[rows], labels[rows]))
    reach = 1.96 * float(np.std(found)) if len(found) > 1 else float("inf")
    return Estimate(value, value - reach, value + reach)


def _share(right: Floats, seed: int) -> Estimate:
    random = np.random.default_rng(seed)
    draws = random.choice(right, (RESAMPLES, len(right))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(right.mean()), float(low), float(high))
