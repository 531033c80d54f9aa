# SPDX-License-Identifier: Apache-2.0
"""The operator's view of the settings, and the document that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from plait.cli.main import app
from plait.cli.settings import as_table
from plait.settings import describe, masked

OPERATE = Path(__file__).parents[3] / "docs" / "operate.md"
BEGIN, END = "<!-- settings: begin -->\n", "\n<!-- settings: end -->"


def test_every_setting_says_what_it_means() -> None:
    for row in describe():
        assert len(row.meaning) > 15, row.variable
        assert row.meaning.endswith((".", ")")), row.variable


def test_the_operators_document_lists_the_settings_as_they_are() -> None:
    text = OPERATE.read_text()
    written = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert written == as_table(), "run: plait settings --markdown, and paste it into the document"


def test_settings_in_force_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIT_MAX_BLOB", "123456")
    shown = CliRunner().invoke(app, ["settings"]).output
    assert "PLAIT_MAX_BLOB=123456  (set)" in shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("database_url", "postgresql://u:hunter2@h:1/d", "postgresql://u:********@h:1/d"),
        ("database_url", "", ""),
        ("s3_secret_key", "hunter2", "********"),
        ("host", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_secrets_are_masked(name: str, value: str, shown: str) -> None:
    assert masked(name, value) == shown
