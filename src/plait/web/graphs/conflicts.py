# SPDX-License-Identifier: Apache-2.0
"""The queue of conflicts: the values and their sources side by side, and a person's choice."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Response

from plait.collaboration.graphs import answers, open_index
from plait.errors import BadInput, Conflict, NotReady, TooLarge
from plait.graphs.lookup import Index, reviews
from plait.hub import CommitOutcome
from plait.web.graphs.visit import GraphVisit
from plait.web.here import At
from plait.web.session import Form

PAGE = 20


def show(at: At) -> Response:
    """Show the conflicts that wait, or those that are settled."""
    graph = GraphVisit(at)
    with open_index(at.visit.hub, graph.found) as index:
        return _page(graph, index)


def settle(at: At, form: Form) -> Response:
    """Settle those that the form decides."""
    graph = GraphVisit(at)
    visit = at.visit
    visit.signed_in()
    try:
        chosen = decided(form)
        if not chosen:
            raise BadInput(visit.t("graph.nothing_chosen"))
        done = answers.settle(
            visit.hub, visit.actor, at.record, graph.revision, chosen,
            reason=form.get("reason", ""), propose=bool(form.get("propose")),
        )  # fmt: skip
    except (BadInput, Conflict, TooLarge, NotReady) as error:
        with open_index(visit.hub, graph.found) as index:
            return _page(graph, index, error.message, error.status)
    return after(graph, done, "conflicts")


def decided(form: Mapping[str, str]) -> list[str]:
    """Return the statements that a form chooses."""
    return [value[:64] for name, value in form.items() if name.startswith("choose:") and value]


def after(graph: GraphVisit, done: CommitOutcome, page: str) -> Response:
    """Lead to the pull request that holds the answers, or back to what is left."""
    visit = graph.at.visit
    if done.discussion is not None:
        return visit.go(f"{graph.at.view.url}/discussions/{done.discussion.number}")
    return visit.go(graph.address(page), "answers")


def _page(graph: GraphVisit, index: Index, problem: str = "", code: int = 200) -> Response:
    visit = graph.at.visit
    settled = graph.wanted("settled", 3) == "yes"
    wanted = graph.wanted("page", 7)
    page = max(int(wanted), 1) if wanted.isascii() and wanted.isdigit() else 1
    start = (page - 1) * PAGE
    held = reviews.conflicts(index, settled=settled, after=start, limit=PAGE + 1)
    return graph.render(
        "graph/conflicts.html",
        index,
        "conflicts",
        code=code,
        conflicts=[(one, graph.label(index, one.predicate)) for one in held[:PAGE]],
        name=lambda source: graph.source(index, source),
        settled=settled,
        before=visit.link(page=page - 1) if page > 1 else "",
        after=visit.link(page=page + 1) if len(held) > PAGE else "",
        may_commit=answers.may_commit(visit.actor, graph.at.record),
        problem=problem,
    )
