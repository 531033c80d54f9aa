# SPDX-License-Identifier: Apache-2.0
"""Contributions of a real hub are listed and withdrawn: by whom, at what price, to which bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.collaboration import jobs
from plait.collaboration.contributions import (
    entry_json,
    list_contributions,
    request_withdrawal,
)
from plait.collaboration.merging import withdrawal
from plait.collaboration.worker import Worker
from plait.errors import Forbidden, NotFound
from plait.fusion.verification import verify
from plait.hub import Hub
from plait.lineage import Origin

from .town import Town

pytestmark = pytest.mark.models

LOOSE = "fusion: {budget: 2}\n"


def test_withdrawing_lands_the_bytes_of_never_having_merged(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, repo = town.hub, town.repo
    base = town.weights()
    pulls = {name: town.propose(name, town.models / name) for name in ("shop", "cinema")}
    assert town.merge(pulls["shop"])["status"] == "merged"
    alone = town.weights()
    assert town.merge(pulls["cinema"])["status"] == "merged"

    rows = list_contributions(hub, repo).held
    assert [row.contribution.organisation for row in rows] == ["shop", "cinema"]
    assert all(row.credit is not None and row.merged_at is not None for row in rows)
    plain = entry_json(rows[0], town.members["shop"], repo)
    assert plain["mayWithdraw"]
    assert not entry_json(rows[1], town.members["shop"], repo)["mayWithdraw"]
    number = pulls["cinema"].number

    # Somebody else may not; the gate refuses what its owner asks; a maintainer decides.
    with pytest.raises(Forbidden):
        request_withdrawal(hub, town.members["shop"], repo, number)
    with pytest.raises(Forbidden):
        request_withdrawal(hub, town.members["cinema"], repo, number, anyway=True)
    with pytest.raises(NotFound):
        request_withdrawal(hub, town.owner, repo, 77)
    asked = request_withdrawal(hub, town.members["cinema"], repo, number)
    assert request_withdrawal(hub, town.members["cinema"], repo, number).id == asked.id
    before = town.head()
    town.work()
    report = jobs.get(hub, asked.id).result
    assert report is not None
    assert (report["verdict"], report["landed"], town.head()) == ("regresses", None, before)
    assert "Nothing landed" in town.said(pulls["cinema"])[-1]

    decided = request_withdrawal(hub, town.owner, repo, number, anyway=True)
    land = withdrawal.WithdrawalBuilder.land

    def killed(self: withdrawal.WithdrawalBuilder, built: object) -> str:
        land(self, built)  # type: ignore[arg-type]
        raise KeyboardInterrupt  # as if the process had ended right here

    monkeypatch.setattr(withdrawal.WithdrawalBuilder, "land", killed)
    with pytest.raises(KeyboardInterrupt):
        Worker(hub, name="w:1:a").run_once()
    monkeypatch.undo()
    jobs.expire_worker(hub, "w:1:a")
    town.work()
    report = jobs.get(hub, decided.id).result
    assert report is not None
    assert report["landed"] == town.head()
    assert town.weights() == alone
    info = hub.git.commit_info(repo, town.head())
    assert info.parents == (before,), "one commit, made once"
    assert info.title.startswith(f"Withdraw the contribution of pull request #{number}")
    lineage = town.lineage()
    assert [one.number for one in lineage.contributions] == [pulls["shop"].number]
    assert [(one.number, one.by) for one in lineage.withdrawn] == [(number, "ann")]
    assert [row.contribution.number for row in list_contributions(hub, repo).held] == [
        pulls["shop"].number
    ]
    assert sum("Withdrawn" in text for text in town.said(pulls["cinema"])) == 1

    # Without the last contribution the base is left, byte for byte; and it verifies.
    request_withdrawal(hub, town.owner, repo, pulls["shop"].number, anyway=True)
    town.work()
    assert town.weights() == base
    assert list_contributions(hub, repo).held == ()
    assert len(list_contributions(hub, repo).withdrawn) == 2
    check_verified(hub, town, tmp_path)

    # A new proposal of the same weights is a new contribution.
    again = town.propose("shop", town.models / "shop")
    assert town.merge(again)["status"] == "merged"
    assert town.weights() == alone


def check_verified(hub: Hub, town: Town, tmp_path: Path) -> None:
    def fetch(origin: Origin) -> Path:
        folder = tmp_path / f"verify-{origin.revision}"
        if not folder.exists():
            hub.commits.materialize(town.repo, origin.revision, folder)
        return folder

    main = fetch(Origin(town.repo.full_name, town.head(), {}))
    assert verify(town.lineage(), main, fetch, work=tmp_path).same
