# SPDX-License-Identifier: Apache-2.0
"""The queue job: many open contributions are tried together, and the best set is proposed.

Sets are fused in memory and measured on validation items (`selection`); what was measured is kept
in the database by content, so that a job that is killed goes on where it was. The chosen set alone
is fused as a merge would be, and judged once on the gate's items. It lands only where that was
asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from plait import licences
from plait.collaboration import events
from plait.collaboration.merging import access, landing, licensing, standing
from plait.collaboration.merging.builder import Builder, Built
from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.contamination import Flag
from plait.collaboration.merging.credit import Credits, shapley
from plait.collaboration.merging.crew import Crew
from plait.collaboration.merging.gate import Measurements
from plait.collaboration.merging.gather import Gathering
from plait.collaboration.merging.handler import check_still_allowed
from plait.collaboration.merging.history import is_ancestor, made_by
from plait.collaboration.merging.licensing import LicenceState
from plait.collaboration.merging.material import Material, state_at
from plait.collaboration.merging.plan import Plan, State, make_plan
from plait.collaboration.merging.report import HIDDEN_DIGITS, verdict_text
from plait.collaboration.merging.search import candidates
from plait.collaboration.merging.selection import Coalition, Selection, select
from plait.errors import BadInput, Conflict, NotFound, PlaitError, PreconditionFailed
from plait.hub import (
    SYSTEM,
    Author,
    CopyFile,
    Delete,
    Discussion,
    Hub,
    Operation,
    Repository,
)
from plait.hub.database import Job
from plait.hub.git.store import MAIN
from plait.hub.repositories.discussions import pull_ref
from plait.lineage import Lineage
from plait.widening import memory_of

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

TRIES = 3
_READ, _CHOSEN = 0.05, 0.6
DIGITS = 6


class QueueBuilder(Builder):
    """Makes and judges main with several pull requests together."""

    def __init__(
        self,
        context: JobContext,
        repo: Repository,
        pulls: Sequence[tuple[Discussion, Sides]],
        *,
        credited: bool,
    ) -> None:
        super().__init__(context, repo, *pulls[0])
        self.pulls = list(pulls)
        self.credited_too = credited
        self.excluded: dict[int, str] = {}
        """Pull requests that cannot be fused, and why."""

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

    def choose_set(self) -> tuple[Selection, Material, int]:
        """Choose which to merge together, on validation items; return also how many were known."""
        self.say(0.0, "reading the models")
        material = self.gather()
        self.licence = self._licence()
        tasks = self.validation()
        self.support = self._support_key()
        here = {discussion.number for discussion, _ in self.pulls}
        held = [one.number for one in material.plan.contributions if one.number not in here]
        places = {one.number: place for place, one in enumerate(material.plan.contributions)}
        known = 0
        with Crew(self.context, memory_of(material.base.folder)) as self.crew:

            def ask(sets: Sequence[Coalition]) -> list[dict[str, float]]:
                nonlocal known
                works = []
                for one in sets:
                    numbers = sorted({*held, *one})
                    chosen = material.plan.distinct([places[number] for number in numbers])
                    if chosen:
                        candidate = candidates(self.project.fusion, len(chosen))[0]
                        recipe = self.recipe(material, candidate, chosen)
                    else:
                        recipe = _base_recipe(material)
                    known += tasks.has(self._recipe_key(material, recipe))
                    works.append(partial(self.measure_recipe, material, recipe, tasks))
                low = _READ + (_CHOSEN - _READ) * min(1.0, self._asked / (8 * len(here) + 2))
                self._asked += len(works)
                high = _READ + (_CHOSEN - _READ) * min(1.0, self._asked / (8 * len(here) + 2))
                return self.crew.run(
                    works, (low, high), lambda done: f"trying set {self._asked - len(works) + done}"
                )

            margins = {t.name: t.margin for t in self.project.tasks if t.role == "protected"}
            return select(here, ask, margins=margins), material, known

    _asked = 0

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

    # -- judging and landing the chosen set -------------------------------------------------------

    def look(self, *_: Any) -> list[Flag]:
        """Look for nothing here: a merge of each alone would."""
        return []

    def credit(self, material: Material, *rest: Any) -> Credits:
        """Share the gain among the contributions, where the set is to land."""
        if self.credited_too:
            return super().credit(material, *rest)
        judged, models = rest[1], rest[2]
        scores = judged.scores(models["base"])
        return shapley((), lambda _: scores)

    def credit_part(self, credits: Credits, material: Material) -> dict[str, Any] | None:
        """Return the report's part on credit; none for what is only proposed."""
        return super().credit_part(credits, material) if self.credited_too else None

    def plan_files(self, weights: Sequence[Operation]) -> list[Operation]:
        """Merge the files of all pull requests, one after the other, into main's."""
        git, main = self.hub.git, self.sides.main
        current = main
        for _, sides in self.pulls:
            step = Sides(self.hub, self.repo, sides.fork, current, sides.head)
            operations = [
                one
                for one in landing.plan_files(step, [])
                if not (isinstance(one, Delete) and landing.is_weights(one.path))
            ]
            current = git.write_commit(
                self.repo,
                base=current,
                operations=operations,
                message="files of the queue",
                author=Author("plait"),
            )
        both = Sides(self.hub, self.repo, main, main, current)
        changes: list[Operation] = []
        for path in both.changed():
            changes.append(
                CopyFile(path, path, revision=current) if path in both.at_head else Delete(path)
            )
        mine = Sides(self.hub, self.repo, main, main, main)
        return [*changes, *landing.plan_files(mine, weights)]

    def parents(self) -> list[str]:
        """Return main and every pull request that lands."""
        return [self.sides.main, *(sides.head for _, sides in self.pulls)]

    def message(self, built: Built) -> str:
        """Name all that lands."""
        named = ", ".join(f"#{discussion.number}" for discussion, _ in self.pulls)
        return (
            f"Merge pull requests {named} together\n\n"
            f"Fused by {built.report['method']}. {built.report['reason']}\n"
        )

    def _licence(self) -> LicenceState:
        """Judge the licences of main and of all that is queued."""
        stated: dict[str, str | None] = {"main": self.sides.licence(self.sides.main)}
        lineage = state_at(self.hub, self.repo, self.sides.main).lineage
        for one in lineage.contributions if lineage is not None else ():
            stated[f"#{one.number}"] = one.licence
        for discussion, sides in self.pulls:
            stated[f"#{discussion.number}"] = sides.licence(sides.head)
        return LicenceState(stated, licences.judge(stated), None, True)


