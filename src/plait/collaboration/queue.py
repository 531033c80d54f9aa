# SPDX-License-Identifier: Apache-2.0
"""Asking for the merge queue: which of the open pull requests are best merged together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from plait.collaboration import jobs
from plait.collaboration.requests import describe_job
from plait.errors import BadInput, Conflict, NotFound
from plait.hub import Actor, Hub, Repository
from plait.hub.database import Job
from plait.hub.git.store import MAIN
from plait.hub.repositories.discussions import pull_ref

KIND = "queue"
MOST = 200
"""Pull requests that may be named."""
JUDGED = 3
"""Sets that the gate may judge at most."""
_TERMS = ("numbers", "land", "judge", "proposal", "heads")


def request_queue(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    numbers: Sequence[int] = (),
    *,
    land: bool = False,
    proposal: int | None = None,
    judge: int = JUDGED,
) -> Job:
    """Queue the job that tries open contributions together; asking again gives the same job.

    What lands is what was looked at: with ``proposal``, exactly the set that it showed, on the main
    that it was judged on; without, pull requests as they are now, which is the standing proposal
    where nothing has changed since.

    Args:
        hub: where.
        actor: must be able to merge.
        repo: a model.
        numbers: the pull requests to try; all open ones if left out.
        land: merge the best set if it passes the gate, instead of only proposing it.
        proposal: the queue's job whose set is to land; nothing else is tried.
        judge: sets that the gate may judge until one passes; they share its error rate.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not.
        BadInput: it is no model, too many are named, or terms contradict each other.
        NotFound: there is no such proposal.
        Conflict: the queue is under way on other terms, or what was proposed has changed.
    """
    hub.repositories.require(actor, repo, "repo.merge")
    if repo.type != "model":
        raise BadInput("Only a model's pull requests are fused; merge these one by one.")
    wanted = sorted(set(numbers))
    if len(wanted) > MOST:
        raise BadInput(f"Name at most {MOST} pull requests, or none to try all open ones.")
    if not 1 <= judge <= JUDGED:
        raise BadInput(f"The gate judges 1 to {JUDGED} sets, not {judge}.")
    if proposal is not None and (not land or wanted):
        raise BadInput("A proposal is given to land it, and names its pull requests itself.")
    payload: dict[str, Any] = {"numbers": wanted, "land": land, "judge": judge}
    if land:
        hub.protection.require_merger(actor, repo, MAIN)
        if proposal is None:
            payload["heads"] = open_heads(hub, repo, wanted)
            proposal = _standing(hub, repo, payload)
        if proposal is not None:
            payload |= _proposed(hub, repo, proposal)
    if actor.is_system:
        payload["system"] = True
    with hub.session(write=True) as session:
        running = session.scalar(
            select(Job).where(
                Job.repository_id == repo.id,
                Job.kind == KIND,
                Job.state.in_(("queued", "running")),
            )
        )
        if running is not None:
            if all(running.payload.get(key) == payload.get(key) for key in _TERMS):
                return running
            raise Conflict(
                f"The queue is under way as job {running.id}, on other terms. Cancel it, or wait."
            )
        return jobs.enqueue_in(
            session,
            KIND,
            payload,
            repo=repo.id,
            requested_by=actor.user_id,
            key=f"{KIND}:{repo.id}",
        )


def queue_state(hub: Hub, repo: Repository) -> dict[str, Any]:
    """Return the newest job of the queue, what it proposed, and where the candidate is."""
    with hub.session() as session:
        job = session.scalar(
            select(Job)
            .where(Job.repository_id == repo.id, Job.kind == KIND)
            .order_by(Job.id.desc())
            .limit(1)
        )
    if job is None:
        return {"job": None, "report": None, "preview": None}
    report = job.result if job.state == "succeeded" else None
    return {"job": describe_job(job), "report": report, "preview": describe_preview(hub, repo)}


def describe_preview(hub: Hub, repo: Repository) -> dict[str, Any] | None:
    """Return the revision at which the candidate of the proposed set can be had before it lands."""
    found = hub.previews.get_queue(repo)
    if found is None:
        return None
    return {
        "revision": found.revision,
        "commitId": found.oid,
        "main": found.main,
        "heads": {str(number): head for number, head in sorted(found.heads.items())},
    }


def changed_since(hub: Hub, repo: Repository, report: Mapping[str, Any]) -> str | None:
    """Say in a sentence why a proposal cannot land as it was shown any more; None if it can."""
    if hub.git.head(repo, MAIN) != report["main"]:
        return "main moved since this set was proposed."
    for number in report["chosen"]:
        try:
            status = hub.discussions.get(repo, number).status
        except NotFound:
            status = "deleted"
        if status != "open":
            return f"Pull request {number} is {status} since this set was proposed."
        if hub.git.head(repo, pull_ref(number)) != report["heads"][str(number)]:
            return f"Pull request {number} changed since this set was proposed."
    return None


def _proposed(hub: Hub, repo: Repository, number: int) -> dict[str, Any]:
    """Return what a job needs to land exactly what another proposed."""
    with hub.session() as session:
        job = session.get(Job, number)
    if job is None or job.kind != KIND or job.repository_id != repo.id:
        raise NotFound(f"The queue of '{repo.full_name}' has no job {number}.")
    report = dict(job.result or {}) if job.state == "succeeded" else {}
    able = report.get("chosen") and report.get("judged") and report.get("verdict") == "passes"
    if not able or report.get("landed"):
        raise Conflict(f"Job {number} proposes no set that could land; try the queue again.")
    changed = changed_since(hub, repo, report)
    if changed is not None:
        raise Conflict(f"{changed} Try the queue again and look at what it proposes now.")
    chosen = [int(one) for one in report["chosen"]]
    return {
        "proposal": number,
        "numbers": chosen,
        "heads": {str(one): report["heads"][str(one)] for one in chosen},
        "main": report["main"],
        "confidence": report["judged"][-1]["confidence"],
        "report": {key: value for key, value in report.items() if key != "merge"},
        "asked": _asked(report),
    }


def _asked(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the question that a proposal's set was to hidden items, and what the items were."""
    question = report["judged"][-1].get("question")
    if question is None:
        return None  # proposed by a version that did not write it down
    rows = (report.get("merge") or {}).get("data", ())
    items = {row["task"]: row["items"] for row in rows if row["role"] == "gate"}
    return {"job": report["job"], "candidate": question, "items": items}


