# SPDX-License-Identifier: Apache-2.0
"""A backup is one moment of a hub in use, and a hub can be made of it again."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from plait.errors import BadInput, NotFound, PlaitError
from plait.hub import AddBytes, AddPointer, Hub
from plait.hub.git.packing import pack_repository
from plait.hub.upkeep.backup import CURRENT, back_up, read_backup, restore
from plait.hub.upkeep.fsck import check
from plait.settings import load_settings

from ..conftest import World

pytestmark = pytest.mark.usefixtures("in_a_folder")


def bring_back(folder: Path, name: str = "restored") -> Hub:
    settings = load_settings(folder.parent / name, {})
    assert restore(folder, settings) == []
    return Hub.open(settings)


def test_a_hub_comes_back_as_it_was(world: World, tmp_path: Path) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo(private=True)
    sha256 = world.blob(repo, b"weights" * 1000)
    hub.commits.apply(ann, repo, "main", [AddPointer("w.bin", sha256, 7000)], "weights")
    pack_repository(hub, repo, loose=0)
    hub.commits.apply(ann, repo, "main", [AddBytes("p", b"")], "pull", create_pr=True)
    hub.references.create_tag(ann, repo, "v1", message="annotated")
    backup = back_up(hub, tmp_path / "backup")
    assert backup.gone == []
    hub.repositories.delete(ann, repo)
    with bring_back(tmp_path / "backup") as again:
        found = again.repositories.get(ann, "model", "shop/model")
        assert found.private
        assert again.git.refs(found).pull_requests
        assert [tag.name for tag in again.git.refs(found).tags] == ["v1"]
        file = again.commits.open_file(found, again.git.resolve(found), "w.bin")
        assert b"".join(file.read()) == b"weights" * 1000
        assert again.secret == hub.secret
        assert check(again, deep=True) == []
        # And it goes on from there.
        again.commits.apply(ann, found, "main", [AddBytes("more", b"1")], "more")
        assert (again.settings.dir / "secret.key").stat().st_mode & 0o077 == 0


def test_the_next_backup_copies_what_is_new(world: World, tmp_path: Path) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    data = random.Random(1).randbytes(100_000)
    sha256 = world.blob(repo, data)
    hub.commits.apply(ann, repo, "main", [AddPointer("w.bin", sha256, 100_000)], "weights")
    folder = tmp_path / "backup"
    first = back_up(hub, folder)
    hub.commits.apply(ann, repo, "main", [AddBytes("a", b"1")], "more")
    old = hub.git.resolve(repo)
    second = back_up(hub, folder)
    assert second.reused > 5
    assert f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}" in second.files
    # The database is copied each time; of the rest, only a commit, a tree and a file.
    assert second.copied == 2 + 3
    pack_repository(hub, repo, loose=0)
    third = back_up(hub, folder)
    assert third.removed > 5
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        *third.files,
        CURRENT,
        ".lock",
    }
    assert first.made < second.made < third.made
    with bring_back(folder) as again:
        assert again.git.resolve(repo) == old


def test_writing_goes_on_while_a_backup_is_taken(world: World, tmp_path: Path) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    done = threading.Event()
    landed: list[str] = []
    errors: list[BaseException] = []

    def write() -> None:
        try:
            number = 0
            while not done.is_set():
                number += 1
                data = f"large {number}".encode() * 3000
                sha256 = world.blob(repo, data)
                new = [AddPointer("w.bin", sha256, len(data)), AddBytes("n", b"%d" % number)]
                landed.append(hub.commits.apply(ann, repo, "main", new, f"n {number}").oid)
                if number % 3 == 0:
                    change = [AddBytes("p", b"%d" % number)]
                    hub.commits.apply(ann, repo, "main", change, f"p {number}", create_pr=True)
                if number % 5 == 0:
                    other = hub.repositories.create(ann, "dataset", f"shop/d{number}")
                    if number % 10 == 0:
                        hub.repositories.delete(ann, other)
                if number % 7 == 0:
                    pack_repository(hub, repo, loose=10)
        except PlaitError as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    folder = tmp_path / "backup"
    try:
        for round_ in range(3):
            before = len(landed)
            back_up(hub, folder)
            with bring_back(folder, f"restored-{round_}") as again:
                assert [p for p in check(again, deep=True) if p.damage] == []
                head = again.git.resolve(repo)
                assert all(again.git.is_ancestor(repo, oid, head) for oid in landed[:before])
            shutil.rmtree(tmp_path / f"restored-{round_}")
    finally:
        done.set()
        writer.join()
    assert errors == []
    assert len(landed) > 5


def test_damage_of_a_backup_is_named(world: World, tmp_path: Path) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    sha256 = world.blob(repo, b"x" * 1000)
    hub.commits.apply(ann, repo, "main", [AddPointer("w.bin", sha256, 1000)], "weights")
    folder = tmp_path / "backup"
    backup = back_up(hub, folder)
    for number, name in enumerate(sorted(backup.files)):
        kept = (folder / name).read_bytes()
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(BadInput, match="is damaged"):
            restore(folder, load_settings(tmp_path / f"r{number}", {}))
        (folder / name).unlink()
        with pytest.raises(BadInput, match="lacks"):
            restore(folder, load_settings(tmp_path / f"s{number}", {}))
        (folder / name).write_bytes(kept)


def test_what_is_missing_from_the_hub_is_missing_from_what_comes_back(
    world: World, tmp_path: Path
) -> None:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    sha256 = world.blob(repo, b"x" * 1000)
    hub.commits.apply(ann, repo, "main", [AddPointer("w.bin", sha256, 1000)], "weights")
    unused = world.blob(repo, b"unused")
    for name in (sha256, unused):
        path = hub.blobs.local_path(name)
        assert path is not None
        path.unlink()
    backup = back_up(hub, tmp_path / "backup")
    assert len(backup.gone) == 2
    found = restore(tmp_path / "backup", load_settings(tmp_path / "again", {}))
    assert [p.place for p in found] == ["model shop/model"]
    assert "w.bin" in str(found[0])


def test_folders_that_hold_something_else_are_left_alone(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="no backup"):
        back_up(world.hub, folder)
    with pytest.raises(NotFound):
        restore(folder, load_settings(tmp_path / "new", {}))
    back_up(world.hub, tmp_path / "backup")
    with pytest.raises(BadInput, match="not empty"):
        restore(tmp_path / "backup", load_settings(folder, {}))
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_a_list_that_names_files_elsewhere_is_refused(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    back_up(world.hub, folder)
    data = json.loads((folder / CURRENT).read_text())
    for name in ("../../etc/passwd", "/etc/passwd", "git/1/../../../x", "git//x"):
        data["files"][name] = [0, "0" * 64]
        (folder / CURRENT).write_text(json.dumps(data))
        with pytest.raises(BadInput, match="damaged"):
            read_backup(folder)
        del data["files"][name]


def test_a_full_disk_leaves_the_earlier_backup(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    first = back_up(hub, folder)
    hub.commits.apply(ann, repo, "main", [AddBytes("a", b"1")], "more")
    real = os.fsync

    def full(descriptor: int) -> None:
        if "/git/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("plait.hub.upkeep.backup.os.fsync", full)
        with pytest.raises(PlaitError) as caught:
            back_up(hub, folder)
    assert caught.value.status == 507
    assert read_backup(folder).made == first.made
    with bring_back(folder) as again:
        assert len(again.git.log(repo, again.git.resolve(repo))) == 1
    assert back_up(hub, folder).made > first.made