def run(context: JobContext) -> dict[str, Any] | None:
    """Do a queue job and return what it proposes, or landed.

    Raises:
        PlaitError: why nothing could be proposed, in a sentence.
    """
    hub, job = context.hub, context.job
    with hub.session() as session:
        repo = session.get(Repository, job.repository_id)
    if repo is None:
        raise NotFound("The repository was deleted meanwhile.")
    done = _landed_before(hub, repo, job)
    if done is not None:
        return done
    for _ in range(TRIES):
        main = hub.git.head(repo, MAIN)
        if main is None:
            raise Conflict("main is gone; there is nothing to merge into.")
        pulls, excluded = _pulls(hub, repo, main, job)
        if not pulls:
            raise Conflict(
                "No open pull request changes weights that can be fused. "
                + " ".join(f"#{n}: {why}" for n, why in sorted(excluded.items()))
            )
        found = _propose(context, repo, pulls, excluded, main)
        builder, built, report = found
        if builder is None or built is None or not job.payload.get("land"):
            return report
        if built.verdict != "passes":
            return report
        context.check()
        for discussion, _sides in builder.pulls:
            check_still_allowed(hub, job, repo, discussion)
        context.note(report)
        try:
            oid = builder.land(built)
        except PreconditionFailed:
            context.log("main moved meanwhile; trying the sets anew over what it is now")
            continue
        return _complete(hub, repo, report, oid)
    raise Conflict("main kept moving while the queue was tried. Ask for it again.")


def _propose(
    context: JobContext,
    repo: Repository,
    pulls: list[tuple[Discussion, Sides]],
    excluded: dict[int, str],
    main: str,
) -> tuple[QueueBuilder | None, Built | None, dict[str, Any]]:
    trial = QueueBuilder(context, repo, pulls, credited=False)
    chosen, material, known = trial.choose_set()
    excluded |= trial.excluded
    digits = HIDDEN_DIGITS if trial.hidden() else DIGITS
    titles = {discussion.number: discussion.title for discussion, _ in pulls}
    report: dict[str, Any] = {
        "kind": "queue",
        "job": context.job.id,
        "main": main,
        "tried": sorted(titles),
        "chosen": sorted(chosen.chosen),
        "heads": {str(d.number): s.head for d, s in pulls},
        "titles": {str(number): title for number, title in titles.items()},
        "excluded": [{"number": n, "reason": why} for n, why in sorted(excluded.items())],
        "left_out": [
            {"number": number, "tasks": _rounded(cost, digits), "average": _mean(cost, digits)}
            for number, cost in sorted(chosen.costs.items())
        ],
        "validation": {
            "split": trial.project.fusion.search_split,
            "main": _rounded(chosen.none, digits),
            "chosen": _rounded(chosen.scores, digits),
        },
        "evaluations": chosen.asked,
        "known_before": known,
        "subsets": 2 ** len(material.plan.contributions),
        "verdict": None,
        "reason": "No set of them is better than main.",
        "landed": None,
    }
    if not chosen.chosen:
        report["cost"] = trial.cost()
        return None, None, report
    final = QueueBuilder(
        context,
        repo,
        [pair for pair in trial.pulls if pair[0].number in chosen.chosen],
        credited=bool(context.job.payload.get("land")),
    )
    built = final.build()
    made = {**built.report, "kind": "queue"}
    report |= {"verdict": built.verdict, "reason": made["reason"], "merge": made}
    report["cost"] = trial.cost()
    return final, built, report


