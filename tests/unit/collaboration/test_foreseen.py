# SPDX-License-Identifier: Apache-2.0
"""What merging a pull request's tables would do, told before it is merged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.collaboration import foreseen, jobs
from plait.collaboration.merging.drivers import base
from plait.collaboration.worker import Worker
from plait.errors import Conflict, PlaitError
from plait.hub import ANONYMOUS, Actor, AddBytes, Discussion, Hub, Repository
from plait.settings import Settings

TRAIN = "data/train.csv"
OLD = "id,text,label\n" + "".join(f"{n},words of {n} here,{n % 2}\n" for n in range(40))


class Scene:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.ann: Actor = hub.accounts.actor_for(hub.accounts.create_user("ann"))
        self.repo: Repository = hub.repositories.create(self.ann, "dataset", "ann/texts")
        project = b"merge: {tables: {'data/*.csv': {key: id}}}\n"
        self.put(AddBytes("plait.yaml", project), AddBytes(TRAIN, OLD.encode()))

    def put(self, *files: AddBytes) -> None:
        self.hub.commits.apply(self.ann, self.repo, "main", list(files), "Write")

    def propose(self, text: str, path: str = TRAIN) -> Discussion:
        made = self.hub.commits.apply(
            self.ann, self.repo, "main", [AddBytes(path, text.encode())], "More", create_pr=True
        ).discussion
        assert made is not None
        return made


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Hub.open(Settings(dir=tmp_path / "hub")) as hub:
        yield Scene(hub)


def changed() -> str:
    lines = [line + (",mail" if line[0].isdigit() else ",source") for line in OLD.splitlines()]
    lines[1] = "0,other words,7.5,mail"
    return "\n".join([*lines[:-2], "90,quite new text here,1,mail", "91,and one more,0,mail", ""])


def test_rows_and_columns_are_told_before_the_merge(scene: Scene) -> None:
    pull = scene.propose(changed())
    found = foreseen.foresee(scene.hub, scene.repo, pull)
    assert found is not None and found.known and not found.refused
    (note,) = found.notes
    rows, columns = note["rows"], note["columns"]
    assert (rows["added"], rows["removed"]) == (2, 2)
    assert rows["changed"] >= 1
    assert columns["added"] == ["source"]
    # Telling changed nothing, and the merge then does what was told.
    head = scene.hub.git.head(scene.repo)
    assert foreseen.foresee(scene.hub, scene.repo, pull) is found, "read once for these branches"
    assert scene.hub.git.head(scene.repo) == head


def test_what_would_be_refused_is_told_and_other_files_say_nothing(scene: Scene) -> None:
    words = "a sentence that judges models on this very data set"
    scene.put(AddBytes("data/test.csv", f"id,text,label\n1,{words},1\n".encode()))
    pull = scene.propose(OLD + f"77,{words},1\n")
    found = foreseen.foresee(scene.hub, scene.repo, pull)
    assert found is not None and "would bring test items" in found.refused
    assert foreseen.foresee(scene.hub, scene.repo, scene.propose("x\n", "notes.txt")) is None
    scene.hub.discussions.set_status(scene.ann, pull, "closed")
    closed = scene.hub.discussions.get(scene.repo, pull.number)
    assert foreseen.foresee(scene.hub, scene.repo, closed) is None
    with pytest.raises(Conflict, match="no table"):
        foreseen.request(scene.hub, scene.ann, scene.repo, closed)


def test_large_tables_are_read_by_a_job(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from plait.collaboration.merging.drivers import table

    monkeypatch.setattr(table, "LIMIT", 100)
    assert base.LIMIT > 100
    pull = scene.propose(changed())
    before = foreseen.foresee(scene.hub, scene.repo, pull)
    assert before == foreseen.Foreseen(known=False)
    with pytest.raises(PlaitError):
        foreseen.request(scene.hub, ANONYMOUS, scene.repo, pull)
    job = foreseen.request(scene.hub, scene.ann, scene.repo, pull)
    assert foreseen.request(scene.hub, scene.ann, scene.repo, pull).id == job.id
    waiting = foreseen.foresee(scene.hub, scene.repo, pull)
    assert waiting is not None and waiting.job is not None and not waiting.known
    assert Worker(scene.hub).run_once()
    assert jobs.get(scene.hub, job.id).state == "succeeded"
    found = foreseen.foresee(scene.hub, scene.repo, pull)
    assert found is not None and found.known
    assert found.notes[0]["rows"]["added"] == 2
    scene.put(AddBytes("more.txt", b"main moved\n"))
    assert foreseen.foresee(scene.hub, scene.repo, pull) == foreseen.Foreseen(known=False)
    assert scene.hub.discussions.get(scene.repo, pull.number).status == "open"
