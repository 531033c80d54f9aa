# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from plait.collaboration.merging.plan import Plan, State, make_plan
from plait.errors import Conflict
from plait.lineage import Contribution, Lineage, Origin


def sha(name: str) -> str:
    return (name.encode().hex() + "0" * 64)[:64]


def rev(name: str) -> str:
    return (name.encode().hex() + "0" * 40)[:40]


def model(name: str, at: str | None = None) -> Origin:
    return Origin("commons/sentiment", rev(at or name), {"model.safetensors": sha(name)})


def contribution(number: int) -> Contribution:
    return Contribution(
        number, "ann", "shop", "title", rev(f"c{number}"), {"model.safetensors": sha(f"c{number}")}
    )


def landed(plan: Plan, name: str) -> State:
    """Return main after the plan landed as the weights ``name``."""
    weights = model(name)
    return State(weights, Lineage(plan.base, plan.contributions, {}, dict(weights.files)))


class History:
    """Commits in a line: a later one descends from an earlier one."""

    def __init__(self, *names: str) -> None:
        self.order = [rev(name) for name in names]

    def __call__(self, old: str, new: str) -> bool:
        return self.order.index(old) <= self.order.index(new)


START = State(model("base"), None)


def numbers(plan: Plan) -> set[int]:
    return {one.number for one in plan.contributions}


def test_contributions_over_one_base_are_fused_from_the_originals() -> None:
    first = make_plan(START, START, contribution(1), History("base"))
    assert first.base == START.weights
    second = make_plan(landed(first, "f1"), START, contribution(2), History("base", "f1"))
    assert second.base == START.weights
    assert numbers(second) == {1, 2}
    assert all(one.base is None for one in second.contributions)


def test_the_order_of_merging_makes_no_difference() -> None:
    plans = set()
    for order in permutations((1, 2, 3)):
        state = START
        for number in order:
            plan = make_plan(state, START, contribution(number), History("base", "f"))
            state = landed(plan, "f")
        plans.add((plan.base.revision, tuple(one.number for one in plan.contributions)))
    assert len(plans) == 1


def test_text_commits_on_main_do_not_change_the_base() -> None:
    later = State(model("base", at="text"), None)
    plan = make_plan(later, later, contribution(1), History("base", "text"))
    state = landed(plan, "f1")
    again = make_plan(state, START, contribution(2), History("base", "text", "f1"))
    assert again.base == plan.base
    assert all(one.base is None for one in again.contributions)


def test_a_contribution_made_from_a_fused_main_starts_a_new_base_there() -> None:
    one = landed(make_plan(START, START, contribution(1), History("base")), "f1")
    plan = make_plan(one, one, contribution(2), History("base", "f1"))
    assert plan.base == one.weights
    assert numbers(plan) == {2}


def test_what_came_after_the_new_base_is_carried_over() -> None:
    history = History("base", "f1", "f2")
    one = landed(make_plan(START, START, contribution(1), history), "f1")
    two = landed(make_plan(one, START, contribution(2), history), "f2")
    plan = make_plan(two, one, contribution(3), history)  # 3 was made from f1
    assert plan.base == one.weights
    assert numbers(plan) == {2, 3}
    bases = {c.number: c.base for c in plan.contributions}
    assert bases == {2: START.weights, 3: None}
    # Had 3 been merged before 2, the same would be fused.
    other = landed(make_plan(one, one, contribution(3), history), "f2")
    assert make_plan(other, START, contribution(2), history) == plan


def test_a_late_contribution_over_an_older_base_is_carried_over() -> None:
    history = History("base", "f1", "f2")
    one = landed(make_plan(START, START, contribution(1), history), "f1")
    two = landed(make_plan(one, one, contribution(2), history), "f2")
    plan = make_plan(two, START, contribution(3), history)
    assert plan.base == one.weights
    assert {c.number: c.base for c in plan.contributions} == {2: None, 3: START.weights}


def test_weights_put_on_main_by_hand_are_a_new_base() -> None:
    history = History("base", "f1", "hand")
    one = landed(make_plan(START, START, contribution(1), history), "f1")
    by_hand = State(model("hand"), one.lineage)
    plan = make_plan(by_hand, by_hand, contribution(2), history)
    assert plan.base == by_hand.weights
    assert numbers(plan) == {2}
    late = make_plan(by_hand, START, contribution(2), history)
    assert late.base == by_hand.weights
    assert late.contributions[0].base == START.weights


def test_the_same_pull_request_is_not_fused_twice() -> None:
    state = landed(make_plan(START, START, contribution(1), History("base")), "f1")
    with pytest.raises(Conflict, match="already"):
        make_plan(state, START, replace(contribution(1), revision=rev("x")), History("base"))


def test_the_coefficients_of_an_earlier_merge_are_forgotten() -> None:
    weighted = replace(contribution(1), weight=0.4)
    lineage = Lineage(START.weights, (weighted,), {}, dict(model("f1").files))
    plan = make_plan(State(model("f1"), lineage), START, contribution(2), History("base", "f1"))
    assert [one.weight for one in plan.contributions] == [None, None]