def ended(hub: Hub, job: Job, reason: str) -> None:
    """Say nothing: a queue belongs to no single pull request; its own page shows the reason."""


def _pulls(
    hub: Hub, repo: Repository, main: str, job: Job
) -> tuple[list[tuple[Discussion, Sides]], dict[int, str]]:
    """Return the open pull requests that may be tried, and why others may not."""
    from plait.collaboration.requests import needs_fusion

    wanted = {int(number) for number in job.payload.get("numbers") or ()}
    found: list[tuple[Discussion, Sides]] = []
    excluded: dict[int, str] = {}
    lineage = state_at(hub, repo, main).lineage
    held = lineage.contributions if lineage is not None else ()
    for discussion in hub.discussions.list(repo, pull_request=True, status="open", limit=1000):
        number = discussion.number
        if discussion.base_ref != MAIN or (wanted and number not in wanted):
            continue
        if discussion.status != "open":
            excluded[number] = "It is a draft."
            continue
        head = hub.git.head(repo, pull_ref(number))
        fork = hub.git.merge_base(repo, main, head) if head else None
        if head is None or fork is None or hub.git.is_ancestor(repo, head, main):
            excluded[number] = "It has nothing that main lacks."
            continue
        sides = Sides(hub, repo, fork, main, head)
        try:
            if not needs_fusion(sides, sides.changed()):
                excluded[number] = "It changes no weights; it is merged at once by itself."
                continue
            licensing.require(hub, discussion, sides, held)
            landing.plan_files(sides, [])
            if job.payload.get("land"):
                check_still_allowed(hub, job, repo, discussion)
        except PlaitError as error:
            excluded[number] = error.message
            continue
        found.append((discussion, sides))
    for number in sorted(wanted - {d.number for d, _ in found} - set(excluded)):
        excluded[number] = "There is no open pull request of this number."
    return sorted(found, key=lambda pair: pair[0].number), excluded


def _landed_before(hub: Hub, repo: Repository, job: Job) -> dict[str, Any] | None:
    """Complete what an attempt landed that was killed right after; None if none did."""
    report = dict(job.result or {})
    main = hub.git.head(repo, MAIN)
    heads: Mapping[str, str] = report.get("heads") or {}
    chosen = [heads[str(number)] for number in report.get("chosen") or ()]
    if not chosen or main is None or report.get("verdict") != "passes":
        return None
    for info in hub.git.log(repo, main, 1000):
        if info.parents[1:] == tuple(chosen):
            return _complete(hub, repo, report, info.oid)
    return None


def _complete(hub: Hub, repo: Repository, report: dict[str, Any], oid: str) -> dict[str, Any]:
    """Bring the records up to the branch; each step can be done twice."""
    report["landed"] = oid
    made = {**report["merge"], "landed": oid}
    report["merge"] = made
    named = ", ".join(f"#{number}" for number in report["chosen"])
    for number in report["chosen"]:
        discussion = hub.discussions.get(repo, number)
        if not events.said(hub, discussion.id, "verdict", report["job"]):
            text = f"Merged by the queue, together: {named}.\n\n{verdict_text(made)}"
            events.say(hub, discussion, text, {**made, "kind": "verdict"})
        hub.discussions.mark_merged(SYSTEM, discussion, oid)
    standing.record(hub, repo, made, oid)
    hub.repositories.refresh(repo)
    return report


def _base_recipe(material: Material) -> dict[str, Any]:
    base = material.base.reference
    return {"merge_method": "linear", "models": [{"model": base, "parameters": {"weight": 1.0}}],
            "dtype": "float32", "tokenizer_source": "base"}  # fmt: skip


def _rounded(scores: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: round(score, digits) for name, score in scores.items()}


def _mean(scores: Mapping[str, float], digits: int) -> float:
    return round(sum(scores.values()) / len(scores), digits)
