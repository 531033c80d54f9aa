# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from plait.collaboration.merging.access import may_use
from plait.hub import AddBytes, Hub
from plait.settings import load_settings


def test_gated_and_private_data_sets_are_used_by_those_they_name_alone(tmp_path: Path) -> None:
    with Hub.open(load_settings(tmp_path / "hub", {})) as hub:
        account = hub.accounts.create_user("ann")
        ann = hub.accounts.actor_for(account, "write")
        model = hub.repositories.create(ann, "model", "ann/model")
        other = hub.repositories.create(ann, "model", "ann/other")
        data = hub.repositories.create(ann, "dataset", "ann/data")
        assert may_use(hub, model, data)
        rule = b"evaluation: {allow: [ann/model]}\n"
        for settings in ({"gated": "auto"}, {"gated": "", "private": True}):
            data = hub.repositories.update(ann, data, **settings)
            hub.commits.apply(ann, data, "main", [AddBytes("plait.yaml", b"")], "nobody")
            assert not may_use(hub, model, data)
            hub.commits.apply(ann, data, "main", [AddBytes("plait.yaml", rule)], "allow one")
            assert may_use(hub, model, data)
            assert not may_use(hub, other, data)
        data.disabled = True
        assert not may_use(hub, model, data)
