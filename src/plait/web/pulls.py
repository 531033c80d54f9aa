# SPDX-License-Identifier: Apache-2.0
"""A pull request: what was proposed, what the merge did, whether it is better, what to press."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from plait.collaboration import events as merge_events
from plait.collaboration import jobs, leaderboards
from plait.collaboration.merging.changes import Sides, driver_of
from plait.collaboration.requests import needs_fusion, request_merge
from plait.errors import NotFound
from plait.hub import Change, Discussion, can
from plait.hub.repositories.discussions import pull_ref
from plait.tables import format_of
from plait.web.conflicts import conflicts_shown
from plait.web.diffs import changes_shown
from plait.web.foreseen import foreseen_view
from plait.web.here import At, Here
from plait.web.jobs import JobView, job_view
from plait.web.language import Translator
from plait.web.licences import LicenceView, licence_view
from plait.web.protection import pull_state
from plait.web.report import MODELS, MergeView, merge_view
from plait.web.session import Form
from plait.web.thread import ThreadView, permissions, thread_view

LONGEST_SAID = 160
"""Characters of the description that stand at the top."""


@dataclass(frozen=True)
class Banner:
    """The first thing on the page: a word, a sentence, a colour, an icon."""

    kind: str
    icon: str
    word: str
    sentence: str = ""
    reason: str = ""


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    address = prefix + "/discussions/{number}"
    router.add_api_route(address + "/merge", merge, methods=["POST"])
    router.add_api_route(address + "/report.json", report_json)
    router.add_api_route(address + "/scores.csv", scores_csv)


def pull_page(at: At, discussion: Discussion) -> Response:
    """Show a pull request."""
    visit = at.visit
    found = merge_events.latest_report(visit.hub, discussion.id)
    report = merge_view(found, visit.t, at.view.url) if found else None
    newest = jobs.latest(visit.hub, discussion.id)
    job = job_view(visit, newest, at.record) if newest is not None else None
    fork, head = _ends(at, discussion)
    git = visit.hub.git
    changes: Sequence[Change] = ()
    patch = ""
    if fork and head:
        changes = git.changed_paths(at.record, fork, head)
    if fork and head and at.sees_files:
        patch = git.diff(at.record, fork, head)
    weights = _is_fused(at, discussion, fork, head, changes)
    conflicts = conflicts_shown(at, discussion)
    licence = licence_view(at, discussion) if at.sees_files else None
    thread = thread_view(at, discussion)
    tables = None if conflicts["conflicts"] else foreseen_view(at, discussion)
    return visit.render(
        "pull.html",
        repo=at.view,
        thread=thread,
        said=_said(thread),
        changed=_kinds(at, changes),
        submits=discussion.status == "open"
        and (
            discussion.author_id == visit.actor.user_id or can(visit.actor, "repo.merge", at.record)
        )
        and visit.actor.signed_in
        and leaderboards.names_models(visit.hub, at.record, [one.path for one in changes]),
        foreseen=tables,
        may=permissions(at, discussion),
        report=report,
        job=job,
        banner=conflict_banner(visit.t, discussion, job, conflicts)
        or licence_banner(visit.t, job, licence)
        or banner(visit.t, discussion.status, report, job, weights=weights, tables=bool(tables)),
        licence=licence,
        landed=discussion.merge_commit,
        state=pull_state(at, discussion),
        weights=weights,
        earlier=bool(report and job and report.job != job.id),
        head=head,
        stale=bool(report and report.head and head and report.head != head),
        **changes_shown(at, changes, patch, head or ""),
        **conflicts,
    )


def _said(thread: ThreadView) -> str:
    """Return what the author says of it, without markup."""
    for event in thread.events:
        if event.kind == "comment" and event.author == thread.author and event.html is not None:
            text = " ".join(event.html.striptags().split())
            return text if len(text) <= LONGEST_SAID else text[: LONGEST_SAID - 1] + "…"
    return ""


def _kinds(at: Here, changes: Sequence[Change]) -> tuple[str, ...]:
    """Name the kinds of what is changed, the weightiest first."""
    found = set()
    for change in changes:
        driver = driver_of(change.path, at.view.type)
        name = change.path.rsplit("/", 1)[-1]
        if driver in ("weights", "pickle"):
            found.add("weights")
        elif driver == "card":
            found.add("card")
        elif name.startswith(("tokenizer", "vocab", "merges.txt", "spiece", "added_tokens")):
            found.add("tokenizer")
        elif format_of(change.path) is not None:
            found.add("table")
        elif at.view.holds_graph and name.endswith((".nt", ".nq", ".ttl", ".trig", ".yaml")):
            found.add("graph")
        else:
            found.add("other")
    order = ("weights", "table", "graph", "tokenizer", "card", "other")
    return tuple(kind for kind in order if kind in found)


def _is_fused(
    at: Here, discussion: Discussion, fork: str | None, head: str | None, changes: Sequence[Change]
) -> bool:
    """Tell whether merging means fusing and judging, or is git's work alone."""
    weights = at.view.type == "model" and any(
        driver_of(change.path) in ("weights", "pickle") for change in changes
    )
    target = at.visit.hub.git.head(at.record, discussion.base_ref)
    if not weights or discussion.merge_commit or not (fork and head and target):
        return weights
    sides = Sides(at.visit.hub, at.record, fork, target, head)
    return needs_fusion(sides, [change.path for change in changes])


