# SPDX-License-Identifier: Apache-2.0
"""The licence verdict on a pull request's page, and the form of a maintainer's decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from plait.collaboration.merging import licensing
from plait.errors import BadInput, Conflict
from plait.hub import Discussion
from plait.web.here import At, Here
from plait.web.language import Translator
from plait.web.session import Form

KINDS = {
    "compatible": "passes",
    "compatible with notices": "passes",
    "conflict": "regresses",
    "unknown": "unsure",
}
"""CSS class of each outcome."""
_WORDS = {
    "compatible": "compatible",
    "compatible with notices": "notices",
    "conflict": "conflict",
    "unknown": "unknown",
}


@dataclass(frozen=True)
class LicenceView:
    """A licence verdict, ready to print."""

    kind: str
    word: str
    sources: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    notices: tuple[str, ...]
    result: str
    refusal: str
    asks: bool
    """Whether a maintainer must decide before the merge."""
    undecided: bool
    """Whether a decision may be recorded, asked for or not."""
    decision: Mapping[str, Any] | None


def add(router: APIRouter, prefix: str) -> None:
    """Add the route."""
    router.add_api_route(prefix + "/discussions/{number}/licence", decide, methods=["POST"])


def licence_view(at: Here, discussion: Discussion) -> LicenceView | None:
    """Judge the licences of an open pull request; None where there is nothing to judge."""
    state = licensing.of_pull(at.visit.hub, at.record, discussion)
    if state is None or not state.applies:
        return None
    return view_of(state.to_json(), at.visit.t)


def view_of(plain: Mapping[str, Any], t: Translator) -> LicenceView:
    """Turn a verdict's plain values, also a report's, into what the page shows."""
    outcome = str(plain["outcome"])
    return LicenceView(
        KINDS.get(outcome, "unsure"),
        t(f"licence.{_WORDS.get(outcome, 'unknown')}"),
        tuple(
            (t("model.main") if name == "main" else name, stated or t("licence.not_stated"))
            for name, stated in (plain.get("sources") or {}).items()
        ),
        tuple(str(reason["text"]) for reason in plain.get("reasons") or ()),
        tuple(str(notice) for notice in plain.get("notices") or ()),
        str(plain.get("result") or ""),
        str(plain.get("refusal") or ""),
        bool(plain.get("open")),
        outcome == "unknown",
        plain.get("decision"),
    )


def decide(at: At, number: int, form: Form) -> Response:
    """Record a maintainer's decision."""
    hub = at.visit.hub
    discussion = hub.discussions.get(at.record, min(max(number, 0), 2**31))
    hub.repositories.require(at.visit.actor, at.record, "repo.merge", discussion)
    state = licensing.of_pull(hub, at.record, discussion)
    if state is None:
        raise Conflict(f"Number {discussion.number} is no open pull request.")
    chosen = form.get("decision", "")
    if chosen not in ("accepted", "rejected"):
        raise BadInput("Choose whether the licences permit the merge.")
    licensing.decide(
        hub,
        at.visit.actor,
        at.record,
        discussion,
        state,
        allow=chosen == "accepted",
        reason=form.get("reason", ""),
    )
    return at.visit.go(f"{at.view.url}/discussions/{discussion.number}#licence")
