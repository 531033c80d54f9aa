# SPDX-License-Identifier: Apache-2.0
"""The queue job: many open contributions are tried together, and the best passing set is proposed.

The best set by validation items is fused as a merge would be and judged on the gate's items; if it
does not pass, the next best is, up to `MOST` sets. Each look at the gate's items is a chance to
pass by luck, so the gate's error rate is shared out among them before the first look (`levels`):
the chance that any of them passes wrongly is at most that of one merge (Bonferroni). A set lands
only where that was asked: exactly what a proposal showed, or the best of what was open then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plait.collaboration import events
from plait.collaboration.merging import landing, licensing, standing
from plait.collaboration.merging.builder import Built
from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.handler import check_still_allowed
from plait.collaboration.merging.report import HIDDEN_DIGITS, verdict_text
from plait.collaboration.merging.selection import Selection
from plait.collaboration.merging.states import state_at
from plait.collaboration.merging.together import Pull, QueueBuilder
from plait.errors import Conflict, NotFound, PlaitError, PreconditionFailed, TooManyRequests
from plait.hub import SYSTEM, Hub, Repository
from plait.hub.database import Job
from plait.hub.git.store import MAIN
from plait.hub.repositories.discussions import pull_ref

if TYPE_CHECKING:
    from plait.collaboration.worker import JobContext

TRIES = 3
MOST = 3
"""Sets that are judged by the gate at most."""
DIGITS = 6


def levels(most: int, alpha: float) -> list[float]:
    """Share out the chance of passing wrongly among the sets that may be judged.

    The first, on which most hangs, has half of it and the others the rest alike; one alone has all.
    Their sum is ``alpha``, so that by Bonferroni's inequality the whole queue errs no more often
    than one merge.
    """
    return [alpha] if most == 1 else [alpha / 2, *[alpha / 2 / (most - 1)] * (most - 1)]


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
    for attempt in range(TRIES):
        main = hub.git.head(repo, MAIN)
        if main is None:
            raise Conflict("main is gone; there is nothing to merge into.")
        pulls, excluded = _pulls(hub, repo, main, job)
        if job.payload.get("proposal"):
            builder, built, report = _again(context, repo, pulls, excluded, main)
        else:
            if not pulls:
                raise Conflict(
                    "No open pull request changes weights that can be fused. "
                    + " ".join(f"#{n}: {why}" for n, why in sorted(excluded.items()))
                )
            builder, built, report = _propose(context, repo, pulls, excluded, main, attempt)
        if builder is None or built is None:
            return report
        # It can be downloaded, evaluated and called before anybody decides.
        hub.previews.put_queue(repo, builder.preview(built))
        if not job.payload.get("land") or built.verdict != "passes":
            return report
        context.check()
        for discussion, sides in builder.pulls:
            check_still_allowed(hub, job, repo, discussion)
            fresh = hub.discussions.get(repo, discussion.number)
            head = hub.git.head(repo, pull_ref(discussion.number))
            if fresh.status != "open" or head != sides.head:
                raise Conflict(
                    f"Pull request {discussion.number} changed while the queue was at work, so "
                    "nothing was merged. Look at it, then ask for the queue again."
                )
        context.note(report)
        try:
            oid = builder.land(built)
        except PreconditionFailed:
            if job.payload.get("proposal"):
                raise Conflict(MOVED) from None
            context.log("main moved meanwhile; trying the sets anew over what it is now")
            continue
        return _complete(hub, repo, report, oid)
    raise Conflict("main kept moving while the queue was tried. Ask for it again.")


MOVED = (
    "main moved since this set was proposed, so nothing was merged. Try the queue again and look "
    "at what it proposes now."
)

_Found = tuple[QueueBuilder | None, Built | None, dict[str, Any]]


def _propose(
    context: JobContext,
    repo: Repository,
    pulls: list[Pull],
    excluded: dict[int, str],
    main: str,
    attempt: int,
) -> _Found:
    """Choose the best set that passes; return what was judged last, and the report."""
    from plait.collaboration.queue import open_heads

    opened = open_heads(context.hub, repo, context.job.payload.get("numbers") or ())
    trial = QueueBuilder(context, repo, pulls, credited=False)
    best, material = trial.choose_set()
    excluded |= trial.excluded
    digits = HIDDEN_DIGITS if trial.hidden() else DIGITS
    titles = {discussion.number: discussion.title for discussion, _ in pulls}
    most = int(context.job.payload.get("judge") or MOST)
    report: dict[str, Any] = {
        "kind": "queue",
        "job": context.job.id,
        "main": main,
        "tried": sorted(titles),
        "heads": {str(d.number): s.head for d, s in pulls},
        "open": opened,
        "titles": {str(number): title for number, title in titles.items()},
        "excluded": [{"number": n, "reason": why} for n, why in sorted(excluded.items())],
        "subsets": 2 ** len(material.plan.contributions),
        "judged": [],
        "may_judge": most,
        "confidence": trial.project.gate.confidence,
        "verdict": None,
        "reason": "No set of them is better than main.",
        "landed": None,
    }
    first: tuple[QueueBuilder, Built] | None = None
    found: tuple[QueueBuilder, Built] | None = None
    chosen = best
    if best.chosen:
        found, first = _judge(context, repo, trial, best, report, attempt * most)
    if found is not None and frozenset(d.number for d, _ in found[0].pulls) != best.chosen:
        chosen = trial.costs_of(frozenset(d.number for d, _ in found[0].pulls))
    report |= _told(chosen, best, trial, digits)
    if best.chosen and found is None and first is None:
        report["reason"] = report["judged"][-1]["reason"]
    shown = found or first
    if shown is not None:
        built = shown[1]
        made = {**built.report, "kind": "queue"}
        report |= {"verdict": built.verdict, "reason": made["reason"], "merge": made}
    report["cost"] = trial.cost()
    return (*shown, report) if shown is not None else (None, None, report)


def _judge(
    context: JobContext,
    repo: Repository,
    trial: QueueBuilder,
    best: Selection,
    report: dict[str, Any],
    before: int,
) -> tuple[tuple[QueueBuilder, Built] | None, tuple[QueueBuilder, Built] | None]:
    """Judge the best sets one after the other until one passes; note each in the report.

    Their order is fixed by validation items alone, before the gate is asked. Each leaves out
    somebody whom all before it had: if a set fails for one of its members, so does one that still
    has it.

    ``before``: sets that this job judged over an earlier main; each is a question to hidden items.

    Returns:
        The one that passes and the first that was judged, with their builders; None without one.
    """
    shares = levels(report["may_judge"], 1 - report["confidence"])
    seen: list[Any] = []
    common = best.chosen
    first: tuple[QueueBuilder, Built] | None = None
    for chosen in (best.chosen, *best.others):
        if len(report["judged"]) == len(shares):
            break
        recipe = trial.recipe_of(chosen)
        if recipe in seen or (seen and common and common <= chosen):
            continue  # also the same weights as one that was judged: a free rider more or less
        seen.append(recipe)
        common &= chosen
        number = len(report["judged"]) + 1
        row: dict[str, Any] = {
            "numbers": sorted(chosen),
            "confidence": 1 - shares[number - 1],
            "question": before + number,
            "verdict": None,
        }
        builder = QueueBuilder(
            context,
            repo,
            [pull for pull in trial.pulls if pull[0].number in chosen],
            credited=bool(context.job.payload.get("land")),
            confidence=row["confidence"],
            candidate=row["question"],
        )
        try:
            built = builder.build()
        except (Conflict, TooManyRequests) as error:
            # Files or licences contradict after all; or a hidden split may not be asked again.
            if isinstance(error, TooManyRequests) and number == 1:
                raise
            report["judged"].append({**row, "reason": error.message})
            if isinstance(error, TooManyRequests):
                break
            continue
        report["judged"].append({**row, "verdict": built.verdict, "reason": built.report["reason"]})
        context.log(f"set {number} of at most {len(shares)}: {built.verdict}")
        first = first or (builder, built)
        if built.verdict == "passes":
            return (builder, built), first
    return None, first


def _told(chosen: Selection, best: Selection, trial: QueueBuilder, digits: int) -> dict[str, Any]:
    """Return the report's part on the chosen set, and on the best where that is another."""
    part: dict[str, Any] = {
        "chosen": sorted(chosen.chosen),
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
        "known_before": trial.known,
    }
    if chosen.chosen != best.chosen:
        part["best"] = {
            "numbers": sorted(best.chosen),
            "scores": _rounded(best.scores, digits),
        }
    return part


