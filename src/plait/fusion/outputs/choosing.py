# SPDX-License-Identifier: Apache-2.0
"""Choosing an ensemble's weights on labelled items, and how well the choice does on others.

Three rules are tried: equal weights; those with the least log loss (convex, so that few items
already settle it); and those with the best score, found exactly (see
`plait.fusion.outputs.line_search`). Which one is taken is decided by cross-validation inside the
items it may see, and how good the whole procedure is, that decision included, by cross-validation
around it: a fold's score is of weights, temperatures and rule chosen without the fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.fusion.outputs import calibration
from plait.fusion.outputs.items import Floats, Outputs, combined, score
from plait.fusion.outputs.line_search import steps
from plait.fusion.outputs.options import Settings

RULES = ("equal", "log_loss", "metric")
"""From the simplest: of two that do alike, the first is taken."""
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
"""How strongly weights of a class are held to those of all classes."""
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""The `C` that stacking tries."""
_SWEEPS = 8
_SAME = 1e-9


@dataclass(frozen=True)
class Fit:
    """What was chosen: for `combine`, or (with coefficients) for `stack`."""

    kind: str
    temperatures: Floats
    weights: Floats
    """[members], or [members, classes]."""
    rule: str
    coefficients: Floats | None = None
    """[classes, members × classes]"""
    intercepts: Floats | None = None
    tried: dict[str, float] = field(default_factory=dict)
    """By rule (or penalty, strength), its score by cross-validation, where several were tried."""

    def predict(self, outputs: Outputs) -> Floats:
        """Return the logarithms [n, classes] of the ensemble's probabilities."""
        if self.coefficients is not None:
            return _stacked(self.coefficients, self.intercepts, outputs)
        return combined(outputs.calibrated(self.temperatures), self.weights, self.kind)


Fitter = Callable[[Outputs], Fit]


def fitter(settings: Settings) -> Fitter:
    """Return what chooses as a recipe says, from any labelled items."""
    if settings.combine == "stacking":
        return fit_stacking

    def fit(outputs: Outputs) -> Fit:
        found = np.ones(outputs.members)
        if settings.calibrate:
            found = calibration.temperatures(outputs)
        ready = outputs.calibrated(found)
        weights, rule, tried = _weights(settings, ready)
        return Fit(settings.combine, found, weights, rule, tried=tried)

    return fit


def _weights(settings: Settings, outputs: Outputs) -> tuple[Floats, str, dict[str, float]]:
    kind, members = settings.combine, outputs.members
    if isinstance(settings.weights, tuple):
        return np.array(settings.weights), "given", {}
    if settings.weights == "equal":
        return np.full(members, 1 / members), "equal", {}
    if settings.weights == "per_class":
        penalty, tried = _cross_validated(
            outputs,
            {str(p): partial(least_loss, kind=kind, penalty=p) for p in PENALTIES},
            lambda weights, part: -_loss(combined(part, weights, kind), part),
            str(PENALTIES[2]),
        )
        weights = least_loss(outputs, kind, penalty=float(penalty))
        return weights, f"per class, penalty {penalty}", tried
    rule, tried = _cross_validated(
        outputs,
        {rule: partial(_by_rule, rule=rule, kind=kind) for rule in RULES},
        lambda weights, part: score(combined(part, weights, kind).argmax(axis=1), part),
        "log_loss",
    )
    return _by_rule(outputs, rule, kind), rule, tried


def _by_rule(outputs: Outputs, rule: str, kind: str) -> Floats:
    """Return the weights [members] that one of `RULES` chooses; they sum to 1."""
    if rule == "equal":
        return np.full(outputs.members, 1 / outputs.members)
    smooth = least_loss(outputs, kind)
    return smooth if rule == "log_loss" else coordinate_ascent(outputs, kind, smooth)


