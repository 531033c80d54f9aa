# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.collaboration import events, jobs
from plait.collaboration.requests import merge_state, request_merge
from plait.errors import BadInput, Conflict, Forbidden, RepositoryNotFound
from plait.hub import ANONYMOUS, AddBytes, AddPointer, Delete

from .conftest import CARD, Place

PROJECT = b"tasks:\n  - {name: shop, dataset: shop/reviews}\n"


def weights(place: Place, folder: Path, content: bytes) -> AddPointer:
    file = folder / "blob"
    file.write_bytes(content)
    sha256, size = place.hub.blobs.write(file)
    with place.hub.session(write=True) as session:
        place.hub.grant_blob(session, place.repo, sha256, size)
    return AddPointer("model.safetensors", sha256, size)


def test_a_change_of_text_merges_at_once(place: Place) -> None:
    pull = place.propose(AddBytes("notes.txt", b"a\nb\nc\nd\nE\n"))
    main = place.write(AddBytes("notes.txt", b"A\nb\nc\nd\ne\n"))
    outcome = request_merge(place.hub, place.owner, place.repo, pull, "Thank you.")
    assert outcome.job is None
    assert place.read("notes.txt") == "A\nb\nc\nd\nE\n"
    head = place.hub.git.resolve(place.repo, "main")
    assert outcome.landed == head
    info = place.hub.git.commit_info(place.repo, head)
    assert info.parents == (main, place.hub.git.resolve(place.repo, f"refs/pr/{pull.number}"))
    assert info.title == f"Merge pull request #{pull.number}: proposal"
    seen = place.hub.discussions.get(place.repo, pull.number)
    assert (seen.status, seen.merge_commit) == ("merged", head)
    kinds = [
        (e.type, e.data.get("raw") or e.data.get("status"))
        for e in place.hub.discussions.events(seen)
    ]
    assert kinds[-2:] == [("comment", "Thank you."), ("status-change", "merged")]
    assert merge_state(place.hub, place.repo, seen)["status"] == "merged"


def test_contradicting_changes_are_named_and_change_nothing(place: Place) -> None:
    pull = place.propose(AddBytes("notes.txt", b"theirs\n"), AddBytes("new.txt", b"new\n"))
    main = place.write(AddBytes("notes.txt", b"ours\n"))
    with pytest.raises(Conflict, match=r"'notes\.txt'"):
        request_merge(place.hub, place.owner, place.repo, pull)
    assert place.hub.git.resolve(place.repo, "main") == main
    assert place.hub.discussions.get(place.repo, pull.number).status == "open"


def test_cards_merge_by_their_keys(place: Place) -> None:
    theirs = CARD.replace("tags: [merging]", "tags: [merging, shop]\nlanguage: en")
    pull = place.propose(AddBytes("README.md", theirs.encode()))
    ours = CARD.replace("tags: [merging]", "tags: [merging, cinema]\npipeline_tag: x").replace(
        "One.", "1."
    )
    place.write(AddBytes("README.md", ours.encode()))
    request_merge(place.hub, place.owner, place.repo, pull)
    merged = place.read("README.md")
    assert "cinema" in merged
    assert "shop" in merged
    assert "language: en" in merged
    assert "pipeline_tag: x" in merged
    assert "\n1.\n" in merged
    assert (
        place.hub.repositories.get(ANONYMOUS, "model", "commons/sentiment").card["language"] == "en"
    )


def test_cards_that_contradict_are_a_conflict(place: Place) -> None:
    pull = place.propose(AddBytes("README.md", CARD.replace("apache-2.0", "mit").encode()))
    place.write(AddBytes("README.md", CARD.replace("apache-2.0", "gpl-3.0").encode()))
    with pytest.raises(Conflict, match=r"README\.md"):
        request_merge(place.hub, place.owner, place.repo, pull)


def test_tables_merge_by_rows(place: Place) -> None:
    rows = '{"id": 1, "text": "a"}\n'
    place.write(AddBytes("data/train.jsonl", rows.encode()))
    pull = place.propose(AddBytes("data/train.jsonl", (rows + '{"id": 2, "text": "b"}\n').encode()))
    place.write(AddBytes("data/train.jsonl", (rows + '{"id": 3,  "text": "c"}\n').encode()))
    request_merge(place.hub, place.owner, place.repo, pull)
    assert place.read("data/train.jsonl") == (
        rows + '{"id": 2, "text": "b"}\n{"id": 3,  "text": "c"}\n'
    )
    contradicting = place.propose(AddBytes("data/train.jsonl", b'{"id": 1, "text": "x"}\n'))
    place.write(AddBytes("data/train.jsonl", b'{"id": 1, "text": "y"}\n'))
    with pytest.raises(Conflict, match=r"train\.jsonl' \(row 1, column 'text': 'y' or 'x'\)"):
        request_merge(place.hub, place.owner, place.repo, contradicting)


def test_a_removed_file_goes(place: Place) -> None:
    pull = place.propose(Delete("notes.txt"))
    place.write(AddBytes("other.txt", b"x"))
    request_merge(place.hub, place.owner, place.repo, pull)
    head = place.hub.git.resolve(place.repo, "main")
    names = [entry.path for entry in place.hub.git.tree(place.repo, head)]
    assert "notes.txt" not in names
    assert "other.txt" in names


