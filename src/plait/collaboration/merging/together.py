# SPDX-License-Identifier: Apache-2.0
"""Several pull requests merged together: which go with which, which set is best, its candidate.

Sets are fused in memory and measured on validation items (`selection`); what was measured is kept
in the database by content, so that a job that is killed goes on where it was. Pull requests whose
files contradict each other, or whose licences do not go together, are never tried together: the
one that does better alone is kept, the other left out with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from plait.collaboration.merging import access, landing, licensing, suspicion
from plait.collaboration.merging.answers import Answers
from plait.collaboration.merging.builder import Builder, Built
from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.contamination import Flag
from plait.collaboration.merging.credit import Credits, shapley
from plait.collaboration.merging.crew import Crew
from plait.collaboration.merging.gate import Measurements
from plait.collaboration.merging.gather import Gathering
from plait.collaboration.merging.history import is_ancestor, made_by
from plait.collaboration.merging.licensing import LicenceState
from plait.collaboration.merging.material import Material
from plait.collaboration.merging.plan import Plan, State, make_plan
from plait.collaboration.merging.search import candidates
from plait.collaboration.merging.selection import Coalition, Search, Selection
from plait.collaboration.merging.states import state_at
from plait.errors import BadInput, Conflict, PlaitError
from plait.evaluation import Evaluation
from plait.hub import Author, CopyFile, Delete, Discussion, Operation, Repository
from plait.hub.repositories.hidden import Asker
from plait.lineage import Contribution, Lineage
from plait.widening import memory_of

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

Pull = tuple[Discussion, Sides]
_READ, _CHOSEN = 0.05, 0.6


class QueueBuilder(Builder):
    """Makes and judges main with several pull requests together."""

    def __init__(
        self,
        context: JobContext,
        repo: Repository,
        pulls: Sequence[Pull],
        *,
        credited: bool,
        confidence: float | None = None,
        candidate: int = 1,
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        """``asked``: of a set that was judged before, the job, the question and its items' keys."""
        super().__init__(context, repo, *pulls[0])
        self.pulls = list(pulls)
        self.credited_too = credited
        self.candidate_number = candidate
        self.asked_before = asked
        if candidate > 1:
            self.candidate_folder = f"candidate-{candidate}"
        if confidence is not None:
            gate = replace(self.project.gate, confidence=confidence)
            self.project = replace(self.project, gate=gate)
        self.excluded: dict[int, str] = {}
        """Pull requests that cannot be merged with the others, and why."""
        self.known = 0
        """Sets whose scores were known before."""
        self._asked = 0
        self._alone: dict[int, LicenceState] = {}

    # -- which to merge together ------------------------------------------------------------------

    def gather(self) -> Material:
        """Bring together main's contributions and all of the queue that can be fused."""
        hub, repo = self.hub, self.repo
        ancestor, made = is_ancestor(hub, repo), made_by(hub, repo)
        state = state_at(hub, repo, self.sides.main)
        plan: Plan | None = None
        newest = None
        for discussion, sides in list(self.pulls):
            gathering = Gathering(self.context, repo, discussion, sides, self.folder)
            try:
                source, new, model = gathering.proposal()
                plan = make_plan(state, source, new, ancestor, made)
            except (BadInput, Conflict) as error:
                self.excluded[discussion.number] = error.message
                self.pulls.remove((discussion, sides))
                continue
            newest = model
            # What the next is added to: main as if this one had been merged.
            state = State(
                state.weights,
                Lineage(plan.base, plan.contributions, {}, dict(state.weights.files)),
            )
        if plan is None or newest is None:
            raise Conflict(
                "None of these pull requests can be fused: "
                + " ".join(f"#{n}: {why}" for n, why in sorted(self.excluded.items()))
            )
        self.discussion, self.sides = self.pulls[-1]
        return self.gathering.material(plan, newest)

    def choose_set(self) -> tuple[Selection, Material]:
        """Choose which to merge together, on validation items."""
        self.say(0.0, "reading the models")
        material = self.material = self.gather()
        self.support = self._support_key()
        self.items = self.validation()
        margins = {t.name: t.margin for t in self.project.tasks if t.role == "protected"}
        here = [discussion.number for discussion, _ in self.pulls]
        self._held = [n for n in material.numbers() if n not in here]
        self.search = Search(here, self.measure_sets, margins=margins)
        with Crew(self.context, memory_of(material.base.folder)) as self.crew:
            self.admit(self.search.rank())
            self.search.keep(discussion.number for discussion, _ in self.pulls)
            found = self.search.run()
        self._let_go()
        return found, material

    def costs_of(self, chosen: Coalition) -> Selection:
        """Say of another set than the best what each that it leaves out would change."""
        with Crew(self.context, memory_of(self.material.base.folder)) as self.crew:
            found = self.search.told(chosen)
        self._let_go()
        return found

    def measure_sets(self, sets: Sequence[Coalition]) -> list[dict[str, float]]:
        """Score sets on validation items, fused in memory with main's contributions."""
        works = []
        for one in sets:
            recipe = self.recipe_of(one)
            self.known += self.items.has(self._recipe_key(self.material, recipe))
            works.append(partial(self.measure_recipe, self.material, recipe, self.items))
        expected = 8 * len(self.pulls) + 2
        low = _READ + (_CHOSEN - _READ) * min(1.0, self._asked / expected)
        self._asked += len(works)
        high = _READ + (_CHOSEN - _READ) * min(1.0, self._asked / expected)
        return self.crew.run(
            works, (low, high), lambda done: f"trying set {self._asked - len(works) + done}"
        )

    def recipe_of(self, one: Coalition) -> dict[str, Any]:
        """Return the recipe that a set is measured by; of equal weights there is one."""
        material = self.material
        places = {n: place for place, n in enumerate(material.numbers())}
        chosen = material.plan.distinct([places[n] for n in sorted({*self._held, *one})])
        if not chosen:
            return _base_recipe(material)
        candidate = candidates(self.project.fusion, len(chosen))[0]
        return self.recipe(material, candidate, chosen)

    def validation(self) -> Measurements:
        """Load the items that sets are chosen by; the gate's are not asked for that."""
        project = self.project
        if not project.tasks:
            raise BadInput("plait.yaml at main names no task, so nothing can judge these merges.")
        sources, missing = access.find_sources(self.hub, self.repo, project.tasks)
        if missing:
            raise access.refused(self.repo, missing)
        self.sources = sources
        split = project.fusion.search_split
        folder = self.folder / "tasks"
        loaded = [access.load(self.hub, source, split, folder, None) for source in sources]
        return Measurements(self.hub, self.repo, split, loaded)

    def admit(self, order: Sequence[int]) -> None:
        """Keep the pull requests that go together, those first in ``order`` first.

        The others are taken out of `pulls`; `excluded` says why.
        """
        pulls = {discussion.number: (discussion, sides) for discussion, sides in self.pulls}
        current, admitted = self.sides.main, list[Pull]()
        for number in order:
            self.context.check()
            pull = pulls[number]
            reason = self._contradiction(admitted, pull)
            if reason is None:
                try:
                    current = self._with_files(current, pull[1])
                except PlaitError as error:
                    reason = self._clash(admitted, pull, error)
            if reason is None:
                admitted.append(pull)
            else:
                self.excluded[number] = reason
        if not admitted:
            raise Conflict(
                "None of these pull requests can be merged: "
                + " ".join(f"#{n}: {why}" for n, why in sorted(self.excluded.items()))
            )
        self.pulls = sorted(admitted, key=lambda pull: pull[0].number)
        self.discussion, self.sides = self.pulls[-1]

    def _contradiction(self, admitted: Sequence[Pull], pull: Pull) -> str | None:
        """Say why a pull request's licence does not go with those that are in; None if it does."""
        state = self._joint_licence([*admitted, pull])
        if state.refusal is None:
            return None
        with_whom = [
            one for one in admitted if self._joint_licence([one, pull]).refusal is not None
        ]
        reasons = " ".join(reason.text for reason in state.verdict.reasons)
        return (
            f"Its licence does not go together with that of {_named(with_whom or admitted)}, which "
            f"{'does' if len(with_whom or admitted) == 1 else 'do'} better alone: {reasons} Merge "
            "it without them, or leave it out."
        )

    def _clash(self, admitted: Sequence[Pull], pull: Pull, error: PlaitError) -> str:
        """Say with whom a pull request's files clash, and where."""
        main, with_whom = self.sides.main, []
        for one in admitted:
            try:
                self._with_files(self._with_files(main, one[1]), pull[1])
            except PlaitError:
                with_whom.append(one)
        return (
            f"Its files contradict those of {_named(with_whom or admitted)}, which "
            f"{'does' if len(with_whom or admitted) == 1 else 'do'} better alone: {error.message}"
        )

    # -- judging and landing the chosen set -------------------------------------------------------

    def asker(self) -> Asker:
        """Return for whom hidden items are asked: each judged set is a question of its own.

        One that was judged before is the question that it was then.
        """
        asker = replace(super().asker(), candidate=self.candidate_number)
        if self.asked_before is None:
            return asker
        job, candidate = int(self.asked_before["job"]), int(self.asked_before["candidate"])
        return replace(asker, job_id=job, candidate=candidate)

    def tasks(self) -> tuple[Answers | None, Answers]:
        """Load the items; where hidden ones are others than those asked before, they count."""
        searched, judged = super().tasks()
        if self.asked_before is not None:
            known, asker = self.asked_before["items"], Builder.asker(self)
            for source, loaded in zip(self.sources, judged.tasks, strict=True):
                name = source.spec.name
                if loaded.hidden and known.get(name) != loaded.key:
                    one = replace(asker, task=name, candidate=self.candidate_number)
                    self.hub.hidden.ask(source.dataset, judged.split, one)
        return searched, judged

    def look(
        self,
        material: Material,
        searched: Answers | None,
        judged: Answers,
        models: Mapping[str, Evaluation],
    ) -> list[Flag]:
        """Look for signs that the gate's items were trained on, in every pull request."""
        items = searched if searched is not None else self.validation()
        known, check = suspicion.Known(), self.context.check
        flags = suspicion.of_data(self.hub, self.sources, judged, items, check)
        base = self._named_model(material, items, "base")
        proposed = {model.number: model for model in material.contributions}
        for place, (discussion, sides) in enumerate(self.pulls):
            self.say(
                0.75, f"looking for items that were trained on, {place + 1} of {len(self.pulls)}"
            )
            model = proposed[discussion.number]
            own = self.measure_proposed(model, judged)
            found = suspicion.of_contribution(
                self.hub, sides, self.sources, judged, {**models, "contribution": own},
                {"base": base, "contribution": self.measure_proposed(model, items)}, known, check,
            )  # fmt: skip
            flags += [replace(flag, text=f"#{discussion.number}: {flag.text}") for flag in found]
        return flags

    def credit(self, material: Material, *rest: Any) -> Credits:
        """Share the gain among the contributions, where the set is to land and passes."""
        if self.shares:
            return super().credit(material, *rest)
        judged, models = rest[1], rest[2]
        scores = judged.scores(models["base"])
        return shapley((), lambda _: scores)

    def credit_part(self, credits: Credits, material: Material) -> dict[str, Any] | None:
        """Return the report's part on credit; none for what does not land."""
        return super().credit_part(credits, material) if self.shares else None

    @property
    def shares(self) -> bool:
        """Whether credit is worked out."""
        return self.credited_too and self.verdict == "passes"

    def plan_files(self, weights: Sequence[Operation]) -> list[Operation]:
        """Merge the files of all pull requests, one after the other, into main's."""
        main = self.sides.main
        current = main
        for discussion, sides in self.pulls:
            try:
                current = self._with_files(current, sides)
            except PlaitError as error:
                others = [pull for pull in self.pulls if pull[0].number < discussion.number]
                raise Conflict(
                    f"The files of #{discussion.number} contradict those of "
                    f"{_named(others) or 'main'}: {error.message}"
                ) from error
        both = Sides(self.hub, self.repo, main, main, current)
        changes: list[Operation] = []
        for path in both.changed():
            changes.append(
                CopyFile(path, path, revision=current) if path in both.at_head else Delete(path)
            )
        mine = Sides(self.hub, self.repo, main, main, main)
        return [*changes, *landing.plan_files(mine, weights)]

    def _with_files(self, current: str, sides: Sides) -> str:
        """Return a commit with the files of one more pull request; no branch moves."""
        step = Sides(self.hub, self.repo, sides.fork, current, sides.head)
        operations = [
            one
            for one in landing.plan_files(step, [])
            if not (isinstance(one, Delete) and landing.is_weights(one.path))
        ]
        return self.hub.git.write_commit(
            self.repo,
            base=current,
            operations=operations,
            message="files of the queue",
            author=Author("plait"),
        )

    def parents(self) -> list[str]:
        """Return main and every pull request that lands."""
        return [self.sides.main, *(sides.head for _, sides in self.pulls)]

    def message(self, built: Built) -> str:
        """Name all that lands."""
        return (
            f"Merge pull requests {_named(self.pulls)} together\n\n"
            f"Fused by {built.report['method']}. {built.report['reason']}\n"
        )

    def _licence(self) -> LicenceState:
        """Judge the licences of main and of all that would land; what may not be is refused."""
        state = self._joint_licence(self.pulls)
        if state.refusal is not None:
            raise Conflict(state.refusal)
        return state

    def _joint_licence(self, pulls: Sequence[Pull]) -> LicenceState:
        for discussion, sides in pulls:
            if discussion.number not in self._alone:
                self._alone[discussion.number] = licensing.licence_state(
                    self.hub, discussion, sides, self._merged()
                )
        return licensing.joint_state({f"#{d.number}": self._alone[d.number] for d, _ in pulls})

    def _merged(self) -> Sequence[Contribution]:
        lineage = state_at(self.hub, self.repo, self.sides.main).lineage
        return lineage.contributions if lineage is not None else ()


def _named(pulls: Sequence[Pull]) -> str:
    return ", ".join(f"#{discussion.number}" for discussion, _ in pulls)


def _base_recipe(material: Material) -> dict[str, Any]:
    base = material.base.reference
    return {"merge_method": "linear", "models": [{"model": base, "parameters": {"weight": 1.0}}],
            "dtype": "float32", "tokenizer_source": "base"}  # fmt: skip
