# SPDX-License-Identifier: Apache-2.0
"""``plait hidden`` and ``plait pr licence`` against a running hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from integration.live import Server
from plait.cli.main import app
from plait.errors import PlaitError
from plait.hub import AddBytes, Hub
from plait.settings import load_settings

RULE = b"evaluation: {hidden: [test], limit: 3 per day}\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the address and tokens of a hub with a data set and a pull request."""
    folder = tmp_path_factory.mktemp("gates") / "hub"
    with Hub.open(load_settings(folder, {})) as made:
        tokens = {}
        for name in ("ann", "bob"):
            user = made.accounts.create_user(name)
            tokens[name] = made.tokens.create(user, name="test")
        ann, bob = (made.accounts.actor_for(made.accounts.get(n), "write") for n in tokens)
        data = made.repositories.create(ann, "dataset", "ann/exam")
        card = AddBytes("README.md", b"---\nlicense: cc-by-4.0\n---\n# Exam\n")
        made.commits.apply(ann, data, "main", [AddBytes("plait.yaml", RULE), card], "rule")
        own = AddBytes("README.md", b"---\nlicense: house-rules\n---\n# Exam\n")
        made.commits.apply(
            bob, data, "main", [own, AddBytes("a.csv", b"x\n1\n")], "more", create_pr=True
        )
    server = Server(folder)
    server.start()
    yield {"url": server.url, **tokens}
    server.kill()


def run(hub: dict[str, str], who: str, *words: str) -> str:
    environment = {"HF_ENDPOINT": hub["url"], "HF_TOKEN": hub[who]}
    result = CliRunner().invoke(app, list(words), env=environment)
    if isinstance(result.exception, PlaitError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_hidden_files(hub: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text('{"text": "veiled", "label": 1}\n' * 20)
    assert "test: 0 files" in run(hub, "ann", "hidden", "list", "ann/exam")
    assert "in the hidden split test" in run(hub, "ann", "hidden", "put", "ann/exam", str(file))
    listed = run(hub, "bob", "hidden", "list", "ann/exam")
    assert "test.jsonl" in listed
    assert "3 per day" in listed
    assert "veiled" not in listed
    with pytest.raises(PlaitError, match=r"may not|not allowed|permission|write"):
        run(hub, "bob", "hidden", "remove", "ann/exam", "test.jsonl")
    with pytest.raises(PlaitError, match="cannot be read"):
        run(hub, "ann", "hidden", "put", "ann/exam", str(tmp_path / "none.jsonl"))
    assert "Removed" in run(hub, "ann", "hidden", "remove", "ann/exam", "test.jsonl")


def test_licences(hub: dict[str, str]) -> None:
    place = ("ann/exam", "1", "--type", "dataset")
    told = run(hub, "bob", "pr", "licence", *place)
    assert "licences: unknown" in told
    assert "#1: house-rules" in told
    assert "not legal advice" in told
    with pytest.raises(PlaitError):
        run(hub, "bob", "pr", "decide-licence", *place, "--allow", "--reason", "mine")
    done = run(hub, "ann", "pr", "decide-licence", *place, "--allow", "--reason", "I asked")
    assert "permitted by ann: I asked" in done
    assert '"allow": true' in run(hub, "bob", "pr", "licence", *place, "--json")
    with pytest.raises(PlaitError, match=r"namespace/name"):
        run(hub, "ann", "pr", "licence", "exam", "1")
