# SPDX-License-Identifier: Apache-2.0
"""Whether things under several licences may be made into one and shared, and what that asks.

The rule looks at what the table says of each licence:

* *conflict*: a licence forbids changed versions; or two share-alike licences each ask for
  themselves and neither lets the other in; or a share-alike licence meets a limit (no commercial
  use, restricted uses) that it does not let anybody add.
* *unknown*: a licence is not stated, not known or needs reading. A person decides.
* *compatible with notices*: allowed, and something must be written, passed on or kept in mind.
* *compatible*: allowed, with nothing to do.

Where a source offers a choice of licences, the choice that serves best is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal

from plait.errors import BadInput
from plait.licences.expressions import NOT_STATED, choices
from plait.licences.table import Terms, table

Outcome = Literal["compatible", "compatible with notices", "unknown", "conflict"]
COMPATIBLE: Outcome = "compatible"
NOTICES: Outcome = "compatible with notices"
UNKNOWN: Outcome = "unknown"
CONFLICT: Outcome = "conflict"
ORDER: tuple[Outcome, ...] = (COMPATIBLE, NOTICES, UNKNOWN, CONFLICT)

MAX_COMBINATIONS = 4_096
DISCLAIMER = "This is what a table of licences says, not legal advice."


@dataclass(frozen=True)
class Reason:
    """Why a verdict is not better: the outcome that it leads to, which licences, a sentence."""

    outcome: Outcome
    licences: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether the sources may be made into one; what to write; what the result may be under.

    `result` is a licence's name, an SPDX-like expression of all that must be kept, or None where
    that is not known.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    notices: tuple[str, ...]
    result: str | None
    chosen: Mapping[str, tuple[str, ...]]
    """The licences of each source that were reckoned with."""

    def sentences(self) -> list[str]:
        """Say the verdict in sentences: what stands against it, else what it asks."""
        if self.outcome == COMPATIBLE:
            return []
        if self.outcome == NOTICES:
            return [f"Licences: {self.result}. {' '.join(self.notices)}"]
        heading = "do not go together" if self.outcome == CONFLICT else "need a person's decision"
        return [f"The licences {heading}: {' '.join(r.text for r in self.reasons)}"]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "outcome": self.outcome,
            "reasons": [
                {"outcome": r.outcome, "licences": list(r.licences), "text": r.text}
                for r in self.reasons
            ],
            "notices": list(self.notices),
            "result": self.result,
            "chosen": {source: list(names) for source, names in sorted(self.chosen.items())},
            "disclaimer": DISCLAIMER,
        }


def judge(sources: Mapping[str, str | None]) -> Verdict:
    """Say whether things under these licences may be made into one that is shared.

    Args:
        sources: what is put together (a repository's name, say) and the licence that its card
            states: a name such as `apache-2.0` or an SPDX expression; None if it states none.
    """
    options: dict[str, tuple[frozenset[str], ...]] = {}
    unread: list[Reason] = []
    for source, stated in sorted(sources.items()):
        if stated is None or stated.strip().lower() in NOT_STATED:
            unread.append(Reason(UNKNOWN, (), f"{source} states no licence that is known; ask."))
            continue
        try:
            options[source] = choices(stated)
        except BadInput as error:
            unread.append(Reason(UNKNOWN, (), f"{source}: {error.message}"))
    # most offer no choice; where they do, every combination is judged and the best one kept
    combinations = islice(product(*options.values()), MAX_COMBINATIONS)
    judged = [_judge(dict(zip(options, picked, strict=True)), unread) for picked in combinations]
    return min(judged, key=lambda v: (ORDER.index(v.outcome), len(v.notices), str(v.result)))


def _judge(picked: Mapping[str, frozenset[str]], unread: list[Reason]) -> Verdict:
    names = sorted(frozenset[str]().union(*picked.values()))
    known = [table()[name] for name in names if name in table()]
    reasons = [*unread]
    reasons += [
        Reason(UNKNOWN, (name,), f"What '{name[:60]}' asks is not known here; read it.")
        for name in names
        if name not in table()
    ]
    reasons += [Reason(UNKNOWN, (t.id,), f"{t.name}: {t.unclear}") for t in known if t.unclear]
    reasons += [
        Reason(CONFLICT, (t.id,), f"{t.name} does not allow changed versions to be shared.")
        for t in known
        if not t.changes
    ]
    under, clashes = _share_alike(known)
    reasons += clashes
    notices = _notices(known, under)
    worst = max((ORDER.index(r.outcome) for r in reasons), default=0)
    outcome = ORDER[max(worst, 1 if notices else 0)]
    result = None if worst >= ORDER.index(UNKNOWN) else _result(known, under)
    chosen = {source: tuple(sorted(licences)) for source, licences in picked.items()}
    return Verdict(outcome, tuple(reasons), tuple(notices), result, chosen)


def _share_alike(known: Iterable[Terms]) -> tuple[Terms | None, list[Reason]]:
    """Return the licence that share-alike makes the result's, and what stands against that."""
    known = list(known)
    alike = [t for t in known if t.share_alike]
    if not alike:
        return None, []
    fitting = [t for t in alike if all(other.allows(t.id) for other in alike)]
    shared = sorted({name for t in alike for name in t.into})
    fitting += [
        table()[n] for n in shared if n in table() and all(other.allows(n) for other in alike)
    ]
    if not fitting:
        listed = " and ".join(t.name for t in alike)
        text = f"{listed} each ask that the result is under them alone."
        return None, [Reason(CONFLICT, tuple(t.id for t in alike), text)]
    under = fitting[0]
    clashes = []
    for t in known:
        if t.share_alike:
            continue
        if not t.commercial and under.commercial:
            text = f"{t.name} forbids commercial use, and {under.name} lets nobody forbid it."
            clashes.append(Reason(CONFLICT, (t.id, under.id), text))
        if t.restricts is not None:
            text = f"{t.name} restricts what the result is used for; {under.name} forbids that."
            clashes.append(Reason(CONFLICT, (t.id, under.id), text))
    return under, clashes


def _notices(known: Iterable[Terms], under: Terms | None) -> list[str]:
    found: list[str] = []
    known = list(known)
    credited = [t.name for t in known if t.attribution]
    if credited:
        found.append(f"Name the sources and keep their notices ({', '.join(credited)}).")
    if under is not None:
        found.append(f"Share the result under {under.name} ({under.url}).")
    limited = [t.name for t in known if not t.commercial]
    if limited:
        found.append(f"The result is not for commercial use ({', '.join(limited)}).")
    found += [
        f"Bind whoever gets the result to {t.restricts} ({t.url})." for t in known if t.restricts
    ]
    found += [f"{t.name}: {notice}" for t in known for notice in t.notices]
    return list(dict.fromkeys(found))


def _result(known: Iterable[Terms], under: Terms | None) -> str | None:
    """Return what the result may be under: the share-alike licence, or all that limit together."""
    if under is not None:
        return under.id
    known = list(known)
    limiting = sorted(t.id for t in known if not t.free)
    kept = limiting or sorted(t.id for t in known)
    return " AND ".join(kept) if kept else None
