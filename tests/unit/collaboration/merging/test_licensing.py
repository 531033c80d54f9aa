# SPDX-License-Identifier: Apache-2.0
"""Licences before a merge: what refuses, what asks a person, what is written."""

from __future__ import annotations

import pytest

from plait.collaboration.merging import licensing
from plait.collaboration.merging.changes import Sides
from plait.collaboration.merging.licensing import decide, head_values, notice_file, relicensed
from plait.collaboration.requests import request_merge
from plait.errors import BadInput, Conflict, Forbidden
from plait.hub import AddBytes, Discussion, Operation
from plait.hub.repositories.discussions import pull_ref
from plait.licences import judge

from ..conftest import Place


def card(licence: str | None) -> AddBytes:
    head = f"license: {licence}\n" if licence else "tags: [a]\n"
    return AddBytes("README.md", f"---\n{head}---\n# A model\n\nOne.\n".encode())


def sides(place: Place, pull: Discussion) -> Sides:
    git = place.hub.git
    main, head = git.head(place.repo), git.head(place.repo, pull_ref(pull.number))
    assert main is not None
    assert head is not None
    return Sides(place.hub, place.repo, git.merge_base(place.repo, main, head) or main, main, head)


def state(place: Place, pull: Discussion) -> licensing.LicenceState:
    return licensing.licence_state(place.hub, pull, sides(place, pull), ())


def propose(place: Place, licence: str | None, *more: Operation) -> Discussion:
    return place.propose(card(licence), AddBytes("table.csv", b"a\n1\n"), *more)


def test_the_same_licence_merges(place: Place) -> None:
    pull = place.propose(AddBytes("table.csv", b"a\n1\n"))
    found = state(place, pull)
    assert found.sources == {"main": "apache-2.0", f"#{pull.number}": "apache-2.0"}
    assert found.refusal is None
    assert request_merge(place.hub, place.owner, place.repo, pull).landed


def joint(place: Place, *pulls: Discussion) -> licensing.LicenceState:
    return licensing.joint_state({f"#{pull.number}": state(place, pull) for pull in pulls})


def test_what_goes_with_main_need_not_go_together(place: Place) -> None:
    free, limited = propose(place, "gpl-3.0"), propose(place, "cc-by-nc-4.0")
    third = propose(place, "mit")
    assert all(state(place, pull).refusal is None for pull in (free, limited, third))
    together = joint(place, free, third)
    assert (together.refusal, together.verdict.outcome) == (None, "compatible with notices")
    refusal = joint(place, free, limited, third).refusal
    assert refusal is not None
    assert "forbids commercial use" in refusal


def test_a_decision_on_one_holds_beside_others_that_need_none(place: Place) -> None:
    own = propose(place, "our-own-terms")
    other = propose(place, "their-own-terms")
    plain = propose(place, "mit")
    assert joint(place, own, plain).open, "nobody decided"
    for pull in (own, other):
        found = state(place, pull)
        decide(place.hub, place.owner, place.repo, pull, found, allow=True, reason="I read it.")
    held = joint(place, own, plain)
    assert held.refusal is None
    assert held.decision is not None
    assert "I read it." in str(notice_file("", held.to_json()))
    assert joint(place, own, other).open, "nobody decided on the two beside each other"


def test_a_conflict_refuses_whoever_asks(place: Place) -> None:
    place.write(card("cc-by-sa-4.0"))
    pull = propose(place, "cc-by-nc-4.0")
    with pytest.raises(Conflict, match=r"do not go together: CC BY-NC 4.0 forbids commercial use"):
        request_merge(place.hub, place.owner, place.repo, pull)
    assert place.hub.git.head(place.repo) != place.hub.git.head(place.repo, pull_ref(pull.number))
    with pytest.raises(Conflict, match="There is nothing to decide"):
        decide(
            place.hub, place.owner, place.repo, pull, state(place, pull), allow=True, reason="so"
        )


def test_what_is_not_known_waits_for_a_decision(place: Place) -> None:
    pull = propose(place, "house-rules")
    found = state(place, pull)
    assert found.open
    with pytest.raises(Conflict, match="plait pr decide-licence"):
        request_merge(place.hub, place.owner, place.repo, pull)
    decide(place.hub, place.owner, place.repo, pull, found, allow=True, reason="I read  them.")
    after = state(place, pull)
    assert after.decision is not None
    assert (after.decision.by, after.decision.reason) == ("ann", "I read them.")
    assert after.decision.at
    assert not after.open
    assert request_merge(place.hub, place.owner, place.repo, pull).landed
    [entry] = [e for e in place.hub.audit.entries() if e.action == "licence.decide"]
    assert entry.details["reason"] == "I read them."


def test_a_decision_against_refuses_and_a_later_one_counts(place: Place) -> None:
    pull = propose(place, None)
    decide(
        place.hub, place.owner, place.repo, pull, state(place, pull), allow=False, reason="Not ours"
    )
    with pytest.raises(Conflict, match=r"ann decided that the licences do not permit.*Not ours"):
        request_merge(place.hub, place.owner, place.repo, pull)
    decide(place.hub, place.owner, place.repo, pull, state(place, pull), allow=True, reason="Asked")
    assert state(place, pull).refusal is None


def test_a_decision_lapses_when_a_licence_changes(place: Place) -> None:
    pull = propose(place, "house-rules")
    decide(place.hub, place.owner, place.repo, pull, state(place, pull), allow=True, reason="read")
    place.hub.commits.apply(
        place.stranger, place.repo, pull_ref(pull.number), [card("other-rules")], "swap"
    )
    assert state(place, pull).open


