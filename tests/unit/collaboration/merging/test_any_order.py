# SPDX-License-Identifier: Apache-2.0
"""Any order, any subset: laws of merging and withdrawing, over small random models, in bytes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from plait.collaboration.merging.plan import Plan, State
from plait.collaboration.merging.search import recipe_of, search
from plait.errors import NotFound
from plait.fusion.search import Candidate
from plait.fusion.verification import carry_over
from plait.fusion.weights import fused_tensors
from plait.lineage import Lineage, Origin, Withdrawal
from plait.recipes.project import FusionSpec

from .line import Line

NAME = "model.safetensors"
REPO = "commons/model"
SPEC = FusionSpec(methods=("task_arithmetic", "ties"), budget=3)


class World(Line):
    """A model's main, and the folder of every commit's weights."""

    def write(self, revision: str, weights: np.ndarray) -> Origin:
        place = self.folder / revision
        place.mkdir()
        save_file({"layer.weight": weights}, place / NAME)
        (place / "config.json").write_text('{"model_type": "bert"}')
        return Origin(REPO, revision, {NAME: sha(place)})

    def start(self, seed: int) -> None:
        self.states.append(State(self.write(f"{0:040x}", draw(seed)), None))

    def propose(self, number: int, seed: int, at: int = 0) -> None:
        """Make a contribution from a state of main."""
        fork = self.states[at].weights
        before = load_file(self.folder / fork.revision / NAME)["layer.weight"]
        origin = self.write(f"c{number:039x}", (before + 0.1 * draw(seed)).astype(np.float32))
        self.add(number, origin, at)

    def land(self, plan: Plan, withdrawn: tuple[Withdrawal, ...] = ()) -> str:
        """Fuse a plan as the merge job does, with a search over made-up scores of the weights."""
        revision = f"{len(self.states):040x}"
        out = self.folder / revision
        if plan.contributions:
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                self._fuse(plan, Path(name), out)
        else:
            shutil.copytree(self.folder / plan.base.revision, out)
        origin = Origin(REPO, revision, {NAME: sha(out)})
        gone = self.gone(withdrawn)
        lineage = Lineage(plan.base, plan.contributions, {}, dict(origin.files), withdrawn=gone)
        self.states.append(State(origin, lineage))
        return sha(out)

    def _fuse(self, plan: Plan, work: Path, out: Path) -> None:
        folders = {f"{REPO}@{plan.base.revision}": self.folder / plan.base.revision}
        for one in plan.contributions:
            own = self.folder / one.revision
            if one.base is not None:
                base = self.folder / plan.base.revision
                own = carry_over(base, own, self.folder / one.base.revision, work / one.revision)
            folders[f"{REPO}@{one.revision}"] = own
        distinct = [f"{REPO}@{plan.contributions[place].revision}" for place in plan.distinct()]

        def run(candidate: Candidate) -> dict[str, np.ndarray]:
            recipe = recipe_of(candidate, f"{REPO}@{plan.base.revision}", distinct)
            return dict(fused_tensors(recipe, resolve=folders.__getitem__, threads=1))

        def measure(listed: Sequence[Candidate]) -> list[dict[str, float]]:
            sums = [hashlib.sha256(run(one)["layer.weight"].tobytes()) for one in listed]
            return [{"task": int(found.hexdigest()[:6], 16) / 16**6} for found in sums]

        out.mkdir()
        save_file(run(search(SPEC, len(distinct), measure).best.candidate), out / NAME)
        (out / "config.json").write_text('{"model_type": "bert"}')


def draw(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((4, 3)).astype(np.float32)


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


def world(place: Path, seeds: dict[int, int], base: int = 0) -> World:
    made = World(Path(tempfile.mkdtemp(dir=place)))
    made.start(base)
    for number, seed in seeds.items():
        made.propose(number, seed)
    return made


SEEDS = st.dictionaries(st.integers(1, 40), st.integers(1, 6), min_size=1, max_size=4)
"""Contributions by number; equal seeds are the same weights under another number."""


@pytest.fixture(autouse=True)
def _small(place: Path) -> Iterator[None]:
    yield
    for one in place.iterdir():
        shutil.rmtree(one)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seeds=SEEDS)
def test_the_order_of_merging_does_not_matter(
    place: Path, data: st.DataObject, seeds: dict[int, int]
) -> None:
    orders = [sorted(seeds), data.draw(st.permutations(sorted(seeds)))]
    last = []
    for order in orders:
        here = world(place, seeds)
        last.append([here.merge(number) for number in order][-1])
    assert last[0] == last[1]


@settings(max_examples=40, deadline=None)
@given(seeds=SEEDS, again=st.data())
def test_merging_the_same_weights_twice_changes_nothing(
    place: Path, seeds: dict[int, int], again: st.DataObject
) -> None:
    here = world(place, seeds)
    before = [here.merge(number) for number in seeds][-1]
    twice = again.draw(st.sampled_from(sorted(seeds)))
    here.propose(99, seeds[twice])
    assert here.merge(99) == before
    assert here.withdraw(99) == before


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seeds=SEEDS)
def test_withdrawing_gives_what_never_having_merged_gives(
    place: Path, data: st.DataObject, seeds: dict[int, int]
) -> None:
    order = data.draw(st.permutations(sorted(seeds)))
    gone = data.draw(st.lists(st.sampled_from(order), unique=True, min_size=1))
    early = data.draw(st.integers(0, len(gone)))
    here = world(place, seeds)
    found = sha(here.folder / here.states[0].weights.revision)
    for number in order:
        found = here.merge(number)
        if number in gone[:early]:
            found = here.withdraw(number)
    for number in gone[early:]:
        found = here.withdraw(number)
    never = world(place, {n: s for n, s in seeds.items() if n not in gone})
    expected = sha(never.folder / never.states[0].weights.revision)
    for number in sorted(never.contributions):
        expected = never.merge(number)
    assert found == expected


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_later_contribution_can_be_withdrawn_as_if_it_had_never_come(
    place: Path, data: st.DataObject
) -> None:
    """Contributions of a second generation move the base; withdrawing them moves it back."""
    late = data.draw(st.lists(st.integers(5, 7), unique=True, min_size=1, max_size=2))
    made_from = {number: data.draw(st.integers(0, 2), label="state") for number in late}
    order = data.draw(st.permutations(late))
    drop = data.draw(st.sampled_from(late))

    def run(numbers: list[int]) -> World:
        here = world(place, {1: 1, 2: 2})
        here.merge(1)
        here.merge(2)
        for number in late:
            here.propose(number, number, at=made_from[number])
        for number in numbers:
            here.merge(number)
        return here

    with_it, without = run(list(order)), run([n for n in order if n != drop])
    assert with_it.withdraw(drop) == sha(without.folder / without.states[-1].weights.revision)


@settings(max_examples=40, deadline=None)
@given(first=st.sampled_from([1, 2]), at=st.integers(1, 2))
def test_what_a_base_holds_can_be_withdrawn_and_does_not_come_back(
    place: Path, first: int, at: int
) -> None:
    here = world(place, {1: 1, 2: 2})
    here.merge(1)
    here.merge(2)
    here.propose(3, 3, at=at)
    here.merge(3)
    here.withdraw(first)
    lineage = here.states[-1].fused
    assert lineage is not None
    assert lineage.base.same_weights(here.states[0].weights.files) or first == 2
    # One more, made from a state that still held it, is carried over by its difference.
    here.propose(4, 4, at=2)
    here.merge(4)
    lineage = here.states[-1].fused
    assert lineage is not None
    base = lineage.base
    held = {one.number for one in lineage.contributions}
    while (inner := here.made_by(base)) is not None:
        held |= {one.number for one in inner.contributions}
        base = inner.base
    assert first not in held
    assert {3, 4, 3 - first} <= held


def test_what_was_never_merged_cannot_be_withdrawn(place: Path) -> None:
    here = world(place, {1: 1})
    here.merge(1)
    with pytest.raises(NotFound, match="pull request 7"):
        here.withdraw(7)
    lineage = here.states[-1].fused
    assert lineage is not None
    assert replace(lineage, contributions=()).contribution(1) is None
