# SPDX-License-Identifier: Apache-2.0
"""Laws of merging adapters with each other: any order, twice, and taken out again, in bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from plait.collaboration.merging.adapters import CONFIG, WEIGHTS, combine, lineage_of
from plait.collaboration.merging.plan import Plan, State
from plait.lineage import Origin, Withdrawal, dump_lineage, parse_lineage
from plait.recipes.project import ProjectSpec, parse_project

from .line import Line

REPO = "ann/adapter"
MODULE = "base_model.model.query"
PROJECTS = (
    "",
    "fusion: {method: linear}",
    "fusion: {method: ties_svd, parameters: {density: 0.5}}",
    "fusion: {method: dare_linear, parameters: {density: 0.6}}",
)
SEEDS = st.dictionaries(st.integers(1, 40), st.integers(1, 6), min_size=1, max_size=4)
"""Contributions by number; equal seeds are the same adapter under another number."""


@dataclass
class Shelf(Line):
    """An adapter's main, and the folder of every commit's files."""

    project: ProjectSpec = field(default_factory=ProjectSpec)

    def put(self, revision: str, weights: bytes, config: bytes) -> Origin:
        place = self.folder / revision
        place.mkdir()
        (place / WEIGHTS).write_bytes(weights)
        (place / CONFIG).write_bytes(config)
        files = {CONFIG: config, WEIGHTS: weights}
        return Origin(
            REPO, revision, {n: hashlib.sha256(data).hexdigest() for n, data in files.items()}
        )

    def adapter(self, revision: str, seed: int) -> Origin:
        draw, path = np.random.default_rng(seed), self.folder / "new.safetensors"
        save_file({
            f"{MODULE}.lora_A.weight": draw.normal(size=(2, 5)).astype(np.float32),
            f"{MODULE}.lora_B.weight": draw.normal(size=(4, 2)).astype(np.float32),
        }, path)  # fmt: skip
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["query"]}
        return self.put(revision, path.read_bytes(), json.dumps(config).encode())

    def propose(self, number: int, seed: int, at: int = 0) -> None:
        origin = self.adapter(f"c{number:011x}" + 28 * "0", seed)
        self.add(number, origin, at)

    def land(self, plan: Plan, withdrawn: tuple[Withdrawal, ...] = ()) -> bytes:
        def fetch(one: Origin, folder: Path) -> None:
            shutil.copytree(self.folder / one.revision, folder)

        made = combine(plan, self.project, fetch, self.folder)
        written = dump_lineage(lineage_of(plan, made, self.gone(withdrawn)))
        origin = self.put(f"{len(self.states):012x}" + 28 * "0", made.weights, made.config)
        self.states.append(State(origin, parse_lineage(written)))
        assert self.states[-1].fused is not None
        return made.weights + made.config

    def now(self) -> bytes:
        place = self.folder / self.states[-1].weights.revision
        return (place / WEIGHTS).read_bytes() + (place / CONFIG).read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelves")


@pytest.fixture(autouse=True)
def _small(place: Path) -> Iterator[None]:
    yield
    for one in place.iterdir():
        shutil.rmtree(one)


def shelf(place: Path, seeds: dict[int, int], project: str = "") -> Shelf:
    made = Shelf(Path(tempfile.mkdtemp(dir=place)), project=parse_project(project.encode()))
    made.states.append(State(made.adapter(f"{0:040x}", 0), None))
    for number, seed in seeds.items():
        made.propose(number, seed)
    return made


@settings(max_examples=18, deadline=None)
@given(data=st.data(), seeds=SEEDS, project=st.sampled_from(PROJECTS))
def test_the_order_of_merging_does_not_matter(
    place: Path, data: st.DataObject, seeds: dict[int, int], project: str
) -> None:
    last, written = [], []
    for order in (sorted(seeds), data.draw(st.permutations(sorted(seeds)))):
        here = shelf(place, seeds, project)
        last.append([here.merge(number) for number in order][-1])
        lineage = here.states[-1].fused
        assert lineage is not None
        assert {one.number for one in lineage.contributions} == set(seeds)
        written.append(dump_lineage(lineage))
    assert last[0] == last[1]
    assert written[0] == written[1], "nor does what is written down of it"


@settings(max_examples=10, deadline=None)
@given(seeds=SEEDS, again=st.data())
def test_merging_the_same_adapter_twice_changes_nothing(
    place: Path, seeds: dict[int, int], again: st.DataObject
) -> None:
    here = shelf(place, seeds)
    before = [here.merge(number) for number in seeds][-1]
    here.propose(99, seeds[again.draw(st.sampled_from(sorted(seeds)))])
    assert here.merge(99) == before
    assert here.withdraw(99) == before


@settings(max_examples=18, deadline=None)
@given(data=st.data(), seeds=SEEDS, project=st.sampled_from(PROJECTS))
def test_withdrawing_gives_what_never_having_merged_gives(
    place: Path, data: st.DataObject, seeds: dict[int, int], project: str
) -> None:
    order = data.draw(st.permutations(sorted(seeds)))
    gone = data.draw(st.lists(st.sampled_from(order), unique=True, min_size=1))
    early = data.draw(st.integers(0, len(gone)))
    here = shelf(place, seeds, project)
    for number in order:
        here.merge(number)
        if number in gone[:early]:
            here.withdraw(number)
    for number in gone[early:]:
        here.withdraw(number)
    never = shelf(place, {n: s for n, s in seeds.items() if n not in gone}, project)
    for number in sorted(never.contributions):
        never.merge(number)
    assert here.now() == never.now()


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_later_generations_merge_in_any_order_and_go_again(
    place: Path, data: st.DataObject
) -> None:
    """Adapters made from a merged main move the base; withdrawing them moves it back."""
    late = data.draw(st.lists(st.integers(5, 7), unique=True, min_size=1, max_size=2))
    made_from = {number: data.draw(st.integers(0, 2), label="state") for number in late}
    order = data.draw(st.permutations(late))
    drop = data.draw(st.sampled_from(late))

    def run(numbers: list[int]) -> Shelf:
        here = shelf(place, {1: 1, 2: 2})
        here.merge(1)
        here.merge(2)
        for number in late:
            here.propose(number, number, at=made_from[number])
        for number in numbers:
            here.merge(number)
        return here

    one, other = run(list(order)), run(late)
    assert one.now() == other.now()
    one.withdraw(drop)
    assert one.now() == run([n for n in order if n != drop]).now()
