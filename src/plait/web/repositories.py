# SPDX-License-Identifier: Apache-2.0
"""Lists of repositories, a namespace's page, and a repository's card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.cards import parse_card
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.hub import Repository
from plait.web import markdown
from plait.web.figures import percent
from plait.web.here import At, Here
from plait.web.language import Translator
from plait.web.visit import Visit, Visitor, repository_url

PAGE = 24
_FACTS = (
    "license", "language", "base_model", "datasets", "pipeline_tag", "library_name", "tags",
)  # fmt: skip
_MOST_VALUES = 12
_MOST_RESULTS = 40
_FULL_NAME = re.compile(r"\A[\w.-]{1,96}/[\w.-]{1,96}\Z")
README = "README.md"


@dataclass(frozen=True)
class Listed:
    """A repository in a list."""

    type: str
    namespace: str
    name: str
    url: str
    private: bool
    chips: tuple[str, ...]
    updated_at: datetime


def add_listings(router: APIRouter) -> None:
    """Add the home page and the lists by type."""
    router.add_api_route("/", home)
    router.add_api_route("/models", models)
    router.add_api_route("/datasets", datasets)
    router.add_api_route("/spaces", spaces)


def add_namespace(router: APIRouter) -> None:
    """Add the page of a user or organisation."""
    router.add_api_route("/{ns}", namespace)


def add(router: APIRouter, prefix: str) -> None:
    """Add the page of a repository."""
    router.add_api_route(prefix, card)


def home(
    visit: Visitor,
    search: str = "",
    author: str = "",
    filter: str = "",
    cursor: str = "",
) -> Response:
    """Show all repositories."""
    return _listing(visit, None, search, author, filter, cursor)


def models(
    visit: Visitor,
    search: str = "",
    author: str = "",
    filter: str = "",
    cursor: str = "",
) -> Response:
    """List models."""
    return _listing(visit, "model", search, author, filter, cursor)


def datasets(
    visit: Visitor,
    search: str = "",
    author: str = "",
    filter: str = "",
    cursor: str = "",
) -> Response:
    """List data sets."""
    return _listing(visit, "dataset", search, author, filter, cursor)


def spaces(
    visit: Visitor,
    search: str = "",
    author: str = "",
    filter: str = "",
    cursor: str = "",
) -> Response:
    """List spaces."""
    return _listing(visit, "space", search, author, filter, cursor)


def _listing(
    visit: Visit, kind: str | None, search: str, author: str, tag: str, cursor: str
) -> Response:
    search, author, tag = search.strip()[:200], author.strip()[:96], tag.strip()[:200]
    page = visit.hub.repositories.list(
        visit.actor,
        kind,
        namespace=author or None,
        search=search or None,
        tags=[tag] if tag else [],
        limit=PAGE,
        cursor=cursor or None,
    )
    return visit.render(
        "home.html",
        kind=kind,
        welcome=kind is None and not (search or author or tag or cursor),
        action=f"/{kind}s" if kind else "/",
        search=search,
        author=author,
        tag=tag,
        items=[_listed(repo) for repo in page.items],
        first=visit.link(cursor=None) if cursor else None,
        more=visit.link(cursor=page.cursor) if page.cursor else None,
    )


def _listed(repo: Repository) -> Listed:
    chips = [
        value
        for key in ("pipeline_tag", "license", "language")
        for value in _values(repo.card, key)
    ]
    return Listed(
        repo.type,
        repo.namespace.name,
        repo.name,
        repository_url(repo.type, repo.full_name),
        repo.private,
        tuple(chip[:40] for chip in chips),
        repo.updated_at,
    )


def namespace(visit: Visitor, ns: str) -> Response:
    """Show a user or organisation and what of it the visitor may see."""
    account = visit.hub.accounts.find(ns)
    if account is None:
        raise NotFound(f"There is nobody called {ns[:96]!a} here.")
    groups = []
    for kind in ("model", "dataset", "space"):
        found = visit.hub.repositories.list(visit.actor, kind, namespace=account.name, limit=200)
        if found.items:
            groups.append((kind, [_listed(repo) for repo in found.items]))
    # Who belongs where is shown to those concerned, not to everyone who passes.
    organizations = (
        [member.name for member, _ in visit.hub.accounts.list_organizations(account)]
        if account.kind == "user" and visit.actor.user_id == account.id
        else []
    )
    return visit.render(
        "namespace.html", account=account, groups=groups, organizations=organizations
    )


def card(at: At) -> Response:
    """Show a repository's card and what it says about itself."""
    visit, hub = at.visit, at.visit.hub
    head = hub.git.head(at.record)
    text = _card_text(at, head) if head else ""
    shown = text[: markdown.LONGEST]
    latest = hub.git.log(at.record, head, limit=1) if head else []
    return visit.render(
        "repository.html",
        repo=at.view,
        card=Markup(  # noqa: S704 - sanitised
            markdown.render(shown, markdown.repository_links(at.view.url, "main"))
        )
        if shown.strip()
        else None,
        card_cut=len(text) > len(shown),
        facts=_facts(visit, at.record.card),
        results=_results(at.record.card, visit.t),
        endpoint=hub.settings.url,
        use=_use(at),
        latest=latest[0] if latest else None,
    )


