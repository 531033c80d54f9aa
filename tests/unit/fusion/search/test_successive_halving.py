# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.fusion.search import Candidate, explore
from plait.fusion.search.folds import fold_tasks, rungs

from .worlds import World, space, task


def test_the_default_is_measured_first_and_on_everything() -> None:
    world = World(lambda values: 5 * values["weight"] - 5)
    halving, choice = explore(space(budget=12, sampler="random"), [task(documents=100)], world.load)
    assert world.loaded[0].parameters == ()
    assert choice.default.whole(len(halving.rows), halving.all_items)
    assert world.items[:32] and all(c.parameters == () for c, _ in world.items[:300])


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_the_budget_holds_and_no_candidate_is_measured_twice(sampler: str) -> None:
    world = World(lambda values: values["weight"])
    halving, _ = explore(space(budget=13, sampler=sampler, folds=2), [task()], world.load)
    assert len(halving.trials) <= 13
    assert len(set(world.items)) == len(world.items)  # no item twice either
    assert halving.items == len(world.items)


def test_weak_candidates_cost_little() -> None:
    world = World(lambda values: -6 * abs(values["weight"] - 0.5))
    halving, choice = explore(
        space(budget=24, sampler="random", subset=40), [task(documents=120)], world.load
    )
    everything = len(halving.trials) * len(halving.folded_tasks[0].task.items)
    assert halving.items < 0.7 * everything
    by_weight = {
        trial.candidate.values.get("weight", 0.5): trial.whole(len(halving.rows), halving.all_items)
        for trial in halving.trials.values()
    }
    assert not by_weight[max(by_weight)] and not by_weight[min(by_weight)]
    assert abs(choice.best.candidate.values.get("weight", 0.5) - 0.5) < 0.25


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_the_same_seed_gives_the_same_search(sampler: str) -> None:
    found = []
    for seed in (4, 4, 5):
        world = World(lambda values: values["weight"])
        halving, choice = explore(space(budget=12, sampler=sampler), [task()], world.load, seed)
        found.append((list(halving.trials), choice.chosen.candidate, choice.gain))
    assert found[0] == found[1]
    if sampler != "grid":
        assert found[0][0] != found[2][0]


def test_tpe_goes_where_the_good_ones_are() -> None:
    def skill(values: dict[str, float]) -> float:
        return 2 - 12 * abs(values["weight"] - 0.85)

    near = {}
    for sampler in ("tpe", "random"):
        world = World(skill, spread=0.1)
        halving, _ = explore(
            space(budget=40, sampler=sampler, folds=2, subset=1000),
            [task(documents=80)],
            world.load,
        )
        weights = [t.values["weight"] for t in list(halving.trials)[17:]]
        near[sampler] = sum(abs(weight - 0.85) < 0.12 for weight in weights)
    assert near["tpe"] > near["random"] + 3


@settings(deadline=None, max_examples=30)
@given(
    documents=st.integers(6, 60),
    sentences=st.integers(1, 5),
    folds=st.integers(2, 6),
    seed=st.integers(0, 50),
    subset=st.one_of(st.none(), st.integers(2, 100)),
)
def test_decks_hold_every_item_once_and_folds_are_even(
    documents: int, sentences: int, folds: int, seed: int, subset: int | None
) -> None:
    one = task(documents=documents, sentences=sentences)
    (folded,) = fold_tasks([one], folds, seed)
    assert sorted(i.id for g in folded.items for i in g) == sorted(i.id for i in one.items)
    assert all(len({item.group for item in group}) == 1 for group in folded.items)
    sizes = [int((folded.folds == fold).sum()) for fold in range(folds)]
    assert max(sizes) - min(sizes) <= 1
    rows = rungs([folded], subset)
    assert rows[-1] == (len(folded),)
    assert list(rows) == sorted(set(rows))


def test_a_document_is_in_the_same_fold_of_every_task() -> None:
    first, second = task("a", 20), task("b", 20)
    shared = tuple(
        type(item)(item.text, item.label, item.group.replace("b", "a"), item.id)
        for item in second.items
    )
    folded_tasks = fold_tasks([first, type(second)("b", "accuracy", shared, (0, 1))], 4, 0)
    folds = [
        {group[0].group: int(fold) for group, fold in zip(folded.items, folded.folds, strict=True)}
        for folded in folded_tasks
    ]
    assert folds[0] == folds[1]


def test_too_few_documents_are_told() -> None:
    with pytest.raises(BadInput, match=r"4 documents.*5 folds"):
        fold_tasks([task(documents=4)], 5, 0)


def test_tasks_whose_units_do_not_mix_are_told() -> None:
    other = task("rated")
    other = type(other)("rated", "mse", other.items, other.labels, "regression")
    with pytest.raises(BadInput, match=r"'rated'.*mse"):
        fold_tasks([task(), other], 3, 0)


def test_what_was_found_without_an_item_is_measured_after_the_default() -> None:
    solved = Candidate.of("task_arithmetic", weight=0.77)
    world = World(lambda values: 0.5)
    halving, _ = explore(space(budget=4), [task()], world.load, first=[solved])
    assert world.loaded[:2] == [space().default, solved]
    assert len(halving.trials) <= 4
