# SPDX-License-Identifier: Apache-2.0
"""What to build on: a sample comes, a job ranks what its sender may read."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from plait.api.context import HubOf, User
from plait.collaboration import suggest
from plait.collaboration.requests import describe_job
from plait.collaboration.suggest.ranking import MAX_BYTES

router = APIRouter(tags=["suggest"])


class _Sample(BaseModel):
    sample: str = Field(max_length=MAX_BYTES)
    models: list[str] = Field(default_factory=list, max_length=50)


@router.post("/api/plait/suggest")
def rank(hub: HubOf, user: User, body: _Sample) -> dict[str, Any]:
    """Queue the ranking of models and data sets for a sample, CSV or JSON Lines."""
    sample = suggest.parse_sample(body.sample.encode())
    return {"job": describe_job(suggest.request(hub, user, sample, body.models))}
