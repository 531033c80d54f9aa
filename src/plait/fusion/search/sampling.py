# SPDX-License-Identifier: Apache-2.0
"""Where in a space to look next: a grid, Latin hypercubes, or Optuna's tree of Parzen estimators.

A Latin hypercube (McKay et al. 1979) puts one point in each of n strips of every dimension. TPE
(Bergstra et al. 2011) proposes what is likelier among the good than among the bad so far; Optuna
runs it, seeded, one study for each view of a search (see `successive_halving`), so that no view's
proposals rest on items that it may not see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from plait.errors import MissingExtra
from plait.fusion.search.candidates import Candidate
from plait.fusion.search.space import Dimension, Space
from plait.fusion.search.successive_halving import Trial
from plait.recipes.search import Choices, Range

INITIAL_SHARE = 0.4
"""Of a TPE search's budget, the share that is drawn before anything is known."""
MOST_POINTS = 11


def initial_candidates(space: Space, count: int, seed: int) -> list[Candidate]:
    """Return at most `count` candidates that depend on no score, no two the same."""
    if count <= 0:
        return []
    drawn = (
        _grid(space, count, seed)
        if space.spec.sampler == "grid"
        else _latin_hypercube(space, count, seed)
    )
    taken = _taken(space)
    return [one for one in dict.fromkeys(drawn) if one not in taken][:count]


def _taken(space: Space) -> set[Candidate]:
    written = space.written()
    return set() if not written else {Candidate.of(space.recipe.method, **written)}


