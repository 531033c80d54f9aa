# SPDX-License-Identifier: Apache-2.0
"""Contributions, previews, reviews, rules, checks and the queue from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from integration.live import Server
from plait.cli.main import app
from plait.errors import PlaitError
from plait.hub import AddBytes

from .town import CARD, Town

pytestmark = pytest.mark.models
NAME = "commons/sentiment"


class Person:
    """Somebody at a terminal."""

    def __init__(self, town: Town, server: Server, name: str) -> None:
        account = town.hub.accounts.get_user(name)
        self.environment = {
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": town.hub.tokens.create(account, scope="write"),
        }

    def plait(self, *arguments: str, status: int = 0) -> str:
        found = CliRunner().invoke(app, list(arguments), env=self.environment)
        if isinstance(found.exception, PlaitError):
            raise found.exception
        assert found.exit_code == status, (found.output, found.exception)
        return found.stdout


def test_from_a_rule_to_a_withdrawal(town: Town, tmp_path: Path) -> None:
    server = Server(town.hub.settings.dir, workers=1).start()
    try:
        ann, shop = Person(town, server, "ann"), Person(town, server, "shop-user")
        card = CARD.replace("---\n#", "privacy: {epsilon: 8, delta: 1e-5}\n---\n#").encode()
        pull = town.propose("shop", town.models / "shop", AddBytes("README.md", card))
        n = str(pull.number)
        assert "holds no contribution" in ann.plait("contributions", NAME)
        assert f"#{n}\topen\tshop-user" in ann.plait("pr", "list", NAME)

        # A rule, and what it asks for.
        ann.plait("protect", "set", NAME, "main", "--reviews", "1", "--check", "ci/tests")
        assert "reviews: 1" in ann.plait("protect", "list", NAME)
        with pytest.raises(PlaitError, match="may not do this"):
            shop.plait("protect", "remove", NAME, "main")
        with pytest.raises(PlaitError, match="cannot be merged yet"):
            ann.plait("pr", "merge", NAME, n)
        with pytest.raises(PlaitError, match="their own"):
            shop.plait("pr", "review", NAME, n, "--approve")
        ann.plait("pr", "review", NAME, n, "--approve", "--comment", "Good.")
        assert "ci/tests" in ann.plait("pr", "review", NAME, n)
        told = ann.plait(
            "status", NAME, f"refs/pr/{n}", "--state", "success", "--context", "ci/tests"
        )
        assert "ci/tests\tsuccess" in told
        assert "Nothing is missing." in ann.plait("pr", "review", NAME, n)

        # Look before it lands, let the queue land it.
        told = ann.plait("pr", "preview", NAME, n)
        assert f"hf download {NAME} --revision refs/preview/{n}" in told
        told = ann.plait("pr", "queue", NAME)
        assert f"passes: #{n}." in told
        assert "1 of" not in told
        report = json.loads(ann.plait("pr", "queue", NAME, "--land", "--json"))
        assert report["landed"] == town.head()
        assert report["chosen"] == [pull.number]
        assert json.loads(ann.plait("pr", "queue", NAME, "--show", "--json")) == report

        # It is a contribution now; taking it out makes main worse, which somebody must decide.
        told = ann.plait("contributions", NAME)
        assert told.startswith(f"#{n}\tshop\t")
        assert "\tapache-2.0\tdelta 1e-05 epsilon 8\t" in told
        told = shop.plait("contributions", "withdraw", NAME, n, status=1)
        assert "--anyway" in told
        told = ann.plait("contributions", "withdraw", NAME, n, "--anyway")
        assert told.startswith(f"Withdrawn: {town.head()}")
        assert f"#{n}\twithdrawn by ann" in ann.plait("contributions", NAME)
        told = ann.plait("jobs", "list", "--dir", str(town.hub.settings.dir))
        assert "withdraw\tsucceeded" in told
        rows = json.loads(ann.plait("jobs", "costs", "--json", "--dir", str(town.hub.settings.dir)))
        assert rows[0]["namespace"] == "commons"
        assert rows[0]["cpu_seconds"] > 0

        # The same over HTTP: for members what is theirs, for administrators all.
        mine = json.loads(ann.plait("jobs", "costs", "commons", "--json"))
        assert mine == [one for one in rows if one["namespace"] == "commons"]
        with pytest.raises(PlaitError, match="that you belong to"):
            shop.plait("jobs", "costs", "commons")
        with pytest.raises(PlaitError, match="administrators"):
            ann.plait("jobs", "list")
        job = str(told.splitlines()[1].split("\t")[0])
        log = ann.plait("jobs", "log", job, "--follow")
        assert "reading the models" in log
        assert "landing" in log
        assert ann.plait("jobs", "log", job, "--dir", str(town.hub.settings.dir)) == log
        assert ann.plait("jobs", "cancel", job) == f"Job {job}: succeeded\n"
    finally:
        server.stop()
