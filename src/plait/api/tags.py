# SPDX-License-Identifier: Apache-2.0
"""All tags in use, by what kind of thing they name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from plait.api.context import HubOf
from plait.terms import LIBRARIES, TASKS

router = APIRouter(tags=["repositories"])

_KINDS: Mapping[str, str] = {
    "license": "license",
    "dataset": "dataset",
    "language": "language",
    "region": "region",
    "task_categories": "task_categories",
    "task_ids": "task_ids",
    "size_categories": "size_categories",
    "modality": "modality",
    "format": "format",
    "library": "library",
    "benchmark": "benchmark",
}
"""What stands before the colon of a tag, and the kind that it then is."""
_HIDDEN = ("base_model:", "arxiv:", "doi:")
"""Tags that name one thing each: as many as repositories, and no use in a list of filters."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,8})?|code|multilingual")

Groups = dict[str, list[dict[str, Any]]]


@router.get("/api/models-tags-by-type")
def model_tags(hub: HubOf) -> Groups:
    """List the tags of public models by what kind of thing they name."""
    return group_tags("model", hub.repositories.public_tags("model"))


@router.get("/api/datasets-tags-by-type")
def dataset_tags(hub: HubOf) -> Groups:
    """List the tags of public data sets by what kind of thing they name."""
    return group_tags("dataset", hub.repositories.public_tags("dataset"))


@router.get("/api/spaces-tags-by-type")
def space_tags(hub: HubOf) -> Groups:
    """List the tags of public spaces by what kind of thing they name."""
    return group_tags("space", hub.repositories.public_tags("space"))


def group_tags(repo_type: str, tags: Mapping[str, int]) -> Groups:
    """Sort tags and their counts into the groups that clients show."""
    found: Groups = {}
    for tag, number in tags.items():
        if tag.startswith(_HIDDEN):
            continue
        kind, label = _kind(repo_type, tag)
        if kind == "language" and not tag.startswith("language:") and f"language:{tag}" in tags:
            continue
        found.setdefault(kind, []).append(
            {"id": tag, "label": label, "type": kind, "count": number}
        )
    return found


def _kind(repo_type: str, tag: str) -> tuple[str, str]:
    prefix, colon, rest = tag.partition(":")
    if colon and prefix in _KINDS:
        return _KINDS[prefix], rest
    if repo_type == "model" and tag in TASKS:
        return "pipeline_tag", tag.replace("-", " ").capitalize()
    if tag in LIBRARIES:
        return "library", tag
    if _LANGUAGE.fullmatch(tag):
        return "language", tag
    return "other", tag
