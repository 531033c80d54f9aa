# SPDX-License-Identifier: Apache-2.0
"""Make a large hub quickly: a few repositories through the hub itself, then many copies of them.

The copies are whole: each has a git folder of its own with the same history and files as its
pattern, rows of its own, and a name, numbers and dates of its own.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, insert, select, text

from plait.hub import Hub
from plait.hub.database import Account, Base, BlobGrant, Repository, RepositoryTag
from plait.hub.git.operations import AddBytes, AddPointer, Operation

PATTERNS = 20
COMMITS = 10
"""Commits of each repository."""
NAMESPACES = 200
BIG_FILES = 10_000
BIG = "research/many-files"
FILE = "weights/part.bin"
FILE_BYTES = 100_000
_BATCH = 5_000
_TASKS = ("text-classification", "text-generation", "image-classification", "translation")
_LIBRARIES = ("transformers", "timm", "sentence-transformers", "peft")
_LICENSES = ("mit", "apache-2.0", "cc-by-4.0", "bsd-3-clause")
_WORDS = ("bert", "llama", "vision", "speech", "medical", "legal", "finance", "small", "large")


def fill(hub: Hub, repositories: int, big_files: int = BIG_FILES) -> None:
    """Fill an empty hub with so many model repositories, and one of many files."""
    token = hub.tokens.create(hub.accounts.create_user("builder", admin=True))
    found = hub.tokens.authenticate(token)
    assert found is not None
    actor = found[0]
    builder = hub.accounts.get("builder")
    for number in range(PATTERNS):
        repo = hub.repositories.create(actor, "model", f"builder/pattern-{number:02}")
        for step in range(COMMITS - 1):
            content = _content(number, step)
            if step == 0:
                content.append(_weights(hub, repo, number))
            hub.commits.apply(actor, repo, "main", content, f"Step {step}")
    hub.accounts.create_organization("research", builder)
    repo = hub.repositories.create(actor, "model", BIG)
    added = [AddBytes(f"data/{n:05}.txt", b"%d" % n) for n in range(big_files)]
    hub.commits.apply(actor, repo, "main", added, "Many files")
    _copy(hub, repositories - PATTERNS - 1)


def _content(number: int, step: int) -> list[Operation]:
    chosen = random.Random(1000 * number + step)
    head = {
        "license": _LICENSES[number % 4],
        "library_name": _LIBRARIES[number // 2 % 4],
        "pipeline_tag": _TASKS[number // 3 % 4],
        "tags": chosen.sample(_WORDS, 3),
        "language": ["en"],
    }
    lines = [f"{key}: {value}" for key, value in head.items()]
    card = "---\n" + "\n".join(lines) + f"\n---\n# Pattern {number}\n\n" + "Words. " * 100
    added: list[Operation] = [
        AddBytes("README.md", card.encode()),
        AddBytes(f"notes/{step}.txt", chosen.randbytes(200).hex().encode()),
    ]
    if step == 0:
        config = b'{"architectures": ["BertModel"], "model_type": "bert"}'
        added.append(AddBytes("config.json", config))
    return added


def _weights(hub: Hub, repo: Repository, number: int) -> Operation:
    sha256, _ = hub.blobs.write([random.Random(number).randbytes(FILE_BYTES)])
    with hub.session(write=True) as session:
        hub.grant_blob(session, repo, sha256)
    return AddPointer(FILE, sha256)


def _copy(hub: Hub, count: int) -> None:
    with hub.session() as session:
        patterns = session.scalars(
            select(Repository).where(Repository.name_key.like("pattern-%"))
        ).all()
        columns = [c.key for c in Repository.__table__.columns if c.key != "id"]
        tags = {
            repo.id: list(
                session.scalars(
                    select(RepositoryTag.tag).where(RepositoryTag.repository_id == repo.id)
                )
            )
            for repo in patterns
        }
        granted = {
            repo.id: list(
                session.scalars(select(BlobGrant.sha256).where(BlobGrant.repository_id == repo.id))
            )
            for repo in patterns
        }
        first = 1 + (session.scalar(select(func.max(Repository.id))) or 0)
    for repo in patterns:
        _pack(hub.git.path(repo))
    spaces = _namespaces(hub)
    chosen = random.Random(7)
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    grants: list[dict[str, Any]] = []
    for number in range(count):
        pattern = patterns[number % len(patterns)]
        space_id, space = spaces[number % len(spaces)]
        word = _WORDS[number // len(spaces) % len(_WORDS)]
        row = {key: getattr(pattern, key) for key in columns}
        name = f"{word}-{number:05}"
        row |= {
            "id": first + number,
            "namespace_id": space_id,
            "name": name,
            "name_key": name,
            "search_key": f"{space}/{name}",
            "likes": int(chosen.paretovariate(1)),
            "downloads": int(chosen.paretovariate(0.6)) % 10**7,
            "trending": chosen.random(),
            "created_at": now - timedelta(minutes=2 * number),
            "updated_at": now - timedelta(minutes=number),
        }
        rows.append(row)
        labels += [{"repository_id": row["id"], "tag": tag} for tag in tags[pattern.id]]
        grants += [{"repository_id": row["id"], "sha256": sha} for sha in granted[pattern.id]]
        _link(hub.git.path(pattern), hub.git.path(int(row["id"])))
    with hub.session(write=True) as session:
        for table, values in (
            (Repository, rows),
            (RepositoryTag, labels),
            (BlobGrant, grants),
        ):
            for part in _slices(values):
                session.execute(insert(table), part)


def _namespaces(hub: Hub) -> list[tuple[int, str]]:
    names = [f"team-{number:03}" for number in range(NAMESPACES)]
    with hub.session(write=True) as session:
        owner = session.scalar(select(Account).where(Account.name_key == "builder"))
        assert owner is not None
        columns = [c.key for c in Account.__table__.columns if c.key != "id"]
        row = {key: getattr(owner, key) for key in columns}
        session.execute(
            insert(Account),
            [{**row, "name": name, "name_key": name, "is_admin": False} for name in names],
        )
        found = session.execute(
            select(Account.id, Account.name_key).where(Account.name_key.like("team-%"))
        )
        return [(number, name) for number, name in found]


def _pack(folder: Path) -> None:
    subprocess.run(["git", "-C", str(folder), "repack", "-adq"], check=True)
    subprocess.run(["git", "-C", str(folder), "prune-packed"], check=True)


def _link(source: Path, target: Path) -> None:
    """Copy a git folder; packs, which never change, are shared by hard links."""

    def copy(from_path: str, to_path: str) -> None:
        if "/objects/pack/" in from_path:
            os.link(from_path, to_path)
        else:
            shutil.copyfile(from_path, to_path)

    shutil.copytree(source, target, copy_function=copy)


def copy_records(source: Engine, target: Engine) -> None:
    """Copy every row to a migrated, empty database of another kind."""
    with source.connect() as reading, target.begin() as writing:
        for table in Base.metadata.sorted_tables:
            rows = reading.execute(select(table)).mappings()
            while part := rows.fetchmany(_BATCH):
                writing.execute(insert(table), [dict(row) for row in part])
            key = table.autoincrement_column
            if key is not None and target.dialect.name == "postgresql":
                writing.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key.name}'), "
                        f"(SELECT COALESCE(MAX({key.name}), 0) + 1 FROM {table.name}), false)"
                    )
                )
    if target.dialect.name == "postgresql":
        with target.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))


def _slices(values: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(values), _BATCH):
        yield list(values[start : start + _BATCH])
