# SPDX-License-Identifier: Apache-2.0
"""The withdrawal job: main is fused without one contribution, judged against main, and landed.

The weights are those that main would have if the contribution had never been merged. Killed at any
point it can be done again, as a merge can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plait import licences
from plait.collaboration import events
from plait.collaboration.merging import adapters, landing, standing
from plait.collaboration.merging.builder import Builder, Built
from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.contamination import Flag
from plait.collaboration.merging.drivers.weights import refuse_tasks
from plait.collaboration.merging.history import is_ancestor, made_by
from plait.collaboration.merging.licensing import LicenceState
from plait.collaboration.merging.material import Material
from plait.collaboration.merging.plan import everything, plan_without
from plait.collaboration.merging.report import verdict_text
from plait.collaboration.merging.search import Candidate
from plait.collaboration.merging.states import state_at
from plait.errors import BadInput, Conflict, NotFound, PreconditionFailed
from plait.fusion.weights import FusionResult
from plait.hub import AddBytes, AddPointer, Discussion, Hub, Repository
from plait.hub.database import Job
from plait.hub.git.store import MAIN
from plait.lineage import FILE as LINEAGE
from plait.lineage import Contribution, Lineage, Withdrawal, dump_lineage
from plait.recipes.project import FILE as PROJECT
from plait.recipes.project import ProjectSpec, parse_project

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

TRIES = 3
"""How often the whole is done anew because main moved meanwhile."""
BASE_ALONE = Candidate.of("base")
"""What is left when the only contribution is withdrawn: no fusion, the base as it is."""


class WithdrawalBuilder(Builder):
    """Makes and judges main without one contribution."""

    def __init__(
        self, context: JobContext, repo: Repository, discussion: Discussion, main: str
    ) -> None:
        super().__init__(context, repo, discussion, Sides(context.hub, repo, main, main, main))
        self.state = state_at(context.hub, repo, main)
        if self.state.fused is None:
            raise Conflict(
                "main's weights were not fused by the hub, or were replaced since; there is no "
                "contribution in them that could be withdrawn."
            )
        self.before: Lineage = self.state.fused
        self.made_by = made_by(context.hub, repo)

    def gather(self) -> Material:
        """Bring together all that main is made of but the withdrawn contribution."""
        number = self.discussion.number
        ancestor = is_ancestor(self.hub, self.repo)
        plan = plan_without(self.before, number, ancestor, self.made_by)
        gone = self._gone()
        newest = self.gathering.model(gone, gone.base or self.before.base)
        return self.gathering.material(plan, newest)

    def choose(self, material: Material, searched: Any) -> tuple[Any, Candidate]:
        """Choose method and coefficients as a merge of the same contributions would."""
        if not material.contributions:
            return None, BASE_ALONE
        return super().choose(material, searched)

    def recipe(
        self, material: Material, candidate: Candidate, chosen: Any = None
    ) -> dict[str, Any]:
        """Write the candidate as a recipe; empty for the base alone."""
        return {} if candidate == BASE_ALONE else super().recipe(material, candidate, chosen)

    def fuse(self, material: Material, recipe: Mapping[str, Any]) -> FusionResult:
        """Write the candidate; without contributions it is the base, byte for byte."""
        if recipe:
            return super().fuse(material, recipe)
        base = material.base
        return FusionResult(base.folder, {}, dict(base.origin.files), 0.0, 0.0, 0)

    def look(self, *_: Any) -> list[Flag]:
        """Look for nothing: what stays was looked at when it was merged."""
        return []

    def withdrawn(self) -> tuple[Withdrawal, ...]:
        """Return what was withdrawn before, and this."""
        gone = self._gone()
        this = Withdrawal(gone.number, gone.revision, self._merger(), landing.moment())
        return (*(w for w in super().withdrawn() if w.number != gone.number), this)

    def parents(self) -> list[str]:
        """Return the one parent of the landing: nothing is merged."""
        return [self.sides.main]

    def message(self, built: Built) -> str:
        """Say what was withdrawn."""
        number = self.discussion.number
        return (
            f"Withdraw the contribution of pull request #{number}: {self.discussion.title}\n\n"
            f"The weights are those that main would have without it. {built.report['reason']}\n"
        )

    def _gone(self) -> Contribution:
        found, _ = everything(self.before, self.made_by)
        if self.discussion.number not in found:
            raise NotFound(
                f"main holds no contribution of pull request {self.discussion.number}; "
                "`plait contributions` lists those that it holds."
            )
        return found[self.discussion.number]

    def _licence(self) -> LicenceState:
        """Judge the licences of what stays; taking something out never waits for a person."""
        left, _ = everything(self.before, self.made_by)
        stated = {"main": self.sides.licence(self.sides.main)} | {
            f"#{one.number}": one.licence
            for one in left.values()
            if one.number != self.discussion.number
        }
        return LicenceState(stated, licences.judge(stated), None, False)


def run(context: JobContext) -> dict[str, Any] | None:
    """Do a withdrawal job and return its report.

    Raises:
        PlaitError: why nothing landed, in a sentence for the discussion.
    """
    hub, job = context.hub, context.job
    repo, discussion = _records(hub, job)
    for _ in range(TRIES):
        main = hub.git.head(repo, MAIN)
        if main is None:
            raise Conflict("main is gone; there is nothing to withdraw from.")
        lineage = state_at(hub, repo, main).fused
        if lineage is not None and any(w.number == discussion.number for w in lineage.withdrawn):
            context.log("It was withdrawn already; completing the records.")
            return _complete(hub, repo, discussion, job, dict(job.result or {}), main)
        if lineage is not None and adapters.holds_adapter(lineage.output):
            try:
                return _withdraw_adapter(context, repo, discussion, main, lineage)
            except PreconditionFailed:
                context.log("main moved meanwhile; doing the withdrawal anew over what it is now")
                continue
        builder = WithdrawalBuilder(context, repo, discussion, main)
        built = builder.build()
        report = {**built.report, "kind": "withdrawal"}
        if built.verdict == "regresses" and not job.payload.get("anyway"):
            _post(hub, discussion, report)
            return report
        context.check()
        context.note(report)
        try:
            oid = builder.land(built)
        except PreconditionFailed:
            context.log("main moved meanwhile; doing the withdrawal anew over what it is now")
            continue
        return _complete(hub, repo, discussion, job, report, oid)
    raise Conflict("main kept moving while this was withdrawn. Ask for it again.")


def _withdraw_adapter(
    context: JobContext, repo: Repository, discussion: Discussion, main: str, lineage: Lineage
) -> dict[str, Any]:
    """Combine main's adapter without one contribution, and land it; adapters are not judged.

    Raises:
        PreconditionFailed: main moved meanwhile.
    """
    hub, job = context.hub, context.job
    made = made_by(hub, repo)
    found, _ = everything(lineage, made)
    gone = found.get(discussion.number)
    if gone is None:
        raise NotFound(f"main holds no contribution of pull request {discussion.number}.")
    context.progress(0.1, "combining the adapters that stay")
    plan = plan_without(lineage, discussion.number, is_ancestor(hub, repo), made)
    sides = Sides(hub, repo, main, main, main)
    combined = adapters.combine_at(hub, repo, plan, _project(sides), context.check)
    account = hub.accounts.by_id(job.requested_by) if job.requested_by is not None else None
    by, at = account.name if account is not None else "plait", landing.moment()
    this = Withdrawal(gone.number, gone.revision, by, at)
    kept = (w for w in lineage.withdrawn if w.number != gone.number)
    document = adapters.lineage_of(plan, combined, (*kept, this), at)
    sha256, size = hub.blobs.write([combined.weights])
    with hub.session(write=True) as session:
        hub.grant_blob(session, repo, sha256, size)
    context.progress(0.9, "landing")
    left = len(combined.inputs) if plan.contributions else 0
    reason = (
        f"main is combined from the {left} adapters that stay."
        if left > 1
        else "One adapter is left, as it was proposed."
        if left
        else "main is the adapter that it was before any was merged."
    )
    oid = landing.land(
        hub,
        repo,
        MAIN,
        main,
        [
            AddPointer(adapters.WEIGHTS, sha256, size),
            AddBytes(adapters.CONFIG, combined.config),
            AddBytes(LINEAGE, dump_lineage(document)),
        ],
        parents=[main],
        message=(
            f"Withdraw the contribution of pull request #{discussion.number}: "
            f"{discussion.title}\n\nThe adapter is the one that main would have without it.\n"
        ),
        author=by,
    )
    report = {"kind": "withdrawal", "job": job.id, "reason": reason, "tasks": []}
    if not events.said(hub, discussion.id, "withdrawal", job.id):
        text = f"**Withdrawn.** {reason} Adapters are not judged without their base."
        events.say(hub, discussion, text, {**report, "landed": oid})
    return _complete(hub, repo, discussion, job, report, oid)


def _project(sides: Sides) -> ProjectSpec:
    content = sides.read(sides.main, PROJECT) if PROJECT in sides.at_main else b""
    project = parse_project(content) if content else ProjectSpec()
    refuse_tasks(project)
    return project


def ended(hub: Hub, job: Job, reason: str) -> None:
    """Tell the discussion that its withdrawal ended without a verdict, once."""
    if job.discussion_id is None or events.said(hub, job.discussion_id, "failed", job.id):
        return
    with hub.session() as session:
        discussion = session.get(Discussion, job.discussion_id)
    if discussion is not None:
        events.say(
            hub,
            discussion,
            f"**Not withdrawn.** {reason}",
            {"kind": "failed", "job": job.id, "reason": reason},
        )


def withdrawal_text(report: Mapping[str, Any]) -> str:
    """Say in Markdown what came of a withdrawal."""
    change = report["average"]["difference"]["effect"] * 100
    points = f"{change:+.1f}".replace("-", "−")
    if report.get("landed"):
        head = f"**Withdrawn: main is fused without this contribution ({points} on average).**"
    else:
        head = (
            f"**Without this contribution main regresses ({points} on average).** Nothing landed. "
            "Whoever contributed may withdraw all the same: a maintainer lands it with "
            "`plait contributions withdraw … --anyway` or on the page of contributions."
        )
    return "\n".join([head, *verdict_text(report).splitlines()[1:]])


def _complete(
    hub: Hub,
    repo: Repository,
    discussion: Discussion,
    job: Job,
    report: dict[str, Any],
    oid: str,
) -> dict[str, Any]:
    """Bring the records up to the branch; each step can be done twice."""
    report["landed"] = oid
    if report.get("tasks"):
        _post(hub, discussion, report)
        standing.record(hub, repo, report, oid)
    hub.repositories.refresh(repo)
    return report


def _post(hub: Hub, discussion: Discussion, report: dict[str, Any]) -> None:
    if not events.said(hub, discussion.id, "withdrawal", report["job"]):
        events.say(hub, discussion, withdrawal_text(report), {**report, "kind": "withdrawal"})


def _records(hub: Hub, job: Job) -> tuple[Repository, Discussion]:
    with hub.session() as session:
        repo = session.get(Repository, job.repository_id)
        discussion = session.get(Discussion, job.discussion_id)
    if repo is None or discussion is None:
        raise NotFound("The repository or pull request was deleted meanwhile.")
    if repo.type != "model":
        raise BadInput("Only models are fused from contributions.")
    return repo, discussion
