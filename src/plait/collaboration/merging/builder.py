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

from plait.collaboration.merging import access, landing, licensing, report, suspicion
from plait.collaboration.merging.answers import Answers, open_answers
from plait.collaboration.merging.changes import Sides, driver_of, files
from plait.collaboration.merging.contamination import Flag
from plait.collaboration.merging.credit import Credits, shapley, subsets
from plait.collaboration.merging.crew import Crew
from plait.collaboration.merging.drivers import tokenizer
from plait.collaboration.merging.gate import (
    Tick,
    judge_candidate,
    load_classifier,
    model_key,
    recipe_key,
)
from plait.collaboration.merging.gather import Gathering
from plait.collaboration.merging.licensing import LicenceState
from plait.collaboration.merging.material import Material, Model, named
from plait.collaboration.merging.search import (
    Candidate,
    Search,
    candidates,
    recipe_of,
    search,
)
from plait.collaboration.merging.states import state_at
from plait.errors import BadInput
from plait.evaluation import Evaluation
from plait.fusion.weights import FusionResult, compare_layers, fuse, fused_tensors
from plait.hub import Author, Discussion, Hub, Operation, Repository
from plait.hub.repositories.hidden import Asker
from plait.lineage import Lineage, Withdrawal
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import ProjectSpec, parse_project
from plait.widening import memory_of, stored_format

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

    candidate_folder = "candidate"

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
        self._operations: list[Operation] | None = None
        self.verdict = ""
        """The gate's, once it judged; what follows may depend on it."""

    # -- the whole ------------------------------------------------------------------------------

    def build(self) -> Built:
        """Fuse, search, judge and credit.

        Raises:
            BadInput: a contribution cannot be fused, or a task cannot be used.
            Conflict: files of the pull request contradict main's.
        """
        self.say(0.0, "reading the models")
        self.plan_files([])  # a conflict is told before hours of work, not after
        self.licence = self._licence()
        material = self.gather()
        searched, judged = self.tasks()
        self.support = self._support_key()
        with Crew(self.context, memory_of(material.base.folder)) as self.crew:
            found, candidate = self.choose(material, searched)
            self._let_go()
            recipe = self.recipe(material, candidate)
            self.say(_SEARCH, "fusing the chosen candidate")
            result = self.fuse(material, recipe)
            models = self.evaluate(material, result, judged)
            # The next merge asks for this fusion again, as a subset of its own contributions.
            judged.remember(self._recipe_key(material, recipe), judged.scores(models["candidate"]))
            verdict = judge_candidate(
                models["candidate"], models["main"], self.project.gate, self.project.tasks
            )
            self.verdict = verdict.judgement.verdict
            flags = self.look(material, searched, judged, models)
            credits = self.credit(material, candidate, judged, models, result)
        self.say(_CREDIT, "comparing layers")
        made = self.describe(material, candidate, recipe, found, models, verdict, credits, result)
        made["flags"] = [flag.to_json() for flag in flags]
        return Built(verdict.judgement.verdict, made, material, candidate, recipe, result)

    def gather(self) -> Material:
        """Bring together what is fused."""
        return self.gathering.gather()

    def land(self, built: Built) -> str:
        """Move main to the merge.

        Raises:
            PreconditionFailed: main moved since the attempt began.
        """
        self.say(_CREDIT, "landing")
        return landing.land(
            self.hub,
            self.repo,
            self.discussion.base_ref,
            self.sides.main,
            self.operations(built),
            parents=self.parents(),
            message=self.message(built),
            author=self._merger(),
        )

    def preview(self, built: Built) -> str:
        """Write the commit that would land, without moving a branch, and return its id."""
        return self.hub.git.write_commit(
            self.repo,
            base=self.sides.main,
            operations=self.operations(built),
            parents=self.parents(),
            message=self.message(built),
            author=Author(self._merger()),
        )

    def operations(self, built: Built) -> list[Operation]:
        """Return what the landing does to main's tree; the weights are stored by then."""
        if self._operations is None:
            out, outputs = built.result.out, built.result.outputs
            weights = landing.store_weights(self.hub, self.repo, out, outputs)
            if self.gathering.own_support(built.material):
                weights += tokenizer.store_support(self.hub, self.repo, out, self.sides)
            self._operations = landing.complete(
                self.repo,
                self.sides,
                self.plan_files(weights),
                self.lineage(built),
                built.report,
                self.project.base,
            )
        return self._operations

    # -- what other changes of main than one pull request's merge do otherwise --------------------

    def plan_files(self, weights: Sequence[Operation]) -> list[Operation]:
        """Return what happens to main's files.

        Raises:
            Conflict: main and what is merged contradict each other.
        """
        return landing.plan_files(self.sides, weights)

    def lineage(self, built: Built) -> Lineage:
        """Write down what the candidate was made from."""
        return landing.lineage_of(
            built.material, built.candidate, built.recipe, built.report, self.withdrawn()
        )

    def withdrawn(self) -> tuple[Withdrawal, ...]:
        """Return what main was once fused from and is not any more."""
        lineage = state_at(self.hub, self.repo, self.sides.main).lineage
        return lineage.withdrawn if lineage is not None else ()

    def parents(self) -> list[str]:
        """Return the parents of the landing commit."""
        return [self.sides.main, self.sides.head]

    def message(self, built: Built) -> str:
        """Return the landing commit's message."""
        return landing.landing_message(self.discussion, built.report)

    def say(self, fraction: float, stage: str) -> None:
        """Report progress, and stop here if the job was cancelled."""
        self.context.progress(fraction, stage)

    # -- tasks ----------------------------------------------------------------------------------

    def tasks(self) -> tuple[Answers | None, Answers]:
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
        self.sources = sources
        asker = self.asker()

        def of(split: str, asker: Asker | None = None) -> Answers:
            loaded = [access.load(self.hub, source, split, folder, asker) for source in sources]
            return open_answers(self.hub, self.repo, split, loaded)

        # What may not be searched on is refused before the hidden items are asked.
        searching = project.fusion.method == "search"
        searched = of(project.fusion.search_split) if searching else None
        judged = of(project.gate.split, asker)
        split = project.credit.split
        self.credited = judged if split in (None, project.gate.split) else of(str(split))
        self.searched, self.judged = searched, judged
        return searched, judged

    def asker(self) -> Asker:
        """Return for whom hidden items are asked."""
        return access.asker_of(self.context.job, self.repo)

    # -- the search -----------------------------------------------------------------------------

    def choose(
        self, material: Material, searched: Answers | None
    ) -> tuple[Search | None, Candidate]:
        """Choose method and coefficients: fixed by plait.yaml, or searched on validation items."""
        spec = self.project.fusion
        count = len(material.plan.distinct())
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
        models = [material.contributions[place] for place in material.plan.distinct(chosen)]
        made = recipe_of(candidate, material.base.reference, [one.reference for one in models])
        stored = stored_format(material.base.folder)
        if stored is not None:
            made["out_dtype"] = stored  # computed in float32, kept as the base is
        return tokenizer.united_recipe(made, material)

    def measure_recipe(
        self, material: Material, recipe: Mapping[str, Any], tasks: Answers, tick: Tick
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

    def _let_go(self) -> None:
        """Free the classifiers that held fusions in memory, before other models are loaded."""
        self._local = threading.local()

    # -- the candidate --------------------------------------------------------------------------

    def fuse(self, material: Material, recipe: Mapping[str, Any]) -> FusionResult:
        """Write the chosen candidate, with main's configuration and tokenizer."""
        out = self.folder / self.candidate_folder
        with self._names(material):
            resolve = material.resolve_original
            result = fuse(recipe, out, resolve=resolve, cancelled=self.context.cancelled)
        self.gathering.finish(material, out)
        return result

    def evaluate(
        self, material: Material, result: FusionResult, tasks: Answers
    ) -> dict[str, Evaluation]:
        """Measure base, main, contribution and candidate on the gate's items."""
        main = state_at(self.hub, self.repo, self.sides.main).weights
        support = self._main_support()
        newest = material.newest
        own = self._support_of(newest.origin.revision)
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
        # Side by side, the same model would not be known yet when it comes a second time.
        keys = {name: model_key(weights, files) for name, weights, files, _ in todo}
        first = {key: name for name, key in reversed(keys.items())}
        once = [(name, folder) for name, _, _, folder in todo if first[keys[name]] == name]
        works = [
            partial(self._measure_model, tasks, keys[name], folder, name) for name, folder in once
        ]

        def stage(done: int) -> str:
            name = once[min(done, len(once) - 1)][0]
            return f"judging {'main' if name == 'main' else 'the ' + name}"

        measured = self.crew.run(works, (_FUSE, _GATE), stage)
        found = {keys[name]: one for (name, _), one in zip(once, measured, strict=True)}
        return {name: found[key] for name, key in keys.items()}

    def _measure_model(
        self, tasks: Answers, key: str, folder: Callable[[], Path], name: str, tick: Tick
    ) -> Evaluation:
        title = _TITLES[name].format(number=self.discussion.number)
        return tasks.measure(key, lambda: load_classifier(folder(), title), title, tick)

    def look(
        self,
        material: Material,
        searched: Answers | None,
        judged: Answers,
        models: Mapping[str, Evaluation],
    ) -> list[Flag]:
        """Look for signs that the gate's items were trained on."""
        self.say(_GATE, "looking for items that were trained on")
        validation = None
        if searched is not None:
            measure = partial(self._named_model, material, searched)
            validation = {name: measure(name) for name in ("base", "contribution")}
        return suspicion.look(
            self.hub, self.sides, self.sources, judged, searched, models, validation,
            self.context.check,
        )  # fmt: skip

    def _named_model(self, material: Material, tasks: Answers, name: str) -> Evaluation:
        """Measure the base, or the contribution as proposed, on other items than the gate's."""
        if name == "contribution":
            return self.measure_proposed(material.newest, tasks)
        folder, files = material.base.folder, material.base.origin.files
        support = self._main_support()
        return self._measure_model(
            tasks, model_key(files, support), lambda: folder, name, self._watch
        )

    def measure_proposed(self, model: Model, tasks: Answers) -> Evaluation:
        """Measure a contribution as it was proposed, also where it is carried over for the fusion.

        A model that is known is not run again.
        """
        folder = self.folder / f"pull-{model.number}"
        key = model_key(model.origin.files, self._support_of(model.origin.revision))
        return self._measure_model(tasks, key, lambda: folder, "contribution", self._watch)

    def _watch(self, _done: int, _total: int) -> None:
        self.context.check()

    def credit(
        self,
        material: Material,
        candidate: Candidate,
        judged: Answers,
        models: Mapping[str, Evaluation],
        result: FusionResult,
    ) -> Credits:
        """Share the candidate's gain over the base among the contributions."""
        numbers, tasks, spec = material.numbers(), self.credited, self.project.credit
        if tasks is judged:
            ends = {name: tasks.scores(models[name]) for name in ("base", "candidate")}
        else:
            key = model_key(result.outputs, self._main_support())
            whole = self._measure_model(tasks, key, lambda: result.out, "candidate", _quiet)
            base = self._named_model(material, tasks, "base")
            ends = {"base": tasks.scores(base), "candidate": tasks.scores(whole)}
        known = {frozenset[int](): ends["base"], frozenset(numbers): ends["candidate"]}
        wanted = [coalition for coalition in subsets(numbers, spec) if coalition not in known]
        works = []
        for coalition in wanted:
            places = [place for place, number in enumerate(numbers) if number in coalition]
            recipe = self.recipe(material, candidate, places)
            works.append(partial(self.measure_recipe, material, recipe, tasks))

        def stage(done: int) -> str:
            return f"crediting: subset {min(done + 1, len(works))} of {len(works)}"

        found = self.crew.run(works, (_GATE, _CREDIT), stage)
        table = {**known, **dict(zip(wanted, found, strict=True))}
        return shapley(numbers, table.__getitem__, spec)

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
                "smallest_effect": project.gate.smallest_effect,
                "power": project.gate.power,
            },
            "models": {
                "base": {"repository": name, "revision": material.plan.base.revision},
                "main": {"repository": name, "revision": commit.main},
                "contribution": {"repository": name, "revision": commit.head},
                "candidate": {"repository": name, "revision": None},
            },
            "tasks": report.task_rows(project.tasks, models, verdict, self.hidden()),
            "average": report.average_row(models, verdict, coarse=bool(self.hidden())),
            "credit": self.credit_part(credits, material),
            "layers": compare_layers(
                material.base.folder,
                [model.folder for model in material.contributions],
                result.out,
            )
            if material.contributions
            else [],
            "inputs": report.inputs_part(material),
            "data": self._data(found is not None),
            "budget": report.budget_part(found, credits),
            "output": {"files": dict(result.outputs)},
            "licence": self.licence.to_json(),
            "notes": report.notes(self.sides, self.licence, self.gathering.made_from),
        }
        made["cost"] = self.cost()
        return made

    def credit_part(self, credits: Credits, material: Material) -> dict[str, Any] | None:
        """Return the report's part on credit."""
        coarse = bool(self.hidden())
        return report.credit_part(credits, material, self.credited.split, coarse=coarse)

    def cost(self) -> dict[str, float]:
        """Return what it took since the builder was made."""
        return {
            "seconds": round(time.monotonic() - self.started, 2),
            "cpu_seconds": round(_cpu_seconds() - self.cpu, 2),
        }

    # -- small things ---------------------------------------------------------------------------

    def _data(self, searched: bool) -> list[dict[str, Any]]:
        """Return which items chose and judged; a data set that is not public is not named."""
        uses = [("gate", self.judged)]
        if self.credited is not self.judged:
            uses.append(("credit", self.credited))
        if searched and self.searched is not None:
            uses.append(("search", self.searched))
        sources = {source.spec.name: source for source in self.sources}
        return [
            access.describe_use(sources[loaded.task.name], loaded, role, measured.split)
            for role, measured in uses
            for loaded in measured.tasks
        ]

    def _licence(self) -> LicenceState:
        """Judge the licences; what a maintainer must decide on is not fused before that."""
        lineage = state_at(self.hub, self.repo, self.sides.main).lineage
        merged = lineage.contributions if lineage is not None else ()
        return licensing.require(self.hub, self.discussion, self.sides, merged)

    def hidden(self) -> frozenset[str]:
        """Return the tasks whose gate items are hidden."""
        split = self.project.gate.split
        return frozenset(
            source.spec.name
            for source in self.sources
            if self.hub.hidden.is_hidden(source.dataset, split)
        )

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
        entries = files(self.hub, self.repo, oid)
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


def _quiet(_done: int, _total: int) -> None:
    """Count items of what is measured beside the stages of the progress."""


def _named_models(recipe: Mapping[str, Any]) -> set[str]:
    return {entry["model"] for entry in recipe.get("models", ())}


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
