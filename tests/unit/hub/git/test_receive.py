# SPDX-License-Identifier: Apache-2.0
"""Pushes, written by hand: what an honest client sends lands, what a hostile one sends does not."""

from __future__ import annotations

import hashlib
import io
import random
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import PlaitError, StorageFull
from plait.hub import Actor, AddBytes, Hub, Repository
from plait.hub.git import inspection, quarantine
from plait.hub.git.pktline import FLUSH, pack
from plait.hub.git.pointers import format_pointer
from plait.hub.git.receive import advertise, read_request, receive

from ..conftest import World

NONE = "0" * 40
MAIN = "refs/heads/main"
KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


def header(kind: int, size: int) -> bytes:
    """Write the head of a packed object."""
    first, size = (kind << 4) | (size & 15), size >> 4
    parts = []
    while size:
        parts.append(first | 128)
        first, size = size & 127, size >> 7
    return bytes([*parts, first])


@dataclass
class Pack:
    """A pack under construction."""

    objects: list[bytes] = field(default_factory=list)

    def add(self, kind: str, data: bytes) -> str:
        self.objects.append(header(KINDS[kind], len(data)) + zlib.compress(data, 1))
        head = f"{kind} {len(data)}\0".encode()
        return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()

    def add_delta(self, base: str, data: bytes) -> None:
        self.objects.append(header(7, len(data)) + bytes.fromhex(base) + zlib.compress(data))

    def tree(self, *entries: tuple[int, str | bytes, str]) -> str:
        rows = [(n.encode() if isinstance(n, str) else n, mode, oid) for mode, n, oid in entries]
        rows.sort(key=lambda row: row[0] + (b"/" if row[1] == 0o40000 else b""))
        data = b"".join(b"%o %s\0" % (mode, n) + bytes.fromhex(oid) for n, mode, oid in rows)
        return self.add("tree", data)

    def commit(self, tree: str, *parents: str, message: str = "pushed") -> str:
        who = "Ann <ann@example.org> 1700000000 +0000"
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents)]
        lines += [f"author {who}", f"committer {who}"]
        return self.add("commit", ("\n".join(lines) + f"\n\n{message}\n").encode())

    def encode(self) -> bytes:
        data = b"PACK" + (2).to_bytes(4, "big") + len(self.objects).to_bytes(4, "big")
        data += b"".join(self.objects)
        return data + hashlib.sha1(data, usedforsecurity=False).digest()


@dataclass
class Pusher:
    """Somebody who pushes to ``shop/model``."""

    hub: Hub
    actor: Actor
    repo: Repository

    @property
    def head(self) -> str:
        return self.hub.git.resolve(self.repo)

    def push(
        self, *commands: tuple[str, str, str], packed: bytes = b"", atomic: bool = False
    ) -> dict[str, str]:
        """Push and return, by ref, ``ok`` or why not."""
        abilities = "report-status" + (" atomic" if atomic else "")
        lines = [f"{old} {new} {ref}" for old, new, ref in commands]
        lines[0] += f"\0{abilities}"
        body = b"".join(pack(line.encode()) for line in lines) + FLUSH + packed
        answer = receive(self.hub, self.actor, self.repo, io.BytesIO(body))
        told = {}
        for line in read_lines(answer)[1:]:
            word, ref, *why = line.split(" ", 2)
            told[ref] = "ok" if word == "ok" else why[0]
        return told

    def main(self, made: Pack, new: str, old: str | None = None) -> str:
        """Push a pack's commit to main and return what became of it."""
        return self.push((old or self.head, new, MAIN), packed=made.encode())[MAIN]


def read_lines(answer: bytes) -> list[str]:
    lines = []
    while (size := int(answer[:4], 16)) != 0:
        lines.append(answer[4:size].decode().rstrip("\n"))
        answer = answer[size:]
    return lines


@pytest.fixture
def ann(world: World) -> Pusher:
    return Pusher(world.hub, world.actor("ann"), world.repo())