def _card_text(at: Here, head: str) -> str:
    git = at.visit.hub.git
    try:
        entry = git.entry(at.record, head, README)
        if entry.lfs is not None or entry.type != "file":
            return ""
        content = git.read(at.record, head, README).decode("utf-8", "replace")
    except EntryNotFound:
        return ""
    try:
        return parse_card(content).text
    except BadInput:
        return markdown.without_head(content)


def _values(card: Mapping[str, Any], key: str) -> list[str]:
    """Return a card's field as a list of short texts, whatever its author wrote there."""
    value = card.get(key)
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    return [str(item)[:120] for item in found if isinstance(item, str | int | float)][:_MOST_VALUES]


def _facts(visit: Visit, card: Mapping[str, Any]) -> list[dict[str, Any]]:
    facts = []
    for key in _FACTS:
        values = _values(card, key)
        if values:
            facts.append({"key": key, "items": [_fact(visit, key, value) for value in values]})
    return facts


def _fact(visit: Visit, key: str, value: str) -> dict[str, str]:
    kind = {"base_model": "model", "datasets": "dataset"}.get(key)
    if kind and _FULL_NAME.match(value):
        # A link only to what this visitor may read: the page must not tell what else exists.
        try:
            found = visit.hub.repositories.get(visit.actor, kind, value)
        except NotFound:
            return {"text": value, "href": ""}
        return {"text": value, "href": repository_url(kind, found.full_name)}
    if key == "tags":
        return {"text": value, "href": _tag_list(value)}
    return {"text": value, "href": ""}


def _tag_list(tag: str) -> str:
    return f"/?{urlencode({'filter': tag})}"


def _results(card: Mapping[str, Any], t: Translator) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for model in _mappings(card.get("model-index")):
        for result in _mappings(model.get("results")):
            dataset = result.get("dataset")
            name = dataset.get("name") if isinstance(dataset, Mapping) else None
            for metric in _mappings(result.get("metrics")):
                value = metric.get("value")
                if isinstance(value, int | float) and len(rows) < _MOST_RESULTS:
                    rows.append(
                        {
                            "dataset": str(name or "")[:120],
                            "metric": t.known(
                                "metric", str(metric.get("name") or metric.get("type") or "")[:80]
                            ),
                            "value": percent(value) if 0 <= value <= 1 else f"{value:.4g}",
                        }
                    )
    return rows


def _mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _use(at: Here) -> str:
    kind = "" if at.view.type == "model" else f" --repo-type {at.view.type}"
    return f"hf download {at.view.full_name}{kind}"
