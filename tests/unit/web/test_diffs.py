# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plait.hub import AddBytes, AddPointer, Delete, Hub
from plait.hub.git.pointers import format_pointer
from plait.settings import load_settings
from plait.web.diffs import LONGEST_FILE, FileDiff, changes_shown

ODD = 'odd é"name.txt'


class Place:
    """As much of a visit as a difference needs."""

    def address(self, kind: str, oid: str, path: str) -> str:
        return f"/{kind}/{oid}/{path}"


@pytest.fixture(scope="module")
def differs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDiff]:
    folder = tmp_path_factory.mktemp("diffs")
    with Hub.open(load_settings(Path(folder) / "hub", {})) as hub:
        user = hub.accounts.create_user("ann")
        actor = hub.accounts.actor_for(user)
        repo = hub.repositories.create(actor, "model", "ann/one")
        sizes = []
        for data in (b"\x00" * 10, b"\x01" * 2000):
            sha256, size = hub.blobs.write([data])
            with hub.session(write=True) as session:
                hub.grant_blob(session, repo, sha256)
            sizes.append(AddPointer("w.safetensors", sha256, size))
        before = hub.commits.apply(
            actor, repo, "main",
            [
                AddBytes("a.txt", b"one\ntwo\nthree\n"),
                AddBytes(ODD, b"x\n"),
                AddBytes("gone.txt", b"-- a line\n++ another\n"),
                AddBytes("raw", b"\x00\x01"),
                AddBytes("long.txt", b"".join(b"%d\n" % n for n in range(2000))),
                sizes[0],
            ],
            "First",
        ).oid  # fmt: skip
        after = hub.commits.apply(
            actor, repo, "main",
            [
                AddBytes("a.txt", b"one\n2\nthree\nfour"),
                AddBytes(ODD, b"y\n"),
                Delete("gone.txt"),
                AddBytes("raw", b"\x00\x02"),
                AddBytes("long.txt", b"".join(b"%d\n" % (n + 5000) for n in range(2000))),
                AddBytes("empty", b""),
                sizes[1],
            ],
            "Second",
        ).oid  # fmt: skip
        changes = hub.git.changed_paths(repo, before, after)
        shown = changes_shown(Place(), changes, hub.git.diff(repo, before, after), after)  # type: ignore[arg-type]
    return {file.path: file for file in shown["diffs"]}


def test_lines_carry_their_signs_and_both_numbers(differs: dict[str, FileDiff]) -> None:
    found = differs["a.txt"]
    assert [(line.kind, line.before, line.after, line.text) for line in found.lines[1:]] == [
        ("same", 1, 1, "one"),
        ("del", 2, None, "two"),
        ("add", None, 2, "2"),
        ("same", 3, 3, "three"),
        ("add", None, 4, "four"),
    ]
    assert (found.added, found.removed) == (2, 1)


def test_lines_that_look_like_heads_are_lines(differs: dict[str, FileDiff]) -> None:
    found = differs["gone.txt"]
    assert [line.text for line in found.lines[1:]] == ["-- a line", "++ another"]
    assert found.kind == "deleted" and found.href == "" and found.removed == 2


def test_unusual_names_are_found(differs: dict[str, FileDiff]) -> None:
    found = next(file for path, file in differs.items() if path.startswith("odd"))
    assert (found.added, found.removed) == (1, 1)


def test_what_is_not_text_says_so(differs: dict[str, FileDiff]) -> None:
    assert differs["raw"].binary and not differs["raw"].lines
    assert differs["w.safetensors"].large == "10 B → 2.0 kB"
    assert not differs["w.safetensors"].lines
    assert not differs["empty"].lines and not differs["empty"].cut


def test_long_differences_are_cut_and_say_so(differs: dict[str, FileDiff]) -> None:
    found = differs["long.txt"]
    assert found.cut and len(found.lines) == LONGEST_FILE and found.added == 2000
    assert not found.open


def test_a_pointer_is_told_by_its_first_line() -> None:
    assert format_pointer("0" * 64, 1).startswith(b"version https://git-lfs.github.com/spec/v1")