def leftovers(pusher: Pusher) -> list[str]:
    """Name what a push that was refused must not leave."""
    folder = pusher.hub.git.path(pusher.repo)
    return [e.name for e in folder.iterdir() if e.name.startswith(quarantine.PREFIX)]


def refused(pusher: Pusher, made: Pack, new: str) -> str:
    """Push to main, make sure that nothing came of it, and return why."""
    before, packs = pusher.head, sorted(pusher.hub.git.path(pusher.repo).glob("objects/pack/*"))
    why = pusher.main(made, new)
    assert why != "ok"
    assert pusher.head == before
    assert sorted(pusher.hub.git.path(pusher.repo).glob("objects/pack/*")) == packs
    assert leftovers(pusher) == []
    return why


# -- what an honest client sends ---------------------------------------------------------------


def test_a_push_lands(ann: Pusher) -> None:
    made = Pack()
    folder = made.tree((0o100755, "run.sh", made.add("blob", b"#!/bin/sh\n")))
    tree = made.tree((0o100644, "a.txt", made.add("blob", b"hello")), (0o40000, "bin", folder))
    start = ann.head
    new = made.commit(tree, start)
    assert ann.main(made, new) == "ok"
    assert ann.head == new
    assert ann.hub.git.read(ann.repo, new, "a.txt") == b"hello"
    assert [e.path for e in ann.hub.git.tree(ann.repo, new)] == ["a.txt", "bin"]
    assert ann.hub.repositories.get(ann.actor, "model", ann.repo.full_name).head == new
    assert leftovers(ann) == []


def test_a_thin_pack_is_completed(ann: Pusher) -> None:
    text = b"line of a text that changes little\n" * 50
    ann.hub.commits.apply(ann.actor, ann.repo, "main", [AddBytes("t", text)], "text")
    base = ann.hub.git.entry(ann.repo, ann.head, "t").oid
    changed = text[:-5] + b"end!\n"
    size = len(text)
    # Copy all but the last five bytes, then insert five.
    number = bytes([size & 127 | 128, size >> 7])
    keep = size - 5
    delta = number + number + bytes([0b10110000, keep & 255, keep >> 8, 5]) + b"end!\n"
    made = Pack()
    made.add_delta(base, delta)
    oid = Pack().add("blob", changed)
    new = made.commit(made.tree((0o100644, "t", oid)), ann.head)
    assert ann.main(made, new) == "ok"
    assert ann.hub.git.read(ann.repo, new, "t") == changed


def test_only_the_question_whether_the_password_is_right(ann: Pusher) -> None:
    assert receive(ann.hub, ann.actor, ann.repo, io.BytesIO(FLUSH)) == b""


def test_refs_are_told_with_what_git_itself_would_say(ann: Pusher) -> None:
    ann.hub.references.create_tag(ann.actor, ann.repo, "v1", message="annotated")
    answer = advertise(ann.hub, ann.repo).partition(FLUSH)[2]
    rows = dict(reversed(line.split("\0")[0].split(" ")) for line in read_lines(answer))  # type: ignore[arg-type]
    assert rows[MAIN] == ann.head
    assert rows["refs/tags/v1"] != ann.head


def test_several_refs_each_for_itself_or_all_together(ann: Pusher) -> None:
    head, other = ann.head, "1" * 40
    commands = [(NONE, head, "refs/heads/dev"), (other, head, MAIN)]
    told = ann.push(*commands, packed=Pack().encode(), atomic=True)
    assert set(told) == {"refs/heads/dev", MAIN}
    assert "ok" not in told.values()
    assert ann.hub.git.head(ann.repo, "refs/heads/dev") is None
    told = ann.push(*commands, packed=Pack().encode())
    assert told["refs/heads/dev"] == "ok"
    assert "updated since" in told[MAIN]


def test_a_branch_and_a_tag_come_and_go(ann: Pusher) -> None:
    head = ann.head
    refs = ["refs/heads/dev", "refs/tags/v1"]
    told = ann.push(*[(NONE, head, ref) for ref in refs], packed=Pack().encode())
    assert told == dict.fromkeys(refs, "ok")
    assert ann.push(*[(head, NONE, ref) for ref in refs]) == dict.fromkeys(refs, "ok")
    assert ann.hub.git.head(ann.repo, "refs/heads/dev") is None