def _again(
    context: JobContext, repo: Repository, pulls: list[Pull], excluded: dict[int, str], main: str
) -> _Found:
    """Judge exactly the set that a proposal showed, at its confidence, to land it.

    Raises:
        Conflict: it is not what was proposed any more.
    """
    payload = context.job.payload
    proposed = dict(payload["report"])
    if main != payload["main"]:
        raise Conflict(MOVED)
    gone = [n for n in payload["numbers"] if n not in {d.number for d, _ in pulls}]
    if gone:
        raise Conflict(
            "What was proposed is not as it was, so nothing was merged. "
            + " ".join(f"#{n}: {excluded.get(n, 'It is not open.')}" for n in gone)
        )
    builder = QueueBuilder(
        context,
        repo,
        pulls,
        credited=True,
        confidence=float(payload["confidence"]),
        asked=payload.get("asked"),
    )
    built = builder.build()
    if builder.excluded:
        raise Conflict(" ".join(f"#{n}: {why}" for n, why in sorted(builder.excluded.items())))
    made = {**built.report, "kind": "queue"}
    report = {
        **proposed,
        "job": context.job.id,
        "proposal": payload["proposal"],
        "verdict": built.verdict,
        "reason": made["reason"],
        "merge": made,
        "landed": None,
        "cost": builder.cost(),
    }
    return builder, built, report


def ended(hub: Hub, job: Job, reason: str) -> None:
    """Say nothing: a queue belongs to no single pull request; its own page shows the reason."""


def _pulls(hub: Hub, repo: Repository, main: str, job: Job) -> tuple[list[Pull], dict[int, str]]:
    """Return the open pull requests that may be tried, and why others may not.

    Where the set is to land, only what was there when that was asked, as it was.
    """
    from plait.collaboration.requests import needs_fusion

    wanted = {int(number) for number in job.payload.get("numbers") or ()}
    pinned: Mapping[str, str] | None = job.payload.get("heads")
    found: list[Pull] = []
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
        if pinned is not None and pinned.get(str(number)) != head:
            told = "changed" if str(number) in pinned else "was opened"
            excluded[number] = f"It {told} after this was asked for. Look at it, then ask again."
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


def _rounded(scores: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: round(score, digits) for name, score in scores.items()}


def _mean(scores: Mapping[str, float], digits: int) -> float:
    return round(sum(scores.values()) / len(scores), digits)