def open_heads(hub: Hub, repo: Repository, wanted: Collection[int] = ()) -> dict[str, str]:
    """Return the heads of the pull requests that are open now, by number; of these alone, if any.

    Also of those that cannot be fused as they are.
    """
    found = {}
    for one in hub.discussions.list(repo, pull_request=True, status="open", limit=1000):
        head = hub.git.head(repo, pull_ref(one.number))
        if one.status == "open" and head is not None and (not wanted or one.number in wanted):
            found[str(one.number)] = head
    return found


def _standing(hub: Hub, repo: Repository, payload: Mapping[str, Any]) -> int | None:
    """Return the job that proposed what trying again now would propose; None without one.

    Nothing may be another than it was: main, the open pull requests, the terms; and whoever is in
    the set must be allowed to land, since otherwise the best of the others is looked for.
    """
    with hub.session() as session:
        job = session.scalar(
            select(Job)
            .where(Job.repository_id == repo.id, Job.kind == KIND, Job.state == "succeeded")
            .order_by(Job.id.desc())
            .limit(1)
        )
    report = (job.result or {}) if job is not None else {}
    if job is None or report.get("open") != payload["heads"] or report.get("verdict") != "passes":
        return None
    if any(job.payload.get(key) != payload[key] for key in ("numbers", "judge")):
        return None
    if report.get("landed") or not report["chosen"] or changed_since(hub, repo, report):
        return None
    for number in report["chosen"]:
        if hub.protection.requirements(repo, hub.discussions.get(repo, number)).missing:
            return None
    return job.id
