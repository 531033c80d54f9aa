# SPDX-License-Identifier: Apache-2.0
"""What main was made from, as a graph and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.charts import Node
from plait.collaboration.ancestry import MOST, Ancestry, identity, merged_from, trace
from plait.collaboration.provenance import data_lineage
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.hub import CommitInfo, can
from plait.lineage import FILE, Lineage, parse_lineage
from plait.web.figures import decimal, percent
from plait.web.here import At, Here
from plait.web.language import Translator
from plait.web.lineage_graph import ALL, Picture, Words, draw
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

    def says(self, text: str) -> bool:
        """Tell whether the line has this text."""
        whole = f"{self.what} {self.who} {self.revision} {self.licence}".casefold()
        return text.casefold() in whole


def add(router: APIRouter, prefix: str) -> None:
    """Add the route."""
    router.add_api_route(prefix + "/lineage", show)


def show(at: At) -> Response:
    """Draw the lineage of main."""
    if at.view.type == "dataset":
        return _show_data(at)
    if at.view.type != "model":
        raise NotFound("Only models and data sets have a lineage.")
    states = history(at)
    now = states[-1].lineage if states else None
    if now is None:
        return _page(at, states, None, None)
    ancestry = trace(at.visit.hub, at.visit.actor, at.view.full_name, now)
    further = _further(at, now, ancestry, at.visit.t)
    return _page(at, states, now, ancestry, further)


def _show_data(at: At) -> Response:
    """Draw what a data set's main was merged from."""
    oid = at.visit.hub.git.head(at.record)
    now = data_lineage(at.visit.hub, at.record, oid) if oid is not None else None
    if now is None or oid is None:
        return _page(at, [], None, None)
    states = [State(at.visit.hub.git.commit_info(at.record, oid), now, None, None)]
    return _page(at, states, now, merged_from(now))


def _page(
    at: At,
    states: list[State],
    now: Lineage | None,
    ancestry: Ancestry | None,
    further: Sequence[LineageRow] = (),
) -> Response:
    """Answer with the picture, the table and what is known beside them."""
    t, asked = at.visit.t, at.visit.request.query_params
    opened, wanted = asked.get("open", "")[:96], asked.get("q", "").strip()[:100]
    picture, rows = None, []
    if ancestry is not None:
        picture = graph(at, states, ancestry, t, opened=opened, wanted=wanted)
        rows = [*table(at, states, t), *further]
    if wanted:
        rows = [row for row in rows if row.says(wanted)]
    return at.visit.render(
        "lineage.html",
        repo=at.view,
        picture=Markup(picture.svg) if picture else None,  # noqa: S704 - charts escape
        slim=picture.slim if picture else True,
        closed=picture.closed if picture else (),
        opened=opened,
        all=ALL,
        q=wanted,
        hits=picture.hits if picture else 0,
        rows=rows,
        most="" if ancestry is None or ancestry.whole else MOST,
        hashes=_hashes(now, t) if now else (),
        data=now.data if now else (),
        budget=now.budget if now else {},
        trained=[one for one in now.contributions if one.datasets or one.privacy] if now else (),
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


def graph(
    at: Here,
    states: list[State],
    ancestry: Ancestry,
    t: Translator,
    *,
    opened: str = "",
    wanted: str = "",
) -> Picture:
    """Draw everything that main was made from, and main after each merge."""
    now = states[-1].lineage
    boxes, chain = [], []
    alias: dict[str, str] = {}
    ends: dict[str, str] = {}
    previous = identity(now.base.files)
    here = {one.number for one in now.contributions}
    for index, state in enumerate(states):
        ident = f"m{index}"
        last = index == len(states) - 1
        score = f"{t('report.average')} {percent(state.average)}" if state.average else ""
        boxes.append(
            Node(
                ident,
                t("lineage.now") if last else _state_name(state, t),
                score or state.commit.oid[:10],
                "now" if last else "main",
                0,
                f"{at.view.url}/commit/{state.commit.oid}",
            )
        )
        chain.append((previous, ident))
        alias.setdefault(identity(state.lineage.output), ident)
        for one in state.lineage.contributions:
            if one.number in here:
                ends.setdefault(identity(one.files), ident)
        previous = ident
    return draw(
        ancestry,
        boxes,
        chain,
        ends,
        alias,
        address=at.view.url,
        opened=opened,
        wanted=wanted,
        words=Words(
            t("lineage.base"),
            t("lineage.further"),
            t("lineage.group"),
            t("lineage.graph_title", repo=at.view.full_name),
            t("lineage.graph_desc", n=len(now.contributions)),
        ),
    )


def _state_name(state: State, t: Translator) -> str:
    return t("lineage.main", n=state.number) if state.number else t("model.main")


def _origin_link(at: Here, lineage: Lineage) -> str:
    """Return the base's address if this visitor may read it here."""
    hub, origin = at.visit.hub, lineage.base
    kind = at.view.type
    record = hub.repositories.find(kind, origin.repository)
    if record is None or not can(at.visit.actor, "repo.read", record):
        return ""
    return f"{repository_url(kind, record.full_name)}/commit/{origin.revision}"


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


def _further(at: Here, now: Lineage, ancestry: Ancestry, t: Translator) -> list[LineageRow]:
    """Return what lies before the base, and where the same bytes are besides."""
    own = {identity(one.files) for one in now.contributions}
    rows = []
    for model in ancestry.models.values():
        one, origin = model.contribution, model.origin
        if model.id in own or (model.id == identity(now.base.files) and not model.mirrors):
            continue
        place = model.home or (model.mirrors[0] if model.mirrors else "")
        same = ", ".join(model.mirrors)
        who = one.organisation or one.author if one is not None else origin.repository
        rows.append(
            LineageRow(
                f"{t('lineage.contribution')} #{one.number}" if one else t("lineage.further"),
                f"{who} = {same}" if same else who,
                origin.revision,
                decimal(one.weight) if one is not None and one.weight is not None else "",
                (one.licence or "") if one is not None else "",
                "",
                repository_url("model", place) if place else "",
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
