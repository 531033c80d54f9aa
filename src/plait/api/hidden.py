# SPDX-License-Identifier: Apache-2.0
"""Hidden test sets: files go in, and their names and the questions asked come out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from plait.api.bodies import Body, consume
from plait.api.context import Caller, HubOf, User
from plait.api.routing import Name, Namespace
from plait.api.wire import date
from plait.hub import Actor, Hub, Repository, can
from plait.hub.database import HiddenFile
from plait.hub.repositories.hidden import MAX_FILE, Asked

router = APIRouter(tags=["hidden"])

PREFIX = "/api/plait/datasets/{namespace}/{name}/hidden"
File = Annotated[str, Path(description="The file's name: test.jsonl, say.", max_length=160)]


def describe_hidden(hub: Hub, actor: Actor, dataset: Repository) -> dict[str, Any]:
    """Return the hidden splits of a data set, their files, and the questions asked.

    A reader sees their own questions, a writer everybody's.
    """
    writes = can(actor, "repo.write", dataset)
    splits = []
    for split in hub.hidden.splits(dataset):
        who = None if writes else actor.user_id
        asked: Asked | None = None
        if writes or who is not None:
            asked = hub.hidden.asked(dataset, split, user_id=who)
        splits.append(
            {
                "split": split,
                "files": [_file(one) for one in hub.hidden.files(dataset, split)],
                "asked": None if asked is None else asked.count,
                "again": date(asked.again) if asked is not None and asked.again else None,
            }
        )
    return {"limit": str(hub.hidden.settings(dataset).limit), "splits": splits}


@router.get(PREFIX)
def list_hidden(hub: HubOf, actor: Caller, namespace: Namespace, name: Name) -> dict[str, Any]:
    """List the hidden splits of a data set; their content is shown to nobody."""
    dataset = hub.repositories.get(actor, "dataset", f"{namespace}/{name}", "repo.files")
    return describe_hidden(hub, actor, dataset)


@router.put(PREFIX + "/{file}")
async def put_hidden(
    request: Request, hub: HubOf, user: User, namespace: Namespace, name: Name, file: File
) -> dict[str, Any]:
    """Store a file of a hidden split, in place of one of that name."""

    def work(body: Body) -> HiddenFile:
        dataset = hub.repositories.get(user, "dataset", f"{namespace}/{name}", "repo.write")
        return hub.hidden.put(user, dataset, file, body.read())

    return _file(await consume(request, MAX_FILE, f"'{file}'", work))


@router.delete(PREFIX + "/{file}")
def remove_hidden(hub: HubOf, user: User, namespace: Namespace, name: Name, file: File) -> Response:
    """Remove a file of a hidden split for good."""
    dataset = hub.repositories.get(user, "dataset", f"{namespace}/{name}", "repo.write")
    hub.hidden.remove(user, dataset, file)
    return Response(status_code=204)


def _file(one: HiddenFile) -> dict[str, Any]:
    return {
        "name": one.path.rpartition("/")[2],
        "split": one.split,
        "size": one.size,
        "storedAt": date(one.created_at),
    }
