# SPDX-License-Identifier: Apache-2.0
"""``plait serve``: the hub over HTTP, with its worker beside it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.errors import BadInput

if TYPE_CHECKING:
    from fastapi import FastAPI

    from plait.hub import Hub
    from plait.settings import Settings


_OPTIONS: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "http": "plait.cli.protocol:FileSendingProtocol",
    "timeout_graceful_shutdown": 5,
    # Addresses are read by ``plait.callers``, from the proxies that the settings name.
    "proxy_headers": False,
}


def build_app(hub: Hub) -> FastAPI:
    """Compose the wire protocol and the pages into one application."""
    from plait.api import create_api
    from plait.web import add_pages

    app = create_api(hub)
    add_pages(app, hub)
    return app


def listen(host: str, port: int) -> socket.socket:
    """Bind ``host:port``; port 0 takes a free one.

    Raises:
        BadInput: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends small answers at once only on sockets that say so.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # whoever connects before the server runs waits, and is not refused
    except OSError as error:
        listener.close()
        raise BadInput(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port "
            "(0 takes a free one)."
        ) from None
    return listener


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _welcome(hub: Hub) -> None:
    """On a new hub, print once how its administrator chooses a password."""
    first = hub.accounts.first_run()
    if first is not None:
        print(
            f"  This hub is new. Its administrator is '{first.name}'; choose the password at\n"
            f"    {hub.settings.url}/setup#{first.secret}\n"
            f"  The link works once and is not shown again (another: plait user invite "
            f"{first.name} --dir {hub.settings.dir}).",
            file=sys.stderr,
        )


def serve(
    directory: Annotated[
        Path,
        typer.Option("--dir", envvar="PLAIT_DIR", help="The hub's folder; made when it is new."),
    ],
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    public_url: Annotated[
        str | None,
        typer.Option(help="The address that clients use, when a proxy stands in front."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes for jobs; 0 starts none.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Server processes that share the address, to use several cores."),
    ] = None,
) -> None:
    """Serve a hub: repositories, pull requests and pages, with a worker for long jobs.

    Clients need nothing but HF_ENDPOINT=http://HOST:PORT and HF_TOKEN. Everything is kept in
    the folder; Ctrl-C stops it.
    """
    from plait.collaboration.supervise import WorkerSupervisor, check_executor
    from plait.hub import Hub
    from plait.settings import load_settings

    settings = load_settings(
        directory,
        host=host,
        port=port,
        public_url=public_url,
        workers=workers,
        processes=processes,
    )
    if settings.processes < 1:
        raise BadInput("PLAIT_PROCESSES must be 1 or more.")
    check_executor(settings)
    listener = listen(settings.host, settings.port)
    settings = settings.with_address(settings.host, listener.getsockname()[1])
    hub = Hub.open(settings)
    supervisor = WorkerSupervisor(settings) if settings.workers else None
    try:
        if supervisor:
            supervisor.start()
        print(f"Plait serves {settings.dir} at {settings.url}", file=sys.stderr)
        _welcome(hub)
        print(f"  export HF_ENDPOINT={settings.url}", file=sys.stderr, flush=True)
        if settings.processes == 1:
            _run_one(hub, listener)
        else:
            _run_several(settings, listener)
    finally:
        if supervisor:
            supervisor.stop()
        hub.close()


def _run_one(hub: Hub, listener: socket.socket) -> None:
    import uvicorn

    # uvicorn ends its requests, then raises the signal anew: workers are to be ended too.
    signal.signal(signal.SIGTERM, _leave)
    uvicorn.Server(uvicorn.Config(build_app(hub), **_OPTIONS)).run(sockets=[listener])


def _run_several(settings: Settings, listener: socket.socket) -> None:
    """Let processes answer that share the address; one that dies is replaced."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from plait.settings import variables

    # The processes are started afresh and read their settings where every command does.
    os.environ.update(variables(settings))
    config = uvicorn.Config(
        "plait.cli.serve:application", factory=True, workers=settings.processes, **_OPTIONS
    )
    Multiprocess(config, target=uvicorn.Server(config).run, sockets=[listener]).run()


def application() -> FastAPI:
    """Make the application of one of several server processes, from its environment."""
    from plait.hub import Hub
    from plait.settings import load_settings

    return build_app(Hub.open(load_settings(os.environ["PLAIT_DIR"])))
