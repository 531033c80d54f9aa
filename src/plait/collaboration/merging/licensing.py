# SPDX-License-Identifier: Apache-2.0
"""The licence verdict of a pull request: what is under which licence, and who decided what.

A conflict refuses the merge. Where the table cannot tell, a maintainer reads the licences and
records a decision with a reason; it holds for the licences that were read and lapses when one
changes. Where everything states the very same licence (or everything states none), there is nothing
that could contradict and nobody is asked, also if the table does not know it. None of this is legal
advice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plait import licences
from plait.cards import dump_card, parse_card
from plait.collaboration import events
from plait.collaboration.merging.changes import CARD, Sides
from plait.collaboration.merging.states import state_at
from plait.errors import BadInput, Conflict
from plait.hub import Actor, Discussion, Hub, Repository
from plait.hub.database import now
from plait.hub.repositories.discussions import pull_ref
from plait.licences.cards import licence_head, stated_licence
from plait.licences.verdict import CONFLICT, DISCLAIMER, NOTICES, UNKNOWN
from plait.lineage import Contribution
from plait.recipes.project import FILE as PROJECT

KIND = "licence-decision"
MAX_REASON = 2_000
NOTICE = "NOTICE"
START = "==== Sources of this repository, listed by Plait from their cards ===="
END = "==== end of the list ===="

_ASIDE = (CARD, PROJECT, NOTICE, ".gitattributes", ".gitignore")
"""Files whose change brings nothing of anybody's under another licence."""


@dataclass(frozen=True)
class Decision:
    """What a maintainer decided where the table could not tell."""

    allow: bool
    reason: str
    by: str
    at: str