def test_a_ref_below_another_is_refused(ann: Pusher) -> None:
    head = ann.head
    assert "there is refs/heads/main" in str(
        ann.push((NONE, head, f"{MAIN}/x"), packed=Pack().encode())
    )


def test_large_files_must_have_been_uploaded_there(ann: Pusher, world: World) -> None:
    data = b"large" * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    other = world.repo("shop/other", private=True)
    world.blob(other, data)
    for size in (len(data), len(data) + 1):
        made = Pack()
        blob = made.add("blob", format_pointer(sha256, size))
        new = made.commit(made.tree((0o100644, "m.bin", blob)), ann.head)
        assert "were not uploaded" in refused(ann, made, new)
    world.blob(ann.repo, data)
    assert "announced with 5001 bytes" in refused(ann, made, new)
    made = Pack()
    blob = made.add("blob", format_pointer(sha256, len(data)))
    new = made.commit(made.tree((0o100644, "m.bin", blob)), ann.head)
    assert ann.main(made, new) == "ok"
    assert ann.hub.git.entry(ann.repo, new, "m.bin").size == len(data)


def test_a_pointer_that_the_repository_lost_cannot_come_back_without_its_bytes(
    ann: Pusher, world: World
) -> None:
    """The pointer is in git's objects already, so the push need not bring it."""
    made = Pack()
    blob = ann.hub.git.open(ann.repo).create_blob(format_pointer("a" * 64, 5))
    new = made.commit(made.tree((0o100644, "m.bin", str(blob))), ann.head)
    assert "were not uploaded" in refused(ann, made, new)


# -- who may ------------------------------------------------------------------------------------


def test_rules_of_refs(ann: Pusher, world: World) -> None:
    head = ann.head
    cases = {
        (head, NONE, MAIN): "Cannot delete",
        (NONE, head, "refs/notes/commits"): "branches, tags and pull requests",
        (NONE, head, "refs/pr/7"): "no pull request 7",
        (NONE, head, "refs/heads/refs/heads/x"): "Invalid reference",
        (NONE, head, "refs/heads/" + "a" * 40): "Invalid reference",
        (NONE, head, "refs/heads/../../x"): "Invalid reference",
        (NONE, head, "refs/for/nowhere"): "no branch",
        (NONE, "1" * 40, "refs/heads/new"): "lacks the object",
        ("1" * 40, head, MAIN): "updated since",
        (NONE, head, "refs/heads/x.lock"): "Invalid reference",
    }
    for command, why in cases.items():
        packed = Pack().encode() if command[1] != NONE else b""
        assert why in ann.push(command, packed=packed)[command[2]]
    assert ann.head == head


def test_strangers_propose_and_do_not_write(ann: Pusher, world: World) -> None:
    bob = replace(ann, actor=world.actor("bob"))
    made = Pack()
    new = made.commit(made.tree((0o100644, "b", made.add("blob", b"b"))), ann.head, message="Mine")
    for ref in ("refs/heads/main", "refs/heads/new", "refs/tags/new"):
        old = ann.head if ref == MAIN else NONE
        assert "You may not" in bob.push((old, new, ref), packed=made.encode())[ref]
    assert bob.push((NONE, new, "refs/for/main"), packed=made.encode()) == {"refs/for/main": "ok"}
    assert bob.push((NONE, new, "refs/for/main"), packed=made.encode()) == {"refs/for/main": "ok"}
    found = ann.hub.discussions.list(ann.repo, pull_request=True)
    assert [(d.number, d.title) for d in found] == [(1, "Mine")]
    assert found[0].author is not None
    assert found[0].author.name == "bob"
    ref = "refs/pr/1"
    again = Pack()
    more = again.commit(again.tree((0o100644, "b", again.add("blob", b"c"))), new, message="More")
    eve = replace(ann, actor=world.actor("eve"))
    assert "You may not" in eve.push((new, more, ref), packed=again.encode())[ref]
    assert bob.push((new, more, ref), packed=again.encode()) == {ref: "ok"}
    events = [(e.type, e.data.get("subject")) for e in ann.hub.discussions.events(found[0])]
    assert ("commit", "More") in events
    # The author may begin anew; nobody may remove it.
    assert bob.push((more, new, ref), packed=Pack().encode()) == {ref: "ok"}
    assert "Close the pull request" in bob.push((new, NONE, ref))[ref]
    ann.hub.discussions.set_status(ann.actor, found[0], "closed")
    assert "is closed" in bob.push((new, more, ref), packed=again.encode())[ref]


