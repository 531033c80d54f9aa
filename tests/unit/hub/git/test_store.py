# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import (
    BadInput,
    Conflict,
    EntryNotFound,
    PlaitError,
    PreconditionFailed,
    RevisionNotFound,
    StorageFull,
)
from plait.hub import AddBytes, AddPointer, Author, CopyFile, Delete, DeleteFolder, Operation
from plait.hub.git.store import MAIN, GitStore

ME = Author("ann")
REPO = 1


@pytest.fixture
def git(tmp_path: Path) -> GitStore:
    folder = tmp_path / "git"
    folder.mkdir()
    store = GitStore(folder, lambda sha256: 777)
    store.create(REPO, ME)
    return store


def commit(git: GitStore, *operations: Operation, ref: str = MAIN, message: str = "x") -> str:
    return git.commit(REPO, ref=ref, operations=operations, message=message, author=ME)


def paths(git: GitStore, oid: str) -> list[str]:
    return [e.path for e in git.tree(REPO, oid, recursive=True) if e.type == "file"]


def test_a_new_repository_is_one_that_git_itself_takes(git: GitStore, tmp_path: Path) -> None:
    commit(git, AddBytes("a/b.txt", b"hello"))
    for command in (
        ["git", "-C", str(git.path(REPO)), "fsck", "--strict"],
        ["git", "clone", "-q", str(git.path(REPO)), str(tmp_path / "clone")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone" / "a" / "b.txt").read_text() == "hello"
    attributes = (tmp_path / "clone" / ".gitattributes").read_text()
    for pattern in ("*.safetensors", "*.parquet", "*.bin", "*.pt", "*.onnx"):
        assert f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" in attributes


def test_a_large_files_size_is_its_real_one(git: GitStore) -> None:
    oid = commit(git, AddPointer("w/m.safetensors", "a" * 64, 5 * 10**9), AddBytes("t", b"12"))
    entry = git.entry(REPO, oid, "w/m.safetensors")
    assert entry.lfs is not None
    assert (entry.size, entry.lfs.sha256, entry.etag) == (5 * 10**9, "a" * 64, "a" * 64)
    assert git.read(REPO, oid, "w/m.safetensors").startswith(b"version https://git-lfs")
    text = git.entry(REPO, oid, "t")
    assert (text.size, text.lfs, text.etag) == (2, None, text.oid)
    assert git.entry(REPO, oid, "w").type == "directory"


def test_a_large_text_that_begins_like_a_pointer_is_none(git: GitStore) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1\n"
    oid = commit(git, AddBytes("x", pointer + b"y" * 1000))
    assert git.entry(REPO, oid, "x").lfs is None


def test_a_pointer_without_a_pattern_gets_one(git: GitStore) -> None:
    oid = commit(git, AddPointer("data/my file.xyz", "a" * 64, 1), AddPointer("m.pt", "b" * 64, 1))
    lines = git.read(REPO, oid, ".gitattributes").decode().splitlines()
    assert lines[-1] == "/data/my[[:space:]]file.xyz filter=lfs diff=lfs merge=lfs -text"
    assert sum(line.startswith("*.pt ") for line in lines) == 1
    assert not any(line.startswith("/m.pt") for line in lines)


def test_listing_is_by_folder_or_everything(git: GitStore) -> None:
    oid = commit(git, *[AddBytes(p, b"x") for p in ("a/b/c", "a/d", "e")])
    assert [e.path for e in git.tree(REPO, oid)] == [".gitattributes", "a", "e"]
    assert [e.path for e in git.tree(REPO, oid, "a")] == ["a/b", "a/d"]
    assert [e.path for e in git.tree(REPO, oid, "a", recursive=True)] == ["a/b", "a/b/c", "a/d"]
    assert [e.path for e in git.entries(REPO, oid, ["e", "no", "a/b", "../x"])] == ["e", "a/b"]
    for missing in ("nope", "e/x", "a/b/c/d"):
        with pytest.raises(EntryNotFound) as refused:
            git.tree(REPO, oid, missing)
        assert refused.value.commit == oid
    with pytest.raises(EntryNotFound):
        git.tree(REPO, oid, "e")
    with pytest.raises(EntryNotFound):
        git.read(REPO, oid, "a")


def test_operations_are_applied_in_order(git: GitStore) -> None:
    commit(git, AddBytes("a/1", b"1"), AddBytes("a/2", b"2"), AddBytes("b", b"b"))
    oid = commit(git, DeleteFolder("a/"), AddBytes("a/3", b"3"), Delete("b"))
    assert paths(git, oid) == [".gitattributes", "a/3"]
    oid = commit(git, CopyFile("a", "copy"), AddBytes("copy/3", b"changed"))
    assert git.read(REPO, oid, "a/3") == b"3"
    assert git.read(REPO, oid, "copy/3") == b"changed"
    oid = commit(git, DeleteFolder("a"), DeleteFolder("copy"))
    assert paths(git, oid) == [".gitattributes"]


def test_a_copy_may_come_from_another_revision(git: GitStore) -> None:
    first = commit(git, AddBytes("a", b"old"))
    commit(git, AddBytes("a", b"new"))
    oid = commit(git, CopyFile("a", "b", revision=first))
    assert git.read(REPO, oid, "b") == b"old"


@pytest.mark.parametrize(
    ("operation", "error", "says"),
    [
        (Delete("no"), EntryNotFound, "A file with this name doesn't exist: 'no'"),
        (Delete("a"), EntryNotFound, "'a'"),
        (DeleteFolder("f"), EntryNotFound, "'f'"),
        (CopyFile("no", "x"), EntryNotFound, "'no'"),
        (AddBytes("f/x", b""), BadInput, "'f' is a file"),
        (AddBytes("a", b""), BadInput, "is a folder"),
        (AddBytes("../x", b""), BadInput, "'..'"),
        (AddBytes(".git/config", b""), BadInput, "git's own"),
        (CopyFile("../x", "y"), BadInput, "'..'"),
    ],
)
def test_what_cannot_be_applied_changes_nothing(
    git: GitStore, operation: Operation, error: type[Exception], says: str
) -> None:
    before = commit(git, AddBytes("a/b", b"x"), AddBytes("f", b"x"))
    with pytest.raises(error) as refused:
        commit(git, AddBytes("other", b"x"), operation)
    assert says in str(refused.value)
    assert git.resolve(REPO) == before


def test_nothing_to_change_is_no_commit(git: GitStore) -> None:
    before = commit(git, AddBytes("a", b"x"))
    assert commit(git, AddBytes("a", b"x")) == before
    again = git.commit(REPO, ref=MAIN, operations=[], message="empty", author=ME, allow_empty=True)
    assert git.commit_info(REPO, again).parents == (before,)


def test_revisions_are_found_by_every_name(git: GitStore) -> None:
    oid = commit(git, AddBytes("a", b"x"))
    git.set_ref(REPO, "refs/heads/dev/one", oid)
    git.set_ref(REPO, "refs/pr/3", oid)
    git.create_tag(REPO, "v1", oid, None, ME)
    git.create_tag(REPO, "v2", oid, "with a message", ME)
    for name in ("main", "HEAD", MAIN, "dev/one", "refs/pr/3", "v1", "v2", "refs/tags/v2"):
        assert git.resolve(REPO, name) == oid
    assert git.resolve(REPO, oid) == oid
    assert git.resolve(REPO, oid[:10]) == oid
    refs = git.refs(REPO)
    assert [r.name for r in refs.branches] == ["dev/one", "main"]
    assert [(r.name, r.oid) for r in refs.tags] == [("v1", oid), ("v2", oid)]
    assert [r.ref for r in refs.pull_requests] == ["refs/pr/3"]


@pytest.mark.parametrize(
    "name",
    ["nope", "refs/pr/9", "0" * 40, "main..dev", "main^", "main:a", "@{1}", "../HEAD", "\0", "a b"],
)
def test_revisions_that_are_none(git: GitStore, name: str) -> None:
    with pytest.raises(RevisionNotFound):
        git.resolve(REPO, name)


def test_a_tree_or_blob_id_is_no_revision(git: GitStore) -> None:
    oid = commit(git, AddBytes("a", b"x"))
    for other in (git.tree_of(REPO, oid), git.entry(REPO, oid, "a").oid):
        with pytest.raises(RevisionNotFound):
            git.resolve(REPO, other)


def test_a_ref_that_moved_is_not_moved_again(git: GitStore) -> None:
    first = git.resolve(REPO)
    second = commit(git, AddBytes("a", b"x"))
    with pytest.raises(PreconditionFailed, match="updated since you opened this page"):
        git.commit(
            REPO,
            ref=MAIN,
            operations=[AddBytes("b", b"x")],
            message="late",
            author=ME,
            parent_oid=first,
        )
    with pytest.raises(PreconditionFailed):
        git.set_ref(REPO, MAIN, first, expected=first)
    with pytest.raises(Conflict, match="already exists"):
        git.set_ref(REPO, MAIN, first, expected=None)
    assert git.resolve(REPO) == second


def test_a_tag_is_made_once(git: GitStore) -> None:
    oid = git.resolve(REPO)
    git.create_tag(REPO, "v1", oid, None, ME)
    for message in (None, "again"):
        with pytest.raises(Conflict, match="refs/tags/v1 already exists"):
            git.create_tag(REPO, "v1", oid, message, ME)
    git.delete_ref(REPO, "refs/tags/v1")
    with pytest.raises(RevisionNotFound):
        git.delete_ref(REPO, "refs/tags/v1")


def test_history_is_newest_first_in_pages(git: GitStore) -> None:
    made = [
        commit(git, AddBytes("n", str(n).encode()), message=f"c{n}\n\nwhy {n}") for n in range(5)
    ]
    log = git.log(REPO, made[-1], limit=3, skip=1)
    assert [c.oid for c in log] == made[3:0:-1]
    assert (log[0].title, log[0].message, log[0].author) == ("c3", "why 3", "ann")
    assert git.count_commits(REPO, made[-1]) == 6
    assert git.count_commits(REPO, made[-1], limit=2) == 2
    assert git.is_ancestor(REPO, made[0], made[4])
    assert not git.is_ancestor(REPO, made[4], made[0])


def test_the_last_change_of_each_path(git: GitStore) -> None:
    one = commit(git, AddBytes("a/x", b"1"), AddBytes("b", b"1"))
    two = commit(git, AddBytes("a/y", b"1"))
    commit(git, AddBytes("c", b"1"))
    found = git.last_commits(REPO, git.resolve(REPO), ["a", "a/x", "b", "nope"])
    assert {path: info.oid for path, info in found.items()} == {"a": two, "a/x": one, "b": one}


def test_differences(git: GitStore) -> None:
    old = commit(git, AddBytes("same", b"1"), AddBytes("gone", b"1\n"), AddBytes("new", b"1\n"))
    new = commit(git, Delete("gone"), AddBytes("new", b"2\n"), AddBytes("more", b"3\n"))
    changes = [(c.path, c.kind) for c in git.changed_paths(REPO, old, new)]
    assert changes == [("gone", "deleted"), ("more", "added"), ("new", "modified")]
    patch = git.diff(REPO, old, new)
    assert "-1\n+2\n" in patch
    assert "too large" in git.diff(REPO, old, new, limit=10)


def test_merging_lists_conflicts(git: GitStore) -> None:
    base = commit(git, AddBytes("a", b"1\n"), AddBytes("b", b"1\n"))
    git.set_ref(REPO, "refs/pr/1", base)
    theirs = commit(git, AddBytes("b", b"2\n"), ref="refs/pr/1")
    ours = commit(git, AddBytes("a", b"2\n"))
    assert git.merge_base(REPO, ours, theirs) == base
    tree, conflicts = git.merge_trees(REPO, ours, theirs)
    assert conflicts == []
    merged = git.commit(
        REPO,
        ref=MAIN,
        operations=[AddBytes("extra", b"e")],
        message="Merge",
        author=ME,
        parent_oid=ours,
        parents=[ours, theirs],
        tree=tree,
    )
    assert git.commit_info(REPO, merged).parents == (ours, theirs)
    assert [git.read(REPO, merged, p) for p in ("a", "b", "extra")] == [b"2\n", b"2\n", b"e"]
    clash = commit(git, AddBytes("a", b"3\n"), ref="refs/pr/1")
    assert git.merge_trees(REPO, merged, clash) == (None, ["a"])
    assert git.merge_trees(REPO, merged, clash, ancestor=base) == (None, ["a"])


def test_two_large_files_that_no_pattern_covers_do_not_conflict(git: GitStore) -> None:
    base = commit(git, AddPointer("old.xyz", "a" * 64, 1))
    git.set_ref(REPO, "refs/pr/1", base)
    theirs = commit(git, AddPointer("theirs.xyz", "b" * 64, 1), ref="refs/pr/1")
    ours = commit(git, AddPointer("ours.xyz", "c" * 64, 1))
    tree, conflicts = git.merge_trees(REPO, ours, theirs)
    assert (conflicts, tree is not None) == ([], True)
    merged = git.commit(
        REPO, ref=MAIN, operations=[], message="m", author=ME, parents=[ours, theirs], tree=tree
    )
    lines = git.read(REPO, merged, ".gitattributes").decode().splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["/old.xyz", "/ours.xyz", "/theirs.xyz"]
    assert len(lines) == len(set(lines))


def test_many_files_at_once_are_as_good_as_few(git: GitStore) -> None:
    files = {f"d{n % 3}/f{n}": str(n % 40).encode() * (n + 1) for n in range(100)}
    oid = commit(git, *[AddBytes(path, data) for path, data in files.items()])
    assert {p: git.read(REPO, oid, p) for p in files} == files
    fsck = ["git", "-C", str(git.path(REPO)), "fsck", "--strict", "--full"]
    done = subprocess.run(fsck, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(git.path(REPO).glob("objects/*/tmp_object_*")) == []
    again = commit(git, *[AddBytes(path, data) for path, data in files.items()])
    assert again == oid


def test_a_full_disk_is_said_in_a_sentence(git: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = git.resolve(REPO)

    def full(*_: object, **__: object) -> None:
        raise OSError("failed to write chunk: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("plait.hub.git.store.build_tree", full)
        with pytest.raises(StorageFull, match="room"):
            commit(git, AddBytes("a", b"x"))
    assert git.resolve(REPO) == before


def test_unrelated_histories_have_no_base(git: GitStore) -> None:
    root = git.write_commit(
        REPO, base=None, operations=[AddBytes("z", b"")], message="root", author=ME, parents=[]
    )
    assert git.merge_base(REPO, git.resolve(REPO), root) is None


def test_what_a_killed_process_left_is_no_obstacle(git: GitStore) -> None:
    for name in ("refs/heads/main.lock", "packed-refs.lock"):
        (git.path(REPO) / name).write_bytes(b"")
    oid = commit(git, AddBytes("a", b"1"))
    assert git.resolve(REPO) == oid
    half = git.path(2).with_name("2.git.new")
    half.mkdir()
    git.path(2).mkdir()
    (git.path(2) / "HEAD").write_text("left over")
    git.create(2, ME)
    assert len(git.log(2, git.resolve(2))) == 1


def test_deleting_is_final_and_may_be_repeated(git: GitStore) -> None:
    git.delete(REPO)
    git.delete(REPO)
    assert not git.exists(REPO)
    with pytest.raises(RevisionNotFound):
        git.resolve(REPO)


def test_a_persons_own_configuration_does_not_reach_in(git: GitStore, tmp_path: Path) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = somebody\n")
    code = (
        "import sys, pygit2\n"
        "if sys.argv[2] == 'hub': import plait.hub.git.store\n"
        "print([e.name for e in pygit2.Repository(sys.argv[1]).config if e.name == 'user.name'])"
    )
    seen = {}
    for who in ("plain", "hub"):
        seen[who] = subprocess.run(
            [sys.executable, "-c", code, str(git.path(REPO)), who],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    assert seen == {"plain": "['user.name']", "hub": "[]"}


NAMES = st.sampled_from(["a", "b", "c", "a/x", "a/y", "b/z/w", "b/z/v", "d/e"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), NAMES, st.binary(max_size=3)),
        st.tuples(st.just("delete"), NAMES, st.just(b"")),
    ),
    max_size=12,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_a_tree_is_what_a_dictionary_of_paths_says(
    git: GitStore, steps: list[tuple[str, str, bytes]]
) -> None:
    git.create(REPO, ME)
    model: dict[str, bytes] = {}

    def clashes(path: str) -> bool:
        return any(p.startswith(f"{path}/") or path.startswith(f"{p}/") for p in model)

    operations: list[Operation] = []
    for kind, path, data in steps:
        if kind == "add" and not clashes(path):
            model[path] = data
            operations.append(AddBytes(path, data))
        elif kind == "delete" and path in model:
            del model[path]
            operations.append(Delete(path))
    oid = commit(git, *operations)
    found = {p: git.read(REPO, oid, p) for p in paths(git, oid) if p != ".gitattributes"}
    assert found == model
    assert isinstance(git.open(REPO)[oid], pygit2.Commit)


def test_names_that_differ_by_case_alone_are_refused(git: GitStore) -> None:
    first = commit(git, AddBytes("Data/One.txt", b"1"))
    for path in ("Data/one.TXT", "data/two.txt"):
        with pytest.raises(BadInput, match="differ by case alone"):
            commit(git, AddBytes(path, b"2"))
    # Renaming is no such thing, in whatever order it is told.
    moved = commit(git, AddBytes("Data/one.txt", b"1"), Delete("Data/One.txt"))
    assert "Data/one.txt" in paths(git, moved)
    theirs = git.write_commit(
        1, base=first, operations=[AddBytes("b.txt", b"")], message="t", author=Author("a")
    )
    ours = git.write_commit(
        1, base=first, operations=[AddBytes("B.txt", b"")], message="o", author=Author("a")
    )
    with pytest.raises(BadInput, match="differ by case alone"):
        git.merge_trees(1, ours, theirs)


def test_copies_of_copies_do_not_grow_without_bound(git: GitStore) -> None:
    commit(git, *(AddBytes(f"a/{n}", b"") for n in range(50)))
    copies = [CopyFile("a", f"a/c{n}") for n in range(30)]
    with pytest.raises(PlaitError) as caught:
        commit(git, *copies)
    assert caught.value.status in (400, 413)
