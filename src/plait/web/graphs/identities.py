# SPDX-License-Identifier: Apache-2.0
"""Pairs that may be one entity, reviewed from the keyboard; each with what speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Response

from plait.collaboration.graphs import answers, open_index
from plait.errors import BadInput, Conflict, NotReady, TooLarge
from plait.graphs.lookup import Index, reviews
from plait.graphs.lookup.reviews import Member, SeenClaim
from plait.web.graphs.conflicts import after
from plait.web.graphs.visit import GraphVisit
from plait.web.here import At
from plait.web.session import Form

PAGE = 15
FACTS = 8
VALUES = 4


@dataclass(frozen=True)
class Line:
    """What both entities of a pair say of one property."""

    predicate: str
    a: tuple[str, ...]
    b: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether they have a value in common."""
        return bool(set(self.a) & set(self.b))


def show(at: At) -> Response:
    """Show the pairs that are worth asking first."""
    graph = GraphVisit(at)
    with open_index(at.visit.hub, graph.found) as index:
        return _page(graph, index)


def judge(at: At, form: Form) -> Response:
    """Keep the answers of the form."""
    graph = GraphVisit(at)
    visit = at.visit
    visit.signed_in()
    try:
        given = answered(form)
        if not given:
            raise BadInput(visit.t("graph.nothing_answered"))
        done = answers.judge(
            visit.hub, visit.actor, at.record, graph.revision, given,
            propose=bool(form.get("propose")),
        )  # fmt: skip
    except (BadInput, Conflict, TooLarge, NotReady) as error:
        with open_index(visit.hub, graph.found) as index:
            return _page(graph, index, error.message, error.status)
    return after(graph, done, "identities")


def answered(form: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Return the pairs that a form answers; those that are skipped are not among them."""
    given = []
    for name, value in form.items():
        if name.startswith("same:") and value in ("yes", "no"):
            number = name.removeprefix("same:")
            a, b = form.get(f"a:{number}", ""), form.get(f"b:{number}", "")
            if a and b:
                given.append((a[:1024], b[:1024], value == "yes"))
    return given


def _page(graph: GraphVisit, index: Index, problem: str = "", code: int = 200) -> Response:
    visit = graph.at.visit
    wanted = graph.wanted("page", 7)
    page = max(int(wanted), 1) if wanted.isascii() and wanted.isdigit() else 1
    held = reviews.claims(index, after=(page - 1) * PAGE, limit=PAGE + 1)
    return graph.render(
        "graph/identities.html",
        index,
        "identities",
        code=code,
        claims=[(one, _lines(graph, index, one)) for one in held[:PAGE]],
        left=reviews.count_claims(index),
        name=lambda source: graph.source(index, source),
        before=visit.link(page=page - 1) if page > 1 else "",
        after=visit.link(page=page + 1) if len(held) > PAGE else "",
        may_commit=answers.may_commit(visit.actor, graph.at.record),
        problem=problem,
    )


def _lines(graph: GraphVisit, index: Index, claim: SeenClaim) -> list[Line]:
    """Return what is said of both, what they agree on and what only both have first."""
    left, right = _values(graph, index, claim.a), _values(graph, index, claim.b)
    lines = [
        Line(name, tuple(left.get(name, ()))[:VALUES], tuple(right.get(name, ()))[:VALUES])
        for name in dict.fromkeys([*left, *right])
    ]
    return sorted(lines, key=lambda one: (not one.equal, not (one.a and one.b)))[:FACTS]


def _values(graph: GraphVisit, index: Index, member: Member) -> dict[str, list[str]]:
    ends = {one.subject for one in member.statements}
    ends |= {one.object for one in member.statements if one.object is not None}
    entities = index.numbered(ends)
    found: dict[str, list[str]] = {}
    for one in member.statements:
        inverse = one.subject != member.no
        label = graph.label(index, one.predicate)
        name = f"← {label}" if inverse else label
        other = one.subject if inverse else one.object
        said = entities[other].named(graph.language) if other is not None else str(one.value)
        values = found.setdefault(name, [])
        if said[:120] not in values:
            values.append(said[:120])
    return found