def _grid(space: Space, count: int, seed: int) -> list[Candidate]:
    methods = list(space.dimensions)
    share = max(1, count // len(methods))
    listed = []
    for method in methods:
        dimensions = space.dimensions[method]
        listed_values = [len(o.varies.values) for o in dimensions if isinstance(o.varies, Choices)]
        fixed: int = math.prod(listed_values)
        free = [one for one in dimensions if not isinstance(one.varies, Choices)]
        points = MOST_POINTS
        if free:
            points = max(2, min(points, int((share / fixed) ** (1 / len(free)) + 1e-9)))
        axes = [_axis(one.varies, points) for one in dimensions]
        # of very many dimensions the grid itself does not fit into memory: some of its points
        if math.prod(map(len, axes)) > 100_000:
            random = np.random.default_rng(seed)
            rows = [tuple(axis[random.integers(len(axis))] for axis in axes) for _ in range(count)]
        else:
            rows = list(product(*axes))
        listed += [_candidate(method, dimensions, row) for row in rows]
    if len(listed) > count:
        order = np.random.default_rng(seed).permutation(len(listed))[:count]
        listed = [listed[place] for place in sorted(order)]
    return listed


def _axis(varies: Range | Choices, points: int) -> list[Any]:
    if isinstance(varies, Choices):
        return list(varies.values)
    if varies.step is not None:
        count = math.floor((varies.high - varies.low) / varies.step + 1e-9) + 1
        return [round(varies.low + place * varies.step, 9) for place in range(count)]
    return [_at(varies, share) for share in np.linspace(0, 1, points)]


def _latin_hypercube(space: Space, count: int, seed: int) -> list[Candidate]:
    random = np.random.default_rng(seed)
    methods = list(space.dimensions)
    turns = [methods[place % len(methods)] for place in range(count)]
    listed: list[Candidate | None] = [None] * count
    for method in methods:
        places = [place for place, name in enumerate(turns) if name == method]
        dimensions = space.dimensions[method]
        strips = [
            (random.permutation(len(places)) + random.random(len(places))) / max(1, len(places))
            for _ in dimensions
        ]
        for row, place in enumerate(places):
            values = [
                _at(one.varies, strip[row]) for one, strip in zip(dimensions, strips, strict=True)
            ]
            listed[place] = _candidate(method, dimensions, values)
    return [one for one in listed if one is not None]


def _at(varies: Range | Choices, share: float) -> Any:
    if isinstance(varies, Choices):
        return varies.values[min(int(share * len(varies.values)), len(varies.values) - 1)]
    if varies.log:
        low, high = math.log(varies.low), math.log(varies.high)
        return _tidy(math.exp(low + share * (high - low)))
    value = varies.low + share * (varies.high - varies.low)
    if varies.step is not None:
        steps = math.floor((varies.high - varies.low) / varies.step + 1e-9)
        place = min(round((value - varies.low) / varies.step), steps)
        return round(varies.low + place * varies.step, 9)
    return _tidy(value)


def _tidy(value: float) -> float:
    """Return a value in four significant digits: nobody can tell finer ones apart by measuring."""
    return float(f"{float(value):.4g}")


def _candidate(method: str, dimensions: Sequence[Dimension], values: Sequence[Any]) -> Candidate:
    keys = [one.key for one in dimensions]
    return Candidate.of(method, **dict(zip(keys, values, strict=True)))


class ViewSampler:
    """One view's TPE: told of the trials that the view sees, asked for the next."""

    def __init__(self, space: Space, view: int, seed: int, rounds: int) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingExtra("optuna", "train") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._space = space
        self._view = view
        self._rounds = rounds
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=1),
        )
        self._told: set[Candidate] = set()

    def tell(self, trial: Trial) -> None:
        """Let the view know what it saw of a trial, if it has seen it."""
        if trial.candidate in self._told or not trial.scores.get(self._view):
            return
        self._told.add(trial.candidate)
        values = trial.candidate.values
        if trial.candidate == self._space.default:
            written = self._space.written()
            if written is None or trial.candidate.method not in self._space.dimensions:
                return
            values = written
        names = self._distributions(trial.candidate.method)
        parameters = {self._name(trial.candidate.method, key): v for key, v in values.items()}
        if len(self._space.dimensions) > 1:
            parameters["method"] = trial.candidate.method
        if set(parameters) != set(names) or not all(
            names[name]._contains(names[name].to_internal_repr(value))
            for name, value in parameters.items()
        ):
            return  # the default may lie outside the ranges
        scores = trial.scores[self._view]
        whole = trial.whole(self._rounds, self._view)
        state = self._optuna.trial.TrialState
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=state.COMPLETE if whole else state.PRUNED,
                value=scores[-1] if whole else None,
                params=parameters,
                distributions=names,
                intermediate_values=dict(enumerate(scores)),
            )
        )

    def ask(self) -> Candidate:
        """Return the candidate to measure next."""
        trial = self._study.ask()
        methods = list(self._space.dimensions)
        method = methods[0]
        if len(methods) > 1:
            method = trial.suggest_categorical("method", methods)
        values = []
        for one in self._space.dimensions[method]:
            name, varies = self._name(method, one.key), one.varies
            if isinstance(varies, Choices):
                values.append(trial.suggest_categorical(name, list(varies.values)))
            else:
                found = trial.suggest_float(
                    name, varies.low, varies.high, step=varies.step, log=varies.log
                )
                found = _tidy(found) if varies.step is None else round(found, 9)
                values.append(min(max(found, varies.low), varies.high))
        # told again, with its score, by `tell`
        self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return _candidate(method, self._space.dimensions[method], values)

    def _distributions(self, method: str) -> dict[str, Any]:
        kinds = self._optuna.distributions
        found: dict[str, Any] = {}
        if len(self._space.dimensions) > 1:
            found["method"] = kinds.CategoricalDistribution(list(self._space.dimensions))
        for one in self._space.dimensions[method]:
            varies = one.varies
            found[self._name(method, one.key)] = (
                kinds.CategoricalDistribution(list(varies.values))
                if isinstance(varies, Choices)
                else kinds.FloatDistribution(
                    varies.low, varies.high, step=varies.step, log=varies.log
                )
            )
        return found

    def _name(self, method: str, key: str) -> str:
        return f"{method}.{key}"
