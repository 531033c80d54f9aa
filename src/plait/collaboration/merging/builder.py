# SPDX-License-Identifier: Apache-2.0
"""One attempt at a merge: from the branch as it is to a judged candidate, and its landing."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.collaboration.merging import access, landing, report
from plait.collaboration.merging.changes import Sides, driver_of
from plait.collaboration.merging.credit import Credits, shapley, subsets
from plait.collaboration.merging.crew import Crew
from plait.collaboration.merging.gate import (
    Measurements,
    Tick,
    judge_candidate,
    load_classifier,
    model_key,
    recipe_key,
)
from plait.collaboration.merging.gather import Gathering
from plait.collaboration.merging.material import Material, Model, named, state_at
from plait.collaboration.merging.search import (
    Candidate,
    Search,
    candidates,
    recipe_of,
    search,
)
from plait.errors import BadInput
from plait.evaluation import Evaluation
from plait.fusion.weights import FusionResult, compare_layers, fuse, fused_tensors
from plait.hub import Discussion, Hub, Repository
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import ProjectSpec, parse_project

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

# Where each stage ends, as a share of the whole.
_READ, _SEARCH, _FUSE, _GATE, _CREDIT = 0.05, 0.5, 0.55, 0.75, 0.97


@dataclass(frozen=True)
class Built:
    """A judged candidate and all that its landing needs."""

    verdict: str
    report: dict[str, Any]
    material: Material
    candidate: Candidate
    recipe: Mapping[str, Any]
    result: FusionResult


class Builder:
    """Makes and judges the candidate of one merge."""

    def __init__(
        self, context: JobContext, repo: Repository, discussion: Discussion, sides: Sides
    ) -> None:
        self.context = context
        self.hub: Hub = context.hub
        self.repo = repo
        self.discussion = discussion
        self.sides = sides
        self.folder = context.folder / sides.main[:12]
        self.gathering = Gathering(context, repo, discussion, sides, self.folder)
        self.started = time.monotonic()
        self.cpu = _cpu_seconds()
        self.project: ProjectSpec = parse_project(sides.read(sides.main, PROJECT))
        self._local = threading.local()

    # -- the whole ------------------------------------------------------------------------------

    def build(self) -> Built:
        """Fuse, search, judge and credit.

        Raises:
            BadInput: a contribution cannot be fused, or a task cannot be used.
            Conflict: files of the pull request contradict main's.
        """
        self.say(0.0, "reading the models")
        landing.plan_files(self.sides, [])  # a conflict is told before hours of work, not after
        material = self.gathering.gather()
        searched, judged = self.tasks()
        self.support = self._support_key()
        size = sum(path.stat().st_size for path in material.base.folder.glob("*.safetensors"))
        with Crew(self.context, size) as self.crew:
            found, candidate = self.choose(material, searched)
            recipe = self.recipe(material, candidate)
            self.say(_SEARCH, "fusing the chosen candidate")
            result = self.fuse(material, recipe)
            models = self.evaluate(material, result, judged)
            # The next merge asks for this fusion again, as a subset of its own contributions.
            judged.remember(self._recipe_key(material, recipe), judged.scores(models["candidate"]))
            verdict = judge_candidate(
                models["candidate"], models["main"], self.project.gate, self.project.tasks
            )
            credits = self.credit(material, candidate, judged, models)
        self.say(_CREDIT, "comparing layers")
        made = self.describe(material, candidate, recipe, found, models, verdict, credits, result)
        return Built(verdict.judgement.verdict, made, material, candidate, recipe, result)

    def land(self, built: Built) -> str:
        """Move main to the merge.

        Raises:
            PreconditionFailed: main moved since the attempt began.
        """
        self.say(_CREDIT, "landing")
        weights = landing.store_weights(self.hub, self.repo, built.result.out, built.result.outputs)
        operations = landing.plan_files(self.sides, weights)
        lineage = landing.lineage_of(built.material, built.candidate, built.recipe, built.report)
        return landing.land(
            self.hub,
            self.repo,
            self.discussion,
            self.sides,
            operations,
            lineage,
            built.report,
            self.project.base,
            self._merger(),
        )

    def say(self, fraction: float, stage: str) -> None:
        """Report progress, and stop here if the job was cancelled."""
        self.context.progress(fraction, stage)

    # -- tasks ----------------------------------------------------------------------------------

    def tasks(self) -> tuple[Measurements | None, Measurements]:
        """Load the items to search and to judge with."""
        project = self.project
        if not project.tasks:
            raise BadInput(
                f"{PROJECT} at main names no task, so nothing can judge this merge. Add 'tasks' to "
                "it, then merge again."
            )
        sources, missing = access.find_sources(self.hub, self.repo, project.tasks)
        if missing:
            raise access.refused(self.repo, missing)
        folder = self.folder / "tasks"

        def of(split: str) -> Measurements:
            loaded = [access.load(self.hub, source, split, folder) for source in sources]
            return Measurements(self.hub, self.repo, split, loaded)

        judged = of(project.gate.split)
        searching = project.fusion.method == "search"
        return (of(project.fusion.search_split) if searching else None), judged

    # -- the search -----------------------------------------------------------------------------

    def choose(
        self, material: Material, searched: Measurements | None
    ) -> tuple[Search | None, Candidate]:
        """Choose method and coefficients: fixed by plait.yaml, or searched on validation items."""
        spec = self.project.fusion
        count = len(material.contributions)
        if searched is None:
            return None, candidates(spec, count)[0]

        def measure(listed: Sequence[Candidate]) -> list[dict[str, float]]:
            works = [
                partial(self.measure_recipe, material, self.recipe(material, candidate), searched)
                for candidate in listed
            ]

            def stage(done: int) -> str:
                return f"fusing candidate {min(done + 1, len(works))} of {len(works)}"

            return self.crew.run(works, (_READ, _SEARCH), stage)

        found = search(spec, count, measure)
        return found, found.best.candidate

    def recipe(
        self, material: Material, candidate: Candidate, chosen: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Write a candidate as a recipe over this merge's models."""
        models = material.contributions
        if chosen is not None:
            models = tuple(models[place] for place in chosen)
        return recipe_of(candidate, material.base.reference, [one.reference for one in models])

    def measure_recipe(
        self, material: Material, recipe: Mapping[str, Any], tasks: Measurements, tick: Tick
    ) -> dict[str, float]:
        """Score what a recipe fuses, in memory; what is known is not fused again."""

        def make() -> Any:
            classifier = self._own_classifier(material)
            with self._names(material):
                classifier.load_tensors(fused_tensors(recipe, resolve=material.resolve, threads=1))
            return classifier

        key = self._recipe_key(material, recipe)
        return tasks.measure_scores(key, make, "The fused model", tick)

    def _recipe_key(self, material: Material, recipe: Mapping[str, Any]) -> str:
        inputs = {
            model.reference: self._identity(material, model)
            for model in (material.base, *material.contributions)
            if model is material.base or model.reference in _named_models(recipe)
        }
        return recipe_key(recipe, inputs, self.support)

    def _identity(self, material: Material, model: Model) -> Mapping[str, str]:
        """Return a model's hashes; for one carried over to another base, of all it is made of."""
        for one in material.plan.contributions:
            if one.number == model.number and one.base is not None:
                return {**model.origin.files, **{f"base {k}": v for k, v in one.base.files.items()}}
        return model.origin.files

    def _own_classifier(self, material: Material) -> Any:
        """Return this thread's classifier, whose weights may be replaced."""
        found = getattr(self._local, "classifier", None)
        if found is None:
            found = self._local.classifier = load_classifier(material.base.folder, "The base")
        return found

    # -- the candidate --------------------------------------------------------------------------

    def fuse(self, material: Material, recipe: Mapping[str, Any]) -> FusionResult:
        """Write the chosen candidate, with main's configuration and tokenizer."""
        out = self.folder / "candidate"
        with self._names(material):
            result = fuse(recipe, out, resolve=material.resolve, cancelled=self.context.cancelled)
        self.gathering.put_support(out)
        return result

    def evaluate(
        self, material: Material, result: FusionResult, tasks: Measurements
    ) -> dict[str, Evaluation]:
        """Measure base, main, contribution and candidate on the gate's items."""
        main = state_at(self.hub, self.repo, self.sides.main).weights
        support = self._main_support()
        own = self._support_of(self.sides.head)
        newest = material.newest
        todo: list[tuple[str, Mapping[str, str], Mapping[str, str], Callable[[], Path]]] = [
            ("base", material.base.origin.files, support, lambda: material.base.folder),
            ("main", main.files, support, lambda: self.gathering.checkout(main, "main")),
            (
                "contribution",
                newest.origin.files,
                own,
                # As proposed, not as carried over to another base.
                lambda: self.folder / f"pull-{newest.number}",
            ),
            ("candidate", result.outputs, support, lambda: result.out),
        ]
        works = [
            partial(self._measure_model, tasks, model_key(weights, files), folder, name)
            for name, weights, files, folder in todo
        ]

        def stage(done: int) -> str:
            name = todo[min(done, len(todo) - 1)][0]
            return f"judging {'main' if name == 'main' else 'the ' + name}"

        found = self.crew.run(works, (_FUSE, _GATE), stage)
        return {name: one for (name, *_), one in zip(todo, found, strict=True)}

    def _measure_model(
        self, tasks: Measurements, key: str, folder: Callable[[], Path], name: str, tick: Tick
    ) -> Evaluation:
        title = _TITLES[name].format(number=self.discussion.number)
        return tasks.measure(key, lambda: load_classifier(folder(), title), title, tick)

    def credit(
        self,
        material: Material,
        candidate: Candidate,
        tasks: Measurements,
        models: Mapping[str, Evaluation],
    ) -> Credits:
        """Share the candidate's gain over the base among the contributions."""
        numbers = material.numbers()
        known = {
            frozenset[int](): tasks.scores(models["base"]),
            frozenset(numbers): tasks.scores(models["candidate"]),
        }
        wanted = [coalition for coalition in subsets(numbers) if coalition not in known]
        works = []
        for coalition in wanted:
            places = [place for place, number in enumerate(numbers) if number in coalition]
            recipe = self.recipe(material, candidate, places)
            works.append(partial(self.measure_recipe, material, recipe, tasks))

        def stage(done: int) -> str:
            return f"crediting: subset {min(done + 1, len(works))} of {len(works)}"

        found = self.crew.run(works, (_GATE, _CREDIT), stage)
        return shapley(numbers, {**known, **dict(zip(wanted, found, strict=True))}.__getitem__)

    # -- the report -----------------------------------------------------------------------------

    def describe(
        self,
        material: Material,
        candidate: Candidate,
        recipe: Mapping[str, Any],
        found: Search | None,
        models: Mapping[str, Evaluation],
        verdict: Any,
        credits: Credits,
        result: FusionResult,
    ) -> dict[str, Any]:
        """Write the merge report."""
        project = self.project
        name, commit = self.repo.full_name, self.sides
        metrics = sorted({spec.metric for spec in project.tasks})
        made: dict[str, Any] = {
            "schema": report.SCHEMA,
            "job": self.context.job.id,
            "repository": name,
            "number": self.discussion.number,
            "verdict": verdict.judgement.verdict,
            "reason": verdict.judgement.reason,
            "landed": None,
            "method": candidate.method,
            "parameters": candidate.values,
            "recipe": dict(recipe),
            "search": None
            if found is None
            else report.search_part(found, project.fusion.search_split, ", ".join(metrics)),
            "gate": {
                "split": project.gate.split,
                "confidence": project.gate.confidence,
                "minimum_gain": project.gate.minimum_gain,
                "margin": project.gate.margin,
            },
            "models": {
                "base": {"repository": name, "revision": material.plan.base.revision},
                "main": {"repository": name, "revision": commit.main},
                "contribution": {"repository": name, "revision": commit.head},
                "candidate": {"repository": name, "revision": None},
            },
            "tasks": report.task_rows(project.tasks, models, verdict),
            "average": report.average_row(models, verdict),
            "credit": report.credit_part(credits, material, project.gate.split),
            "layers": compare_layers(
                material.base.folder,
                [model.folder for model in material.contributions],
                result.out,
            ),
            "inputs": report.inputs_part(material),
            "output": {"files": dict(result.outputs)},
            "licence": report.licence_verdict(self.sides, material).to_json(),
            "notes": report.notes(self.sides, material, self.gathering.made_from),
        }
        made["cost"] = {
            "seconds": round(time.monotonic() - self.started, 2),
            "cpu_seconds": round(_cpu_seconds() - self.cpu, 2),
        }
        return made

    # -- small things ---------------------------------------------------------------------------

    def _names(self, material: Material) -> named:
        names: dict[Path | str, str] = {}
        for model in (*material.contributions, material.base):
            names[model.folder] = names[model.reference] = model.title
        return named(names)

    def _main_support(self) -> dict[str, str]:
        return {
            path: entry.etag
            for path, entry in self.sides.at_main.items()
            if driver_of(path) == "model"
        }

    def _support_of(self, oid: str) -> dict[str, str]:
        entries = self.sides.at_head if oid == self.sides.head else self.sides.at_main
        return {path: entry.etag for path, entry in entries.items() if driver_of(path) == "model"}

    def _support_key(self) -> str:
        return hashlib.sha256(json.dumps(sorted(self._main_support().items())).encode()).hexdigest()

    def _merger(self) -> str:
        account = (
            self.hub.accounts.by_id(self.context.job.requested_by)
            if self.context.job.requested_by is not None
            else None
        )
        return account.name if account is not None else "plait"


_TITLES = {
    "base": "The base",
    "main": "main",
    "contribution": "Pull request {number}",
    "candidate": "The fused model",
}


def _named_models(recipe: Mapping[str, Any]) -> set[str]:
    return {entry["model"] for entry in recipe["models"]}


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
