# SPDX-License-Identifier: Apache-2.0
"""A knowledge graph's ``graph.yaml``: its sources, what is known of its predicates, its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from plait.errors import BadInput
from plait.recipes._reading import choice, keys, number, read_mapping, short, text, texts

FILE = "graph.yaml"
MAX_CHARACTERS = 4_000_000
MAX_SOURCES = 10_000
MAX_PREDICATES = 100_000
MAX_VALUES = 100_000

CRITERIA = ("trust", "recency", "votes", "confidence")
"""What a policy compares two values of a functional predicate by, in the order that it names."""
ASK = "ask"
"""The policy that leaves a conflict to people."""
DEFAULT_POLICY = ("trust", "recency", "votes", "confidence")

RULES = (
    "functional", "symmetric", "inverse", "transitive", "acyclic", "disjoint", "domain", "range",
)  # fmt: skip
"""What ``graph.yaml`` can say of predicates and types that statements can break."""
DEFAULT_GATES = ("acyclic", "disjoint", "domain", "range")
"""Rules that refuse a merge unless ``gates`` says otherwise; what breaks the others is told."""

ENTITY = "entity"
"""The datatype of a predicate whose objects are entities."""
DATATYPES = (
    ENTITY,
    "string",
    "langString",
    "boolean",
    "integer",
    "decimal",
    "double",
    "date",
    "dateTime",
    "gYear",
    "anyURI",
)
"""Datatypes by XML Schema's names (W3C XSD 1.1 part 2), and entities."""


@dataclass(frozen=True)
class Source:
    """Where statements come from. `trust` from 0 to 1 is the graph's owners' own judgement."""

    title: str = ""
    url: str = ""
    licence: str = ""
    trust: float = 0.5


@dataclass(frozen=True)
class Predicate:
    """What is known of a predicate.

    A *functional* predicate has one value for each subject, so that two are a conflict; `policy`
    overrides the graph's for it. `templates` are sentences with ``{subject}`` and ``{object}``;
    `values` says how texts write what the graph has as a code (``EUR: [euro]``).
    What is *symmetric*, the *inverse* of another or *transitive* says more than is written; no way
    along an *acyclic* one comes back; no two entities are connected by *disjoint* ones. Subjects
    are of one of the types in `domain`, objects of one of those in `range`.
    """

    label: Mapping[str, str] = field(default_factory=dict)
    datatype: str | None = None
    functional: bool = False
    symmetric: bool = False
    inverse: str | None = None
    policy: tuple[str, ...] | None = None
    transitive: bool = False
    acyclic: bool = False
    disjoint: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    range: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """What is known of a type: nothing is of it and of one that is `disjoint` from it."""

    disjoint: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphFile:
    """A ``graph.yaml``."""

    title: str = ""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    predicates: Mapping[str, Predicate] = field(default_factory=dict)
    policy: tuple[str, ...] = DEFAULT_POLICY
    shapes: str | None = None
    """A Turtle file of SHACL shapes in the repository, checked before a merge lands."""
    types: Mapping[str, Kind] = field(default_factory=dict)
    gates: tuple[str, ...] = DEFAULT_GATES
    """The rules, of `RULES`, that a merge must not break."""

    def policy_of(self, predicate: str) -> tuple[str, ...]:
        """Return the policy that decides between values of a predicate."""
        own = self.predicates.get(predicate)
        return own.policy if own is not None and own.policy is not None else self.policy

    def trust(self, source: str) -> float:
        """Return how far a source is trusted; one that is not described has 0.5."""
        found = self.sources.get(source)
        return found.trust if found is not None else Source.trust


def parse_graph_file(content: str, origin: str = FILE) -> GraphFile:
    """Read a ``graph.yaml``; an empty text is a graph of which nothing is known.

    Raises:
        BadInput: naming the key that is wrong, and what it may be.
    """
    data = read_mapping(content, origin, MAX_CHARACTERS)
    known = (
        "graph",
        "title",
        "prefixes",
        "sources",
        "predicates",
        "policy",
        "shapes",
        "types",
        "gates",
    )
    found = keys(data, origin, known)
    if found.get("graph", 1) != 1:
        raise BadInput(f"{origin}: 'graph' is the format's version; this Plait reads 1.")
    return GraphFile(
        title=_optional(found, "title", origin) or "",
        prefixes=_prefixes(found.get("prefixes") or {}, origin),
        sources=_sources(found.get("sources") or {}, origin),
        predicates=_predicates(found.get("predicates") or {}, origin),
        policy=_policy(found.get("policy", list(DEFAULT_POLICY)), f"{origin}: 'policy'"),
        shapes=_optional(found, "shapes", origin),
        types=_types(found.get("types") or {}, origin),
        gates=_gates(found.get("gates", list(DEFAULT_GATES)), f"{origin}: 'gates'"),
    )


