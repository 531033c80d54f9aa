# SPDX-License-Identifier: Apache-2.0
"""What the Hub has and Plait does not: each answered with 501 and a sentence that names it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from plait.api.context import Caller
from plait.errors import NotFound, RepositoryNotFound, Unsupported

router = APIRouter(include_in_schema=False)
"""What is named here; tried before the routes of repositories, whose names could look like it."""
rest = APIRouter(include_in_schema=False)
"""Everything else; tried last."""

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

_SPACES = "Plait keeps spaces and does not run them: it has no {}."
_BUCKETS = "Plait has no buckets. Keep the files in a dataset repository."
_KERNELS = "Plait has no kernel repositories. Keep kernels in model repositories."
_JOBS = "Plait runs no hosted jobs. Run them on machines of your own."
_PAPERS = "Plait has no pages of papers. A collection may name a paper by its number."
_OAUTH = "Plait gives out no OAuth tokens. Make a token on the page of your settings."
_INFERENCE = "Plait serves no models for inference. Run them where you have the machines."

ABSENT: dict[str, str] = {
    "/api/buckets": _BUCKETS,
    "/api/buckets/{rest:path}": _BUCKETS,
    "/buckets/{rest:path}": _BUCKETS,
    "/api/kernels": _KERNELS,
    "/api/kernels/{rest:path}": _KERNELS,
    "/kernels/{namespace}/{name}/resolve/{rest:path}": _KERNELS,
    "/api/jobs": _JOBS,
    "/api/jobs/{rest:path}": _JOBS,
    "/api/scheduled-jobs/{rest:path}": _JOBS,
    "/api/papers": _PAPERS,
    "/api/papers/{rest:path}": _PAPERS,
    "/api/daily_papers": _PAPERS,
    "/papers/{rest:path}": _PAPERS,
    "/api/agent-harnesses": "Plait has no list of agent harnesses.",
    "/api/spaces/hardware": _SPACES.format("hardware for them"),
    "/api/spaces/templates": _SPACES.format("templates for them"),
    "/api/spaces/semantic-search": "Plait searches spaces by words: use the 'search' parameter.",
    "/api/spaces/zero-gpu/quota": _SPACES.format("GPU quota"),
    "/api/datasets/{namespace}/{name}/leaderboard": "Plait has no leaderboards of datasets. "
    "Results stand in the models' cards.",
    "/api/datasets/{namespace}/{name}/parquet": "Plait converts no datasets to Parquet. Read the "
    "files themselves.",
    "/api/datasets/{namespace}/{name}/parquet/{rest:path}": "Plait converts no datasets to "
    "Parquet. Read the files themselves.",
    "/api/organizations/{organization}/billing/{rest:path}": "Plait costs nothing: no billing.",
    "/api/settings/billing/{rest:path}": "Plait costs nothing: no billing.",
    "/api/settings/mcp": "Plait has no MCP settings.",
    "/api/inference-proxy/{rest:path}": _INFERENCE,
    "/api/tasks": "Plait has no pages of tasks. Models are found by 'pipeline_tag'.",
    "/uploads": "Plait keeps no attachments of comments. Commit the file to the pull request.",
    "/oauth/token": _OAUTH,
    "/oauth/device": _OAUTH,
    "/oauth/authorize": _OAUTH,
    "/.well-known/openid-configuration": "Plait is no OpenID provider. Make a token instead.",
}
"""Path and sentence, whatever the method."""

RUNNING = {
    "secrets": "secrets",
    "variables": "variables",
    "runtime": "runtime",
    "hardware": "hardware",
    "storage": "storage",
    "sleeptime": "sleep time",
    "pause": "pausing",
    "restart": "restarting",
    "dev-mode": "dev mode",
    "volumes": "volumes",
    "logs": "logs",
    "events": "events",
    "metrics": "metrics",
    "jwt": "tokens of its own",
}
"""What a running space has, under its address."""


def _refuse(sentence: str, path: str) -> None:
    # The name becomes the operation's id and must not repeat.
    def absent(request: Request) -> JSONResponse:
        raise Unsupported(sentence)

    router.add_api_route(path, absent, methods=METHODS)


for _path, _sentence in ABSENT.items():
    _refuse(_sentence, _path)
for _part, _thing in RUNNING.items():
    for _tail in ("", "/{rest:path}"):
        _refuse(_SPACES.format(_thing), f"/api/spaces/{{namespace}}/{{name}}/{_part}{_tail}")


@rest.get("/api/{kind:type}/{name}")
@rest.get("/api/{kind:type}/{name}/revision/{path:path}")
@rest.get("/api/{kind:type}/{name}/tree/{path:path}")
@rest.api_route("/api/{kind:type}/{name}/like", methods=["POST", "DELETE"])
@rest.head("/{name}/resolve/{path:path}")
@rest.get("/{name}/resolve/{path:path}")
def without_namespace(request: Request, actor: Caller, name: str) -> JSONResponse:
    """Say that a name alone is no repository: the Hub has a few such, from its first days."""
    raise RepositoryNotFound(
        f"There is no repository {name[:100]!a}. Write it as 'namespace/name'."
    )


@rest.api_route("/api/{path:path}", methods=METHODS)
def other(request: Request, path: str) -> JSONResponse:
    """Say plainly that a part of the Hub's protocol is not here."""
    raise Unsupported(
        f"Plait has no {request.method} /api/{path[:200]}. "
        "It speaks the part of the Hub's protocol that repositories and pull requests need."
    )


@rest.api_route("/v1/{path:path}", methods=METHODS)
@rest.api_route("/v2/{path:path}", methods=METHODS)
@rest.api_route("/{repository:path}.git/info/lfs/{path:path}", methods=METHODS)
def optional(request: Request, path: str) -> JSONResponse:
    """Say 404 where clients know another way: newer Xet routes, global deduplication, locks."""
    raise NotFound(f"Plait does not offer {request.method} {path[:200]}.")
