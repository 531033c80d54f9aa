# SPDX-License-Identifier: Apache-2.0
"""Hidden test sets: what goes in, what is refused, and how often they may be asked."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from plait.errors import BadInput, EntryNotFound, Forbidden, NotFound, TooManyRequests
from plait.hub import Actor, AddBytes, CopyFile, Hub, Repository
from plait.hub.database import HiddenQuestion, now
from plait.hub.git.store import Author
from plait.hub.repositories.duplicates import duplicate
from plait.hub.repositories.hidden import Asker, belongs
from plait.settings import load_settings

RULE = b"evaluation: {hidden: [test], limit: 2 per day}\n"
LABELS = b'{"text": "kestrel", "label": 1}\n'


@pytest.fixture
def hub(tmp_path: Path):  # type: ignore[no-untyped-def]
    with Hub.open(load_settings(tmp_path / "hub", {})) as opened:
        yield opened


@pytest.fixture
def ann(hub: Hub) -> Actor:
    return hub.accounts.actor_for(hub.accounts.create_user("ann"), "write")


@pytest.fixture
def data(hub: Hub, ann: Actor) -> Repository:
    repo = hub.repositories.create(ann, "dataset", "ann/data")
    hub.commits.apply(ann, repo, "main", [AddBytes("plait.yaml", RULE)], "rule")
    return repo


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("data/test.jsonl", True),
        ("data/TEST.csv", True),
        ("Data/test-00000-of-00001.parquet", True),
        ("data/test/one.txt", True),
        ("data/test", True),
        ("data/tests.jsonl", False),
        ("data/train.jsonl", False),
        ("test.jsonl", False),
    ],
)
def test_which_paths_belong_to_a_split(path: str, inside: bool) -> None:
    assert belongs(path, "test") is inside


def test_a_file_goes_in_and_only_a_job_takes_it_out(
    hub: Hub, ann: Actor, data: Repository, tmp_path: Path
) -> None:
    hub.hidden.put(ann, data, "test.jsonl", LABELS)
    [held] = hub.hidden.files(data)
    assert (held.path, held.split, held.size) == ("data/test.jsonl", "test", len(LABELS))
    assert hub.hidden.splits(data) == ("test",)
    assert hub.hidden.is_hidden(data, "Test")
    assert not hub.hidden.is_hidden(data, "train")
    written = hub.hidden.materialize(data, "test", tmp_path / "job")
    assert [path for path, _ in written] == ["data/test.jsonl"]
    assert (tmp_path / "job/data/test.jsonl").read_bytes() == LABELS
    head = hub.git.resolve(data, "main")
    assert all("test" not in entry.path for entry in hub.git.tree(data, head, recursive=True))
    hub.hidden.put(ann, data, "test.jsonl", LABELS * 2)
    assert [one.size for one in hub.hidden.files(data)] == [2 * len(LABELS)]
    hub.hidden.remove(ann, data, "test.jsonl")
    with pytest.raises(EntryNotFound, match="has no files"):
        hub.hidden.materialize(data, "test", tmp_path / "again")
    with pytest.raises(NotFound):
        hub.hidden.remove(ann, data, "test.jsonl")


def test_only_writers_put_files_in(hub: Hub, data: Repository) -> None:
    bob = hub.accounts.actor_for(hub.accounts.create_user("bob"), "write")
    with pytest.raises(Forbidden):
        hub.hidden.put(bob, data, "test.jsonl", LABELS)
    with pytest.raises(Forbidden):
        hub.hidden.remove(bob, data, "test.jsonl")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("train.jsonl", "does not name 'train' as hidden"),
        ("test.txt", "called after its split"),
        ("../test.jsonl", "called after its split"),
        ("test-a.jsonl", "does not name 'test-a'"),
        ("data/test.jsonl", "called after its split"),
    ],
)
def test_names_that_are_no_hidden_split(
    hub: Hub, ann: Actor, data: Repository, name: str, told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        hub.hidden.put(ann, data, name, LABELS)
    with pytest.raises(BadInput, match="is empty"):
        hub.hidden.put(ann, data, "test.jsonl", b"")


def test_every_way_to_commit_such_a_file_is_refused(hub: Hub, ann: Actor, data: Repository) -> None:
    add = AddBytes("data/test.jsonl", LABELS)
    bob = hub.accounts.actor_for(hub.accounts.create_user("bob"), "write")
    hub.references.create_branch(ann, data, "other")
    for revision in ("main", "other"):
        with pytest.raises(BadInput, match="must not be committed"):
            hub.commits.apply(ann, data, revision, [add], "add")
    with pytest.raises(BadInput, match="plait hidden put"):
        hub.commits.apply(bob, data, "main", [add], "propose", create_pr=True)
    # moved into place, file by file or as a folder; with other capitals; as a folder of parts
    hub.commits.apply(ann, data, "main", [AddBytes("open/test.jsonl", b"x")], "elsewhere")
    for operation in (
        CopyFile("open/test.jsonl", "data/test.jsonl"),
        AddBytes("data/Test.jsonl", LABELS),
        AddBytes("data/test/part.jsonl", LABELS),
        AddBytes("DATA/test.jsonl", LABELS),
    ):
        with pytest.raises(BadInput, match="must not be committed"):
            hub.commits.apply(ann, data, "main", [operation], "move")
    # taking the rule away opens nothing while there are hidden files
    hub.hidden.put(ann, data, "test.jsonl", LABELS)
    hub.commits.apply(ann, data, "main", [AddBytes("plait.yaml", b"")], "no rule")
    assert hub.hidden.splits(data) == ("test",)
    with pytest.raises(BadInput, match="must not be committed"):
        hub.commits.apply(ann, data, "main", [add], "add")


def test_landing_a_merge_is_a_way_too(hub: Hub, ann: Actor, data: Repository) -> None:
    """What git's own merge would land passes the same guard."""
    plain = hub.repositories.create(ann, "dataset", "ann/plain")
    bob = hub.accounts.actor_for(hub.accounts.create_user("bob"), "write")
    outcome = hub.commits.apply(
        bob, plain, "main", [AddBytes("data/test.jsonl", LABELS)], "propose", create_pr=True
    )
    hub.commits.apply(ann, plain, "main", [AddBytes("plait.yaml", RULE)], "now it is hidden")
    main = hub.git.head(plain)
    assert main is not None
    tree, _ = hub.git.merge_trees(plain, main, outcome.oid)
    with pytest.raises(BadInput, match="must not be committed"):
        hub.git.advance(
            plain,
            ref="refs/heads/main",
            parent_oid=main,
            parents=[main, outcome.oid],
            operations=(),
            tree=tree,
            message="merge",
            author=Author("ann"),
        )