def _cross_validated(
    outputs: Outputs,
    fitters: dict[str, Callable[[Outputs], Any]],
    scorer: Callable[[Any, Outputs], float],
    otherwise: str,
) -> tuple[str, dict[str, float]]:
    """Return which fit does best by cross-validation over the folds that there are."""
    folds = np.unique(outputs.folds)
    if len(folds) < 2:
        return otherwise, {}
    found = dict.fromkeys(fitters, 0.0)
    for fold in folds:
        here = outputs.folds == fold
        seen, held = outputs.rows(~here), outputs.rows(here)
        for name, fit in fitters.items():
            found[name] += scorer(fit(seen), held) * len(held) / len(outputs)
    top = max(found.values())
    return next(name for name, value in found.items() if value >= top - _SAME), found


def least_loss(outputs: Outputs, kind: str, penalty: float | None = None) -> Floats:
    """Return the weights with the least log loss: [members], or with a penalty [members, classes].

    The weights of a class sum to 1 over the members. The penalty is on how far the logarithms of a
    class's weights are from their mean over the classes.
    """
    import torch
    from scipy.optimize import minimize

    from plait.modeling.ensemble import combine

    logs, labels = torch.from_numpy(outputs.logs), torch.from_numpy(outputs.labels)
    counts = torch.from_numpy(outputs.importance())
    present = None if outputs.present.all() else torch.from_numpy(outputs.present)
    width = 1 if penalty is None else outputs.classes
    shape = (outputs.members, width)

    def loss(values: Floats) -> tuple[float, Floats]:
        free = torch.tensor(values.reshape(shape), requires_grad=True)
        made = combine(logs, torch.softmax(free, dim=0), kind, present)
        found = -(counts * made[torch.arange(len(labels)), labels]).mean()
        if penalty is not None:
            centred = free - free.mean(dim=0, keepdim=True)
            found = found + penalty * (centred - centred.mean(dim=1, keepdim=True)).square().mean()
        found.backward()
        gradient = free.grad
        assert gradient is not None
        return float(found.detach()), gradient.numpy().ravel()

    # a share below e^-12 is none: logarithms of weights need not run to infinity
    bounds = [(-12.0, 12.0)] * (shape[0] * shape[1])
    best = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    free = best.x.reshape(shape)
    weights = np.exp(free - free.max(axis=0))
    weights /= weights.sum(axis=0)
    found: Floats = weights[:, 0] if penalty is None else weights
    return found


def coordinate_ascent(outputs: Outputs, kind: str, start: Floats) -> Floats:
    """Return the weights [members] with the best score that steps along one member each can reach.

    Every step looks at all shares of a member at once (the others keep theirs among themselves);
    of equally good ones the nearest to where it was is taken. For two members one step is enough.
    """
    values = _values(outputs, kind)
    weights = start / start.sum()
    now = score(_mixed(values, weights).argmax(axis=1), outputs)
    for _ in range(_SWEEPS):
        before = now
        for member in range(outputs.members if outputs.members > 2 else 1):
            others = _others(weights, member)
            found = steps(values[member], _mixed(values, others), outputs)
            place = found.best(float(weights[member]))
            tried = others * (1 - place)
            tried[member] = place
            reached = score(_mixed(values, tried).argmax(axis=1), outputs)
            if reached > now + _SAME:
                weights, now = tried, reached
        if now <= before + _SAME:
            break
    made: Floats = weights
    return made


def _values(outputs: Outputs, kind: str) -> Floats:
    values = outputs.logs if kind == "logits" else np.exp(outputs.logs)
    found: Floats = np.where(outputs.present.T[..., None], values, 0.0)
    return found


def _mixed(values: Floats, weights: Floats) -> Floats:
    found: Floats = np.tensordot(weights, values, axes=1)
    return found


def _others(weights: Floats, member: int) -> Floats:
    others = weights.copy()
    others[member] = 0.0
    if others.sum() <= 0:
        others[:] = 1.0
        others[member] = 0.0
    found: Floats = others / others.sum()
    return found


def line_values(outputs: Outputs, kind: str, weights: Floats, member: int) -> tuple[Floats, Floats]:
    """Return what a member says and what the others do together, each [n, classes]."""
    values = _values(outputs, kind)
    return values[member], _mixed(values, _others(weights, member))


