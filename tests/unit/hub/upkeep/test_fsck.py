# SPDX-License-Identifier: Apache-2.0
"""Every kind of damage is found and named; what a crash leaves is told apart from it."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from plait.hub import AddBytes, AddPointer, Hub, Repository
from plait.hub.database import AuditEntry, Blob, BlobGrant, Discussion
from plait.hub.git.packing import pack_repository
from plait.hub.git.store import Author
from plait.hub.upkeep.collect import collect
from plait.hub.upkeep.fsck import check, damage
from xet_builder import BuiltXorb, shard

from ..conftest import World

pytestmark = pytest.mark.usefixtures("in_a_folder")


@dataclass
class Shop:
    """A hub with something of every kind in it."""

    hub: Hub
    repo: Repository
    oid: str
    sha256: str

    @property
    def git(self) -> Path:
        return self.hub.git.path(self.repo)

    def object(self, oid: str) -> Path:
        return self.git / "objects" / oid[:2] / oid[2:]

    def entry(self, path: str) -> str:
        return self.hub.git.entry(self.repo, self.oid, path).oid

    @property
    def blob(self) -> Path:
        path = self.hub.blobs.local_path(self.sha256)
        assert path is not None
        return path


@pytest.fixture
def shop(world: World) -> Shop:
    hub, ann, repo = world.hub, world.actor("ann"), world.repo()
    sha256 = world.blob(repo, b"weights" * 1000)
    new = [AddPointer("w.bin", sha256, 7000), AddBytes("folder/a.txt", b"text")]
    oid = hub.commits.apply(ann, repo, "main", new, "first").oid
    hub.commits.apply(ann, repo, "main", [AddBytes("p", b"")], "pull", create_pr=True)
    hub.references.create_tag(ann, repo, "v1", message="one")
    assert check(hub, deep=True) == []
    return Shop(hub, hub.repositories.get(ann, "model", repo.full_name), oid, sha256)


def replace(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path: Path, at: int = -30) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    replace(path, bytes(data))


def sql(shop: Shop, statement: Any) -> None:
    with shop.hub.session(write=True) as session:
        session.execute(statement)


def tamper(shop: Shop, statement: Any) -> None:
    """Change the audit log as somebody does who may write to the database's file."""
    with shop.hub.session(write=True) as session:
        rows = session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
        for (name,) in rows.all():
            session.execute(text(f"DROP TRIGGER {name}"))
        session.execute(statement)


def break_page(shop: Shop) -> None:
    """Damage the database's file itself."""
    path = Path(shop.hub.settings.database.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_blob_grants_sha256'"
        ).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    shop.hub.engine.dispose()
    with path.open("r+b") as stream:
        stream.seek((root - 1) * size + 8)
        stream.write(b"\xff" * 200)
    shop.hub.engine.dispose()


CASES: dict[str, tuple[Callable[[Shop], object], str, bool]] = {
    "commit missing": (lambda s: s.object(s.oid).unlink(), "{oid}", False),
    "commit damaged": (lambda s: flip(s.object(s.oid)), "{oid}", False),
    "tree missing": (lambda s: s.object(s.entry("folder")).unlink(), "folder", False),
    "tree damaged": (lambda s: replace(s.object(s.entry("folder")), b"x"), "corrupt", False),
    "file missing": (
        lambda s: s.object(s.entry("folder/a.txt")).unlink(),
        "folder/a.txt",
        False,
    ),
    "file damaged": (lambda s: flip(s.object(s.entry("folder/a.txt")), -5), "corrupt", False),
    "file emptied": (lambda s: replace(s.object(s.entry("folder/a.txt")), b""), "empty", False),
    "pointer missing": (lambda s: s.object(s.entry("w.bin")).unlink(), "w.bin", False),
    "main missing": (lambda s: (s.git / "refs/heads/main").unlink(), "main is missing", False),
    "main garbled": (lambda s: (s.git / "refs/heads/main").write_text("x"), "heads/main", False),
    "main dangling": (
        lambda s: (s.git / "refs/heads/main").write_text("1" * 40 + "\n"),
        "refs/heads/main",
        False,
    ),
    "pull request's ref": (lambda s: (s.git / "refs/pr/1").unlink(), "refs/pr/1 is missing", False),
    "tag": (lambda s: (s.git / "refs/tags/v1").write_text("2" * 40), "refs/tags/v1", False),
    "file cut": (
        lambda s: replace(
            s.object(s.entry("folder/a.txt")), s.object(s.entry("folder/a.txt")).read_bytes()[:-5]
        ),
        "corrupt",
        False,
    ),
    "HEAD missing": (lambda s: (s.git / "HEAD").unlink(), "git folder is missing", False),
    "folder missing": (
        lambda s: s.git.rename(s.git.with_name("x")),
        "git folder is missing",
        False,
    ),
    "bytes missing": (lambda s: s.blob.unlink(), "w.bin (sha256 {sha256}) are missing", False),
    "bytes cut": (lambda s: replace(s.blob, s.blob.read_bytes()[:-1]), "{sha256}", False),
    "bytes changed": (lambda s: flip(s.blob), "sha256 {sha256} are damaged", True),
    "bytes without a row": (
        lambda s: sql(s, delete(Blob).where(Blob.sha256 == s.sha256)),
        "w.bin (sha256 {sha256}) are missing",
        False,
    ),
    "grant missing": (lambda s: sql(s, delete(BlobGrant)), "was not uploaded there", False),
    "merge commit missing": (
        lambda s: sql(s, update(Discussion).values(merge_commit="3" * 40)),
        "which merged pull request 1, is missing",
        False,
    ),
    "head missing": (
        lambda s: sql(s, update(Repository).values(head="4" * 40)),
        "once its main, is missing",
        False,
    ),
    "audit changed": (
        lambda s: tamper(
            s, update(AuditEntry).where(AuditEntry.position == 2).values(target="x/y")
        ),
        "audit log: entry 2",
        False,
    ),
    "audit cut": (
        lambda s: tamper(s, delete(AuditEntry).where(AuditEntry.position == 2)),
        "audit log: entry 2",
        False,
    ),
    "database": (break_page, "database: ", False),
}


