# SPDX-License-Identifier: Apache-2.0
"""A repository's first page: its card, and what it says about itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response
from markupsafe import Markup

from plait.cards import parse_card
from plait.errors import BadInput, EntryNotFound, NotFound
from plait.web import markdown
from plait.web.credit import hidden_splits, model_credit
from plait.web.figures import percent, quantity, size
from plait.web.here import At, Here
from plait.web.language import Translator
from plait.web.visit import Visit, repository_url

README = "README.md"
_FACTS = (
    "license", "language", "base_model", "datasets", "pipeline_tag", "library_name", "tags",
)  # fmt: skip
_FILTERS = {
    "license": "license", "language": "language", "pipeline_tag": "pipeline_tag",
    "library_name": "library", "tags": "filter",
}  # fmt: skip
"""Under which filter the listings find a card's field."""
_MOST_VALUES = 12
_MOST_RESULTS = 40
_FULL_NAME = re.compile(r"\A[\w.-]{1,96}/[\w.-]{1,96}\Z")


def add(router: APIRouter, prefix: str) -> None:
    """Add the page of a repository."""
    router.add_api_route(prefix, card)


def card(at: At) -> Response:
    """Show a repository's card and what it says about itself."""
    visit, hub = at.visit, at.visit.hub
    head = hub.git.head(at.record)
    text = _card_text(at, head) if head and not at.record.disabled else ""
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
        facts=_facts(visit, at.record.type, at.record.card),
        figures=_figures(at),
        results=_results(at.record.card, visit.t),
        credit=model_credit(at),
        hidden=hidden_splits(at),
        endpoint=hub.settings.url,
        use=_use(at),
        sees_files=at.sees_files,
        has_readme=bool(text),
        collections=_collections(at),
        latest=latest[0] if latest else None,
    )


def _collections(at: Here) -> list[tuple[str, str]]:
    """Return the collections that it is in and the visitor may read, with their addresses."""
    found = at.visit.hub.collections.list(
        at.visit.actor, items=[f"{at.view.type}s/{at.view.full_name}"], limit=6
    )
    return [
        (f"{row.collection.namespace.name} / {row.collection.title}", f"/collections/{row.slug}")
        for row in found.items
    ]


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


def values_of(card: Mapping[str, Any], key: str) -> list[str]:
    """Return a card's field as a list of short texts, whatever its author wrote there."""
    value = card.get(key)
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    return [str(item)[:120] for item in found if isinstance(item, str | int | float)][:_MOST_VALUES]


def _facts(visit: Visit, kind: str, card: Mapping[str, Any]) -> list[dict[str, Any]]:
    facts = []
    for key in _FACTS:
        values = values_of(card, key)
        if values:
            facts.append(
                {"key": key, "items": [_fact(visit, kind, key, value) for value in values]}
            )
    return facts


def _fact(visit: Visit, kind_of: str, key: str, value: str) -> dict[str, str]:
    kind = {"base_model": "model", "datasets": "dataset"}.get(key)
    if kind and _FULL_NAME.match(value):
        # A link only to what this visitor may read: the page must not tell what else exists.
        try:
            found = visit.hub.repositories.get(visit.actor, kind, value)
        except NotFound:
            return {"text": value, "href": ""}
        return {"text": value, "href": repository_url(kind, found.full_name)}
    if key in _FILTERS:
        return {"text": value, "href": f"/{kind_of}s?{_FILTERS[key]}={quote(value, safe='')}"}
    return {"text": value, "href": ""}


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


def _figures(at: Here) -> list[tuple[str, str]]:
    """Return what can be counted: pairs of a phrase's name and a number that is ready to print."""
    record = at.record
    facts = record.facts or {}
    figures = [("downloads", quantity(record.downloads)), ("likes", quantity(record.likes))]
    if record.parameters:
        figures.append(("parameters", quantity(record.parameters)))
    used = facts.get("used_storage")
    if isinstance(used, int) and used > 0:
        figures.append(("size", size(used)))
    return figures


def _use(at: Here) -> str:
    kind = "" if at.view.type == "model" else f" --repo-type {at.view.type}"
    return f"hf download {at.view.full_name}{kind}"
