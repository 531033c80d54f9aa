# SPDX-License-Identifier: Apache-2.0
"""What waits for people in a graph: conflicts of values, and pairs that may be one entity."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.graphs.identity import PERSON
from plait.graphs.lookup.index import COLUMNS, Entity, Index, Statement, statement_of


@dataclass(frozen=True)
class Choice:
    """One of the values of a conflict, and the statements that give it."""

    value: str
    entity: Entity | None
    statements: tuple[Statement, ...]
    trust: float


@dataclass(frozen=True)
class SeenConflict:
    """A conflict as it is shown: the preferred value first, if one is."""

    no: int
    subject: Entity
    predicate: str
    choices: tuple[Choice, ...]
    decided_by: str
    """As `merging.ranking.Conflict` has it; empty: people are asked."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "subject": self.subject.id,
            "subject_name": self.subject.name,
            "predicate": self.predicate,
            "decided_by": self.decided_by,
            "options": [
                {
                    "value": one.value,
                    "name": one.entity.name if one.entity else None,
                    "trust": one.trust,
                    "statements": [
                        {"id": said.id, "source": said.source, "licence": said.licence,
                         "confidence": said.confidence, "recorded": said.recorded,
                         "rank": said.rank, "evidence": list(said.evidence)}
                        for said in one.statements
                    ],
                }
                for one in self.choices
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One of the two entities of a claim, by itself: what its own sources say."""

    id: str
    name: str
    labels: tuple[Mapping[str, Any], ...]
    types: tuple[str, ...]
    sources: tuple[str, ...]
    statements: tuple[Statement, ...]
    no: int
    """Of the entity in the index that it is, or is a part of."""


@dataclass(frozen=True)
class SeenClaim:
    """A claim that nobody has answered, with what speaks for it."""

    a: Member
    b: Member
    relation: str
    source: str
    method: str
    score: float | None
    because: tuple[tuple[str, float | None, float], ...]
    """Kind of evidence, likeness from 0 to 1 (None: nothing to compare), weight in bits."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "a": self.a.id,
            "a_name": self.a.name,
            "b": self.b.id,
            "b_name": self.b.name,
            "relation": self.relation,
            "source": self.source,
            "method": self.method,
            "score": self.score,
            "because": [
                {"evidence": kind, "likeness": likeness, "bits": bits}
                for kind, likeness, bits in self.because
            ],
        }


def conflicts(
    index: Index, *, settled: bool = False, after: int = 0, limit: int = 25
) -> list[SeenConflict]:
    """Return conflicts that wait for people, or those that are settled."""
    rows = index.database.execute(
        "SELECT no, subject, predicate, decided_by, options FROM conflict "
        "WHERE (decided_by <> '') = ? ORDER BY no LIMIT ? OFFSET ?",
        (settled, limit, after),
    ).fetchall()
    found = []
    for no, subject, predicate, decided_by, options in rows:
        entity = index.entity(subject)
        choices = tuple(_choice(index, one) for one in json.loads(options))
        found.append(SeenConflict(no, entity, predicate, choices, decided_by))
    return found


def claims(index: Index, *, after: int = 0, limit: int = 20) -> list[SeenClaim]:
    """Return the claims of machines that no person has answered, those most in doubt first.

    Among claims that are equally in doubt come those about entities of which more is said.
    """
    rows = index.database.execute(
        """
        SELECT a, b, relation, source, coalesce(method, ''), score, explanation
        FROM identity AS claim
        WHERE source NOT LIKE ? AND NOT EXISTS (
            SELECT 1 FROM identity AS answer
            WHERE answer.a = claim.a AND answer.b = claim.b AND answer.source LIKE ?
        )
        ORDER BY abs(coalesce(score, 1) - 0.5), (
            SELECT max(degree) FROM entity WHERE id IN (claim.a, claim.b)
        ) DESC, no LIMIT ? OFFSET ?
        """,
        (f"{PERSON}%", f"{PERSON}%", limit, after),
    ).fetchall()
    found = []
    for a, b, relation, source, method, score, explanation in rows:
        left, right = member(index, a), member(index, b)
        if left is not None and right is not None:
            because = _because(explanation)
            found.append(SeenClaim(left, right, relation, source, method, score, because))
    return found


def count_claims(index: Index) -> int:
    """Count the claims of machines that no person has answered."""
    row = index.database.execute(
        "SELECT count(*) FROM identity AS claim WHERE source NOT LIKE ? AND NOT EXISTS ("
        "SELECT 1 FROM identity AS answer WHERE answer.a = claim.a AND answer.b = claim.b "
        "AND answer.source LIKE ?)",
        (f"{PERSON}%", f"{PERSON}%"),
    ).fetchone()
    return int(row[0])


def member(index: Index, identifier: str, limit: int = 40) -> Member | None:
    """Return an entity as its own sources have it, even where it is one with another."""
    found = index.find([identifier])
    if not found:
        return None
    entity = found[0]
    row = index.database.execute(
        "SELECT name, labels, types, sources FROM member WHERE id = ?", (identifier,)
    ).fetchone()
    if row is None:
        held = index.statements(entity.no, limit=limit)
        return Member(
            entity.id, entity.name, entity.labels, entity.types, entity.sources, tuple(held),
            entity.no,
        )  # fmt: skip
    rows = index.database.execute(
        f"SELECT {COLUMNS} FROM statement WHERE no IN "  # noqa: S608 columns alone
        "(SELECT no FROM said WHERE (said.subject = ?1 OR said.object = ?1)) "
        "AND (subject = ?2 OR object = ?2) AND rank <> 'deprecated' LIMIT ?3",
        (identifier, entity.no, limit),
    )
    name, labels, types, sources = row
    return Member(
        identifier, name, tuple(json.loads(labels)), tuple(json.loads(types)),
        tuple(json.loads(sources)), tuple(statement_of(one) for one in rows), entity.no,
    )  # fmt: skip


def _choice(index: Index, option: Mapping[str, Any]) -> Choice:
    held = by_id(index, option["statements"])
    entity = None
    if held and held[0].object is not None:
        entity = index.numbered([held[0].object])[held[0].object]
    return Choice(str(option["value"]), entity, tuple(held), float(option["trust"]))


def by_id(index: Index, identifiers: Sequence[str]) -> list[Statement]:
    """Return statements by their identifiers."""
    rows = index.database.execute(
        f"SELECT {COLUMNS} FROM statement "  # noqa: S608 columns alone
        "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY source, no",
        (json.dumps(list(identifiers)),),
    )
    return [statement_of(row) for row in rows]


def _because(explanation: str | None) -> tuple[tuple[str, float | None, float], ...]:
    """Read an explanation as `align` writes it; what others wrote has another shape."""
    try:
        told = json.loads(explanation or "{}")
        found = [
            (str(kind)[:200], None if likeness is None else float(likeness), float(bits))
            for kind, (likeness, bits) in told.items()
        ]
    except (ValueError, TypeError, AttributeError):
        return ()
    return tuple(sorted(found, key=lambda one: -abs(one[2])))[:30]
