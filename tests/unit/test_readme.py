# SPDX-License-Identifier: Apache-2.0
"""README tells the truth: its figures are the measured ones, its commands and links exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tables_are_the_measured_results() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 0, "run: python benchmarks/tables.py " + done.stderr


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^plait ([a-z]+(?: [a-z]+)?)", README, re.M)))
)
def test_commands_exist(command: str) -> None:
    import click
    import typer

    from plait.cli.main import app

    found: click.Command = typer.main.get_command(app)
    for word in command.split():
        if not isinstance(found, click.Group):
            break
        assert word in found.commands
        found = found.commands[word]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", README))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_the_plait_yaml_is_one() -> None:
    from plait.recipes.project import parse_project

    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    project = parse_project(text)
    assert project.tasks[0].dataset == "shop/texts"
