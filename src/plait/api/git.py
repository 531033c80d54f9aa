# SPDX-License-Identifier: Apache-2.0
"""Git over HTTP: clone, fetch and push, with a token as the password (``gitprotocol-http``)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import zlib
from contextlib import suppress
from typing import IO, Any

import anyio
import anyio.to_thread
from anyio.abc import Process
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from plait.api.bodies import Body, consume
from plait.api.context import HubOf, identify
from plait.api.errors import answer
from plait.api.routing import Name, Namespace, Type
from plait.errors import BadInput, Moved, PlaitError, TooLarge, Unauthorized
from plait.hub import Hub
from plait.hub.database import Repository
from plait.hub.git.command import command, environment, program
from plait.hub.git.pktline import FLUSH, Source, pack
from plait.hub.git.receive import advertise, receive
from plait.hub.permissions import Action, Actor

router = APIRouter(tags=["git"])

MAX_WANTS = 32 * 2**20
"""Bytes of what a client says it has and wants, unpacked."""
MAX_FETCHES = 16
"""Repositories that are read by git at one time; other clients wait."""
MAX_SILENCE = 120.0
"""Seconds in which a client takes nothing, after which its download has ended."""
_PIECE = 64 * 1024
_PROTOCOL = re.compile(r"version=[012]")
_NO_CACHE = {
    "Cache-Control": "no-cache, max-age=0, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "Fri, 01 Jan 1980 00:00:00 GMT",
}
_FETCH = {
    "uploadpack.allowFilter": "true",
    # Filters that name a file of the repository could be made to take long.
    "uploadpackfilter.sparse:oid.allow": "false",
    "uploadpack.allowReachableSHA1InWant": "true",
    "uploadpack.hideRefs": "refs/",
}
_SHOWN = ("!refs/heads/", "!refs/tags/", "!refs/pr/")


@router.get("/{kind:prefix}/{namespace}/{name}/info/refs", include_in_schema=False)
async def refs(
    request: Request, hub: HubOf, kind: Type, namespace: Namespace, name: Name, service: str = ""
) -> Response:
    """Say which refs a data set or space has, before a fetch or push."""
    return await _refs(request, hub, kind, f"{namespace}/{name}", service)


@router.get("/{namespace}/{name}/info/refs", include_in_schema=False)
async def refs_of_model(
    request: Request, hub: HubOf, namespace: Namespace, name: Name, service: str = ""
) -> Response:
    """Say which refs a model has, before a fetch or push."""
    return await _refs(request, hub, "model", f"{namespace}/{name}", service)


@router.post("/{kind:prefix}/{namespace}/{name}/git-upload-pack", include_in_schema=False)
async def fetch(
    request: Request, hub: HubOf, kind: Type, namespace: Namespace, name: Name
) -> Response:
    """Give objects of a data set or space to ``git fetch`` and ``git clone``."""
    return await _fetch(request, hub, kind, f"{namespace}/{name}")


@router.post("/{namespace}/{name}/git-upload-pack", include_in_schema=False)
async def fetch_model(request: Request, hub: HubOf, namespace: Namespace, name: Name) -> Response:
    """Give objects of a model to ``git fetch`` and ``git clone``."""
    return await _fetch(request, hub, "model", f"{namespace}/{name}")


@router.post("/{kind:prefix}/{namespace}/{name}/git-receive-pack", include_in_schema=False)
async def push(
    request: Request, hub: HubOf, kind: Type, namespace: Namespace, name: Name
) -> Response:
    """Take what ``git push`` sends to a data set or space."""
    return await _push(request, hub, kind, f"{namespace}/{name}")


@router.post("/{namespace}/{name}/git-receive-pack", include_in_schema=False)
async def push_model(request: Request, hub: HubOf, namespace: Namespace, name: Name) -> Response:
    """Take what ``git push`` sends to a model."""
    return await _push(request, hub, "model", f"{namespace}/{name}")


async def _refs(request: Request, hub: Hub, kind: str, full_name: str, service: str) -> Response:
    def work() -> Response:
        if service not in ("git-upload-pack", "git-receive-pack"):
            raise BadInput("This hub speaks git's smart protocol only. Use git 1.6.6 or newer.")
        repo = _open(request, hub, kind, full_name, service)[1]
        if service == "git-receive-pack":
            program()
            data = advertise(hub, repo)
        else:
            data = _advertised(hub, repo, request)
        media_type = f"application/x-{service}-advertisement"
        return Response(data, media_type=media_type, headers=_NO_CACHE)

    return await _answered(request, work)


def _advertised(hub: Hub, repo: Repository, request: Request) -> bytes:
    """Ask git itself for what a fetch is told first."""
    done = subprocess.run(
        _upload_pack(hub, repo, "--advertise-refs"),
        env=_environment(hub, repo, request),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise PlaitError("The repository cannot be read. Ask the hub's operator to run plait fsck.")
    if _protocol(request) == "version=2":
        return done.stdout
    return pack(b"# service=git-upload-pack\n") + FLUSH + done.stdout


async def _fetch(request: Request, hub: Hub, kind: str, full_name: str) -> Response:
    def begin() -> Repository:
        return _open(request, hub, kind, full_name, "git-upload-pack")[1]

    try:
        repo = await anyio.to_thread.run_sync(begin)
        _check_type(request, "git-upload-pack")
        # Taken in whole before git starts, so that neither waits for the other.
        wants = _memory()

        def work(body: Body) -> None:
            source = _unzipped(request, body, MAX_WANTS, "The request of git fetch")
            while piece := source.read(_PIECE):
                wants.write(piece)
            wants.seek(0)

        await consume(request, MAX_WANTS, "The request of git fetch", work)
    except PlaitError as error:
        return refuse(request, error)
    limiter: anyio.CapacityLimiter = request.app.state.fetches
    return _Fetched(
        _upload_pack(hub, repo),
        _environment(hub, repo, request),
        wants,
        limiter,
        hub.settings.git_seconds,
    )


class _Fetched(Response):
    """What a command prints, as it prints it.

    It is ended when the client has gone, takes nothing for a while, or takes too long.
    """

    media_type = "application/x-git-upload-pack-result"

    def __init__(
        self,
        command: list[str],
        environ: dict[str, str],
        wants: IO[bytes],
        limiter: anyio.CapacityLimiter,
        seconds: float,
    ) -> None:
        super().__init__(headers={**_NO_CACHE, "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._command, self._environ, self._wants = command, environ, wants
        self._limiter, self._seconds = limiter, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the command and send what it prints."""
        try:
            async with self._limiter, anyio.create_task_group() as tasks:
                tasks.start_soon(_gone, receive, tasks.cancel_scope)
                with anyio.move_on_after(self._seconds):
                    await self._stream(send)
                tasks.cancel_scope.cancel()
        finally:
            self._wants.close()

    async def _stream(self, send: Send) -> None:
        process = await anyio.open_process(
            self._command,
            env=self._environ,
            stdin=self._wants,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            assert process.stdout is not None
            while True:
                try:
                    piece = await process.stdout.receive(_PIECE)
                except anyio.EndOfStream:
                    break
                with anyio.move_on_after(MAX_SILENCE) as patience:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if patience.cancelled_caught:
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            with anyio.CancelScope(shield=True):
                _end(process)
                await process.aclose()


def _memory() -> IO[bytes]:
    """Open a file that a process can read and that needs no disk, where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("wants"), "w+b")
    return tempfile.TemporaryFile()


async def _gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel ``scope`` when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _end(process: Process) -> None:
    """Kill a command and the helpers that it started, which share its session."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _push(request: Request, hub: Hub, kind: str, full_name: str) -> Response:
    def begin() -> tuple[Actor, Repository]:
        return _open(request, hub, kind, full_name, "git-receive-pack")

    limit = hub.settings.max_push + MAX_WANTS
    try:
        actor, repo = await anyio.to_thread.run_sync(begin)
        _check_type(request, "git-receive-pack")

        def work(body: Body) -> bytes:
            return receive(hub, actor, repo, _unzipped(request, body, limit, "A push"))

        data = await consume(request, limit, "A push", work)
    except PlaitError as error:
        return refuse(request, error)
    return Response(data, media_type="application/x-git-receive-pack-result", headers=_NO_CACHE)


# -- what all of them share ---------------------------------------------------------------------


def _open(
    request: Request, hub: Hub, kind: str, full_name: str, service: str
) -> tuple[Actor, Repository]:
    """Return who calls and the repository, which they may fetch from or push something to."""
    actor = identify(request, hub)
    if service == "git-receive-pack" and not actor.signed_in:
        # Before anything is said about the repository.
        raise Unauthorized("Pushing needs a token with the scope 'write', as the password.")
    action: Action = "repo.files" if service == "git-upload-pack" else "repo.propose"
    try:
        return actor, hub.repositories.get(actor, kind, full_name.removesuffix(".git"), action)
    except Moved as moved:
        # git does not follow a redirect that comes after it has signed in.
        return actor, hub.repositories.get(actor, kind, moved.new_name, action)


def _check_type(request: Request, service: str) -> None:
    """Refuse what no git client sends: a form of another site cannot have this type."""
    if request.headers.get("content-type") != f"application/x-{service}-request":
        raise BadInput(f"The body of {service} has the type application/x-{service}-request.")


def _protocol(request: Request) -> str | None:
    wanted = request.headers.get("git-protocol", "")
    return wanted if _PROTOCOL.fullmatch(wanted) else None


def _environment(hub: Hub, repo: Repository, request: Request) -> dict[str, str]:
    protocol = _protocol(request)
    extra = {"GIT_PROTOCOL": protocol} if protocol else {}
    return environment(hub.git.path(repo), **extra)


def _upload_pack(hub: Hub, repo: Repository, *options: str) -> list[str]:
    shown = [part for ref in _SHOWN for part in ("-c", f"uploadpack.hideRefs={ref}")]
    first, *rest = command("upload-pack", config=_FETCH)
    at = rest.index("upload-pack")
    return [
        first,
        *rest[:at],
        *shown,
        "upload-pack",
        "--stateless-rpc",
        "--strict",
        f"--timeout={MAX_SILENCE:.0f}",
        *options,
        str(hub.git.path(repo)),
    ]


class _Unzipped:
    """A gzip stream, unpacked as it is read, to at most ``limit`` bytes."""

    def __init__(self, source: Source, limit: int, what: str) -> None:
        self._source = source
        self._left = limit
        self._what = what
        self._inflater = zlib.decompressobj(31)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end."""
        parts: list[bytes] = []
        wanted = size
        while wanted > 0 and (self._rest or self._fill()):
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        return b"".join(parts)

    def _fill(self) -> bool:
        while not self._rest and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._source.read(_PIECE)
            try:
                self._rest = self._inflater.decompress(packed, _PIECE)
            except zlib.error:
                raise BadInput(f"{self._what} says it is gzip and is not.") from None
            if not packed and not self._rest:
                raise BadInput(f"{self._what} ends within its gzip stream. Send it again.")
        self._left -= len(self._rest)
        if self._left < 0:
            raise TooLarge(f"{self._what} is larger than the hub takes once unpacked.")
        return bool(self._rest)


def _unzipped(request: Request, body: Body, limit: int, what: str) -> Source:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding in ("gzip", "x-gzip"):
        return _Unzipped(body, limit, what)
    if encoding != "identity":
        raise BadInput(f"{what} has the encoding {encoding[:40]!a}; git uses gzip or none.")
    return body


async def _answered(request: Request, work: Any) -> Response:
    try:
        found: Response = await anyio.to_thread.run_sync(work)
    except PlaitError as error:
        return refuse(request, error)
    return found


def refuse(request: Request, error: PlaitError) -> Response:
    """Answer as elsewhere, in plain text: git shows that to the person."""
    found = answer(request, error)
    kept = {k: v for k, v in found.headers.items() if k not in ("content-type", "content-length")}
    return PlainTextResponse(f"{error.message}\n", found.status_code, kept)
