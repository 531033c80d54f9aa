# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plait.errors import (
    BadInput,
    Conflict,
    EntryNotFound,
    Forbidden,
    PlaitError,
    PreconditionFailed,
    RepositoryNotFound,
    RevisionNotFound,
    TooLarge,
)
from plait.hub import ANONYMOUS, AddBytes, AddPointer, Author, CopyFile, Delete, Hub, Operation
from plait.hub.git.pointers import format_pointer
from plait.settings import load_settings

from ..conftest import World


def put(name: str = "a.txt", data: bytes = b"x") -> list[Operation]:
    return [AddBytes(name, data)]


def test_a_commit_moves_the_branch_and_names_its_author(world: World) -> None:
    repo = world.repo()
    out = world.hub.commits.apply(world.actor("ann"), repo, "main", put(), "Add a", "Because.")
    assert out.discussion is None
    assert world.hub.git.resolve(repo) == out.oid
    info = world.hub.git.commit_info(repo, out.oid)
    assert (info.title, info.message, info.author) == ("Add a", "Because.", "ann")


def test_who_may_not_commit(world: World) -> None:
    repo, secret = world.repo(), world.repo("shop/secret", private=True)
    for actor in (ANONYMOUS, world.actor("bob"), world.actor("ann", "read")):
        with pytest.raises(Forbidden):
            world.hub.commits.apply(actor, repo, "main", put(), "x")
    for create_pr in (True, False):
        with pytest.raises(RepositoryNotFound):
            world.hub.commits.apply(
                world.actor("bob"), secret, "main", put(), "x", create_pr=create_pr
            )
    with pytest.raises(Forbidden):
        world.hub.commits.apply(ANONYMOUS, repo, "main", put(), "x", create_pr=True)
    assert world.hub.git.resolve(repo) == repo.head