def test_mains_history_stays_while_a_pull_request_is_open(ann: Pusher) -> None:
    start = ann.head
    made = Pack()
    other = made.commit(made.tree((0o100644, "x", made.add("blob", b"x"))))
    pull = ann.hub.discussions.create(ann.actor, ann.repo, "open", pull_request=True)
    assert "A pull request is open" in refused(ann, made, other)
    ann.hub.discussions.set_status(ann.actor, pull, "closed")
    assert ann.main(made, other) == "ok"
    assert ann.head == other != start


# -- what a hostile one sends -------------------------------------------------------------------

BAD_NAMES: list[tuple[int, str | bytes, str]] = [
    (0o100644, ".git", "'.git'"),
    (0o100644, ".GIT", "'.git'"),
    (0o100644, "git~1", "'.git'"),
    (0o100644, ".g\u200cit", "'.git'"),
    (0o100644, "..", "'..'"),
    (0o100644, ".", "'.'"),
    (0o100644, "a/b", "'/'"),
    (0o100644, "a\\b", "backslash"),
    (0o100644, "a\nb", "control character"),
    (0o100644, "con.txt", "device name"),
    (0o100644, b"\xff\xfe", "UTF-8"),
    (0o100644, "e\u0301", "NFC"),
    (0o100644, "x" * 256, "longer than"),
    (0o120000, "link", "symbolic link"),
]


@pytest.mark.parametrize(("mode", "name", "why"), BAD_NAMES, ids=[repr(n[1]) for n in BAD_NAMES])
@pytest.mark.parametrize("deep", [False, True])
def test_names_and_kinds_that_are_refused(
    ann: Pusher, mode: int, name: str | bytes, why: str, deep: bool
) -> None:
    made = Pack()
    tree = made.tree((mode, name, made.add("blob", b"../../etc/passwd")))
    if deep:
        tree = made.tree((0o40000, "folder", tree))
    told = refused(ann, made, made.commit(tree, ann.head))
    # git's own check comes first where it has one.
    assert why in told or "git found" in told


@pytest.mark.parametrize("name", ["sub", ".gitmodules"])
def test_submodules_are_refused(ann: Pusher, name: str) -> None:
    made = Pack()
    new = made.commit(made.tree((0o160000, name, "1" * 40)), ann.head)
    assert "submodule" in (why := refused(ann, made, new)) or "git found" in why


@pytest.mark.parametrize(("one", "two"), [("A.txt", "a.txt"), ("straße", "STRASSE"), ("É", "é")])
def test_names_that_differ_by_case_alone_are_refused(ann: Pusher, one: str, two: str) -> None:
    made = Pack()
    blob = made.add("blob", b"x")
    new = made.commit(made.tree((0o100644, one, blob), (0o100644, two, blob)), ann.head)
    assert "differ by case alone" in refused(ann, made, new)


def test_what_only_an_older_commit_of_the_push_holds_is_refused_too(ann: Pusher) -> None:
    made = Pack()
    blob = made.add("blob", b"x")
    bad = made.commit(made.tree((0o120000, "link", blob)), ann.head)
    new = made.commit(made.tree((0o100644, "fine", blob)), bad)
    assert f"Commit {bad[:10]}: 'link' is a symbolic link" in refused(ann, made, new)