@pytest.mark.parametrize("kind", sorted(CASES))
def test_damage_is_named(shop: Shop, kind: str) -> None:
    do, expected, deep = CASES[kind]
    expected = expected.format(oid=shop.oid, sha256=shop.sha256)
    do(shop)
    found = damage(shop.hub, deep=deep)
    assert [str(p) for p in found if expected in str(p)], "\n".join(map(str, found))
    if deep:
        assert damage(shop.hub) == []


def test_damage_in_packs_is_named(shop: Shop) -> None:
    pack_repository(shop.hub, shop.repo, loose=0)
    assert check(shop.hub, deep=True) == []
    (pack,) = (shop.git / "objects" / "pack").glob("*.pack")
    flip(pack, len(pack.read_bytes()) // 2)
    assert damage(shop.hub)
    pack.unlink()
    assert damage(shop.hub)


def test_what_gc_puts_right_is_no_damage(shop: Shop) -> None:
    hub, repo = shop.hub, shop.repo
    hub.git.commit(
        repo,
        ref="refs/heads/main",
        operations=[AddBytes("b", b"")],
        message="untold",
        author=Author("ann"),
    )
    hub.git.set_ref(repo, "refs/pr/9", shop.oid)
    subprocess.run(["cp", "-r", shop.git, shop.git.with_name("99.git")], check=True)
    found = check(hub)
    assert damage(hub) == []
    assert len(found) == 3
    collect(hub, grace=-10)
    assert [p.what for p in check(hub)] == ["refs/pr/9 belongs to no pull request"]


def test_each_problem_names_its_repository(shop: Shop, world: World) -> None:
    other = world.repo("shop/other")
    shop.blob.unlink()
    found = damage(shop.hub)
    assert {p.place for p in found} == {"model shop/model"}
    assert other.full_name not in "".join(map(str, found))


def test_damage_in_xorbs_is_named(shop: Shop, world: World) -> None:
    """A file that came by Xet has no bytes of its own: what it is made of is looked at."""
    hub, ann = shop.hub, world.actor("ann")
    built = BuiltXorb([b"chunk " * 3000, b"other " * 2000])
    hub.xet.add_xorb(ann, built.name, BytesIO(built.body))
    hub.xet.add_shard(ann, shop.repo, BytesIO(shard([[(built, 0, 2)]])))
    data = b"".join(built.chunks)
    sha256 = hashlib.sha256(data).hexdigest()
    new = [AddPointer("x.bin", sha256, len(data))]
    hub.commits.apply(ann, shop.repo, "main", new, "by Xet")
    assert check(hub, deep=True) == []
    (file,) = (path for path in hub.settings.xorb_dir.rglob(built.name) if path.is_file())
    whole = file.read_bytes()
    file.chmod(0o644)
    flip(file, len(whole) // 2)
    found = "\n".join(map(str, damage(hub, deep=True)))
    assert built.name in found
    file.write_bytes(whole[: len(whole) // 2])
    assert built.name in "\n".join(map(str, damage(hub, deep=True)))
    file.unlink()
    found = "\n".join(map(str, damage(hub)))
    assert built.name in found
    assert sha256 in found or "x.bin" in found