@pytest.mark.parametrize(
    ("revision", "error"),
    [
        ("nope", RevisionNotFound),
        ("refs/pr/7", RevisionNotFound),
        ("0" * 40, BadInput),
        ("refs/tags/v1", BadInput),
        ("a..b", BadInput),
    ],
)
def test_what_cannot_be_committed_to(world: World, revision: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        world.hub.commits.apply(world.actor("ann"), world.repo(), revision, put(), "x")


def test_the_parent_must_be_the_newest(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    first = hub.commits.apply(ann, repo, "main", put(), "one", parent=repo.head)
    with pytest.raises(PreconditionFailed, match="refresh and try again"):
        hub.commits.apply(ann, repo, "main", put("b"), "two", parent=repo.head)
    with pytest.raises(RevisionNotFound):
        hub.commits.apply(ann, repo, "main", put("b"), "two", parent="0" * 40)
    assert hub.git.resolve(repo) == first.oid


def test_a_repeated_request_does_nothing_more(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    operations = [*put("b"), *put("c")]
    first = hub.commits.apply(ann, repo, "main", operations, "add", parent=repo.head)
    assert hub.commits.apply(ann, repo, "main", operations, "add", parent=repo.head) == first
    removal = [Delete("b")]
    second = hub.commits.apply(ann, repo, "main", removal, "remove")
    assert hub.commits.apply(ann, repo, "main", removal, "remove") == second
    # The first is still known after another commit, because its parent is named.
    assert hub.commits.apply(ann, repo, "main", operations, "add", parent=repo.head) == first
    assert hub.git.count_commits(repo, second.oid) == 3


def test_going_back_to_an_earlier_content_is_no_repetition(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    title = "Upload a.txt with huggingface_hub"
    for data in (b"1", b"2", b"1"):
        hub.commits.apply(ann, repo, "main", put(data=data), title)
    head = hub.git.resolve(repo)
    assert hub.git.read(repo, head, "a.txt") == b"1"
    assert hub.git.count_commits(repo, head) == 4


def test_somebody_elses_same_request_is_not_mine(world: World) -> None:
    hub, repo = world.hub, world.repo()
    world.hub.accounts.add_member(world.accounts["shop"], world.accounts["bob"], "write")
    hub.commits.apply(world.actor("ann"), repo, "main", put(), "add", parent=repo.head)
    with pytest.raises(PreconditionFailed):
        hub.commits.apply(world.actor("bob"), repo, "main", put(), "add", parent=repo.head)


def test_nothing_to_change_gives_the_newest_commit(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    first = hub.commits.apply(ann, repo, "main", put(), "one")
    assert hub.commits.apply(ann, repo, "main", put(), "two").oid == first.oid
    assert hub.commits.apply(ann, repo, "main", [], "three").oid == first.oid


def test_messages_have_bounds(world: World) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    with pytest.raises(BadInput, match="no summary"):
        hub.commits.apply(ann, repo, "main", put(), "  ")
    with pytest.raises(BadInput, match="longer"):
        hub.commits.apply(ann, repo, "main", put(), "x", "y" * 70_000)


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_text_that_cannot_be_kept_is_refused(world: World, text: str) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    with pytest.raises(BadInput, match="UTF-8"):
        hub.commits.apply(ann, repo, "main", put(), text)
    with pytest.raises(BadInput, match="UTF-8"):
        hub.commits.apply(ann, repo, "main", put(), "x", text, create_pr=True)
    with pytest.raises(BadInput, match="UTF-8"):
        hub.discussions.create(ann, repo, "x", text)
    with pytest.raises(BadInput, match="UTF-8"):
        hub.repositories.list(ann, search=text)
    with pytest.raises(RepositoryNotFound):
        hub.repositories.get(ann, "model", f"shop/{text}")


def test_the_same_request_twice_at_once_lands_once(world: World) -> None:
    hub, repo, ann = world.hub, world.repo(), world.actor("ann")
    outcomes: list[object] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        try:
            operations = [*put("b"), Delete(".gitattributes")]
            out = hub.commits.apply(ann, repo, "main", operations, "once", "a\n\nb", repo.head)
            outcomes.append(out.oid)
        except PlaitError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [hub.git.resolve(repo)] * 4
    assert hub.git.count_commits(repo, hub.git.resolve(repo)) == 2


def test_large_files_do_not_belong_into_git(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "hub", {}, max_regular_file=100)
    with Hub.open(settings) as hub:
        ann = hub.accounts.actor_for(hub.accounts.create_user("ann"))
        repo = hub.repositories.create(ann, "model", "ann/m")
        hub.commits.apply(ann, repo, "main", put(data=b"x" * 100), "fits")
        with pytest.raises(TooLarge, match=r"a\.txt"):
            hub.commits.apply(ann, repo, "main", put(data=b"x" * 101), "does not")


# -- large files --------------------------------------------------------------------------------


def test_only_bytes_that_were_uploaded_here_can_be_committed(world: World) -> None:
    hub, ann = world.hub, world.actor("ann")
    mine, other = world.repo("shop/mine"), world.repo("shop/other", private=True)
    sha256 = world.blob(other, b"secret weights")
    for operation in (
        AddPointer("m.bin", sha256, 14),
        AddPointer("m.bin", sha256),
        AddBytes("m.bin", format_pointer(sha256, 14)),
        AddPointer("m.bin", "0" * 64, 14),
    ):
        with pytest.raises(BadInput, match="were not uploaded to 'shop/mine'"):
            hub.commits.apply(ann, mine, "main", [operation], "steal")
    with pytest.raises(BadInput, match="not a SHA-256"):
        hub.commits.apply(ann, mine, "main", [AddPointer("m.bin", "x" * 64, 14)], "x")
    out = hub.commits.apply(ann, other, "main", [AddPointer("m.bin", sha256)], "mine")
    assert hub.git.entry(other, out.oid, "m.bin").size == 14


def test_announced_sizes_must_be_true(world: World) -> None:
    repo = world.repo()
    sha256 = world.blob(repo, b"12345")
    with pytest.raises(BadInput, match="has 5"):
        world.hub.commits.apply(
            world.actor("ann"), repo, "main", [AddPointer("m.bin", sha256, 6)], "x"
        )


def test_bytes_that_went_missing_are_asked_for_again(world: World) -> None:
    repo = world.repo()
    sha256 = world.blob(repo, b"12345")
    world.hub.blobs.delete(sha256)
    with pytest.raises(BadInput, match="Upload the file"):
        world.hub.commits.apply(
            world.actor("ann"), repo, "main", [AddPointer("m.bin", sha256)], "x"
        )


def test_files_are_opened_and_laid_out(world: World, tmp_path: Path) -> None:
    hub, repo = world.hub, world.repo()
    sha256 = world.blob(repo, b"weights")
    operations = [AddPointer("w/m.safetensors", sha256), *put("w/a.txt", b"text"), *put("b", b"")]
    oid = hub.commits.apply(world.actor("ann"), repo, "main", operations, "x").oid
    large = hub.commits.open_file(repo, oid, "w/m.safetensors")
    assert (large.size, large.etag, large.lfs, large.data) == (7, sha256, True, None)
    assert b"".join(large.read()) == b"weights"
    assert b"".join(large.read(2, 4)) == b"ig"
    with large.open() as stream:
        assert stream.read() == b"weights"
    small = hub.commits.open_file(repo, oid, "w/a.txt")
    assert (small.size, small.lfs, small.data) == (4, False, b"text")
    assert small.open().read() == b"".join(small.read()) == b"text"
    for wrong in ("w", "nope"):
        with pytest.raises(EntryNotFound):
            hub.commits.open_file(repo, oid, wrong)
    hub.commits.materialize(repo, oid, tmp_path / "all")
    assert (tmp_path / "all" / "w" / "m.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "all" / "b").read_bytes() == b""
    some = hub.commits.materialize(repo, oid, tmp_path / "some", lambda p: p.endswith(".txt"))
    assert [entry.path for entry in some] == ["w/a.txt"]
    assert [p.name for p in (tmp_path / "some" / "w").iterdir()] == ["a.txt"]


def test_a_pointer_that_came_in_by_another_way_opens_nothing(world: World) -> None:
    """A push could bring a tree that no check has seen; reading asks for the grant again."""
    hub, other = world.hub, world.repo("shop/other", private=True)
    sha256, mine = world.blob(other, b"secret"), world.repo("shop/mine")
    oid = hub.git.commit(
        mine,
        ref="refs/heads/main",
        operations=[AddPointer("m.bin", sha256, 6)],
        message="pushed",
        author=Author("eve"),
    )
    with pytest.raises(EntryNotFound, match="missing"):
        hub.commits.open_file(mine, oid, "m.bin")


# -- pull requests ------------------------------------------------------------------------------


def test_a_stranger_proposes_and_goes_on(world: World) -> None:
    hub, repo, bob = world.hub, world.repo(), world.actor("bob")
    out = hub.commits.apply(bob, repo, "main", put(), "Better", "Much.", create_pr=True)
    assert out.discussion is not None
    assert (out.discussion.number, out.discussion.status) == (1, "open")
    assert hub.git.resolve(repo, "refs/pr/1") == out.oid
    assert hub.git.resolve(repo) == repo.head
    more = hub.commits.apply(bob, repo, "refs/pr/1", put("b"), "More")
    assert hub.git.resolve(repo, "refs/pr/1") == more.oid
    events = hub.discussions.events(out.discussion)
    assert [(e.type, e.data.get("subject")) for e in events] == [
        ("comment", None),
        ("commit", "Better"),
        ("commit", "More"),
    ]
    assert events[0].data["raw"] == "Much."


def test_a_repeated_proposal_opens_one_pull_request(world: World) -> None:
    hub, repo, bob = world.hub, world.repo(), world.actor("bob")
    first = hub.commits.apply(bob, repo, "main", put(), "Better", create_pr=True)
    again = hub.commits.apply(bob, repo, "main", put(), "Better", create_pr=True)
    assert first.discussion is not None
    assert again.discussion is not None
    assert (again.oid, again.discussion.number) == (first.oid, first.discussion.number)
    other = hub.commits.apply(bob, repo, "main", put(data=b"y"), "Better", create_pr=True)
    assert other.discussion is not None
    assert other.discussion.number == 2


def test_only_its_author_and_writers_commit_to_a_pull_request(world: World) -> None:
    hub, repo = world.hub, world.repo()
    hub.commits.apply(world.actor("bob"), repo, "main", put(), "Better", create_pr=True)
    hub.commits.apply(world.actor("ann"), repo, "refs/pr/1", put("b"), "Help")
    for actor in (world.actor("eve"), world.actor("bob", "read")):
        with pytest.raises(Forbidden):
            hub.commits.apply(actor, repo, "refs/pr/1", put("c"), "Intrude")
        with pytest.raises(Forbidden):
            hub.commits.may_commit(actor, repo, "refs/pr/1")


def test_a_discussion_is_no_pull_request(world: World) -> None:
    hub, repo, bob = world.hub, world.repo(), world.actor("bob")
    hub.discussions.create(bob, repo, "Just talk")
    with pytest.raises(RevisionNotFound):
        hub.commits.apply(bob, repo, "refs/pr/1", put(), "x")


@pytest.mark.parametrize("status", ["closed", "merged"])
def test_a_finished_pull_request_takes_no_commits(world: World, status: str) -> None:
    hub, repo, bob = world.hub, world.repo(), world.actor("bob")
    out = hub.commits.apply(bob, repo, "main", put(), "Better", create_pr=True)
    assert out.discussion is not None
    if status == "closed":
        hub.discussions.set_status(bob, out.discussion, "closed")
    else:
        hub.discussions.mark_merged(world.actor("ann"), out.discussion, out.oid)
    with pytest.raises(Conflict, match=status):
        hub.commits.apply(bob, repo, "refs/pr/1", put("b"), "More")


def test_asking_beforehand_gives_the_same_answer(world: World) -> None:
    hub, repo = world.hub, world.repo()
    hub.commits.may_commit(world.actor("ann"), repo, "main")
    hub.commits.may_commit(world.actor("bob"), repo, "main", create_pr=True)
    for revision, create_pr in (("main", False), ("nope", True)):
        with pytest.raises(PlaitError):
            hub.commits.may_commit(world.actor("bob"), repo, revision, create_pr)


def test_copies_within_a_repository(world: World) -> None:
    hub, repo, ann = world.hub, world.repo(), world.actor("ann")
    sha256 = world.blob(repo, b"weights")
    hub.commits.apply(ann, repo, "main", [AddPointer("a.bin", sha256)], "one")
    oid = hub.commits.apply(ann, repo, "main", [CopyFile("a.bin", "b.bin")], "two").oid
    assert hub.commits.open_file(repo, oid, "b.bin").etag == sha256


def test_commits_at_the_same_time_all_land(world: World) -> None:
    hub, repo, ann = world.hub, world.repo(), world.actor("ann")
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for m in range(3):
                hub.commits.apply(ann, repo, "main", put(f"f{n}-{m}"), f"add {n} {m}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    head = hub.git.resolve(repo)
    assert len(hub.git.tree(repo, head)) == 13
    assert hub.git.count_commits(repo, head) == 13
    found = hub.repositories.by_id(repo.id)
    assert found is not None
    assert found.head == head
