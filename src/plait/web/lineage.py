# SPDX-License-Identifier: Apache-2.0
"""What main was made from, as a graph and as a table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.charts import Edge, Node, layered_graph
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.hub import CommitInfo, can
from plait.lineage import FILE, Lineage, parse_lineage
from plait.web.figures import decimal, percent
from plait.web.here import At, Here
from plait.web.language import Translator
from plait.web.visit import repository_url

MOST_STATES = 40
"""States of main that are drawn; older ones are in the history."""
_WALK = 400


@dataclass(frozen=True)
class State:
    """Main after a merge: its commit, its lineage, and the contribution that was new in it."""

    commit: CommitInfo
    lineage: Lineage
    number: int | None
    average: float | None


@dataclass(frozen=True)
class LineageRow:
    """A line of the table."""

    what: str
    who: str
    revision: str
    weight: str
    licence: str
    average: str
    href: str


def add(router: APIRouter, prefix: str) -> None:
    """Add the route."""
    router.add_api_route(prefix + "/lineage", show)


def show(at: At) -> Response:
    """Draw the lineage of main."""
    t = at.visit.t
    if at.view.type != "model":
        raise NotFound("Only models have a lineage.")
    states = history(at)
    now = states[-1].lineage if states else None
    return at.visit.render(
        "lineage.html",
        repo=at.view,
        picture=Markup(graph(at, states, t)) if states else None,  # noqa: S704 - charts escape
        rows=table(at, states, t) if states else (),
        hashes=_hashes(now, t) if now else (),
        software=", ".join(f"{name} {version}" for name, version in now.software.items())
        if now
        else "",
    )


def _read(at: Here, oid: str) -> Lineage | None:
    try:
        return parse_lineage(at.visit.hub.git.read(at.record, oid, FILE))
    except (EntryNotFound, BadInput):
        return None


def history(at: Here) -> list[State]:
    """Return main's states with different lineages along its first parents, oldest first."""
    git = at.visit.hub.git
    oid = git.head(at.record)
    found: list[State] = []
    entry: str | None = None
    for _ in range(_WALK):
        if oid is None or len(found) > MOST_STATES:
            break
        commit = git.commit_info(at.record, oid)
        held = git.entries(at.record, oid, [FILE])
        lineage = _read(at, oid) if held else None
        if lineage is None:
            break
        average = lineage.evaluation.average if lineage.evaluation else None
        state = State(commit, lineage, None, average)
        if entry == held[0].oid:
            found[-1] = state  # the oldest commit that holds this lineage is the one that made it
        else:
            found.append(state)
        entry = held[0].oid
        oid = commit.parents[0] if commit.parents else None
    found.reverse()
    return [_numbered(found, index) for index in range(len(found))]


def _numbered(states: list[State], index: int) -> State:
    before = (
        {one.number for one in states[index - 1].lineage.contributions} if index else set[int]()
    )
    fresh = [one.number for one in states[index].lineage.contributions if one.number not in before]
    return replace(states[index], number=fresh[-1] if fresh else None)


def graph(at: Here, states: list[State], t: Translator) -> str:
    """Draw base, contributions and main after each merge."""
    now = states[-1].lineage
    nodes = [_base_node(at, now, t)]
    edges = []
    for one in sorted(now.contributions, key=lambda one: one.number):
        nodes.append(
            Node(
                f"c{one.number}",
                f"{one.organisation or one.author} #{one.number}",
                one.title,
                "contribution",
                1,
                f"{at.view.url}/discussions/{one.number}",
            )
        )
        edges.append(Edge("base", f"c{one.number}"))
    drawn: set[int] = set()
    previous = "base"
    for index, state in enumerate(states):
        ident = f"m{index}"
        last = index == len(states) - 1
        score = f"{t('report.average')} {percent(state.average)}" if state.average else ""
        nodes.append(
            Node(
                ident,
                t("lineage.now") if last else _state_name(state, t),
                score or state.commit.oid[:10],
                "now" if last else "main",
                0,
                f"{at.view.url}/commit/{state.commit.oid}",
            )
        )
        edges.append(Edge(previous, ident))
        here = {one.number for one in now.contributions}
        for one in state.lineage.contributions:
            if one.number in here and one.number not in drawn:
                edges.append(Edge(f"c{one.number}", ident))
                drawn.add(one.number)
        previous = ident
    return layered_graph(
        nodes,
        edges,
        ident="lineage",
        title=t("lineage.graph_title", repo=at.view.full_name),
        description=t("lineage.graph_desc", n=len(now.contributions)),
    )


def _state_name(state: State, t: Translator) -> str:
    return t("lineage.main", n=state.number) if state.number else t("model.main")


def _base_node(at: Here, lineage: Lineage, t: Translator) -> Node:
    return Node(
        "base", t("lineage.base"), lineage.base.repository, "base", 0, _origin_link(at, lineage)
    )


def _origin_link(at: Here, lineage: Lineage) -> str:
    """Return the base's address if this visitor may read it here."""
    hub, origin = at.visit.hub, lineage.base
    record = hub.repositories.find("model", origin.repository)
    if record is None or not can(at.visit.actor, "repo.read", record):
        return ""
    return f"{repository_url('model', record.full_name)}/commit/{origin.revision}"


def table(at: Here, states: list[State], t: Translator) -> list[LineageRow]:
    """Return the graph's numbers as rows: base, contributions, states of main."""
    now = states[-1].lineage
    rows = [
        LineageRow(
            t("lineage.base"), now.base.repository, now.base.revision, "", "", "",
            _origin_link(at, now),
        )
    ]  # fmt: skip
    for one in sorted(now.contributions, key=lambda one: one.number):
        rows.append(
            LineageRow(
                f"{t('lineage.contribution')} #{one.number}",
                one.organisation or one.author,
                one.revision,
                decimal(one.weight) if one.weight is not None else "",
                one.licence or "",
                "",
                f"{at.view.url}/discussions/{one.number}",
            )
        )
    for state in states:
        rows.append(
            LineageRow(
                _state_name(state, t),
                state.commit.author,
                state.commit.oid,
                "",
                "",
                percent(state.average) if state.average else "",
                f"{at.view.url}/commit/{state.commit.oid}",
            )
        )
    return rows


def _hashes(lineage: Lineage, t: Translator) -> list[tuple[str, str, str]]:
    rows = [(t("input.base"), path, digest) for path, digest in lineage.base.files.items()]
    for one in lineage.contributions:
        rows.extend(
            (f"{t('input.contribution')} #{one.number}", path, digest)
            for path, digest in one.files.items()
        )
    rows.extend((t("input.output"), path, digest) for path, digest in lineage.output.items())
    return rows
