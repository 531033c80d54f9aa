# SPDX-License-Identifier: Apache-2.0
"""Having a model trained on a data set of the hub."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from plait.api.context import HubOf, Readable, User
from plait.collaboration import training
from plait.collaboration.requests import describe_job
from plait.errors import BadInput

router = APIRouter(tags=["training"])


class _Training(BaseModel):
    dataset: str = Field(max_length=400)
    split: str = Field("train", max_length=96)
    text: str = Field("text", max_length=200)
    label: str = Field("label", max_length=200)
    title: str = Field("", max_length=400)
    settings: training.Settings = Field(default_factory=training.Settings)


@router.post("/api/plait/{kind:type}/{namespace}/{name}/train")
def train(hub: HubOf, user: User, repo: Readable, body: _Training) -> dict[str, Any]:
    """Queue the job that fine-tunes a text classifier and opens a pull request with it."""
    if repo.type != "model":
        raise BadInput("Only models are trained; name the data set in the body.")
    job = training.request(
        hub,
        user,
        repo,
        body.dataset,
        split=body.split,
        text=body.text,
        label=body.label,
        title=body.title,
        settings=body.settings,
    )
    return {"job": describe_job(job)}
