# SPDX-License-Identifier: Apache-2.0
"""Listing and searching repositories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from plait.api.context import Caller, HubOf
from plait.api.properties import BASICS, Teller, Told, check_expand
from plait.api.routing import Type
from plait.api.wire import page
from plait.errors import BadInput
from plait.hub.repositories.facts import LINKED, linked_term
from plait.hub.repositories.listing import Sort

router = APIRouter(tags=["repositories"])

PAGE = 100
"""Repositories on a page unless the client asks for another number."""
MAX_PAGE = 1000
MAX_FULL_PAGE = 100
"""With all files of each, a page holds no more."""

_SORTS: dict[str, Sort] = {
    "lastModified": "updated",
    "last_modified": "updated",
    "updatedAt": "updated",
    "createdAt": "created",
    "created_at": "created",
    "id": "name",
    "likes": "likes",
    "downloads": "downloads",
    "trendingScore": "trending",
    "trending_score": "trending",
}
_BOUND = re.compile(r"(min|max):([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMBT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_GGUF_APPS = frozenset(
    {"llama.cpp", "ollama", "lmstudio", "jan", "msty", "koboldcpp", "ramalama", "lemonade",
     "llama-cpp-python", "docker-model-runner", "unsloth"}
)  # fmt: skip
_SERVING_APPS = frozenset({"vllm", "sglang", "tgi", "text-generation-inference"})
_NOWHERE = "\N{INFORMATION SEPARATOR ONE}nowhere"
"""A term that no repository has."""

Texts = Annotated[list[str] | None, Query()]


@router.get("/api/{kind:type}")
def list_repositories(
    request: Request,
    hub: HubOf,
    actor: Caller,
    kind: Type,
    search: Texts = None,
    author: str | None = None,
    filter: Texts = None,
    pipeline_tag: str | None = None,
    library: Texts = None,
    apps: Texts = None,
    gated: bool | None = None,
    inference: str | None = None,
    inference_provider: Texts = None,
    num_parameters: str | None = None,
    datasets: Texts = None,
    models: Texts = None,
    linked: bool = False,
    sort: str | None = None,
    direction: str | None = None,
    limit: Annotated[int, Query(ge=1)] = PAGE,
    full: bool = False,
    config: bool = False,
    cardData: bool = False,  # noqa: N803
    expand: Annotated[list[str] | None, Query(description="Only these properties.")] = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List the repositories that the caller may read, by default the last changed first."""
    expanded = [*(expand or []), *request.query_params.getlist("expand[]")]
    if expanded:
        names = check_expand(kind, expanded)
    else:
        names = [*BASICS[kind], "trendingScore"]
        names += ["cardData"] if cardData or full else []
        names += ["siblings"] if full else []
        names += ["config"] if config and kind == "model" else []
    tags: list[str | Sequence[str]] = [*_split(filter), *_split(library)]
    if pipeline_tag:
        tags.append(pipeline_tag)
    if kind == "model":
        tags += _apps(apps)
        if inference or inference_provider:
            tags.append(_NOWHERE)  # No model is served by this hub.
    elif kind == "space":
        tags += [linked_term("dataset", name) for name in _split(datasets)]
        tags += [linked_term("model", name) for name in _split(models)]
        tags += [LINKED] if linked else []
    found = hub.repositories.list(
        actor,
        kind,
        namespace=author,
        search=search,
        tags=tags,
        gated=gated,
        parameters=_parameters(num_parameters) if num_parameters else (None, None),
        sort=_sort(sort),
        reverse=direction == "1",
        limit=min(limit, MAX_FULL_PAGE if "siblings" in names else MAX_PAGE),
        cursor=cursor,
    )
    rows = Teller(hub, actor).rows([Told.at_main(repo) for repo in found.items], names)
    return page(request, hub.settings, rows, found.cursor)


def _split(values: Sequence[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _sort(name: str | None) -> Sort:
    if name is None:
        return "updated"
    found = _SORTS.get(name)
    if found is None:
        raise BadInput(
            f"Lists cannot be sorted by {name[:40]!a}. Use lastModified, createdAt, likes, "
            "downloads or trendingScore."
        )
    return found


def _apps(apps: Sequence[str] | None) -> list[str | Sequence[str]]:
    """Tags that a model has if these applications can load it, as far as its files tell."""
    found: list[str | Sequence[str]] = []
    for app in (name.lower() for name in _split(apps)):
        if app in _GGUF_APPS:
            found.append("gguf")
        elif app in _SERVING_APPS:
            found += ["transformers", "safetensors"]
        elif app == "mlx-lm":
            found.append("mlx")
        else:
            found.append(_NOWHERE)
    return found


def _parameters(text: str) -> tuple[int | None, int | None]:
    """Read ``min:6B,max:128B``.

    Raises:
        BadInput: it is not of that form.
    """
    bounds: dict[str, int] = {}
    for part in text.split(","):
        match = _BOUND.fullmatch(part.strip())
        if match is None:
            raise BadInput(
                f"num_parameters={text[:60]!a} cannot be read. Write it as 'min:6B,max:128B'."
            )
        number = float(match[2]) * _UNITS[match[3].upper()]
        bounds[match[1].lower()] = int(min(number, 2.0**62))
    return bounds.get("min"), bounds.get("max")