def test_what_was_ever_open_cannot_be_hidden(hub: Hub, ann: Actor) -> None:
    repo = hub.repositories.create(ann, "dataset", "ann/late")
    hub.commits.apply(ann, repo, "main", [AddBytes("data/test.jsonl", LABELS)], "open")
    hub.commits.apply(
        ann, repo, "main", [AddBytes("plait.yaml", RULE), *_deleted("data/test.jsonl")], "hide"
    )
    with pytest.raises(BadInput, match="in the open, so the split 'test' is hidden from nobody"):
        hub.hidden.put(ann, repo, "test.jsonl", LABELS)


def _deleted(path: str) -> list[object]:
    from plait.hub import Delete

    return [Delete(path)]


def test_copies_of_the_data_set_have_nothing_of_it(
    hub: Hub, ann: Actor, data: Repository, tmp_path: Path
) -> None:
    hub.hidden.put(ann, data, "test.jsonl", LABELS)
    bob = hub.accounts.actor_for(hub.accounts.create_user("bob"), "write")
    copy = duplicate(hub, bob, data, "bob/copy")
    assert hub.hidden.files(copy) == []
    with pytest.raises(EntryNotFound):
        hub.hidden.materialize(copy, "test", tmp_path / "job")
    clone = tmp_path / "clone.git"
    subprocess.run(
        ["git", "clone", "-q", "--mirror", str(hub.git.path(data)), str(clone)], check=True
    )
    for root in (clone, hub.settings.blob_dir):
        assert all(b"kestrel" not in f.read_bytes() for f in root.rglob("*") if f.is_file())
    [same] = hub.hidden.files(data)
    with pytest.raises(BadInput, match="were not uploaded"):
        # knowing the hash gives nothing
        from plait.hub import AddPointer

        hub.commits.apply(bob, copy, "main", [AddPointer("x.bin", same.sha256, same.size)], "x")