def fit_stacking(outputs: Outputs) -> Fit:
    """Fit a multinomial logistic regression on the members' logits (Wolpert 1992, "Stacked
    generalization"); how strongly it is held back is chosen by cross-validation on the log loss.

    Raises:
        BadInput: if an item lacks a member's answer.
    """
    if not outputs.present.all():
        raise BadInput(
            "Stacking needs every model's output on every item, and some items lack what a model "
            "reads; use 'method: ensemble', which lets the others answer."
        )

    chosen, tried = _cross_validated(
        outputs,
        {str(s): partial(_regression, strength=s) for s in STRENGTHS},
        lambda found, part: -_loss(_stacked(found[0], found[1], part), part),
        "0.1",
    )
    coefficients, intercepts = _regression(outputs, float(chosen))
    one = np.ones(outputs.members)
    rule = f"C = {chosen}"
    return Fit("stacking", one, one / len(one), rule, coefficients, intercepts, tried)


def _regression(outputs: Outputs, strength: float) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression

    classes, width = outputs.classes, outputs.members * outputs.classes
    coefficients = np.zeros((classes, width))
    # a class that no item here has is as good as never the answer
    intercepts = np.full(classes, -12.0)
    there = np.unique(outputs.labels)
    intercepts[there] = 0.0
    if len(there) < 2:
        return coefficients, intercepts
    model = LogisticRegression(C=strength, max_iter=2_000, tol=1e-6)
    model.fit(_features(outputs), outputs.labels, sample_weight=outputs.importance())
    if len(there) == 2:  # one row, of the second class against the first
        half = model.coef_[0] / 2
        coefficients[there] = np.stack([-half, half])
        intercepts[there] = np.array([-0.5, 0.5]) * model.intercept_[0]
    else:
        coefficients[there], intercepts[there] = model.coef_, model.intercept_
    return coefficients, intercepts


def _features(outputs: Outputs) -> Floats:
    from plait.modeling.ensemble import FLOOR

    rows = np.maximum(outputs.logs, FLOOR).transpose(1, 0, 2)
    found: Floats = rows.reshape(len(outputs), -1)
    return found


def _stacked(coefficients: Floats, intercepts: Floats | None, outputs: Outputs) -> Floats:
    import torch

    from plait.modeling.ensemble import stack

    parts = (outputs.logs, coefficients, np.zeros(0) if intercepts is None else intercepts)
    made = torch.log_softmax(stack(*(torch.from_numpy(p) for p in parts)), dim=-1)
    found: Floats = made.numpy()
    return found


def _loss(logs: Floats, outputs: Outputs) -> float:
    true = logs[np.arange(len(outputs)), outputs.labels]
    return float(-(outputs.importance() * true).mean())


def out_of_fold(
    outputs: Outputs,
    fit: Fitter,
    cancelled: Callable[[], bool] | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[list[Fit], Floats, Outputs]:
    """Choose without each fold in turn.

    Returns:
        What was chosen without each fold; the ensemble's logarithms [n, classes], every item's by
        what was chosen without it; and the members' answers with temperatures chosen likewise.
    """
    folds = np.unique(outputs.folds)
    logs = np.zeros((len(outputs), outputs.classes))
    members = outputs.logs.copy()
    fits = []
    for number, fold in enumerate(folds):
        if cancelled is not None and cancelled():
            raise Cancelled("The fusion was cancelled.")
        here = outputs.folds == fold
        chosen = fit(outputs.rows(~here))
        held = outputs.rows(here)
        logs[here] = chosen.predict(held)
        members[:, here] = held.calibrated(chosen.temperatures).logs
        fits.append(chosen)
        if tell is not None:
            tell(number + 1, len(folds))
    return fits, logs, replace(outputs, logs=members)


def shares(fits: Sequence[Fit]) -> list[list[float]]:
    """Return the weights that each fold's choice gave the members, as plain values."""
    return [
        np.asarray(f.weights if f.weights.ndim == 1 else f.weights.mean(axis=1)).tolist()
        for f in fits
    ]
