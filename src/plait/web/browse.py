# SPDX-License-Identifier: Apache-2.0
"""The home page, and finding repositories: search, filters, orders, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from plait.hub import Repository
from plait.hub.repositories.facets import TagCount
from plait.hub.repositories.listing import Filters, Sort
from plait.web.card import values_of
from plait.web.tasks import LANGUAGES, LIBRARIES, TASKS
from plait.web.visit import Visit, Visitor, repository_url

PAGE = 30
SHELF = 6
"""Repositories of one kind on the home page."""
_SHOWN = 12
"""Values that a filter offers at once; the chosen one is always among them."""
SORTS: Mapping[str, Sort] = {
    "trending": "trending",
    "likes": "likes",
    "downloads": "downloads",
    "updated": "updated",
    "created": "created",
    "name": "name",
}
SIZES: Mapping[str, tuple[int | None, int | None]] = {
    "tiny": (None, 10**8),
    "small": (10**8, 10**9),
    "medium": (10**9, 10**10),
    "large": (10**10, 10**11),
    "huge": (10**11, None),
}
"""Numbers in a model, from and to."""


@dataclass(frozen=True)
class Listed:
    """A repository in a list."""

    type: str
    namespace: str
    name: str
    url: str
    private: bool
    gated: str
    disabled: bool
    chips: tuple[str, ...]
    updated_at: datetime
    likes: int
    downloads: int


@dataclass(frozen=True)
class Choice:
    """A value of a filter: where choosing it leads, or where giving it up does."""

    text: str
    href: str
    chosen: bool
    count: int | None = None


@dataclass(frozen=True)
class Group:
    """A filter and its values."""

    key: str
    choices: Sequence[Choice]


def add(router: APIRouter) -> None:
    """Add the routes."""
    router.add_api_route("/", home)
    router.add_api_route("/models", models)
    router.add_api_route("/datasets", datasets)
    router.add_api_route("/spaces", spaces)
    router.add_api_route("/search", everything)


def listed(repo: Repository) -> Listed:
    """Reduce a repository to a line of a list."""
    facts = repo.facts or {}
    chips = [
        *[str(facts.get("pipeline_tag") or "")],
        *values_of(repo.card, "pipeline_tag"),
        *values_of(repo.card, "task_categories")[:1],
        *[str(facts.get("library_name") or "")],
        *values_of(repo.card, "license"),
    ]
    return Listed(
        repo.type,
        repo.namespace.name,
        repo.name,
        repository_url(repo.type, repo.full_name),
        repo.private,
        repo.gated,
        repo.disabled,
        tuple(dict.fromkeys(chip[:40] for chip in chips if chip)),
        repo.updated_at,
        repo.likes,
        repo.downloads,
    )


def home(visit: Visitor, filter: str = "", search: str = "") -> Response:
    """Show what there is: what is liked and used, what is new, what is the visitor's own."""
    if filter or search:
        return everything(visit)
    repositories, actor = visit.hub.repositories, visit.actor
    shelves = [
        (kind, [listed(repo) for repo in repositories.list(
            actor, kind, sort="trending", limit=SHELF
        ).items])
        for kind in ("model", "dataset", "space")
    ]  # fmt: skip
    own: list[Listed] = []
    if actor.signed_in:
        own = [
            listed(repo) for repo in repositories.list(actor, namespace=actor.name, limit=4).items
        ]
    return visit.render(
        "home.html",
        shelves=[(kind, items) for kind, items in shelves if items],
        newest=[listed(repo) for repo in repositories.list(actor, sort="created", limit=6).items],
        own=own,
        endpoint=visit.hub.settings.url,
    )


def models(visit: Visitor) -> Response:
    """List models."""
    return _listing(visit, "model")


def datasets(visit: Visitor) -> Response:
    """List data sets."""
    return _listing(visit, "dataset")


def spaces(visit: Visitor) -> Response:
    """List spaces."""
    return _listing(visit, "space")


def everything(visit: Visitor) -> Response:
    """List repositories of every kind."""
    return _listing(visit, None)


_TEXTS = ("search", "author", "pipeline_tag", "library", "language", "license", "domain", "filter")