def test_a_large_file_belongs_into_lfs(ann: Pusher) -> None:
    hub = ann.hub
    hub.settings = replace(hub.settings, max_regular_file=1000)
    made = Pack()
    new = made.commit(made.tree((0o100644, "w.bin", made.add("blob", b"x" * 1001))), ann.head)
    assert "git lfs migrate" in refused(ann, made, new)


def test_a_tree_that_unfolds_to_billions_of_files_is_refused(ann: Pusher) -> None:
    made = Pack()
    blob = made.add("blob", b"x")
    tree = made.tree(*((0o100644, f"f{n}", blob) for n in range(10)))
    for _ in range(9):
        tree = made.tree(*((0o40000, f"d{n}", tree) for n in range(10)))
    assert "more than 1000000 files" in refused(ann, made, made.commit(tree, ann.head))


def test_paths_that_are_too_deep_or_too_long_are_refused(ann: Pusher) -> None:
    for name, depth, why in (("d", 65, "folders deep"), ("d" * 200, 6, "bytes long")):
        made = Pack()
        tree = made.tree((0o100644, "f", made.add("blob", b"x")))
        for _ in range(depth):
            tree = made.tree((0o40000, name, tree))
        assert why in refused(ann, made, made.commit(tree, ann.head))


def test_a_delta_that_unfolds_to_gigabytes_is_refused(
    ann: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.hub.git.command.MEMORY", 2**30)
    made = Pack()
    base = made.add("blob", b"x" * 2**16)
    big = 2**34
    number, rest = b"", big
    while rest > 127:
        number, rest = number + bytes([rest & 127 | 128]), rest >> 7
    number += bytes([rest])
    copies = bytes([0b10000000]) * (big // 2**16)
    made.add_delta(base, bytes([0x80, 0x80, 0x04]) + number + copies)
    new = made.commit(made.tree((0o100644, "f", base)), ann.head)
    why = refused(ann, made, new)
    assert "unpacks to more" in why or "more memory" in why


def test_a_pack_that_is_larger_than_allowed_is_refused(ann: Pusher) -> None:
    ann.hub.settings = replace(ann.hub.settings, max_push=10_000)
    made = Pack()
    noise = random.Random(1).randbytes(20_000)
    new = made.commit(made.tree((0o100644, "f", made.add("blob", noise))), ann.head)
    assert "more than 10000 bytes" in refused(ann, made, new)


def test_packs_with_gaps_are_refused(ann: Pusher) -> None:
    for tree_of in (
        lambda made: "1" * 40,
        lambda made: made.tree((0o100644, "f", "2" * 40)),
        lambda made: made.tree((0o40000, "d", "3" * 40)),
    ):
        made = Pack()
        refused(ann, made, made.commit(tree_of(made), ann.head))
    made = Pack()
    refused(ann, made, made.commit(made.tree((0o100644, "f", made.add("blob", b""))), "4" * 40))
    made = Pack()
    made.add_delta("5" * 40, b"\x05\x05\x90\x05")
    refused(ann, made, made.commit(made.tree(), ann.head))


def test_objects_that_nothing_needs_are_refused(ann: Pusher) -> None:
    made = Pack()
    new = made.commit(made.tree((0o100644, "f", made.add("blob", b"f"))), ann.head)
    hidden = made.commit(made.tree((0o120000, "link", made.add("blob", b"/etc"))))
    assert "none of its refs needs" in refused(ann, made, new)
    with pytest.raises(PlaitError):
        ann.hub.git.resolve(ann.repo, hidden)


def test_a_branch_must_be_a_commit(ann: Pusher) -> None:
    for kind in ("blob", "tree"):
        made = Pack()
        oid = made.add("blob", b"x") if kind == "blob" else made.tree()
        refs = {"refs/heads/x": "must stand for a commit", "refs/tags/x": "must stand for a commit"}
        for ref, why in refs.items():
            assert why in ann.push((NONE, oid, ref), packed=made.encode())[ref]


def test_damaged_packs_are_refused(ann: Pusher) -> None:
    made = Pack()
    new = made.commit(made.tree((0o100644, "f", made.add("blob", b"f" * 100))), ann.head)
    whole = made.encode()
    rng = random.Random(3)
    for _ in range(25):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        assert ann.push((ann.head, new, MAIN), packed=bytes(damaged))[MAIN] != "ok"
    for end in (0, 3, 12, 40, len(whole) - 1):
        assert ann.push((ann.head, new, MAIN), packed=whole[:end])[MAIN] != "ok"
    assert leftovers(ann) == []
    assert ann.push((ann.head, new, MAIN), packed=whole) == {MAIN: "ok"}


GARBAGE: Sequence[bytes] = [
    b"",
    b"00",
    b"zzzz",
    b"0001",
    b"0003",
    b"0004",
    b"ffff",
    b"0010hello",
    pack(b"hello") + FLUSH,
    pack(f"{NONE} {NONE} refs/heads/x".encode()) + FLUSH,
    pack(f"{NONE} {'1' * 40} HEAD".encode()) + FLUSH,
    pack(f"{NONE} {'1' * 40} refs/heads/\xff".encode("latin-1")) + FLUSH,
    pack(f"{NONE} {'1' * 40} refs/heads/{'x' * 2000}".encode()) + FLUSH,
    pack(f"{NONE} {'1' * 40} refs/heads/x\0object-format=sha256".encode()) + FLUSH,
    2 * pack(f"{NONE} {'1' * 40} refs/heads/x".encode()) + FLUSH,
    10_001 * pack(b"shallow " + b"1" * 40) + FLUSH,
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_push_is_refused_as_such(ann: Pusher, body: bytes) -> None:
    with pytest.raises(PlaitError) as caught:
        receive(ann.hub, ann.actor, ann.repo, io.BytesIO(body))
    assert caught.value.status in (400, 413)


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_sentence(body: bytes) -> None:
    try:
        read_request(io.BytesIO(body))
    except PlaitError as error:
        assert error.status in (400, 413)


def test_a_full_disk_is_said_and_leaves_nothing(
    ann: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Pack()
    new = made.commit(made.tree((0o100644, "f", made.add("blob", b"f"))), ann.head)

    def full(self: Any) -> None:
        raise StorageFull("There is no room left to store the push.")

    with monkeypatch.context() as patch:
        patch.setattr(quarantine.Quarantine, "let_in", full)
        assert "no room left" in refused(ann, made, new)
    assert ann.main(made, new) == "ok"


def test_without_the_git_program_pushing_says_so(
    ann: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PlaitError, match="no git program") as caught:
        receive(ann.hub, ann.actor, ann.repo, io.BytesIO(FLUSH))
    assert caught.value.status == 501


def test_a_hostile_configuration_of_the_host_is_not_used(
    ann: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the server's user nor a variable may bring hooks or filters in."""
    mark = tmp_path / "ran"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "pre-receive", "post-update"):
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    (tmp_path / ".gitconfig").write_text(f"[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "elsewhere"))
    made = Pack()
    new = made.commit(made.tree((0o100644, "f", made.add("blob", b"f"))), ann.head)
    assert ann.main(made, new) == "ok"
    assert not mark.exists()
    assert not (tmp_path / "elsewhere").exists()


def test_looking_through_a_push_again_does_not_look_at_everything(
    ann: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small change to a large repository is checked in the time of a small change."""
    made = Pack()
    blob = made.add("blob", b"x")
    rows = [(0o100644, f"f{n:05}", blob) for n in range(2000)]
    folder = made.tree(*rows)
    new = made.commit(made.tree((0o40000, "d", folder)), ann.head)
    assert ann.main(made, new) == "ok"
    looked = []
    real = inspection._look
    monkeypatch.setattr(
        inspection,
        "_look",
        lambda git, tree, depth: looked.append(tree.id) or real(git, tree, depth),
    )
    again = Pack()
    tree = again.tree((0o40000, "d", folder), (0o100644, "e", again.add("blob", b"y")))
    assert ann.main(again, again.commit(tree, new)) == "ok"
    assert len(looked) == 1
