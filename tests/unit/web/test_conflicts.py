# SPDX-License-Identifier: Apache-2.0
"""The page of a pull request's conflicts: both sides, choices, and who may choose."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from plait.cli.serve import build_app
from plait.hub import Actor, AddBytes, Discussion, Hub, Repository
from plait.settings import Settings

CARD = "---\nlicense: {}\n---\n# A data set\n"
BASE = [{"id": n, "text": f"text {n}", "label": 0} for n in range(3)]
PAGE = "/datasets/commons/texts/discussions/1"


def lines(*rows: dict[str, object]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


class Scene:
    """A data set with a pull request that contradicts its main in three files."""

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        self.hub = Hub.open(Settings(dir=folder))
        accounts = self.hub.accounts
        owner, author = accounts.create_user("ann"), accounts.create_user("bob")
        accounts.create_user("eve")
        accounts.create_organization("commons", owner)
        self.owner, self.author = accounts.actor_for(owner), accounts.actor_for(author)
        self.repo: Repository = self.hub.repositories.create(
            self.owner, "dataset", "commons/texts", private=private
        )
        self.write("mit", "a\nb\nc\n", *BASE)
        proposer = self.owner if private else self.author
        theirs = [{**BASE[0], "label": 1}, {**BASE[1], "text": "<b>pull</b>"}, BASE[2]]
        outcome = self.hub.commits.apply(
            proposer, self.repo, "main", self.operations("apache-2.0", "a\nPULL\nc\n", *theirs),
            "Correct labels", "", create_pr=True,
        )  # fmt: skip
        assert outcome.discussion is not None
        self.pull: Discussion = outcome.discussion
        self.write(
            "cc-by-4.0", "a\nMAIN\nc\n",
            {**BASE[0], "label": 2}, {**BASE[1], "text": "main's text"}, BASE[2],
        )  # fmt: skip
        self.app = build_app(self.hub)

    def operations(self, licence: str, text: str, *rows: dict[str, object]) -> list[AddBytes]:
        return [
            AddBytes("README.md", CARD.format(licence).encode()),
            AddBytes("notes.txt", text.encode()),
            AddBytes("data/train.jsonl", lines(*rows)),
        ]

    def write(self, licence: str, text: str, *rows: dict[str, object]) -> None:
        operations = self.operations(licence, text, *rows)
        self.hub.commits.apply(self.owner, self.repo, "main", [*operations], "change", "")

    def browser(self, name: str | None = None) -> TestClient:
        client = TestClient(self.app, base_url="http://hub.test", follow_redirects=False)
        if name:
            token = self.hub.tokens.create(self.hub.accounts.get_user(name), scope="write")
            assert client.post("/login", data={"token": token}).status_code == 303
        return client

    def read(self, path: str, actor: Actor | None = None) -> str:
        oid = self.hub.git.resolve(self.repo, "main")
        return self.hub.git.read(self.repo, oid, path).decode()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "hub")
    yield made
    made.hub.close()


def names(page: str, kind: str) -> list[str]:
    found = re.findall(rf'name="({kind}:[^"]*)"', page)
    return list(dict.fromkeys(html.unescape(name) for name in found))


def fields(page: str) -> dict[str, str]:
    found = re.findall(r'name="(path:\d+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}


@pytest.mark.parametrize(("language", "word"), [("en", "Conflicts"), ("zh", "冲突")])
def test_both_sides_stand_on_the_pull_requests_page(scene: Scene, language: str, word: str) -> None:
    page = scene.browser().get(PAGE, params={"lang": language}).text
    assert word in page
    for text in ("main&#39;s text", "&lt;b&gt;pull&lt;/b&gt;", "MAIN", "PULL", "cc-by-4.0"):
        assert text in page
    assert "<b>pull</b>" not in page


def test_a_person_chooses_place_by_place_and_it_merges(scene: Scene) -> None:
    browser = scene.browser("bob")
    page = browser.get(PAGE + "/conflicts").text
    takes = names(page, "take")
    assert len(takes) == 4
    form = fields(page)
    form[takes[0]] = "pull"  # the licence
    form[takes[1]] = "edit"
    form[takes[1].replace("take", "text", 1)] = "7"
    answer = browser.post(PAGE + "/conflicts", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"].endswith("/conflicts")
    page = browser.get(PAGE + "/conflicts").text
    assert len(names(page, "take")) == 2
    form = fields(page) | {"all": "every:main"}
    answer = browser.post(PAGE + "/conflicts", data=form)
    assert answer.headers["location"] == PAGE
    assert "Conflicts" not in scene.browser().get(PAGE).text
    assert scene.browser("ann").post(PAGE + "/merge", data={}).status_code == 303
    rows = [json.loads(line) for line in scene.read("data/train.jsonl").splitlines()]
    assert (rows[0]["label"], rows[1]["text"]) == (7, "main's text")
    settled = scene.hub.git.resolve(scene.repo, "refs/pr/1")
    # landing writes the licence of the whole; this is what was settled
    assert b"license: apache-2.0" in scene.hub.git.read(scene.repo, settled, "README.md")
    assert scene.read("notes.txt") == "a\nMAIN\nc\n"


def test_nothing_chosen_is_said_and_changes_nothing(scene: Scene) -> None:
    before = scene.hub.git.head(scene.repo, "refs/pr/1")
    answer = scene.browser("ann").post(PAGE + "/conflicts", data={"path:0": "README.md"})
    assert answer.status_code == 400
    assert "Choose a side" in answer.text
    answer = scene.browser("ann").post(
        PAGE + "/conflicts", data={"path:0": "README.md", "all": "every:theirs"}
    )
    assert answer.status_code == 400
    assert scene.hub.git.head(scene.repo, "refs/pr/1") == before


def test_who_may_not_write_the_branch_sees_and_cannot_settle(scene: Scene) -> None:
    browser = scene.browser("eve")
    page = browser.get(PAGE + "/conflicts").text
    assert not names(page, "take")
    assert "MAIN" in page
    form = {"path:0": "README.md", "all": "every:pull"}
    assert browser.post(PAGE + "/conflicts", data=form).status_code == 403
    assert scene.browser().post(PAGE + "/conflicts", data=form).status_code == 401


def test_the_api_lists_and_settles(scene: Scene) -> None:
    address = "/api/plait/datasets/commons/texts/pulls/1/conflicts"
    client = TestClient(scene.app, base_url="http://hub.test")
    found = client.get(address).json()
    assert [one["path"] for one in found["files"]] == ["README.md", "data/train.jsonl", "notes.txt"]
    body = {"resolutions": dict.fromkeys((one["path"] for one in found["files"]), "pull")}
    assert client.post(address, json=body).status_code == 401
    token = scene.hub.tokens.create(scene.hub.accounts.get_user("bob"), scope="write")
    head = {"Authorization": f"Bearer {token}"}
    wrong = {"resolutions": {"README.md": "theirs"}}
    assert client.post(address, json=wrong, headers=head).status_code == 400
    done = client.post(address, json=body, headers=head).json()
    assert done["left"] == 0
    assert client.get(address).json()["files"] == []


def test_conflicts_of_a_private_repository_do_not_exist_for_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "hub", private=True)
    for name in (None, "bob", "eve"):
        browser = scene.browser(name)
        assert browser.get(PAGE + "/conflicts").status_code == 404
        address = "/api/plait/datasets/commons/texts/pulls/1/conflicts"
        assert browser.get(address).status_code in (401, 404)
    scene.hub.close()