def test_only_those_who_may_merge_do(place: Place) -> None:
    pull = place.propose(AddBytes("notes.txt", b"x"))
    with pytest.raises(Forbidden):
        request_merge(place.hub, place.stranger, place.repo, pull)
    place.hub.repositories.update(place.owner, place.repo, private=True)
    private = place.hub.repositories.get(place.owner, "model", "commons/sentiment")
    with pytest.raises(RepositoryNotFound):
        request_merge(place.hub, place.stranger, private, pull)


def test_the_status_decides(place: Place) -> None:
    hub, owner, repo = place.hub, place.owner, place.repo
    talk = hub.discussions.create(owner, repo, "talk")
    with pytest.raises(BadInput, match="not a pull request"):
        request_merge(hub, owner, repo, talk)
    draft = hub.discussions.create(owner, repo, "draft", pull_request=True)
    with pytest.raises(BadInput, match="draft"):
        request_merge(hub, owner, repo, draft)
    pull = place.propose(AddBytes("notes.txt", b"x"))
    hub.discussions.set_status(owner, pull, "closed")
    with pytest.raises(Conflict, match="closed"):
        request_merge(hub, owner, repo, pull)
    hub.discussions.set_status(owner, pull, "open")
    request_merge(hub, owner, repo, pull)
    with pytest.raises(Conflict, match="merged already"):
        request_merge(hub, owner, repo, pull)


def test_weights_without_a_project_file_are_merged_as_files(place: Place, tmp_path: Path) -> None:
    place.write(weights(place, tmp_path, b"old"))
    pull = place.propose(weights(place, tmp_path, b"new"), actor=place.owner)
    outcome = request_merge(place.hub, place.owner, place.repo, pull)
    assert outcome.landed is not None
    said = events.hub_values(place.hub, pull.id)
    assert [one["kind"] for one in said] == ["merged-as-files"]


def test_the_first_weights_are_merged_as_files(place: Place, tmp_path: Path) -> None:
    place.write(AddBytes("plait.yaml", PROJECT))
    pull = place.propose(weights(place, tmp_path, b"first"), actor=place.owner)
    assert request_merge(place.hub, place.owner, place.repo, pull).landed is not None


def test_changed_weights_become_one_job(place: Place, tmp_path: Path) -> None:
    place.write(AddBytes("plait.yaml", PROJECT), weights(place, tmp_path, b"old"))
    pull = place.propose(weights(place, tmp_path, b"new"), actor=place.owner)
    outcome = request_merge(place.hub, place.owner, place.repo, pull, "Please.")
    assert outcome.landed is None
    assert outcome.job is not None
    assert request_merge(place.hub, place.owner, place.repo, pull).job.id == outcome.job.id  # type: ignore[union-attr]
    place.write(AddBytes("notes.txt", b"main moved"))
    assert request_merge(place.hub, place.owner, place.repo, pull).job.id == outcome.job.id  # type: ignore[union-attr]
    assert [one["kind"] for one in events.hub_values(place.hub, pull.id)] == ["requested"]
    announced = place.hub.discussions.events(pull)[-1].data["raw"]
    for line in ("10%, reading the models.", "60%, judging the candidate."):
        events.show_progress(place.hub, pull.id, outcome.job.id, line)
        shown = place.hub.discussions.events(pull)[-1].data["raw"]
        assert shown == f"{announced}\n\nProgress: {line}"
    events.show_progress(place.hub, pull.id, outcome.job.id + 1, "of another job")
    events.show_progress(place.hub, pull.id, outcome.job.id, "")
    assert place.hub.discussions.events(pull)[-1].data["raw"] == announced
    state = merge_state(place.hub, place.repo, pull)
    assert state["job"]["state"] == "queued"
    assert json.dumps(state)
    jobs.cancel(place.hub, outcome.job.id)
    again = request_merge(place.hub, place.owner, place.repo, pull).job
    assert again is not None
    assert again.id != outcome.job.id


def test_a_pickle_is_not_taken_for_text(place: Place, tmp_path: Path) -> None:
    place.write(AddBytes("plait.yaml", PROJECT), weights(place, tmp_path, b"old"))
    pull = place.propose(AddBytes("pytorch_model.bin", b"\x80\x02"))
    assert request_merge(place.hub, place.owner, place.repo, pull).job is not None


def test_what_the_hub_writes_is_not_merged_from_a_pull_request(place: Place) -> None:
    place.write(AddBytes("lineage.json", b"{}"))
    pull = place.propose(AddBytes("lineage.json", b'{"schema": 1}'))
    with pytest.raises(Conflict, match=r"lineage\.json"):
        request_merge(place.hub, place.owner, place.repo, pull)


def test_what_the_weights_mean_is_not_changed_as_text(place: Place, tmp_path: Path) -> None:
    config = {"model_type": "bert", "id2label": {"0": "negative", "1": "positive"}}
    place.write(
        AddBytes("plait.yaml", PROJECT),
        weights(place, tmp_path, b"old"),
        AddBytes("config.json", json.dumps(config).encode()),
    )
    swapped = config | {"id2label": {"0": "positive", "1": "negative"}}
    pull = place.propose(AddBytes("config.json", json.dumps(swapped).encode()))
    with pytest.raises(BadInput, match="labels"):
        request_merge(place.hub, place.owner, place.repo, pull)
    harmless = place.propose(AddBytes("config.json", json.dumps(config | {"note": 1}).encode()))
    assert request_merge(place.hub, place.owner, place.repo, harmless).landed is not None