def _listing(visit: Visit, kind: str | None) -> Response:
    query = visit.request.query_params
    given = {name: query.get(name, "").strip()[:200] for name in _TEXTS}
    given["gated"] = query.get("gated", "") if query.get("gated") in ("yes", "no") else ""
    given["size"] = query.get("size", "") if query.get("size") in SIZES else ""
    sort = query.get("sort", "") if query.get("sort") in SORTS else "trending"
    cursor = query.get("cursor", "")[:1000]
    filters = _filters(kind, given)
    repositories = visit.hub.repositories
    wanted: dict[str, Any] = {
        "namespace": filters.namespace,
        "search": filters.search,
        "tags": filters.tags,
        "gated": filters.gated,
        "parameters": filters.parameters,
    }
    page = repositories.list(
        visit.actor, kind, sort=SORTS[sort], limit=PAGE, cursor=cursor or None, **wanted
    )
    return visit.render(
        "listing.html",
        kind=kind,
        action=f"/{kind}s" if kind else "/search",
        given=given,
        narrowed=[(name, value) for name, value in given.items() if value],
        keep=[
            (name, value)
            for name, value in given.items()
            if value and name not in ("search", "author")
        ],
        without=lambda name: visit.link(**{name: None, "cursor": None}),
        sort=sort,
        sorts=[(key, visit.link(sort=key, cursor=None)) for key in SORTS],
        groups=_groups(visit, kind, given, visit.hub.facets.tags(visit.actor, filters)),
        items=[listed(repo) for repo in page.items],
        total=repositories.count(visit.actor, kind, **wanted),
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=page.cursor) if page.cursor else None,
        kinds=[
            (key, f"{path}?{_carried(given)}".rstrip("?"))
            for key, path in (
                (None, "/search"),
                ("model", "/models"),
                ("dataset", "/datasets"),
                ("space", "/spaces"),
            )
        ],
    )


def _carried(given: Mapping[str, str]) -> str:
    """Return what of the search holds for repositories of another kind too."""
    return urlencode({name: given[name] for name in ("search", "author") if given[name]})


def _filters(kind: str | None, given: Mapping[str, str]) -> Filters:
    tags: list[str | list[str]] = [
        given[name] for name in ("library", "language", "filter") if given[name]
    ]
    if given["pipeline_tag"]:
        task = given["pipeline_tag"]
        tags.append([task, f"task_categories:{task}"])
    if given["license"]:
        tags.append(f"license:{given['license']}")
    if given["domain"]:
        tags.append(f"domain:{given['domain']}")
    return Filters(
        kind,
        given["author"] or None,
        given["search"] or None,
        tuple(tag if isinstance(tag, str) else tuple(tag) for tag in tags),
        {"yes": True, "no": False}.get(given["gated"]),
        SIZES.get(given["size"], (None, None)),
    )


def _groups(
    visit: Visit, kind: str | None, given: Mapping[str, str], tags: Sequence[TagCount]
) -> list[Group]:
    """Sort the tags of what was found into the filters that they are values of."""
    t = visit.t
    found: dict[str, dict[str, int]] = {
        name: {} for name in ("pipeline_tag", "library", "language", "license", "domain", "filter")
    }
    for item in tags:
        prefix, colon, name = item.tag.partition(":")
        if colon:
            group = {
                "license": "license",
                "task_categories": "pipeline_tag",
                "domain": "domain",
            }.get(prefix)
            if group:
                found[group][name] = max(item.count, found[group].get(name, 0))
        elif item.tag in TASKS:
            found["pipeline_tag"].setdefault(item.tag, item.count)
        elif item.tag in LIBRARIES:
            found["library"][item.tag] = item.count
        elif item.tag in LANGUAGES:
            found["language"][item.tag] = item.count
        else:
            found["filter"][item.tag] = item.count
    groups = []
    for key, values in found.items():
        chosen = given[key]
        names = list(values)[:_SHOWN]
        if chosen and chosen not in names:
            names.insert(0, chosen)
        if names:
            groups.append(
                Group(
                    key,
                    [
                        Choice(
                            LANGUAGES.get(name, name) if key == "language" else name,
                            visit.link(**{key: None if name == chosen else name, "cursor": None}),
                            name == chosen,
                            values.get(name),
                        )
                        for name in names
                    ],
                )
            )
    fixed = {"gated": ("yes", "no")} | ({"size": tuple(SIZES)} if kind in (None, "model") else {})
    for key, options in fixed.items():
        groups.append(
            Group(
                key,
                [
                    Choice(
                        t(f"gated.{name}") if key == "gated" else t(f"size.{name}"),
                        visit.link(**{key: None if name == given[key] else name, "cursor": None}),
                        name == given[key],
                    )
                    for name in options
                ],
            )
        )
    return groups
