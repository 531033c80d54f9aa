# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import BadInput
from plait.settings import load_settings


def test_defaults_are_one_folder_and_sqlite(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "hub", {})
    assert settings.database == f"sqlite:///{tmp_path}/hub/plait.db"
    assert settings.url == "http://127.0.0.1:7860"
    assert settings.temporary_dir.parent == settings.blob_dir.parent  # a rename must suffice


def test_variables_are_read_and_arguments_win(tmp_path: Path) -> None:
    environ = {"PLAIT_PORT": "9000", "PLAIT_PUBLIC_URL": "https://hub.example/", "PLAIT_DIR": "/x"}
    settings = load_settings(tmp_path, environ, port=9001, host=None)
    assert settings.port == 9001
    assert settings.host == "127.0.0.1"
    assert settings.url == "https://hub.example"
    assert settings.dir == tmp_path


def test_a_number_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"PLAIT_JOB_LEASE must be a whole number, not 'soon'"):
        load_settings(tmp_path, {"PLAIT_JOB_LEASE": "soon"})


def test_the_address_in_force_can_replace_the_asked_one(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}, port=0).with_address("127.0.0.1", 4711).url.endswith(":4711")
