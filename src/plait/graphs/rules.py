# SPDX-License-Identifier: Apache-2.0
"""Whether a graph holds to the rules that ``graph.yaml`` states of its predicates and types.

Some rules derive: what is symmetric, inverse or transitive says more than is written. The others
forbid, and are checked on what is written together with what symmetric and inverse predicates
derive. What a rule derives and nobody wrote is a remark; what a rule of ``gates`` finds is a
violation. Like shapes they see identities and ranks taken for true, so that two entities that were
wrongly taken for one are found where their types are disjoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from plait.errors import TooLarge
from plait.graphs import schema
from plait.graphs.cycles import cycles, reaches
from plait.graphs.graph import Graph
from plait.graphs.identity import resolve
from plait.graphs.merging.ranking import rank
from plait.graphs.propertygraph import name_of
from plait.graphs.view import collapsed, truthy
from plait.graphs.violations import MAX_SHOWN, Violation, gravest_first
from plait.recipes.graph import FILE, GraphFile, Predicate

Pairs = Mapping[str, set[tuple[str, str]]]
MAX_PAIRS = 5_000_000
"""Statements of predicates with rules, derived ones among them, that are looked at."""


def has_rules(file: GraphFile) -> bool:
    """Tell whether a ``graph.yaml`` states any rule."""
    return any(one.disjoint for one in file.types.values()) or any(
        _rules(one) or one.functional for one in file.predicates.values()
    )


def check_rules(graph: Graph, file: GraphFile | None = None) -> list[Violation]:
    """Return what a graph's rules forbid and what they derive that is not written.

    At most `MAX_SHOWN` for each rule.

    Args:
        file: whose rules are checked; the graph's own by default.

    Raises:
        TooLarge: predicates with rules have more than `MAX_PAIRS` statements.
    """
    file = file or graph.file
    if not has_rules(file):
        return []
    return gravest_first(_Check(graph, file).run())


def _rules(one: Predicate) -> bool:
    return bool(
        one.symmetric or one.inverse or one.transitive or one.acyclic
        or one.disjoint or one.domain or one.range
    )  # fmt: skip


class _Check:
    def __init__(self, graph: Graph, file: GraphFile) -> None:
        self.file = file
        self.graph = graph
        self.identities = resolve(graph)
        self.view = truthy(collapsed(graph, self.identities))
        ids = self.view.entities.column("id").to_pylist()
        self.places = {identifier: place for place, identifier in enumerate(ids)}
        self.types = dict(zip(ids, self.view.entities.column("types").to_pylist(), strict=True))
        self.written = self._pairs()
        self.said = _derived(self.written, file)

    def run(self) -> Iterator[Violation]:
        """Yield what every rule finds."""
        for rule in (self._functional, self._symmetric, self._inverse, self._transitive,
                     self._acyclic, self._disjoint, self._ends, self._types):  # fmt: skip
            yield from rule()

    def _pairs(self) -> dict[str, set[tuple[str, str]]]:
        import pyarrow.compute as pc

        predicates = self.file.predicates
        wanted = {name for name, one in predicates.items() if _rules(one)}
        for one in predicates.values():
            wanted |= {*one.disjoint, *filter(None, [one.inverse])}
        table = self.view.statements
        values = schema.arrow().array(sorted(wanted), schema.arrow().string())
        table = table.filter(pc.is_in(table.column("predicate"), value_set=values))
        _bounded(table.num_rows)
        held: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.literals: dict[str, set[str]] = defaultdict(set)
        columns = [table.column(name).to_pylist() for name in ("subject", "predicate", "object")]
        for subject, predicate, target in zip(*columns, strict=True):
            if target is None:
                self.literals[predicate].add(subject)
            else:
                held[predicate].add((subject, target))
        return held

    def _found(
        self, rule: str, entity: str, path: str, value: str, message: str, *, mild: str = "info"
    ) -> Violation:
        severity = "violation" if rule in self.file.gates else mild
        return Violation(entity, path, value, message, severity, f"{FILE}: {rule}")

    def _named(self, identifier: str) -> str:
        """Return an entity's name and identifier, and with whom it is one."""
        place = self.places.get(identifier)
        name = identifier
        if place is not None:
            name = name_of(self.view.entities.slice(place, 1).to_pylist()[0])
        shown = identifier if name == identifier else f"{name} ({identifier})"
        others = [one for one in self.identities.members.get(identifier, ()) if one != identifier]
        return f"{shown}, which is one with {', '.join(others[:5])}" if others else shown

    def _each(self, rule: str, of: Callable[[Predicate], object]) -> Iterator[tuple[str, Any]]:
        for name, one in sorted(self.file.predicates.items()):
            if value := of(one):
                yield name, value

    def _functional(self) -> Iterator[Violation]:
        wanted = {name for name, _ in self._each("functional", lambda one: one.functional)}
        if not wanted:
            return
        from dataclasses import replace

        found = (
            self._found(
                "functional",
                one.subject,
                one.predicate,
                one.options[0].value,
                f"{self._named(one.subject)} has {len(one.options)} values of {one.predicate} at "
                f"one time and nobody has decided: "
                f"{', '.join(option.value[:80] for option in one.options[:5])}.",
                mild="warning",
            )
            for one in rank(replace(self.graph, file=self.file), self.identities).conflicts
            if one.open and one.predicate in wanted
        )
        yield from islice(found, MAX_SHOWN)

    def _symmetric(self) -> Iterator[Violation]:
        for name, _ in self._each("symmetric", lambda one: one.symmetric):
            written = self.written.get(name, set())
            lacking = sorted((b, a) for a, b in written if (b, a) not in written)
            for a, b in lacking[:MAX_SHOWN]:
                yield self._found(
                    "symmetric", a, name, b,
                    f"{name} is symmetric: {self._named(b)} {name} {self._named(a)} is written, "
                    "and not the other way round.",
                )  # fmt: skip

    def _inverse(self) -> Iterator[Violation]:
        for name, other in self._each("inverse", lambda one: one.inverse):
            for first, second in {(name, other), (other, name)}:
                there = self.written.get(second, set())
                lacking = sorted(
                    (b, a) for a, b in self.written.get(first, set()) if (b, a) not in there
                )
                for a, b in lacking[:MAX_SHOWN]:
                    yield self._found(
                        "inverse", a, second, b,
                        f"{second} is the inverse of {first}: {self._named(b)} {first} "
                        f"{self._named(a)} is written, and not {self._named(a)} {second} "
                        f"{self._named(b)}.",
                    )  # fmt: skip

    def _transitive(self) -> Iterator[Violation]:
        for name, _ in self._each("transitive", lambda one: one.transitive):
            yield from islice(self._skipped(name), MAX_SHOWN)

    def _skipped(self, name: str) -> Iterator[Violation]:
        pairs = self.said.get(name, set())
        after = _after(pairs)
        for a, b in sorted(pairs):
            for c in after.get(b, ()):
                if a != c and (a, c) not in pairs:
                    yield self._found(
                        "transitive", a, name, c,
                        f"{name} is transitive: {self._named(a)} leads by {self._named(b)} to "
                        f"{self._named(c)}, and that is not written.",
                    )  # fmt: skip

    def _acyclic(self) -> Iterator[Violation]:
        for name, _ in self._each("acyclic", lambda one: one.acyclic):
            for circle in islice(cycles(_after(self.said.get(name, set()))), MAX_SHOWN):
                way = " → ".join(self._named(one) for one in circle[:20])
                more = "" if len(circle) <= 20 else f" → … ({len(circle):,} in all)"
                yield self._found(
                    "acyclic", circle[0], name, circle[-1],
                    f"{name} must not come back to where it began: {way}{more} → "
                    f"{self._named(circle[0])}.",
                )  # fmt: skip

    def _disjoint(self) -> Iterator[Violation]:
        seen: set[frozenset[str]] = set()
        for name, others in self._each("disjoint", lambda one: one.disjoint):
            for other in others:
                pair = frozenset((name, other))
                if pair in seen:
                    continue
                seen.add(pair)
                for a, b in islice(sorted(self._both(name, other)), MAX_SHOWN):
                    yield self._found(
                        "disjoint", a, name, b,
                        f"{self._named(a)} and {self._named(b)} are connected by {name} and by "
                        f"{other}, which exclude each other.",
                    )  # fmt: skip

    def _both(self, name: str, other: str) -> set[tuple[str, str]]:
        """Return pairs that two predicates connect, by several steps where one is transitive."""
        ours, theirs = self.said.get(name, set()), self.said.get(other, set())
        found = ours & theirs
        for far, near, key in ((ours, theirs, name), (theirs, ours, other)):
            known = self.file.predicates.get(key)
            if known is not None and known.transitive:
                found |= reaches(_after(far), near)
        return found

    def _ends(self) -> Iterator[Violation]:
        for rule, of in (("domain", lambda one: one.domain), ("range", lambda one: one.range)):
            for name, wanted in self._each(rule, of):
                pairs = self.said.get(name, set())
                ends = {a for a, _ in pairs} if rule == "domain" else {b for _, b in pairs}
                if rule == "domain":
                    ends |= self.literals.get(name, set())
                yield from islice(self._misfits(rule, name, wanted, ends), MAX_SHOWN)

    def _misfits(
        self, rule: str, name: str, wanted: Iterable[str], ends: Iterable[str]
    ) -> Iterator[Violation]:
        what = "subjects" if rule == "domain" else "objects"
        for one in sorted(ends):
            types = self.types.get(one, [])
            if not set(types).isdisjoint(wanted):
                continue
            said = f"is of {', '.join(types[:5])}" if types else "has no type"
            message = (
                f"The {what} of {name} are of the type {' or '.join(wanted)}; {self._named(one)} "
                f"{said}."
            )
            if types:
                yield self._found(rule, one, name, ", ".join(types[:5]), message)
            else:
                # What is not known to be of a type may well be.
                yield Violation(one, name, "", message, "info", f"{FILE}: {rule}")

    def _types(self) -> Iterator[Violation]:
        against: dict[str, set[str]] = defaultdict(set)
        for name, one in self.file.types.items():
            for other in one.disjoint:
                against[name].add(other)
                against[other].add(name)
        if not against:
            return
        count = 0
        for identifier, types in sorted(self.types.items()):
            clash = sorted(
                (a, b) for a in types for b in against.get(a, set()).intersection(types) if a < b
            )
            for a, b in clash:
                yield self._found(
                    "disjoint", identifier, "", f"{a}, {b}",
                    f"{self._named(identifier)} is of {a} and of {b}, which exclude each other.",
                )  # fmt: skip
                count += 1
                if count == MAX_SHOWN:
                    return


def _derived(written: Pairs, file: GraphFile) -> dict[str, set[tuple[str, str]]]:
    """Return what is written with what symmetric and inverse predicates say besides."""
    said = {name: set(pairs) for name, pairs in written.items()}
    grown = True
    while grown:
        grown = False
        for name, one in file.predicates.items():
            targets = [name] * one.symmetric + [one.inverse] * bool(one.inverse)
            for first, second in [(name, to) for to in targets] + [(to, name) for to in targets]:
                if first is None or second is None or not said.get(first):
                    continue
                held = said.setdefault(second, set())
                before = len(held)
                held |= {(b, a) for a, b in said[first]}
                grown = grown or len(held) > before
        _bounded(sum(map(len, said.values())))
    return said


def _bounded(count: int) -> None:
    if count > MAX_PAIRS:
        raise TooLarge(
            f"Predicates with rules have {count:,} statements; {MAX_PAIRS:,} can be checked. State "
            "fewer rules, or contribute to a part of the graph."
        )


def _after(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    after: dict[str, list[str]] = defaultdict(list)
    for a, b in sorted(pairs):
        after[a].append(b)
    return after
