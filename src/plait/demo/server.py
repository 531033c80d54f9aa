# SPDX-License-Identifier: Apache-2.0
"""A hub beside the demo, for as long as the demo runs."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from plait.errors import PlaitError


@contextmanager
def serving(hub: Path, port: int) -> Iterator[str]:
    """Run ``plait serve`` beside this process until the block ends; give its address.

    Raises:
        PlaitError: it does not answer; what it printed is in ``server.log``.
    """
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = hub.parent / "server.log"
    command = [sys.executable, "-m", "plait.cli.main", "serve"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--dir", str(hub), "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches the demo, which then ends the server itself
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310
                    answer.read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise PlaitError(
                        f"The hub did not start: {log.read_text(errors='replace')[-600:].strip()}"
                    ) from None
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for_interrupt(url: str, tokens: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Keep the hub up until Ctrl-C."""
    print(f"\nThe hub stays at {url} until Ctrl-C. To sign in there, use a token from {tokens}.")
    try:
        while True:
            sleep(3600)
    except KeyboardInterrupt:
        print("Stopping the hub.")
