# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from plait.cli.main import app
from plait.cli.serve import _welcome
from plait.cli.tokens import read_duration
from plait.errors import BadInput
from plait.hub import Hub
from plait.settings import load_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--dir", str(folder)])


def said(folder: Path, *words: str) -> Any:
    done = run(folder, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_from_an_empty_folder_to_a_team(folder: Path) -> None:
    for line in (
        "user create ann --admin", "user create bob", "org create shop --owner ann",
        "org add shop bob --role write", "team create shop core --description x",
        "team add shop core bob --role read",
    ):  # fmt: skip
        assert run(folder, *line.split()).exit_code == 0, line
    assert said(folder, "org", "members", "shop") == [
        {"user": "ann", "role": "admin"},
        {"user": "bob", "role": "write"},
    ]
    assert said(folder, "team", "list", "shop") == [{"name": "core", "description": "x"}]
    assert said(folder, "team", "members", "shop", "core") == [{"user": "bob", "role": "read"}]
    with Hub.open(load_settings(folder, {})) as hub:
        ann = hub.accounts.actor_for(hub.accounts.get("ann"))
        hub.repositories.create(ann, "dataset", "shop/data", True)
    assert run(folder, "team", "give", "shop", "core", "datasets/shop/data").exit_code == 0
    assert run(folder, "team", "take", "shop", "core", "datasets/shop/data").exit_code == 0
    for line in ("team remove shop core bob", "team delete shop core", "org remove shop bob"):
        assert run(folder, *line.split()).exit_code == 0, line
    assert [row["user"] for row in said(folder, "org", "members", "shop")] == ["ann"]


def test_links_disabling_and_deleting(folder: Path) -> None:
    for name in ("ann", "bob"):
        run(folder, "user", "create", name)
    for verb in ("invite", "reset-password"):
        link = run(folder, "user", verb, "bob").stdout.strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:7860/setup#[\w-]{43}", link)
    with Hub.open(load_settings(folder, {})) as hub:
        actor = hub.accounts.use_secret(link.partition("#")[2], "four unrelated words")
        assert actor.name == "bob"
    assert run(folder, "user", "disable", "bob").exit_code == 0
    assert said(folder, "user", "list") == [
        {"name": "ann", "admin": False, "disabled": False},
        {"name": "bob", "admin": False, "disabled": True},
    ]
    assert run(folder, "user", "enable", "bob").exit_code == 0
    assert run(folder, "user", "delete", "bob").exit_code == 0
    assert run(folder, "user", "list").stdout == "ann\n"


def test_tokens_for_one_place_and_one_time(folder: Path) -> None:
    run(folder, "user", "create", "ann")
    made = said(
        folder, "token", "create", "ann", "--namespace", "ann:write", "--expires-in", "12h",
        "--name", "ci",
    )  # fmt: skip
    assert made["scope"] == "fine-grained"
    plain = run(folder, "token", "create", "ann", "--scope", "contributor").stdout.strip()
    with Hub.open(load_settings(folder, {})) as hub:
        found = hub.tokens.authenticate(made["token"])
        assert found is not None
        assert list(found[0].namespace_grants.values()) == ["write"]
        assert found[1].expires_at is not None
        other = hub.tokens.authenticate(plain)
        assert other is not None and other[0].scope == "contributor"
    rows = said(folder, "token", "list", "ann")
    assert [row["name"] for row in rows] == ["command line", "ci"]
    assert rows[1]["grants"] == ["ann:write"]
    assert made["token"] not in json.dumps(rows)
    assert run(folder, "token", "revoke", str(rows[1]["id"])).exit_code == 0
    assert len(said(folder, "token", "list", "ann")) == 1
    assert run(folder, "token", "create", "ann", "--expires-in", "soon").exit_code != 0
    assert run(folder, "token", "create", "ann", "--repo", "no/such").exit_code != 0


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
    ],
)
def test_lengths_of_time(written: str, read: timedelta) -> None:
    assert read_duration(written) == read


@pytest.mark.parametrize("written", ["", "0d", "-1d", "1y", "1.5h", "999999d", "d"])
def test_what_is_no_length_of_time(written: str) -> None:
    with pytest.raises(BadInput):
        read_duration(written)


def test_the_log_is_read_checked_and_written_out(folder: Path) -> None:
    for name in ("ann", "bob", "eve"):
        run(folder, "user", "create", name)
    whole = run(folder, "audit", "verify")
    assert whole.exit_code == 0
    assert "3 entries" in whole.stdout
    noted = whole.stdout.splitlines()[-1]
    assert run(folder, "audit", "verify", "--noted", noted).exit_code == 0
    rows = said(folder, "audit", "list", "--action", "user", "--limit", "2")
    assert [row["target"] for row in rows] == ["eve", "bob"]
    assert "user.create" in run(folder, "audit", "list").stdout
    lines = run(folder, "audit", "export").stdout.splitlines()
    assert [json.loads(line)["position"] for line in lines] == [1, 2, 3]
    assert f"3:{json.loads(lines[-1])['hash']}" == noted
    with Hub.open(load_settings(folder, {})) as hub, hub.session(write=True) as session:
        session.execute(text("DROP TRIGGER audit_entries_no_update"))
        session.execute(text("UPDATE audit_entries SET target = 'nobody' WHERE position = 2"))
    broken = run(folder, "audit", "verify")
    assert broken.exit_code == 1
    assert "broken at entry 2" in broken.stdout
    assert said_broken(folder) == 2


def said_broken(folder: Path) -> Any:
    done = run(folder, "audit", "verify", "--json")
    assert done.exit_code == 1
    return json.loads(done.stdout)["broken"]


def test_a_new_hub_prints_its_secret_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Hub.open(load_settings(folder, {})) as hub:
        _welcome(hub)
        first = capsys.readouterr()
        _welcome(hub)
        second = capsys.readouterr()
        assert first.out == second.out == second.err == ""
        found = re.search(r"/setup#([\w-]{43})", first.err)
        assert found is not None
        assert hub.accounts.use_secret(found[1], "four unrelated words").is_admin
