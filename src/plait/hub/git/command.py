# SPDX-License-Identifier: Apache-2.0
"""Running the git program: with nobody's configuration, no hooks, and bounds."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from plait.errors import PlaitError, TooLarge, Unsupported

MAX_MESSAGE = 16 * 1024
"""Bytes of a command's complaints that are kept."""
MEMORY = 4 * 2**30
"""Address space of a command that unpacks what a stranger sent, in bytes."""
CPU_SECONDS = 1800
"""Processor time of such a command."""

_CONFIG = {
    # The folder may belong to another user of the machine or container; it is ours by path.
    "safe.directory": "*",
    "core.hooksPath": os.devnull,
    "core.fsync": "all",
    "core.fsyncMethod": "fsync",
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "512m",
    # Larger files go through git as a stream instead of whole into memory.
    "core.bigFileThreshold": "32m",
    "core.multiPackIndex": "false",
    "pack.threads": "2",
    "pack.windowMemory": "128m",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "receive.autogc": "false",
}


class GitFailed(PlaitError):
    """The git program ended with an error; the message holds what it said."""


def program() -> str:
    """Return the path of the git program.

    Raises:
        Unsupported: it is not installed.
    """
    found = shutil.which("git")
    if found is None:
        raise Unsupported(
            "The hub's machine has no git program, so that git cannot clone from or push to this "
            "hub. Use huggingface_hub, or ask the operator to install git."
        )
    return found


def command(*arguments: str, config: Mapping[str, str] | None = None) -> list[str]:
    """Return the command line of git with the hub's own configuration."""
    options = [f"{key}={value}" for key, value in {**_CONFIG, **(config or {})}.items()]
    return [program(), *(part for option in options for part in ("-c", option)), *arguments]


def environment(git_dir: Path, **extra: str) -> dict[str, str]:
    """Return the environment of git: nothing of the host's but where programs are."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "TZ") if name in os.environ}
    return {
        **kept,
        "LANG": "C",
        "LC_ALL": "C",
        "HOME": os.devnull,
        "GIT_DIR": str(git_dir),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        **extra,
    }


def limit(process: subprocess.Popen[bytes], *, file_size: int | None = None) -> None:
    """Bound a command's memory, processor time and files, before it is given anything to do."""
    if not hasattr(resource, "prlimit"):
        return
    bounds = {resource.RLIMIT_AS: MEMORY, resource.RLIMIT_CPU: CPU_SECONDS}
    if file_size is not None:
        bounds[resource.RLIMIT_FSIZE] = file_size
    for kind, bound in bounds.items():
        try:
            resource.prlimit(process.pid, kind, (bound, bound))
        except ProcessLookupError:
            return


def run(
    git_dir: Path,
    *arguments: str,
    config: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    feed: Iterable[bytes] = (),
    seconds: float = 3600,
    file_size: int | None = None,
    bounded: bool = True,
    merge_output: bool = False,
    accept: Container[int] = (0,),
) -> bytes:
    """Run git in a repository, give it ``feed`` on its standard input and return what it prints.

    Args:
        git_dir: the bare repository.
        arguments: of git.
        config: besides the hub's own.
        environ: besides the hub's own.
        feed: pieces of standard input; an error in it ends the command and passes.
        seconds: after which it is ended, counted from the end of ``feed``.
        file_size: no file that it writes may be larger.
        bounded: whether memory and processor time are limited.
        merge_output: return what it says on standard error, too.
        accept: exit statuses that are no failure.

    Raises:
        GitFailed: it failed; the message is what it said.
        TooLarge: it took too long or grew too large.
    """
    with subprocess.Popen(
        command(*arguments, config=config),
        env=environment(git_dir, **(environ or {})),
        cwd=git_dir,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge_output else subprocess.PIPE,
        start_new_session=True,
    ) as process:
        if bounded:
            limit(process, file_size=file_size)
        said = None if merge_output else _Listener(process.stderr, MAX_MESSAGE)
        printed = _Listener(process.stdout, 64 * 2**20)
        try:
            _give(process, feed)
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TooLarge(
                f"git needed more than {seconds:.0f} s for this. Send it in smaller parts."
            ) from None
        finally:
            process.kill()
            printed.join()
            if said is not None:
                said.join()
    if code in accept:
        return bytes(printed.data)
    message = bytes(said.data if said is not None else b"").decode("utf-8", "replace").strip()
    if code < 0 and not message:
        raise TooLarge("What was sent needs more memory or time than the hub gives one push.")
    raise GitFailed(message or f"git ended with status {code}")


def _give(process: subprocess.Popen[bytes], feed: Iterable[bytes]) -> None:
    """Write ``feed``; what comes after the command has stopped listening is read and dropped."""
    assert process.stdin is not None
    broken = False
    for piece in feed:
        if broken:
            continue
        try:
            process.stdin.write(piece)
        except BrokenPipeError:
            broken = True
    with suppress(BrokenPipeError):
        process.stdin.close()


class _Listener:
    """Reads a pipe to its end in a thread, keeping the beginning."""

    def __init__(self, stream: Any, most: int) -> None:
        self.data = bytearray()
        self._thread = threading.Thread(target=self._read, args=(stream, most), daemon=True)
        self._thread.start()

    def _read(self, stream: Any, most: int) -> None:
        while piece := stream.read1(65536):
            self.data += piece[: max(0, most - len(self.data))]

    def join(self) -> None:
        self._thread.join(10)
