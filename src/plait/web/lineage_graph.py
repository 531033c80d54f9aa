# SPDX-License-Identifier: Apache-2.0
"""The picture of a lineage: small ones as they are, large ones with contributions collapsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from plait.charts import Edge, Node, layered_graph, layers, network
from plait.collaboration.ancestry import Ancestry, Model

COLLAPSE = 24
"""With more contributions than this, those of one organisation are one box."""
SMALL = 14
"""Boxes up to which the picture is drawn large."""
ALL = "*"


@dataclass(frozen=True)
class Words:
    """Phrases of the page's language."""

    base: str
    further: str
    group: str
    """With ``{n}``."""
    title: str
    description: str


@dataclass(frozen=True)
class Picture:
    """The drawn graph, and what of it is collapsed."""

    svg: str
    slim: bool
    """Whether it is narrow enough to stand beside the table."""
    closed: tuple[str, ...]
    """Organisations whose contributions are one box."""
    hits: int


def draw(
    ancestry: Ancestry,
    states: Sequence[Node],
    chain: Sequence[tuple[str, str]],
    ends: Mapping[str, str],
    alias: Mapping[str, str],
    *,
    address: str,
    opened: str,
    wanted: str,
    words: Words,
) -> Picture:
    """Draw what a model was made from.

    Args:
        ancestry: everything that it was made from.
        states: boxes of main after each merge.
        chain: (earlier, later) ids among ``states``.
        ends: the state's id in which a contribution's id first appears.
        alias: the state's id by the id of the model that main was then.
        address: of the repository's pages.
        opened: the organisation whose contributions are drawn one by one; `*` for all.
        wanted: text that is searched for.
        words: of the page's language.
    """
    own = {m.id for m in ancestry.models.values() if m.contribution is not None and m.id in ends}
    groups = _groups(ancestry, opened)
    nodes = [*states]
    hits: set[str] = {node.id for node in states if _found(wanted, node.label, node.detail)}
    for model in ancestry.models.values():
        if model.id in groups or model.id in alias:
            continue
        node = _node(
            model,
            address if model.id in own else "",
            words,
            own=any(one == model.id for one, _ in chain),
        )
        nodes.append(node)
        if _found(wanted, node.label, node.detail, *_texts(model)):
            hits.add(node.id)
    for group in dict.fromkeys(groups.values()):
        members = [ancestry.models[ident] for ident, one in groups.items() if one == group]
        label = words.group.format(n=len(members))
        ident = _group_id(group)
        nodes.append(
            Node(ident, group[0], label, "contribution group", 1, f"?open={quote(group[0])}")
        )
        if any(_found(wanted, *_texts(one)) for one in members):
            hits.add(ident)
    edges = _edges(ancestry, chain, ends, groups, alias, {node.id for node in nodes})
    title, description = words.title, words.description
    slim = len(nodes) <= SMALL and not hits and _apart(nodes, edges)
    if slim:
        svg = layered_graph(nodes, edges, ident="lineage", title=title, description=description)
    else:
        svg = network(
            nodes, edges, ident="lineage", title=title, description=description, marked=hits
        )
    closed = tuple(dict.fromkeys(name for name, _ in groups.values()))
    return Picture(svg, slim, closed, len(hits) if wanted else 0)


def _apart(nodes: Sequence[Node], edges: Sequence[Edge]) -> bool:
    """Tell whether no two boxes stand in one lane of one layer."""
    rows = layers(nodes, edges)
    return len({(rows[node.id], node.lane) for node in nodes}) == len(nodes)


Group = tuple[str, str]
"""An organisation, and the repository that its contributions were merged into."""


def _groups(ancestry: Ancestry, opened: str) -> dict[str, Group]:
    """Return the group of every contribution that is drawn within its group's box."""
    contributions = [m for m in ancestry.models.values() if m.contribution is not None]
    if opened == ALL or len(contributions) <= COLLAPSE:
        return {}
    members: dict[Group, list[str]] = {}
    for model in contributions:
        assert model.contribution is not None
        name = model.contribution.organisation or model.contribution.author
        members.setdefault((name, model.origin.repository), []).append(model.id)
    return {
        ident: group
        for group, idents in members.items()
        if len(idents) > 1 and group[0] != opened
        for ident in idents
    }


def _group_id(group: Group) -> str:
    return f"g:{group[1]}:{group[0]}"


def _node(model: Model, address: str, words: Words, *, own: bool) -> Node:
    one = model.contribution
    if one is not None:
        href = f"{address}/discussions/{one.number}" if address else ""
        label = f"{one.organisation or one.author} #{one.number}"
        return Node(model.id, label, one.title, "contribution", 1, href)
    place = model.home or (model.mirrors[0] if model.mirrors else None)
    href = f"/{place}" if place is not None else ""
    if model.home is not None:
        href = f"/{model.home}/commit/{model.origin.revision}"
    detail = model.origin.repository
    if model.home is None and place is not None:
        detail = f"= {place}"
    label = words.base if own else words.further
    return Node(model.id, label, detail, "base", 0, href)


def _texts(model: Model) -> list[str]:
    one = model.contribution
    found = [model.origin.repository, model.origin.revision, *model.origin.files.values()]
    found += model.mirrors
    if one is not None:
        found += [one.title, one.author, one.organisation, f"#{one.number}", one.licence or ""]
    return found


def _found(wanted: str, *texts: str) -> bool:
    return bool(wanted) and any(wanted.casefold() in text.casefold() for text in texts)


def _edges(
    ancestry: Ancestry,
    chain: Sequence[tuple[str, str]],
    ends: Mapping[str, str],
    groups: Mapping[str, Group],
    alias: Mapping[str, str],
    known: Collection[str],
) -> list[Edge]:
    """Return the arrows, groups standing for their members and states for what they hold.

    Boxes that stand for several models could close a circle; such an arrow is left out.
    """

    def name(ident: str) -> str:
        if ident in alias:
            return alias[ident]
        return _group_id(groups[ident]) if ident in groups else ident

    pairs = dict.fromkeys((name(one), name(other)) for one, other in chain)
    pairs |= dict.fromkeys((name(ident), state) for ident, state in ends.items())
    pairs |= dict.fromkeys((name(one), name(other)) for one, other in ancestry.edges)
    made: list[Edge] = []
    later: dict[str, list[str]] = {}
    for source, target in pairs:
        if source not in known or target not in known or _reaches(later, target, source):
            continue
        later.setdefault(source, []).append(target)
        made.append(Edge(source, target))
    return made


def _reaches(later: Mapping[str, Sequence[str]], start: str, goal: str) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        one = waiting.pop()
        if one == goal:
            return True
        for other in later.get(one, ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return False
