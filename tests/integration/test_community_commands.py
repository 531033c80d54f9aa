# SPDX-License-Identifier: Apache-2.0
"""Notifications, labels, locks, follows, likes, credit and ranks from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from browsing import serve_gallery
from gallery import Gallery
from plait.cli.main import app
from plait.collaboration.requests import request_merge
from plait.errors import BadInput, PlaitError
from plait.hub import AddBytes

MODEL = "commons/sentiment"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gallery, str]]:
    with serve_gallery(Path(tmp_path_factory.mktemp("gallery"))) as found:
        yield found


@pytest.fixture
def plait(served: tuple[Gallery, str]) -> Any:
    gallery, url = served

    def run(*arguments: str, who: str = "commons-user") -> str:
        given = {"HF_ENDPOINT": url, "HF_TOKEN": gallery.token(who)}
        found = CliRunner().invoke(app, list(arguments), env=given)
        if isinstance(found.exception, PlaitError):
            raise found.exception
        assert found.exit_code == 0, (found.output, found.exception)
        return found.stdout

    return run


def test_notifications_and_feeds(served: tuple[Gallery, str], plait: Any) -> None:
    number = served[0].numbers["waiting"]
    told = plait("notifications", "list", "--unread")
    assert f"{MODEL}#{number}" in told and told.startswith("* ")
    first = json.loads(plait("notifications", "list", "--json"))["notifications"][0]
    assert plait("notifications", "read", str(first["id"])).startswith("1 ")
    plait("notifications", "read")
    assert plait("notifications", "list", "--unread") == ""
    assert plait("unfollow", "press") == "You do not follow press.\n"
    assert plait("follow", "press") == "You follow press.\n"
    assert "press-user" in plait("activity", "press-user")
    assert f"{MODEL}#" in plait("activity", MODEL)
    assert "shop-user" in plait("activity")
    with pytest.raises(PlaitError):
        plait("follow", "nobody-of-this-name")


def test_discussions_are_kept_in_order(served: tuple[Gallery, str], plait: Any) -> None:
    gallery = served[0]
    number = str(gallery.numbers["waiting"])
    assert "needs data (red)" in plait("discussion", "labels", MODEL)
    assert (
        plait("discussion", "define", MODEL, "urgent", "--colour", "purple") == "urgent (purple)\n"
    )
    assert plait("discussion", "label", MODEL, number, "urgent") == "urgent (purple)\n"
    assert "no label" in plait("discussion", "label", MODEL, number)
    assert "is removed" in plait("discussion", "define", MODEL, "urgent", "--remove")
    assert plait("discussion", "lock", MODEL, number) == f"#{number} is locked.\n"
    with pytest.raises(PlaitError):
        plait("discussion", "lock", MODEL, number, "--off", who="stranger")
    assert "open to all" in plait("discussion", "lock", MODEL, number, "--off")
    assert plait("discussion", "watch", MODEL, number, "mute").endswith("mute\n")
    talk = gallery.hub.discussions.get(gallery.model, int(number))
    said = gallery.hub.discussions.add_comment(gallery.actors["press"], talk, "Rude <words>.")
    with pytest.raises(PlaitError):
        plait("discussion", "hide", MODEL, number, said.id, who="stranger")
    assert "hidden" in plait("discussion", "hide", MODEL, number, f"event-{said.id}")
    kept = [one for one in gallery.hub.discussions.events(talk) if one.id == said.id]
    assert kept[0].data["hidden"]


def test_likes_and_credit(plait: Any) -> None:
    assert plait("like", MODEL, who="stranger") == "3 like it.\n"
    assert plait("like", MODEL, "--off", who="stranger") == "2 like it.\n"
    assert plait("like", "shop/moods", "--type", "dataset") == "1 likes it.\n"
    assert plait("credit", "commons") == "Nothing has been credited yet.\n"
    assert json.loads(plait("credit", MODEL, "--json"))["contributions"] == []


def test_ranks_are_sorted_and_filtered(served: tuple[Gallery, str], plait: Any) -> None:
    def models(*more: str) -> list[str]:
        lines = plait("leaderboard", "show", "shop/moods", *more).splitlines()[1:]
        return [line.split("\t")[1].split("@")[0].removeprefix("commons/") for line in lines]

    assert models() == ["careful-too", "careful", "plain", "guessing"]
    assert models("--sort", "score", "--descending") == list(reversed(models()))
    assert models("--sort", "model") == ["careful", "careful-too", "guessing", "plain"]
    assert models("--license", "mit", "--data", "shop/train") == models()
    assert models("--license", "gpl-3.0") == [] == models("--smallest", "1000")
    slug = served[0].places["collection board"].removeprefix("/collections/")
    told = plait("leaderboard", "collection", slug.removesuffix("/leaderboard"))
    assert told.splitlines()[0] == "place\tmodel\tmean rank\tmood\texam"
    places = [line.split("\t")[:2] for line in told.splitlines()[1:]]
    assert places[:2] == [["1", "commons/careful"], ["1", "commons/careful-too"]], "they tie"
    assert places[3] == ["4", "commons/guessing"]
    with pytest.raises(PlaitError, match="namespace/title"):
        plait("leaderboard", "collection", "moods")


def test_a_data_set_says_what_it_was_merged_from(served: tuple[Gallery, str], plait: Any) -> None:
    hub, owner = served[0].hub, served[0].actors["commons"]
    repo = hub.repositories.create(owner, "dataset", "commons/rows", private=True)
    texts = {name: f'{{"text": "{name}"}}\n'.encode() for name in ("first", "second", "third")}
    for name, text in texts.items():
        made = hub.commits.apply(
            owner, repo, "main", [AddBytes(f"data/{name}.jsonl", text)], f"Rows of {name}",
            create_pr=name != "first",
        )  # fmt: skip
        if made.discussion is not None:
            assert request_merge(hub, owner, repo, made.discussion).landed
            hub.references.create_tag(owner, repo, f"after-{name}", "main")
    told = plait("lineage", "commons/rows", "--type", "dataset")
    lines = told.splitlines()
    assert lines[0].startswith("result           commons/rows@main")
    assert [line.split()[0] for line in lines if "@" in line] == [
        "result", "base", "contribution-1", "contribution-2",
    ]  # fmt: skip
    assert "by commons-user for commons" in lines[-3]
    assert f"{sha256(texts['third']).hexdigest()}  data/third.jsonl" in lines[-2]
    assert lines[-1].startswith("merged by kind of file, ")
    before = plait("lineage", "commons/rows@after-second", "--type", "dataset", "--format", "json")
    assert [one["number"] for one in json.loads(before)["contributions"]] == [1]
    found = plait("lineage", "commons/rows", "--type", "dataset", "--format", "spdx")
    assert json.loads(found)["spdxVersion"] == "SPDX-2.3"
    with pytest.raises(PlaitError):
        plait("lineage", "commons/rows", "--type", "dataset", who="stranger")
    with pytest.raises(PlaitError, match="No pull request was merged"):
        plait("lineage", "shop/moods", "--type", "dataset")
    with pytest.raises(BadInput, match="--type must be model or dataset"):
        plait("lineage", "commons/rows", "--type", "space")