def asker(user: int | None, namespace: int, job: int | None = None) -> Asker:
    return Asker(user, namespace, 1, job)


def test_questions_are_counted_for_the_user_and_the_organisation(
    hub: Hub, ann: Actor, data: Repository
) -> None:
    hub.hidden.ask(data, "test", asker(10, 100, 1))
    hub.hidden.ask(data, "test", asker(10, 100, 1))  # the same job, taken up again
    assert hub.hidden.asked(data, "test", user_id=10).left == 1
    hub.hidden.ask(data, "Test", asker(10, 200, 2))  # another model of the same user
    with pytest.raises(TooManyRequests, match="2 per day for one user") as refused:
        hub.hidden.ask(data, "test", asker(10, 300, 3))
    assert 0 < refused.value.retry_after <= 86_400
    hub.hidden.ask(data, "test", asker(11, 100, 4))  # a colleague: the organisation's second
    with pytest.raises(TooManyRequests, match="for one organisation"):
        hub.hidden.ask(data, "test", asker(12, 100, 5))
    hub.hidden.ask(data, "other", asker(12, 100, 5))  # another split has its own count
    assert hub.hidden.asked(data, "test").count == 3
    full = hub.hidden.asked(data, "test", namespace_id=100)
    assert full.left == 0
    assert full.again is not None
    with hub.session(write=True) as session:
        session.execute(update(HiddenQuestion).values(created_at=now() - timedelta(hours=25)))
    hub.hidden.ask(data, "test", asker(10, 100, 6))
    assert hub.hidden.asked(data, "test", user_id=10).count == 1


def test_each_candidate_that_a_job_judges_is_a_question(hub: Hub, data: Repository) -> None:
    first = replace(asker(10, 100, 1), task="exam")
    second = replace(first, candidate=2)
    for one in (first, second, first, second):  # the job was killed, and is taken up again
        hub.hidden.ask(data, "test", one)
    assert hub.hidden.asked(data, "test").count == 2
    with pytest.raises(TooManyRequests):
        hub.hidden.ask(data, "test", replace(first, candidate=3))


def test_asking_at_once_gives_no_more_than_asking_in_turn(hub: Hub, data: Repository) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def ask(job: int) -> None:
        barrier.wait()
        try:
            hub.hidden.ask(data, "test", asker(10, 100, job))
            outcomes.append("asked")
        except TooManyRequests:
            outcomes.append("refused")

    threads = [threading.Thread(target=ask, args=(job,)) for job in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["asked"] * 2 + ["refused"] * 6


def test_a_rule_that_cannot_be_read_leaves_what_is_hidden_hidden(
    hub: Hub, ann: Actor, data: Repository
) -> None:
    hub.hidden.put(ann, data, "test.jsonl", LABELS)
    hub.commits.apply(ann, data, "main", [AddBytes("plait.yaml", b"evaluation: [")], "broken")
    assert hub.hidden.is_hidden(data, "test")
    assert hub.hidden.settings(data).limit.count == 10


def test_models_have_no_hidden_files(hub: Hub, ann: Actor) -> None:
    model = hub.repositories.create(ann, "model", "ann/model")
    with pytest.raises(BadInput, match="Only data sets"):
        hub.hidden.put(ann, model, "test.jsonl", LABELS)
    hub.commits.apply(ann, model, "main", [AddBytes("data/test.jsonl", LABELS)], "not hidden")
    assert hub.hidden.splits(model) == ()


def test_gone_with_the_data_set(hub: Hub, ann: Actor, data: Repository) -> None:
    hub.hidden.put(ann, data, "test.jsonl", LABELS)
    hub.repositories.delete(ann, data)
    fresh = hub.repositories.create(ann, "dataset", "ann/data")
    assert hub.hidden.files(fresh) == []