def format_graph_file(file: GraphFile) -> str:
    """Write a ``graph.yaml``, sorted and without defaults: equal graphs have equal bytes."""
    data: dict[str, Any] = {"graph": 1}
    if file.title:
        data["title"] = file.title
    if file.prefixes:
        data["prefixes"] = dict(sorted(file.prefixes.items()))
    if file.sources:
        data["sources"] = {
            name: {
                key: value
                for key, value in (
                    ("title", one.title),
                    ("url", one.url),
                    ("licence", one.licence),
                    ("trust", one.trust),
                )
                if value != getattr(Source, key)
            }
            for name, one in sorted(file.sources.items())
        }
    if file.predicates:
        data["predicates"] = {
            name: _predicate_data(one) for name, one in sorted(file.predicates.items())
        }
    if file.policy != DEFAULT_POLICY:
        data["policy"] = _policy_data(file.policy)
    if file.shapes:
        data["shapes"] = file.shapes
    if file.types:
        data["types"] = {
            name: {"disjoint": sorted(one.disjoint)} if one.disjoint else {}
            for name, one in sorted(file.types.items())
        }
    if file.gates != DEFAULT_GATES:
        data["gates"] = list(file.gates)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


_FLAGS = ("functional", "symmetric", "transitive", "acyclic")
_NAMED = ("disjoint", "domain", "range")
"""Keys of a predicate that name other predicates or types."""


def _predicate_data(one: Predicate) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if one.label:
        data["label"] = dict(sorted(one.label.items()))
    if one.datatype:
        data["datatype"] = one.datatype
    for flag in _FLAGS:
        if getattr(one, flag):
            data[flag] = True
    for name in _NAMED:
        if getattr(one, name):
            data[name] = sorted(getattr(one, name))
    if one.inverse:
        data["inverse"] = one.inverse
    if one.policy is not None:
        data["policy"] = _policy_data(one.policy)
    if one.templates:
        data["templates"] = list(one.templates)
    if one.values:
        data["values"] = {value: list(said) for value, said in sorted(one.values.items())}
    return data


def _policy_data(policy: tuple[str, ...]) -> str | list[str]:
    return ASK if policy == (ASK,) else list(policy)


