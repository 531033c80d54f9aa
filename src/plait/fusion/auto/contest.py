# SPDX-License-Identifier: Apache-2.0
"""Measuring the candidates, level by level, on the same validation items, within the budget."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import BadInput, Cancelled
from plait.evaluation.predictors import load_predictor
from plait.evaluation.results import evaluate
from plait.evaluation.texts import load_texts
from plait.fusion.auto import recipes
from plait.fusion.auto.facts import Facts, owners, weigh
from plait.fusion.auto.options import Settings
from plait.fusion.auto.rows import Row, measure
from plait.fusion.auto.spending import Clock
from plait.fusion.datasets import data_folder, load_tasks
from plait.fusion.results import FusionResult, Progress
from plait.fusion.search.items import Deck, Floats, Outcomes, deal, direction, rungs, score
from plait.recipes.levels import LevelRecipe

if TYPE_CHECKING:
    from plait.fusion.levels import Work

FEWEST_TEXTS = 32
"""A student that would see fewer texts of a task is not taught."""
FEWEST_TRIALS = 4
SCREENING, SEARCHING = 0.4, 0.4
"""Shares of what is left that the first look at all methods, and the search, may take."""
SLOWER: Mapping[str, float] = {
    "tsv_m": 30, "iso_c": 30, "iso_cts": 50, "wudi": 300, "knots_ties": 50, "dare_ties": 5,
}  # fmt: skip
"""How many times the work of an average some methods are, roughly: to guess before it is known."""


@dataclass(frozen=True)
class Skipped:
    """A candidate that was not measured to the end, and why."""

    name: str
    level: str
    reason: str


class Contest:
    """One run of `auto`: rows that were measured, and what was left out."""

    def __init__(
        self,
        recipe: LevelRecipe,
        settings: Settings,
        facts: Facts,
        scratch: Path,
        work: Work,
        clock: Clock,
    ) -> None:
        self.recipe, self.settings, self.facts = recipe, settings, facts
        self.scratch, self.work, self.clock = scratch, work, clock
        tasks = load_tasks(recipe.tasks, recipe.folder, recipe.splits.validation)
        self.decks: list[Deck] = deal(tasks, settings.folds, recipe.seed)
        self.sign = direction(self.decks)
        self.items = sum(len(task.items) for task in tasks)
        self.rows: list[Row] = []
        self.skipped: list[Skipped] = []
        self.levels: dict[str, str | None] = {}
        """By level, why it is not possible, or None."""
        self._answers: dict[str, tuple[tuple[str, ...], Floats]] = {}
        self._seconds = 0.0  # CPU-seconds in which a member answers one item

    def hold(self) -> None:
        """Measure every level that is wanted and possible, the cheapest first."""
        stages: dict[str, Callable[[], str | None]] = {
            "members": self._members,
            "outputs": self._outputs,
            "weights": self._weights,
            "distillation": self._distillation,
        }
        for level, stage in stages.items():
            # members are measured in any case: ensembles, and the guesses of cost, need them
            if level not in self.settings.levels and level != "members":
                self.levels[level] = "the recipe leaves it out"
                continue
            self.levels[level] = stage()
        if "members" not in self.settings.levels:
            for row in self.rows:
                if row.level == "members":
                    row.usable = row.usable or "the recipe leaves members alone out"
        for row in self.rows:
            most = self.recipe.budget.bytes
            if row.usable is None and most is not None and row.bytes > most:
                row.usable = f"its {row.bytes:,} bytes are above the budget of {most:,}"
            measure(row, self.decks, self.recipe.seed)

    # members

    def _members(self) -> str | None:
        return self._separate() if self.facts.several else self._alone()

    def _alone(self) -> str | None:
        for number, member in enumerate(self.facts.members):
            self._tell("Measuring members", number, len(self.facts.members))
            reason = self.clock.refuses(self._seconds * self.items)
            if reason:
                self._skip(member.name, "members", reason)
                continue
            predictor = _Listener(self._load(member.folder))
            tables, seconds = self._run(predictor)
            self._answers[member.name] = (predictor.labels, np.concatenate(predictor.heard))
            self._seconds = max(self._seconds, seconds / self.items)
            weight = self.facts.weights[member.name]
            self.rows.append(
                Row(
                    member.name,
                    "members",
                    {"model": str(member.folder)},
                    "none",
                    tables,
                    weight.bytes,
                    weight.work / self.facts.single,
                    0.0,
                    seconds,
                )
            )
        return None

    def _separate(self) -> str | None:
        """Measure every member on the tasks that it owns: all are kept, side by side."""
        tables: dict[str, Floats] = {}
        spent = 0.0
        for number, deck in enumerate(self.decks):
            self._tell("Measuring members", number, len(self.decks))
            name = deck.task.name
            owner = next(iter(owners(self.facts.members, name)), None)
            if owner is None:
                return f"no model owns the task '{name}': name it under 'tasks' of one"
            found, seconds = self._run(self._load(owner.folder), [deck])
            tables[name] = found[0]
            spent += seconds
        self._seconds = spent / self.items
        self.rows.append(
            Row(
                "each task's own model",
                "members",
                {"models": [str(member.folder) for member in self.facts.members]},
                "none",
                [tables[deck.task.name] for deck in self.decks],
                sum(weight.bytes for weight in self.facts.weights.values()),
                1.0,
                0.0,
                spent,
                usable="it is several models, to be called by task, not one",
            )
        )
        return None

    # outputs

    def _outputs(self) -> str | None:
        if self.facts.several:
            return "the tasks have labels or heads of their own: there is nothing to average"
        if len(self._answers) < 2:
            return "fewer than two members were measured"
        if len(self._answers) < len(self.facts.members):
            return "the budget was too small to measure every member"
        from plait.fusion.outputs.choosing import fitter, out_of_fold
        from plait.fusion.outputs.items import gather
        from plait.fusion.outputs.options import parse
        from plait.fusion.outputs.run import Given

        labels = self._answers[self.facts.members[0].name][0]
        logs = []
        for member in self.facts.members:
            own, found = self._answers[member.name]
            places = {label.lower(): place for place, label in enumerate(own)}
            columns = [places[label.lower()] for label in labels]
            logs.append(found[:, columns].astype(np.float64))
        tasks = [deck.part(0, len(deck)) for deck in self.decks]
        present = np.ones((len(logs[0]), len(logs)), dtype=bool)
        for name, weights in (
            ("average of outputs", "equal"),
            ("weighted outputs", "search"),
            ("stacking", "stacking"),
        ):
            self._tell("Measuring ensembles", 0, 1)
            started = time.process_time()
            data = recipes.ensemble(self.facts, self.recipe, self.settings, weights)
            outputs = gather(logs, present, tasks, labels, self.settings.folds, self.recipe.seed)
            fit = fitter(parse(data, Path()))
            _, answers, _ = out_of_fold(outputs, fit, self.work.cancelled)
            tables, _ = self._run(Given(labels, answers))
            self.rows.append(
                Row(
                    name,
                    "outputs",
                    data,
                    "labelled validation items",
                    tables,
                    sum(weight.bytes for weight in self.facts.weights.values()),
                    sum(w.work for w in self.facts.weights.values()) / self.facts.single,
                    time.process_time() - started + self._seconds * self.items * len(logs),
                    self._seconds * self.items * len(logs),
                )
            )
        return None

    # weights

    def _weights(self) -> str | None:
        from plait.fusion.levels import check

        first = recipes.merge("linear", self.facts, self.recipe)
        if self.facts.base is not None:
            first["base_model"] = str(self.facts.base)  # to see whether they come from one base
        report = check(first, resolve=self.work.resolve)
        if not report.fits:
            return " ".join(report.problems)
        weight = self.facts.base_weight or next(iter(self.facts.weights.values()))
        most = self.recipe.budget.bytes
        if most is not None and weight.bytes > most:
            return f"the result would have {weight.bytes:,} bytes, above the budget of {most:,}"
        unit = report.cost.cpu_seconds if report.cost else 0.0
        self._screen(unit)
        merged = [row for row in self.rows if row.level == "weights"]
        ranked = sorted(merged, key=lambda row: -self.sign * _mean(row, self.decks))
        for row in ranked[: self.settings.searched] if self.settings.search else []:
            self._search(row)
        return None if merged else "no method of weights could be tried"

    def _screen(self, unit: float) -> None:
        """Merge by every method at its usual values; with a budget, drop the weak ones early."""
        limit = self.clock.spent + SCREENING * self.clock.left
        made: dict[str, tuple[dict[str, Any], FusionResult, Outcomes]] = {}
        rounds = rungs(self.decks, None)
        if self.clock.budget is None:
            rounds = rounds[-1:]
        count = len(self.settings.methods)
        for number, method in enumerate(self.settings.methods):
            self._tell("Merging weights", number, count)
            try:
                data = recipes.merge(method, self.facts, self.recipe)
                guess = self._guess(method, unit) + self._seconds * self.items
                reason = self.clock.refuses(guess)
                if reason is None and self.clock.spent + guess > limit and made:
                    reason = f"about {guess:,.0f} CPU-seconds are kept for more promising levels"
                if reason:
                    self._skip(method, "weights", reason)
                    continue
                made[method] = (data, self._fuse(data, method), Outcomes(self.decks))
            except BadInput as error:
                self._skip(method, "weights", error.message)
        seconds = dict.fromkeys(made, 0.0)
        for place, row in enumerate(rounds):
            for method, (_, result, outcomes) in made.items():
                started = time.process_time()
                predictor = self._load(result.out)
                outcomes.reach(row, lambda tasks, p=predictor: self._tables(p, tasks))  # type: ignore[misc]
                seconds[method] += time.process_time() - started
            if place + 1 < len(rounds) and len(made) > 3:
                made = self._better_half(made, row)
        for method, (data, result, outcomes) in made.items():
            tables = [outcomes.table(i) for i in range(len(self.decks))]
            data_needed = "unlabelled texts" if method in recipes.LEARNING else "none"
            self.rows.append(self._row(method, data, result, data_needed, tables, seconds[method]))
        for folder in self.scratch.glob("weights-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _better_half(self, made: dict[str, Any], row: Sequence[int]) -> dict[str, Any]:
        masks = [np.ones(len(deck), dtype=bool) for deck in self.decks]
        scores = {m: self.sign * score(found[2], masks, row) for m, found in made.items()}
        ranked = sorted(made, key=lambda method: -scores[method])
        kept = set(ranked[: max(3, -(-len(ranked) // 2))])
        for method in made:
            if method not in kept:
                self._skip(
                    method,
                    "weights",
                    f"it scored {self.sign * scores[method]:.3f} on the first documents of each "
                    "task, and half of the methods more",
                )
        return {method: found for method, found in made.items() if method in kept}

    def _search(self, row: Row) -> None:
        """Search the coefficients of a method by cross-validation."""
        from plait.fusion.search import search
        from plait.fusion.search.choosing import out_of_fold
        from plait.recipes.fusion import dump_recipe, parse_recipe

        each = row.make_seconds + self._seconds * self.items / 2
        trials = self.settings.search
        if self.clock.budget is not None:
            trials = min(trials, int(SEARCHING * self.clock.left / max(each, 1e-9)))
        name = f"{row.name}, searched"
        if trials < FEWEST_TRIALS:
            self._skip(name, "weights", self.clock.refuses(FEWEST_TRIALS * each) or "no time left")
            return
        spec = {"budget": trials, "folds": self.settings.folds}
        data = recipes.searched(row.recipe, self.facts, self.recipe, spec)
        started = time.process_time()
        try:
            found = search(
                parse_recipe(data),
                resolve=self.work.resolve,
                threads=self.work.threads,
                progress=self.work.progress,
                cancelled=self.work.cancelled,
            )
        except BadInput as error:
            self._skip(name, "weights", error.message)
            return
        chosen = [fold.chosen for fold in found.choice.folds]
        tables = [out_of_fold(deck, place, chosen) for place, deck in enumerate(self.decks)]
        plain = {k: v for k, v in dump_recipe(found.recipe).items() if k != "search"}
        self.rows.append(
            Row(
                name,
                "weights",
                plain,
                "labelled validation items",
                tables,
                row.bytes,
                row.cost,
                time.process_time() - started,
                found={"search": dict(found.report)},
            )
        )

    def _guess(self, method: str, unit: float) -> float:
        """Guess a fusion's CPU-seconds from those of an average."""
        values = recipes.LEARNING.get(method)
        if values is None:
            return unit * SLOWER.get(method, 3)
        texts = values.get("texts", 0) * 2 + values.get("steps", 0) * values.get("batch", 0) * 3
        return float(unit * 10 + self._seconds * texts * len(self.facts.members))

    # distillation

    def _distillation(self) -> str | None:
        if self.facts.trainable is not None:
            return f"the task '{self.facts.trainable}' has no texts to teach on (split 'train')"
        students = self._students()
        if not students:
            return "there is nothing that a student could start as: give 'base_model'"
        sizes = [self._train_texts(spec.name) for spec in self.recipe.tasks]
        tried = False
        for name, student, weight in students:
            tried |= self._teach(name, student, weight, sizes)
        return None if tried else "no student could be taught"

    def _students(self) -> list[tuple[str, str | Mapping[str, Any], Any]]:
        """Return what may be taught, the most promising first: name, start, weight."""
        found: list[tuple[str, str | Mapping[str, Any], Any]] = []
        merged = [row for row in self.rows if row.level == "weights"]
        if merged:
            best = max(merged, key=lambda row: self.sign * _mean(row, self.decks))
            weight = self.facts.base_weight or next(iter(self.facts.weights.values()))
            start = {k: v for k, v in best.recipe.items() if k not in ("search",)}
            found.append((f"distilled, from {best.name}", start, weight))
        elif self.facts.base is not None and self.facts.base_weight is not None:
            base = str(self.facts.base)
            found.append(("distilled, from the base", base, self.facts.base_weight))
        elif not self.facts.several:
            members = [row for row in self.rows if row.level == "members"]
            best = max(members, key=lambda row: self.sign * _mean(row, self.decks))
            weight = self.facts.weights[best.name]
            found.append((f"distilled, from {best.name}", best.name, weight))
        if self.facts.student is not None:
            student = self.facts.student
            found.append((f"distilled, from {student.name}", str(student), weigh(student)))
        return found

    def _teach(
        self, name: str, student: str | Mapping[str, Any], weight: Any, sizes: Sequence[int]
    ) -> bool:
        most = self.recipe.budget.bytes
        if most is not None and weight.bytes > most:
            reason = f"it would have {weight.bytes:,} bytes, above the budget of {most:,}"
            self._skip(name, "distillation", reason)
            return False
        ratio = weight.work / self.facts.single
        members = len(self.facts.members)
        asked = 1 if all(m.tasks for m in self.facts.members) else members
        each = self._seconds * (asked + 3.5 * ratio * self.settings.epochs)
        limit = self.settings.texts_per_task
        after = self._seconds * self.items * ratio
        if self.clock.budget is not None:
            fitting = int((0.85 * self.clock.left - after) / max(each, 1e-9) / len(sizes))
            if fitting < min(FEWEST_TEXTS, *sizes):
                wanted = each * FEWEST_TEXTS * len(sizes) + after
                self._skip(name, "distillation", self.clock.refuses(wanted) or "no time left")
                return False
            if fitting < max(sizes):
                limit = min(limit or fitting, fitting)
        data = recipes.distil(self.facts, self.recipe, self.settings, student, limit)
        try:
            result = self._fuse(data, f"distillation-{len(self.rows)}")
        except BadInput as error:
            self._skip(name, "distillation", error.message)
            return False
        tables, seconds = self._run(self._load(result.out))
        needed = "labelled training texts" if self.settings.labels else "unlabelled texts"
        row = self._row(name, data, result, needed, tables, seconds, "distillation")
        row.found = {"folder": str(result.out), "epochs": result.report["results"]["epochs"]}
        self.rows.append(row)
        return True

    def _train_texts(self, task: str) -> int:
        spec = next(spec for spec in self.recipe.tasks if spec.name == task)
        folder = data_folder(spec, self.recipe.folder)
        count = len(load_texts(spec, folder, self.recipe.splits.train))
        limit = self.settings.texts_per_task
        return count if limit is None else min(count, limit)

    # what they share

    def _fuse(self, data: Mapping[str, Any], name: str) -> FusionResult:
        from plait.fusion.levels import fuse

        self._ask_cancelled()
        level = "" if name.startswith("distillation") else "weights-"
        return fuse(
            data,
            self.scratch / f"{level}{name}",
            resolve=self.work.resolve,
            threads=self.work.threads,
            progress=self.work.progress,
            cancelled=self.work.cancelled,
        )

    def _row(
        self,
        name: str,
        data: Mapping[str, Any],
        result: FusionResult,
        needed: str,
        tables: list[Floats],
        seconds: float,
        level: str = "weights",
    ) -> Row:
        weight = weigh(result.out)
        cost = weight.work / self.facts.single
        return Row(
            name, level, data, needed, tables, weight.bytes, cost, result.cpu_seconds, seconds
        )

    def _load(self, folder: Path) -> Any:
        return load_predictor(
            folder, threads=self.work.threads, max_length=self.settings.max_length
        )

    def _run(
        self, predictor: Any, decks: Sequence[Deck] | None = None
    ) -> tuple[list[Floats], float]:
        """Return a predictor's tables of whole tasks, and the CPU-seconds that took."""
        started = time.process_time()
        chosen = decks or self.decks
        found = self._tables(predictor, [deck.part(0, len(deck)) for deck in chosen])
        seconds = time.process_time() - started
        return [found[deck.task.name] for deck in chosen], seconds

    def _tables(self, predictor: Any, tasks: Sequence[Any]) -> dict[str, Floats]:
        found = evaluate(predictor, tasks, self.recipe.splits.validation, self._tick)
        return {name: result.table() for name, result in found.tasks.items()}

    def _skip(self, name: str, level: str, reason: str) -> None:
        self.skipped.append(Skipped(name, level, reason.rstrip(".")))

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._ask_cancelled()
        if self.work.progress is not None:
            self.work.progress(Progress(stage, done, total))

    def _tick(self, *_: int) -> None:
        self._ask_cancelled()

    def _ask_cancelled(self) -> None:
        if self.work.cancelled is not None and self.work.cancelled():
            raise Cancelled("The choice of a fusion was cancelled; nothing was written.")


class _Listener:
    """A predictor that keeps the logarithms of what it answered."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.labels: tuple[str, ...] = predictor.labels
        self.heard: list[Floats] = []

    def predict(self, samples: Sequence[Any], progress: Any = None) -> Any:
        """Return probabilities [samples, classes]."""
        logs = np.asarray(self._predictor.log_probabilities(samples, progress), dtype=np.float64)
        self.heard.append(logs)
        return np.exp(logs).astype(np.float32)


def _mean(row: Row, decks: Sequence[Deck]) -> float:
    from plait.fusion.auto.rows import task_score

    return float(np.mean([task_score(row, i, deck) for i, deck in enumerate(decks)]))
