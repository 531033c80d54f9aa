# SPDX-License-Identifier: Apache-2.0
"""A repository of a LoRA adapter alone: adapters are merged with each other."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from plait.collaboration import jobs
from plait.collaboration.contributions import list_contributions, request_withdrawal
from plait.collaboration.requests import merge_state, request_merge
from plait.collaboration.worker import Worker
from plait.errors import NotFound
from plait.fusion.verification import Verification, verify
from plait.hub import AddBytes, AddPointer, Discussion, Hub, Operation, Repository
from plait.lineage import Lineage, Origin, parse_lineage
from plait.settings import Settings

FILES = ("adapter_model.safetensors", "adapter_config.json")
MODULE = "base_model.model.encoder.query"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query"], "bias": "none"}


def adapter(folder: Path, seed: int, rank: int = 4, width: int = 8) -> Path:
    """Write a random adapter of one module."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tensors = {
        f"{MODULE}.lora_A.weight": draw.normal(size=(rank, width)).astype(np.float32),
        f"{MODULE}.lora_B.weight": draw.normal(size=(6, rank)).astype(np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {**CONFIG, "r": rank, "lora_alpha": 2 * rank}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def change(tensors: dict[str, np.ndarray], scale: float) -> np.ndarray:
    a, b = tensors[f"{MODULE}.lora_A.weight"], tensors[f"{MODULE}.lora_B.weight"]
    return np.asarray(scale * b @ a)


class Shelf:
    def __init__(self, folder: Path) -> None:
        self.hub = Hub.open(Settings(dir=folder))
        owner = self.hub.accounts.create_user("ann")
        self.actor = self.hub.accounts.actor_for(owner)
        self.repo: Repository = self.hub.repositories.create(self.actor, "model", "ann/adapter")

    def files(self, folder: Path) -> list[Operation]:
        sha256, size = self.hub.blobs.write(folder / "adapter_model.safetensors")
        with self.hub.session(write=True) as session:
            self.hub.grant_blob(session, self.repo, sha256, size)
        config = (folder / "adapter_config.json").read_bytes()
        return [
            AddPointer("adapter_model.safetensors", sha256, size),
            AddBytes("adapter_config.json", config),
        ]

    def write(self, *operations: Operation) -> None:
        self.hub.commits.apply(self.actor, self.repo, "main", list(operations), "change", "")

    def propose(self, folder: Path) -> Discussion:
        outcome = self.hub.commits.apply(
            self.actor, self.repo, "main", self.files(folder), folder.name, "", create_pr=True
        )
        assert outcome.discussion is not None
        return outcome.discussion

    def merge(self, pull: Discussion) -> dict[str, object]:
        outcome = request_merge(self.hub, self.actor, self.repo, pull)
        assert outcome.job is not None
        worker = Worker(self.hub)
        while worker.run_once():
            pass
        return merge_state(self.hub, self.repo, self.hub.discussions.get(self.repo, pull.number))

    def withdraw(self, pull: Discussion) -> Any:
        job = request_withdrawal(self.hub, self.actor, self.repo, pull.number)
        worker = Worker(self.hub)
        while worker.run_once():
            pass
        done = jobs.get(self.hub, job.id)
        assert done.state == "succeeded", done.error
        return {"state": done.state, "result": done.result}

    def bytes(self) -> tuple[bytes, ...]:
        oid = self.hub.git.resolve(self.repo, "main")
        return tuple(
            b"".join(self.hub.commits.open_file(self.repo, oid, path).read()) for path in FILES
        )

    def lineage(self) -> Lineage:
        return parse_lineage(
            self.hub.git.read(self.repo, self.hub.git.resolve(self.repo, "main"), "lineage.json")
        )

    def verify(self, folder: Path, *, spoil: bool = False) -> Verification:
        def fetch(origin: Origin) -> Path:
            place = folder / origin.revision
            self.hub.commits.materialize(self.repo, origin.revision, place)
            return place

        main = self.hub.git.resolve(self.repo, "main")
        self.hub.commits.materialize(self.repo, main, folder / "main")
        if spoil:
            (folder / "main" / "adapter_config.json").unlink()
            (folder / "main" / "adapter_config.json").write_text("{}")
        return verify(self.lineage(), folder / "main", fetch)

    def read(self, folder: Path) -> dict[str, np.ndarray]:
        oid = self.hub.git.resolve(self.repo, "main")
        self.hub.commits.materialize(self.repo, oid, folder)
        found: dict[str, np.ndarray] = load_file(folder / "adapter_model.safetensors")
        return found


def test_adapters_are_averaged_from_the_originals_in_any_order(tmp_path: Path) -> None:
    base = adapter(tmp_path / "base", 0)
    # their sum has the rank that the result may have: nothing is lost
    made = [adapter(tmp_path / f"c{n}", n, rank=2) for n in (1, 2, 3)]
    for folder in made[1:]:
        one = load_file(folder / "adapter_model.safetensors")
        first = load_file(made[0] / "adapter_model.safetensors")
        one[f"{MODULE}.lora_A.weight"] = first[f"{MODULE}.lora_A.weight"]
        save_file(one, folder / "adapter_model.safetensors")
    wanted = np.mean([change(load_file(f / "adapter_model.safetensors"), 2.0) for f in made], 0)
    results = set()
    for turn, order in enumerate(permutations(range(3))):
        shelf = Shelf(tmp_path / f"hub{turn}")
        shelf.write(*shelf.files(base))
        pulls = [shelf.propose(folder) for folder in made]
        for number in order:
            state = shelf.merge(pulls[number])
            assert state["status"] == "merged", state
        found = shelf.read(tmp_path / f"out{turn}")
        config = json.loads((tmp_path / f"out{turn}" / "adapter_config.json").read_text())
        scale = config["lora_alpha"] / config["r"]
        np.testing.assert_allclose(change(found, scale), wanted, rtol=1e-4, atol=1e-4)
        results.add((tmp_path / f"out{turn}" / "adapter_model.safetensors").read_bytes())
        shelf.hub.close()
    assert len(results) == 1


def test_one_alone_is_taken_as_it_is(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "hub")
    shelf.write(*shelf.files(adapter(tmp_path / "base", 0)))
    new = adapter(tmp_path / "new", 1)
    assert shelf.merge(shelf.propose(new))["status"] == "merged"
    shelf.read(tmp_path / "out")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (new / name).read_bytes()
    said = [e.data.get("raw", "") for e in shelf.hub.discussions.events(shelf.propose(new))]
    assert not any("stand at main as they are" in text for text in said)
    shelf.hub.close()


def test_contributions_of_adapters_are_listed_verified_and_withdrawn(tmp_path: Path) -> None:
    base = adapter(tmp_path / "base", 0)
    shelf = Shelf(tmp_path / "hub")
    shelf.write(*shelf.files(base))
    pulls = [shelf.propose(adapter(tmp_path / f"c{n}", n)) for n in (1, 2, 3)]
    mains = []
    for pull in pulls:
        assert shelf.merge(pull)["status"] == "merged"
        mains.append(shelf.bytes())
    listed = list_contributions(shelf.hub, shelf.repo)
    assert [one.contribution.number for one in listed.held] == [p.number for p in pulls]
    assert [one.contribution.title for one in listed.held] == ["c1", "c2", "c3"]
    lineage = shelf.lineage()
    assert lineage.contributions[0].weight == pytest.approx(1 / 3)
    assert shelf.verify(tmp_path / "v1").same

    # A later one, made from the fused adapter, moves the base; the rest is in it.
    fourth = shelf.propose(adapter(tmp_path / "c4", 4))
    shelf.merge(fourth)
    assert [one.number for one in shelf.lineage().contributions] == [fourth.number]
    assert shelf.verify(tmp_path / "v2").same
    shelf.withdraw(fourth)
    assert shelf.bytes() == mains[2]

    # Taking them out gives what never having merged them gave, down to the base itself.
    for place in (2, 1):
        shelf.withdraw(pulls[place])
        assert shelf.bytes() == mains[place - 1]
        assert shelf.verify(tmp_path / f"w{place}").same
    state = shelf.withdraw(pulls[0])
    assert "before any was merged" in state["result"]["reason"]
    assert shelf.bytes() == tuple((base / name).read_bytes() for name in FILES)
    assert shelf.verify(tmp_path / "v3").same
    listed = list_contributions(shelf.hub, shelf.repo)
    assert not listed.held
    assert {one.number for one in listed.withdrawn} == {p.number for p in (*pulls, fourth)}
    with pytest.raises(NotFound):
        request_withdrawal(shelf.hub, shelf.actor, shelf.repo, pulls[0].number)

    # Bytes that are not what the lineage states do not verify.
    assert shelf.merge(shelf.propose(adapter(tmp_path / "c5", 5)))["status"] == "merged"
    assert shelf.verify(tmp_path / "v4").same
    found = shelf.verify(tmp_path / "v5", spoil=True)
    assert not found.same
    shelf.hub.close()


def test_an_adapter_put_there_by_hand_is_one_more_version(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "hub")
    shelf.write(*shelf.files(adapter(tmp_path / "base", 0)))
    made = adapter(tmp_path / "c", 1)
    pull = shelf.propose(made)
    hand = adapter(tmp_path / "hand", 2)
    shelf.write(*shelf.files(hand))
    shelf.merge(pull)
    found = shelf.read(tmp_path / "out")
    both = [load_file(f / "adapter_model.safetensors") for f in (made, hand)]
    # The sum of two has rank 6 here: what rank 4 keeps is the best approximation.
    wanted = np.mean([change(one, 2.0) for one in both], 0)
    u, s, v = np.linalg.svd(wanted)
    s[4:] = 0
    scale = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    value = change(found, scale["lora_alpha"] / scale["r"])
    np.testing.assert_allclose(value, (u * s) @ v[: len(s)], rtol=1e-3, atol=1e-3)
    assert shelf.verify(tmp_path / "v").same
    shelf.withdraw(pull)
    assert shelf.bytes() == tuple((hand / name).read_bytes() for name in FILES)
    shelf.hub.close()


@pytest.mark.parametrize("bad", ["tasks", "shape"])
def test_what_cannot_be_combined_is_refused(tmp_path: Path, bad: str) -> None:
    shelf = Shelf(tmp_path / "hub")
    shelf.write(*shelf.files(adapter(tmp_path / "base", 0)))
    if bad == "tasks":
        shelf.write(AddBytes("plait.yaml", b"tasks: [{name: x, dataset: a/b}]\n"))
    pulls = [
        shelf.propose(adapter(tmp_path / "one", 1)),
        shelf.propose(adapter(tmp_path / "two", 2, width=8 if bad == "tasks" else 10)),
    ]
    states = [shelf.merge(pull) for pull in pulls]
    error = states[1]["job"]["error"]  # type: ignore[index]
    assert {"tasks": "not judged without its base", "shape": "different bases"}[bad] in error
    assert str(tmp_path) not in error
    shelf.hub.close()