@dataclass(frozen=True)
class LicenceState:
    """The verdict on a pull request, and what is needed before it may be merged."""

    sources: Mapping[str, str | None]
    verdict: licences.Verdict
    decision: Decision | None
    applies: bool
    """Whether the pull request brings anything that a licence is about."""

    @property
    def open(self) -> bool:
        """Whether a person must decide before the merge."""
        differ = len({(stated or "").strip().lower() for stated in self.sources.values()}) > 1
        return self.applies and self.verdict.outcome == UNKNOWN and differ and self.decision is None

    @property
    def refusal(self) -> str | None:
        """Why the pull request may not be merged, in a sentence; None if it may."""
        if not self.applies:
            return None
        reasons = " ".join(reason.text for reason in self.verdict.reasons)
        if self.verdict.outcome == CONFLICT:
            return f"The licences do not go together: {reasons} Nothing was merged."
        if self.decision is not None and not self.decision.allow:
            return (
                f"{self.decision.by} decided that the licences do not permit this merge: "
                f"{self.decision.reason}"
            )
        if self.open:
            return (
                f"A maintainer must decide on the licences first: {reasons} Read them, then record "
                "the decision on the pull request's page or with `plait pr decide-licence`."
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for the report, the API and the page."""
        made = self.verdict.to_json()
        made["sources"] = dict(self.sources)
        made["applies"] = self.applies
        made["open"] = self.open
        made["refusal"] = self.refusal
        one = self.decision
        made["decision"] = None if one is None else {
            "allow": one.allow, "reason": one.reason, "by": one.by, "at": one.at
        }  # fmt: skip
        return made


def licence_state(
    hub: Hub, discussion: Discussion, sides: Sides, contributions: Iterable[Contribution]
) -> LicenceState:
    """Judge the licences of main, of what was merged into it, and of the pull request.

    Args:
        hub: where.
        discussion: the pull request.
        sides: main's files and the pull request's.
        contributions: those that main was fused from.
    """
    stated: dict[str, str | None] = {"main": card_licence(sides, sides.main)}
    for one in contributions:
        stated[f"#{one.number}"] = one.licence
    stated[f"#{discussion.number}"] = card_licence(sides, sides.head)
    verdict = licences.judge(stated)
    applies = any(path not in _ASIDE for path in sides.changed())
    return LicenceState(stated, verdict, decision_on(hub, discussion, stated), applies)


def joint_state(alone: Mapping[str, LicenceState]) -> LicenceState:
    """Judge the licences of main, of what was merged into it, and of several pull requests.

    A decision on one pull request holds for several if without those that it is about nothing is
    left to decide: what was decided is one licence beside main's, not two beside each other.

    Args:
        alone: the verdict on each by its name in the sources, over the same main.
    """
    stated: dict[str, str | None] = {}
    for one in alone.values():
        stated |= one.sources
    found = LicenceState(stated, licences.judge(stated), None, True)
    decided = {name: one for name, one in alone.items() if one.decision is not None}
    if not found.open or not decided or any(one.refusal for one in decided.values()):
        return found
    rest = {name: licence for name, licence in stated.items() if name not in decided}
    same = {(stated[name] or "").strip().lower() for name in decided}
    if len(same) > 1 or LicenceState(rest, licences.judge(rest), None, True).refusal is not None:
        return found
    return replace(found, decision=next(iter(decided.values())).decision)


def require(
    hub: Hub, discussion: Discussion, sides: Sides, contributions: Iterable[Contribution]
) -> LicenceState:
    """Return the licence verdict of a merge that may go on.

    Raises:
        Conflict: the licences contradict each other, or a person must decide, or decided against.
    """
    state = licence_state(hub, discussion, sides, contributions)
    if state.refusal is not None:
        raise Conflict(state.refusal)
    return state


def card_licence(sides: Sides, oid: str) -> str | None:
    """Return the licence that the card of main or of the pull request states."""
    if CARD not in (sides.at_main if oid == sides.main else sides.at_head):
        return None
    try:
        card = parse_card(sides.read(oid, CARD).decode("utf-8", "replace"))
    except BadInput:
        return None
    return stated_licence(card.data)


def decide(
    hub: Hub,
    actor: Actor,
    repo: Repository,
    discussion: Discussion,
    state: LicenceState,
    *,
    allow: bool,
    reason: str,
) -> None:
    """Record a maintainer's decision on licences that the table cannot judge.

    Raises:
        RepositoryNotFound, Forbidden: the actor may not merge here.
        BadInput: no reason is given, or it is too long.
        Conflict: there is nothing to decide.
    """
    hub.repositories.require(actor, repo, "repo.merge", discussion)
    reason = " ".join(reason.split())
    if not reason:
        raise BadInput("Give the reason for the decision; whoever looks later needs it.")
    if len(reason) > MAX_REASON:
        raise BadInput(f"The reason has more than {MAX_REASON:,} characters.")
    if discussion.status not in ("open", "draft"):
        raise Conflict(f"Pull request {discussion.number} is {discussion.status}.")
    if state.verdict.outcome != UNKNOWN:
        raise Conflict(
            f"The licences are judged to be: {state.verdict.outcome}. There is nothing to decide."
        )
    by = actor.name or "the hub"
    word = "permit this merge" if allow else "do not permit this merge"
    events.say(
        hub,
        discussion,
        f"**{by}** decided that the licences {word}. Reason: {reason}",
        {
            "kind": KIND,
            "allow": allow,
            "reason": reason,
            "by": by,
            "at": now().isoformat(timespec="seconds"),
            "licences": _digest(state.sources),
        },
    )
    with hub.session(write=True) as session:
        hub.events.record(
            session,
            actor,
            "licence.decide",
            repo=repo,
            number=discussion.number,
            allow=allow,
            reason=reason,
            licences=dict(state.sources),
        )


def decision_on(
    hub: Hub, discussion: Discussion, sources: Mapping[str, str | None]
) -> Decision | None:
    """Return the newest decision on exactly these licences."""
    wanted = _digest(sources)
    for values in events.hub_values(hub, discussion.id):
        if values.get("kind") == KIND and values.get("licences") == wanted:
            return Decision(
                bool(values["allow"]),
                str(values["reason"]),
                str(values["by"]),
                str(values.get("at", "")),
            )
    return None


def notice_file(before: str, licence: Mapping[str, Any]) -> str | None:
    """Return a NOTICE file with the list of sources and what their licences ask.

    Args:
        before: the file as it is; what people wrote in it is kept.
        licence: of a report: `LicenceState.to_json`.

    Returns:
        None where the licences ask nothing.
    """
    decided = licence.get("decision")
    if licence.get("outcome") != NOTICES and not decided:
        return None
    lines = [START, ""]
    for name, stated in sorted(licence.get("sources", {}).items()):
        lines.append(f"{name}: {stated or 'no licence stated'}")
    if licence.get("notices"):
        lines += ["", *(f"- {notice}" for notice in licence["notices"])]
    if decided:
        lines += ["", f"Decided by {decided['by']}: {decided['reason']}"]
    lines += ["", str(licence.get("disclaimer", DISCLAIMER)), END]
    block = "\n".join(lines) + "\n"
    start, end = before.find(START), before.find(END)
    if 0 <= start < end:
        return before[:start] + block + before[end + len(END) :].lstrip("\n")
    return f"{before.rstrip()}\n\n{block}" if before.strip() else block


def head_values(before: Mapping[str, Any], licence: Mapping[str, Any]) -> dict[str, str]:
    """Return the card's licence keys where the fused model's licence is another than main's.

    A card that states none, and a verdict that does not say what the result is under, change
    nothing.
    """
    result, stated = licence.get("result"), stated_licence(before)
    main = (licence.get("sources") or {}).get("main")
    if not result or not main or " OR " in str(main):
        return {}
    if str(result).lower() == str(stated or "").lower():
        return {}
    own = licences.judge({"main": str(main)}).result
    known = licences.table()
    parts = str(result).split(" AND ")
    if str(result) == own or all(name in known and known[name].free for name in parts):
        # Nothing that was merged asks for more than main's own licence does, once it is named.
        return licence_head(str(main)) if stated != main else {}
    return licence_head(str(result))


def relicensed(text: str, licence: Mapping[str, Any]) -> str:
    """Return a card that states the licence that the fused model is under."""
    try:
        card = parse_card(text)
    except BadInput:
        return text
    values = head_values(card.data, licence)
    if not values:
        return text
    kept = {k: v for k, v in card.data.items() if k not in ("license_name", "license_link")}
    return dump_card({**kept, **values}, card.text)


def _digest(sources: Mapping[str, str | None]) -> str:
    plain = json.dumps(dict(sorted(sources.items())))
    return hashlib.sha256(plain.encode()).hexdigest()


def of_pull(hub: Hub, repo: Repository, discussion: Discussion) -> LicenceState | None:
    """Judge the licences of an open pull request; None for one that cannot be merged as it is."""
    git = hub.git
    if not discussion.is_pull_request or discussion.status not in ("open", "draft"):
        return None
    main = git.head(repo, discussion.base_ref)
    head = git.head(repo, pull_ref(discussion.number))
    fork = git.merge_base(repo, main, head) if main and head else None
    if main is None or head is None or fork is None:
        return None
    sides = Sides(hub, repo, fork, main, head)
    lineage = state_at(hub, repo, main).lineage if repo.type == "model" else None
    return licence_state(
        hub, discussion, sides, lineage.contributions if lineage is not None else ()
    )