def _ends(at: Here, discussion: Discussion) -> tuple[str | None, str | None]:
    """Return where a pull request forked off and its newest commit, as it was before landing."""
    git = at.visit.hub.git
    head = git.head(at.record, pull_ref(discussion.number))
    target = git.head(at.record, discussion.base_ref)
    if discussion.merge_commit:
        parents = git.commit_info(at.record, discussion.merge_commit).parents
        target = parents[0] if parents else target
    if head is None or target is None:
        return None, head
    return git.merge_base(at.record, target, head), head


def banner(
    t: Translator,
    status: str,
    report: MergeView | None,
    job: JobView | None,
    *,
    weights: bool,
    tables: bool = False,
) -> Banner:
    """Say in a word and a sentence how a pull request stands."""
    if job is not None and job.live:
        return Banner("running", "running", t("banner.running"), t("banner.running_line"))
    newer = job is not None and (report is None or report.job != job.id)
    if job is not None and newer and status in ("open", "draft"):
        if job.state == "failed":
            return Banner("failed", "failed", t("banner.failed"), t("banner.unchanged"), job.error)
        if job.state == "cancelled":
            return Banner("closed", "closed", t("banner.cancelled"), t("banner.unchanged"))
    if report is not None and (report.landed or report.verdict != "passes" or status == "merged"):
        after = "" if report.landed else t("banner.unchanged")
        word = report.verdict_word
        if report.landed or report.verdict != "passes":
            word = t(f"banner.{'landed' if report.landed else 'kept'}_{report.verdict}")
        return Banner(report.verdict, report.verdict, word, after, report.reason)
    if status == "merged":
        return Banner("merged", "merged", t("banner.merged"), t("banner.merged_line"))
    if status == "closed":
        return Banner("closed", "closed", t("banner.closed"), t("banner.unchanged"))
    line = t("banner.rows_line") if tables else t("banner.text_line")
    if weights:
        line = t("banner.ready_line")
    if status == "draft":
        return Banner("draft", "draft", t("banner.draft"), t("banner.draft_line"))
    return Banner("open", "open", t("banner.ready"), line)


def licence_banner(
    t: Translator, job: JobView | None, licence: LicenceView | None
) -> Banner | None:
    """Say that the licences stand against a merge; None where they do not."""
    if licence is None or not licence.refusal or (job is not None and job.live):
        return None
    line = t("banner.licence_line") if licence.asks else ""
    return Banner("unsure", "unsure", t("banner.licence"), line)


def conflict_banner(
    t: Translator, discussion: Discussion, job: JobView | None, conflicts: Mapping[str, Any]
) -> Banner | None:
    """Say that a pull request contradicts its branch; None where it does not."""
    if not conflicts["conflicts"] or (job is not None and job.live):
        return None
    branch = discussion.base_ref.removeprefix("refs/heads/")
    word = t("banner.conflicts", branch=branch)
    return Banner("unsure", "warning", word, t("banner.conflicts_line"))


def _pull(at: Here, number: int) -> Discussion:
    discussion = at.visit.hub.discussions.get(at.record, min(max(number, 0), 2**31))
    if not discussion.is_pull_request:
        raise NotFound(f"Discussion {discussion.number} is not a pull request.")
    return discussion


def merge(at: At, number: int, form: Form) -> Response:
    """Merge, or queue the job that does."""
    discussion = _pull(at, number)
    request_merge(at.visit.hub, at.visit.actor, at.record, discussion, form.get("comment", ""))
    return at.visit.go(f"{at.view.url}/discussions/{discussion.number}")


def _report(at: Here, number: int) -> dict[str, Any]:
    found = merge_events.latest_report(at.visit.hub, _pull(at, number).id)
    if found is None:
        raise NotFound("No merge of this pull request has been measured yet.")
    return found


def report_json(at: At, number: int) -> Response:
    """Give the whole report as JSON."""
    return JSONResponse(_report(at, number))


def scores_csv(at: At, number: int) -> Response:
    """Give the scores of all tasks and models as CSV."""
    report = _report(at, number)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["task", "metric", "n", "model", "score", "low", "high", "difference", "difference_low",
         "difference_high", "verdict"]
    )  # fmt: skip
    whole = {"name": "average", "metric": "", "n": "", "verdict": report["verdict"]}
    for row in ({**whole, **report["average"]}, *report["tasks"]):
        difference: Mapping[str, Any] = row.get("difference") or {}
        for model in MODELS:
            if row["scores"].get(model) is None:
                continue
            low, high = (row.get("intervals") or {}).get(model) or ("", "")
            compared = (
                [difference.get("effect"), difference.get("low"), difference.get("high")]
                if model == "candidate"
                else ["", "", ""]
            )
            writer.writerow(
                [_cell(row["name"]), row["metric"], row["n"], model, row["scores"][model], low,
                 high, *compared, row.get("verdict", "") if model == "candidate" else ""]
            )  # fmt: skip
    return Response(
        out.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="scores-{number}.csv"'},
    )


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
