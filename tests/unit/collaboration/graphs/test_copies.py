# SPDX-License-Identifier: Apache-2.0
"""Copies of graphs: made once, waited for, kept within bounds, refused with a sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from countries import Atlas, build_atlas
from plait.collaboration.graphs import copies, open_index
from plait.collaboration.graphs.copies import copy_of, history_of, revision_of
from plait.errors import GatedRepository, NotReady, RepositoryNotFound, TooLarge
from plait.hub import ANONYMOUS, AddBytes
from plait.hub.upkeep.collect import collect


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[Atlas]:
    made = build_atlas(tmp_path / "hub")
    yield made
    made.hub.close()


def test_what_takes_longer_is_made_all_the_same(atlas: Atlas) -> None:
    found = revision_of(atlas.hub, ANONYMOUS, atlas.repo)
    with pytest.raises(NotReady, match="Ask again"):
        copy_of(atlas.hub, found, "index", wait=0)
    for _ in range(200):
        try:
            path = copy_of(atlas.hub, found, "index", wait=0)
            break
        except NotReady:
            time.sleep(0.05)
    assert path.stat().st_size > 10_000
    # The copy is there before its maker has swept up; what it is asked next waits for that.
    copies._pool.submit(int).result(30)
    assert [one for one in path.parent.iterdir() if one.name.startswith(".")] == []


def test_many_who_ask_at_once_get_one_copy(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    run = copies.run_child

    def counted(module: str, job: Mapping[str, Any], place: Path) -> dict[str, Any]:
        made.append(job["out"])
        return run(module, job, place)

    monkeypatch.setattr(copies, "run_child", counted)
    found = revision_of(atlas.hub, ANONYMOUS, atlas.repo)
    got: list[Path] = []
    threads = [
        threading.Thread(target=lambda: got.append(copy_of(atlas.hub, found, "index", wait=30)))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(got) == 8
    assert len(set(got)) == len(made) == 1


def test_copies_asked_longest_ago_go_first(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    found = revision_of(atlas.hub, ANONYMOUS, atlas.repo)
    first = copy_of(atlas.hub, found, "index", wait=30)
    monkeypatch.setattr(copies, "MAX_KEPT", 1)
    second = copy_of(atlas.hub, found, "sparql", wait=30)
    assert not first.exists()
    assert second.exists()


def test_a_graph_that_is_too_large_is_refused_with_its_size(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MAX_FILES", 1_000)
    found = revision_of(atlas.hub, ANONYMOUS, atlas.repo)
    with pytest.raises(TooLarge, match=f"{found.size:,} bytes"):
        copy_of(atlas.hub, found, "index")


def test_who_may_not_read_the_files_finds_nothing(atlas: Atlas) -> None:
    with pytest.raises(RepositoryNotFound):
        revision_of(atlas.hub, atlas.actor("bob"), atlas.secret)
    ann = atlas.actor()
    atlas.hub.repositories.update(ann, atlas.secret, private=False, gated="manual")
    repo = atlas.hub.repositories.get(ann, "dataset", "ann/secret")
    with pytest.raises(GatedRepository):
        revision_of(atlas.hub, atlas.actor("bob"), repo)


def test_history_tells_the_commits_that_changed_the_graph(atlas: Atlas) -> None:
    hub, ann = atlas.hub, atlas.actor()
    hub.commits.apply(ann, atlas.repo, "main", [AddBytes("notes.txt", b"x")], "Notes")
    oid = hub.git.resolve(atlas.repo, "main")
    assert [one.title for one in history_of(hub, atlas.repo, oid)] == ["The graph"]
    with open_index(hub, revision_of(hub, ann, atlas.repo)) as index:
        assert [one["title"] for one in index.contributions] == ["The graph"]


def test_copies_of_what_was_deleted_go_with_the_garbage(atlas: Atlas) -> None:
    hub, ann = atlas.hub, atlas.actor()
    kept = copy_of(hub, revision_of(hub, ann, atlas.repo), "index", wait=30)
    gone = copy_of(hub, revision_of(hub, ann, atlas.secret), "index", wait=30)
    hub.repositories.delete(ann, atlas.secret)
    collect(hub, dry_run=True)
    assert gone.exists()
    report = collect(hub)
    assert str(gone.relative_to(hub.settings.dir)) in report.temporary
    assert not gone.exists()
    assert kept.exists()