def _prefixes(value: object, origin: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > MAX_SOURCES:
        raise BadInput(f"{origin}: 'prefixes' must map short names to addresses.")
    return {
        text(name, f"{origin}: a prefix", most=64): text(
            at, f"{origin}: prefix '{name}'", most=1000
        )
        for name, at in value.items()
    }


def _sources(value: object, origin: str) -> dict[str, Source]:
    if not isinstance(value, Mapping) or len(value) > MAX_SOURCES:
        raise BadInput(f"{origin}: 'sources' must map at most {MAX_SOURCES:,} names to sources.")
    made = {}
    for name, entry in value.items():
        where = f"{origin}: source '{name}'"
        found = keys(entry or {}, where, ("title", "url", "licence", "trust"))
        made[text(name, f"{origin}: a source's name", most=200)] = Source(
            title=_optional(found, "title", where) or "",
            url=_optional(found, "url", where) or "",
            licence=_optional(found, "licence", where) or "",
            trust=number(found.get("trust", Source.trust), f"{where}: 'trust'", 0.0, 1.0),
        )
    return made


def _predicates(value: object, origin: str) -> dict[str, Predicate]:
    if not isinstance(value, Mapping) or len(value) > MAX_PREDICATES:
        raise BadInput(f"{origin}: 'predicates' must map at most {MAX_PREDICATES:,} names.")
    return {
        text(name, f"{origin}: a predicate's name", most=1024): _predicate(
            entry or {}, f"{origin}: predicate '{name}'"
        )
        for name, entry in value.items()
    }


def _predicate(entry: object, where: str) -> Predicate:
    known = ("label", "datatype", *_FLAGS, *_NAMED, "inverse", "policy", "templates",
             "values")  # fmt: skip
    found = keys(entry, where, known)
    labels = found.get("label") or {}
    if isinstance(labels, str):
        labels = {"en": labels}
    if not isinstance(labels, Mapping):
        raise BadInput(f"{where}: 'label' must be a text, or map languages to texts.")
    for flag in _FLAGS:
        if not isinstance(found.get(flag, False), bool):
            raise BadInput(f"{where}: '{flag}' must be true or false.")
    datatype = found.get("datatype")
    templates = texts(found.get("templates") or [], f"{where}: 'templates'", most=200)
    for template in templates:
        if "{subject}" not in template or "{object}" not in template:
            raise BadInput(
                f"{where}: a template must hold {{subject}} and {{object}}, as "
                "'The capital of {subject} is {object}.'"
            )
    if found.get("symmetric") and found.get("acyclic"):
        raise BadInput(f"{where} is 'symmetric' and 'acyclic': no statement can hold to both.")
    return Predicate(
        label={
            text(name, f"{where}: a language", most=35): text(said, f"{where}: label '{name}'")
            for name, said in labels.items()
        },
        datatype=None if datatype is None else choice(datatype, f"{where}: 'datatype'", DATATYPES),
        functional=bool(found.get("functional", False)),
        symmetric=bool(found.get("symmetric", False)),
        transitive=bool(found.get("transitive", False)),
        acyclic=bool(found.get("acyclic", False)),
        disjoint=_some(found.get("disjoint"), f"{where}: 'disjoint'"),
        domain=_some(found.get("domain"), f"{where}: 'domain'"),
        range=_some(found.get("range"), f"{where}: 'range'"),
        inverse=_optional(found, "inverse", where),
        policy=_policy(found["policy"], f"{where}: 'policy'") if "policy" in found else None,
        templates=templates,
        values=_values(found.get("values") or {}, f"{where}: 'values'"),
    )


def _values(value: object, where: str) -> dict[str, tuple[str, ...]]:
    """Return how values are written in texts; one way may be written without brackets."""
    if not isinstance(value, Mapping) or len(value) > MAX_VALUES:
        raise BadInput(f"{where} must map at most {MAX_VALUES:,} values to words, as EUR: [euro].")
    return {
        text(name, f"{where}: a value", most=1024): texts(
            [said] if isinstance(said, str) else said, f"{where}: {short(name)}", most=50
        )
        for name, said in value.items()
    }


def _types(value: object, origin: str) -> dict[str, Kind]:
    if not isinstance(value, Mapping) or len(value) > MAX_PREDICATES:
        raise BadInput(f"{origin}: 'types' must map at most {MAX_PREDICATES:,} names.")
    made = {}
    for name, entry in value.items():
        where = f"{origin}: type '{name}'"
        found = keys(entry or {}, where, ("disjoint",))
        made[text(name, f"{origin}: a type's name", most=1024)] = Kind(
            disjoint=_some(found.get("disjoint"), f"{where}: 'disjoint'")
        )
    return made


def _some(value: object, where: str) -> tuple[str, ...]:
    """Return names, sorted: one may be written without brackets."""
    listed = [value] if isinstance(value, str) else value or []
    return tuple(sorted(set(texts(listed, where, most=200))))


def _gates(value: object, where: str) -> tuple[str, ...]:
    named = texts([value] if isinstance(value, str) else value, where, most=len(RULES))
    return tuple(sorted({choice(one, where, RULES) for one in named}))


def _policy(value: object, where: str) -> tuple[str, ...]:
    if value == ASK or value == [ASK]:
        return (ASK,)
    named = texts([value] if isinstance(value, str) else value, where, most=len(CRITERIA))
    if not named or len(set(named)) != len(named):
        raise BadInput(f"{where} must be '{ASK}', or some of {', '.join(CRITERIA)}, each once.")
    return tuple(choice(one, where, CRITERIA) for one in named)


def _optional(found: Mapping[str, Any], key: str, where: str) -> str | None:
    value = found.get(key)
    return None if value is None else text(value, f"{where}: '{key}'", most=1024)