def test_only_those_who_merge_decide_and_with_a_reason(place: Place) -> None:
    pull = propose(place, "house-rules")
    found = state(place, pull)
    with pytest.raises(Forbidden):
        decide(place.hub, place.stranger, place.repo, pull, found, allow=True, reason="mine")
    for reason in ("", "   \n"):
        with pytest.raises(BadInput, match="Give the reason"):
            decide(place.hub, place.owner, place.repo, pull, found, allow=True, reason=reason)
    with pytest.raises(BadInput, match="more than"):
        decide(place.hub, place.owner, place.repo, pull, found, allow=True, reason="x" * 3_000)


def test_what_people_write_is_no_decision(place: Place) -> None:
    pull = propose(place, "house-rules")
    place.hub.discussions.add_comment(
        place.owner, pull, "x", data={"kind": licensing.KIND, "allow": True, "licences": "0" * 64}
    )
    place.hub.discussions.add_comment(
        place.stranger, pull, "**ann** decided that the licences permit this merge. Reason: so"
    )
    assert state(place, pull).open


def test_stating_a_licence_for_the_first_time_asks_nobody(place: Place) -> None:
    place.write(card(None))
    pull = place.propose(card("mit"))
    assert request_merge(place.hub, place.owner, place.repo, pull).landed


@pytest.mark.parametrize("licence", [None, "house-rules", "other"])
def test_one_statement_everywhere_asks_nobody(place: Place, licence: str | None) -> None:
    place.write(card(licence))
    pull = place.propose(AddBytes("table.csv", b"a\n1\n"))
    assert state(place, pull).verdict.outcome == "unknown"
    assert state(place, pull).refusal is None


def report_licence(**sources: str | None) -> dict[str, object]:
    return {**judge(sources).to_json(), "sources": sources, "decision": None}


def test_notices_are_written_and_what_people_wrote_is_kept() -> None:
    asked = report_licence(main="apache-2.0", pull="mit")
    first = notice_file("", asked)
    assert first is not None
    assert "main: apache-2.0" in first
    assert "Keep the NOTICE file" in first
    assert "not legal advice" in first
    own = "Made by the people of the commons.\n"
    second = notice_file(own, asked)
    assert second is not None
    assert second.startswith(own)
    third = notice_file(second + "More.\n", report_licence(main="apache-2.0", pull="isc"))
    assert third is not None
    assert third.startswith(own)
    assert third.endswith("More.\n")
    assert third.count(licensing.START) == 1
    assert "pull: isc" in third
    assert "pull: mit" not in third
    assert notice_file("", report_licence(main="cc0-1.0", pull="cc0-1.0")) is None


@pytest.mark.parametrize(
    ("main", "pull", "merged", "licence"),
    [
        ("apache-2.0", "apache-2.0", "apache-2.0", {}),
        ("apache-2.0", "mit", "apache-2.0", {}),
        # a pull request does not relicense what others gave
        ("gpl-3.0", "mit", "mit", {"license": "gpl-3.0"}),
        ("apache-2.0", "mit", "mit", {"license": "apache-2.0"}),
        # what it adds must hold for the whole
        ("apache-2.0", "cc-by-nc-4.0", "apache-2.0", {"license": "cc-by-nc-4.0"}),
        ("llama3.1", "apache-2.0", "llama3.1", {}),
        (
            "gemma",
            "llama3.1",
            "gemma",
            {"license": "other", "license_name": "gemma AND llama3.1"},
        ),
    ],
)
def test_the_card_states_what_the_fused_model_is_under(
    main: str, pull: str, merged: str, licence: dict[str, str]
) -> None:
    assert head_values({"license": merged}, report_licence(main=main, pull=pull)) == licence


def test_a_card_is_rewritten_whole() -> None:
    text = "---\nlicense: other\nlicense_name: x\nlicense_link: y\ntags: [a]\n---\n# Hello\n"
    asked = report_licence(main="apache-2.0", pull="cc-by-nc-4.0")
    made = relicensed(text, asked)
    assert "license: cc-by-nc-4.0" in made
    assert "license_name" not in made
    assert "tags:" in made
    assert made.endswith("# Hello\n")
    assert relicensed("no head", report_licence(main="mit", pull=None)) == "no head"


@pytest.mark.parametrize("moved", [False, True])
def test_a_merge_of_files_writes_them_too(place: Place, moved: bool) -> None:
    pull = propose(place, "cc-by-nc-4.0")
    if moved:
        place.write(AddBytes("notes.txt", b"other notes\n"))
    assert request_merge(place.hub, place.owner, place.repo, pull).landed
    assert "license: cc-by-nc-4.0" in place.read("README.md")
    notice = place.read("NOTICE")
    assert "main: apache-2.0" in notice
    assert f"#{pull.number}: cc-by-nc-4.0" in notice
    assert "not for commercial use" in notice


def test_files_under_another_licence_do_not_relicense(place: Place) -> None:
    place.write(card("gpl-3.0"))
    pull = propose(place, "mit")
    assert request_merge(place.hub, place.owner, place.repo, pull).landed
    assert "license: gpl-3.0" in place.read("README.md")
    same = place.propose(AddBytes("more.csv", b"a\n2\n"))
    before = place.read("NOTICE")
    assert request_merge(place.hub, place.owner, place.repo, same).landed
    assert place.read("NOTICE") == before
