# SPDX-License-Identifier: Apache-2.0
"""Every command explains itself, and the ones others build on do what they print."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from plait.cli.main import app, main
from plait.errors import BadInput


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield (*path, name)


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, click.Group)


@pytest.mark.parametrize("path", list(commands(ROOT)), ids=" ".join)
def test_each_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    command: click.Command = ROOT
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help and len(command.help) > 30
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        assert text, f"{' '.join(path)} {parameter.name} has no help"


def test_the_commands_that_others_build_on_are_there() -> None:
    names = {" ".join(path) for path in commands(ROOT)}
    assert names >= {
        "serve", "user create", "token create", "org create", "fuse", "evaluate", "pr wait",
        "demo", "demo graph", "gc",
    }  # fmt: skip


def test_a_token_stands_alone_on_standard_output(tmp_path: Path) -> None:
    runner = CliRunner()
    where = ["--dir", str(tmp_path / "hub")]
    assert runner.invoke(app, ["user", "create", "ada", *where]).exit_code == 0
    result = runner.invoke(app, ["token", "create", "ada", "--scope", "read", *where])
    assert result.exit_code == 0
    (token,) = result.stdout.splitlines()
    from plait.hub import Hub
    from plait.settings import load_settings

    hub = Hub.open(load_settings(tmp_path / "hub"))
    try:
        found = hub.tokens.authenticate(token)
        assert found is not None
        actor, record = found
        assert (actor.name, record.scope) == ("ada", "read")
        assert token not in (tmp_path / "hub" / "plait.db").read_bytes().decode("latin-1")
    finally:
        hub.close()


def test_organisations_know_their_owner(tmp_path: Path) -> None:
    runner = CliRunner()
    where = ["--dir", str(tmp_path / "hub"), "--json"]
    runner.invoke(app, ["user", "create", "ada", *where])
    result = runner.invoke(app, ["org", "create", "lab", "--owner", "ada", *where])
    assert json.loads(result.stdout) == {"name": "lab", "owner": "ada"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token", "create", "nobody"], "nobody"),
        (["user", "create", "../etc"], "../etc"),
        (["org", "create", "lab", "--owner", "nobody"], "nobody"),
    ],
)
def test_a_known_error_is_one_line_and_exit_status_1(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["plait", *arguments, "--dir", str(tmp_path / "hub")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("plait: ")
    assert message in line


def test_a_taken_port_is_named() -> None:
    from plait.cli.serve import listen

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BadInput, match=f"Cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)
