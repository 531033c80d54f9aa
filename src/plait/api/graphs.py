# SPDX-License-Identifier: Apache-2.0
"""Knowledge graphs: looking entities up, neighbourhoods, context for a model, queries, export."""

from __future__ import annotations

import tempfile
from pathlib import Path as FolderPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from plait.api.context import Caller, HubOf, Readable, User
from plait.api.routing import Revision
from plait.collaboration.graphs import GraphRevision, answers, ask, open_index, revision_of
from plait.collaboration.graphs.queries import MAX_ROWS, MAX_SECONDS
from plait.errors import BadInput
from plait.graphs.exchange import export_graph
from plait.graphs.exchange.formats import FORMATS, format_named
from plait.graphs.lookup import Filters, Index, context_of, neighbourhood, reviews, subgraph
from plait.graphs.lookup.context import MAX_TOKENS
from plait.graphs.lookup.index import MOST_ENTITIES, Entity
from plait.graphs.lookup.neighbourhood import MAX_DEPTH
from plait.hub import CommitOutcome

router = APIRouter(tags=["knowledge graphs"])

BASE = "/api/plait/{kind:type}/{namespace}/{name}/graph/{revision}"
MOST_STATEMENTS = 5_000
MOST_EXPORTED = 50_000
_Name = Annotated[str, Query(max_length=1024)]
_Names = Annotated[list[str] | None, Query(max_length=50)]
_Ids = Annotated[
    list[str], Query(max_length=100, description="Identifiers of entities, as the look-up gives.")
]
_Depth = Annotated[int, Query(ge=0, le=MAX_DEPTH, description="Steps from the entities.")]
_Sure = Annotated[
    float, Query(ge=0, le=1, description="Least confidence; a statement without one counts as 1.")
]
_Predicates = Annotated[
    list[str] | None, Query(max_length=50, description="Predicates to follow; all if not given.")
]
_Sources = Annotated[
    list[str] | None, Query(max_length=50, description="Sources to believe; all if not given.")
]


class _Asked(BaseModel):
    question: Annotated[str, Field(max_length=4_000, description="What the model is asked.")] = ""
    entities: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=100, description="Identifiers, beside those that the question names."),
    ] = []
    tokens: Annotated[
        int, Field(ge=1, le=MAX_TOKENS, description="Budget of the text, estimated.")
    ] = 2_000
    depth: Annotated[int, Field(ge=0, le=MAX_DEPTH)] = 2
    predicates: Annotated[list[str], Field(max_length=50)] = []
    sources: Annotated[list[str], Field(max_length=50)] = []
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0


class _Question(BaseModel):
    query: Annotated[str, Field(max_length=20_000, description="The query; it only reads.")]
    language: Annotated[str, Field(max_length=20, description="cypher or sparql.")] = "cypher"
    parameters: Annotated[
        dict[str, str | int | float | bool | list[str] | None],
        Field(max_length=100, description="Of a Cypher query: values of its $names."),
    ] = {}
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = MAX_SECONDS
    rows: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 1_000


class _Settled(BaseModel):
    statements: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Field(min_length=1, max_length=answers.MAX_ANSWERS, description="Those that are right."),
    ]
    reason: Annotated[str, Field(max_length=answers.MAX_REASON)] = ""
    create_pr: bool = False


class _Answer(BaseModel):
    a: Annotated[str, Field(max_length=1024)]
    b: Annotated[str, Field(max_length=1024)]
    same: bool


class _Judged(BaseModel):
    answers: Annotated[list[_Answer], Field(min_length=1, max_length=answers.MAX_ANSWERS)]
    create_pr: bool = False


def _found(hub: HubOf, actor: Caller, repo: Readable, revision: Revision) -> GraphRevision:
    return revision_of(hub, actor, repo, revision)


@router.get(BASE, summary="What a graph holds")
def describe(hub: HubOf, actor: Caller, repo: Readable, revision: Revision) -> dict[str, Any]:
    """Count a graph's entities, statements, predicates, sources, types and conflicts."""
    found = _found(hub, actor, repo, revision)
    with open_index(hub, found) as index:
        return {"commit": found.oid, "title": index.file.title, **index.counts}


@router.get(BASE + "/entities", summary="Look entities up")
def entities(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    id: _Names = None,
    called: Annotated[
        str, Query(alias="name", max_length=1024, description="One of its names, whole.")
    ] = "",
    prefix: _Name = "",
    type: _Name = "",
    source: _Name = "",
    limit: Annotated[int, Query(ge=1, le=MOST_ENTITIES)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> dict[str, Any]:
    """Look entities up by identifier, whole name, beginning of a name, type or source.

    Names are found in every language and whatever their case; those with most statements come
    first. An identifier that identity claims make one with another finds the one that stands for
    both.
    """
    found = _found(hub, actor, repo, revision)
    with open_index(hub, found) as index:
        held = (
            index.find(id)
            if id
            else index.search(
                name=called, prefix=prefix, type=type, source=source, after=offset, limit=limit
            )
        )
        return {"commit": found.oid, "entities": [one.to_json() for one in held]}


@router.get(BASE + "/neighbourhood", summary="What stands around entities")
def around(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    id: _Ids,
    depth: _Depth = 1,
    predicate: _Predicates = None,
    source: _Sources = None,
    confidence: _Sure = 0.0,
    deprecated: bool = False,
    limit: Annotated[int, Query(ge=1, le=MOST_STATEMENTS)] = 200,
) -> dict[str, Any]:
    """Follow statements from some entities: entities with their distance, statements with source.

    Raises:
        NotFound: one of the entities is not there.
    """
    found = _found(hub, actor, repo, revision)
    filters = Filters(tuple(predicate or ()), tuple(source or ()), confidence, deprecated)
    with open_index(hub, found) as index:
        around = neighbourhood(index, _starts(index, id), depth=depth, filters=filters, limit=limit)
        return {"commit": found.oid, **around.to_json()}


@router.post(BASE + "/context", summary="Context for a language model")
def context(
    hub: HubOf, actor: Caller, repo: Readable, revision: Revision, body: _Asked
) -> dict[str, Any]:
    """Say what the graph knows about a question, as text for a prompt, with every source.

    The text has a statement a line, numbered as in ``statements``, the most telling first, within
    the budget of tokens (estimated as bytes of UTF-8 divided by three). What is deprecated, and
    what another value is preferred to, is left out.
    """
    if not body.question.strip() and not body.entities:
        raise BadInput("Ask a 'question', or name 'entities', or both.")
    found = _found(hub, actor, repo, revision)
    filters = Filters(tuple(body.predicates), tuple(body.sources), body.confidence)
    with open_index(hub, found) as index:
        _starts(index, body.entities)
        told = context_of(
            index, body.question, body.entities,
            tokens=body.tokens, depth=body.depth, filters=filters,
        )  # fmt: skip
        return {"commit": found.oid, **told.to_json()}


@router.get(
    BASE + "/export",
    summary="A part of the graph in another format",
    response_class=Response,
)
def export(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    id: _Ids,
    format: Annotated[
        str,
        Query(
            description="One of "
            + ", ".join(sorted(name for name, one in FORMATS.items() if one.writes))
        ),
    ] = "turtle",
    depth: _Depth = 1,
    predicate: _Predicates = None,
    source: _Sources = None,
    confidence: _Sure = 0.0,
    deprecated: bool = False,
    limit: Annotated[int, Query(ge=1, le=MOST_EXPORTED)] = 5_000,
) -> Response:
    """Send a neighbourhood as a file, with its sources as far as the format holds them."""
    chosen = format_named(format, "", writing=True)
    found = _found(hub, actor, repo, revision)
    filters = Filters(tuple(predicate or ()), tuple(source or ()), confidence, deprecated)
    with open_index(hub, found) as index:
        around = neighbourhood(index, _starts(index, id), depth=depth, filters=filters, limit=limit)
        part = subgraph(index, around)
    with tempfile.TemporaryDirectory(dir=hub.settings.work_dir) as folder:
        path = FolderPath(folder) / f"graph{chosen.suffixes[0]}"
        data = export_graph(part, path, format=chosen.name).read_bytes()
    headers = {
        "Content-Disposition": f'attachment; filename="{repo.name}{chosen.suffixes[0]}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "X-Plait-Truncated": "true" if around.truncated else "false",
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.post(BASE + "/query", summary="Ask in Cypher or SPARQL")
def query(
    hub: HubOf, actor: Caller, repo: Readable, revision: Revision, body: _Question
) -> dict[str, Any]:
    """Ask the graph. Queries only read, and are ended when they take more than their time.

    In Cypher, entities are nodes ``(:Entity {id, name, names, types, sources, …})`` with their
    literals as properties, predicates are types of relationships. In SPARQL, names of the graph's
    own are ``<urn:plait:NAME>``.
    """
    found = _found(hub, actor, repo, revision)
    answer = ask(
        hub, found, body.language, body.query, body.parameters,
        seconds=body.seconds, rows=body.rows,
    )  # fmt: skip
    return {
        "commit": found.oid,
        "columns": list(answer.columns),
        "rows": [list(row) for row in answer.rows],
        "truncated": answer.truncated,
        "seconds": round(answer.seconds, 4),
        "engine": answer.engine,
    }


@router.get(BASE + "/conflicts", summary="Values that contradict each other")
def list_conflicts(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    settled: Annotated[bool, Query(description="Those that a policy or a person settled.")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """List conflicts of functional predicates: each value with its statements and their sources."""
    found = _found(hub, actor, repo, revision)
    with open_index(hub, found) as index:
        held = reviews.conflicts(index, settled=settled, after=offset, limit=limit)
        return {
            "commit": found.oid,
            "count": index.counts["conflicts"],
            "open": index.counts["open"],
            "conflicts": [one.to_json() for one in held],
        }


@router.post(BASE + "/conflicts", summary="Say which values hold")
def settle(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Settled
) -> dict[str, Any]:
    """Settle conflicts: a commit with the decisions, or a pull request of who may not commit."""
    return _outcome(
        answers.settle(
            hub, user, repo, revision, body.statements, reason=body.reason, propose=body.create_pr
        )
    )


@router.get(BASE + "/identities", summary="Pairs that may be one entity")
def list_claims(
    hub: HubOf,
    actor: Caller,
    repo: Readable,
    revision: Revision,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """List machines' claims that nobody has answered, those most in doubt first, and why."""
    found = _found(hub, actor, repo, revision)
    with open_index(hub, found) as index:
        held = reviews.claims(index, after=offset, limit=limit)
        return {
            "commit": found.oid,
            "count": reviews.count_claims(index),
            "claims": [one.to_json() for one in held],
        }


@router.post(BASE + "/identities", summary="Say whether two entities are one")
def judge(
    hub: HubOf, user: User, repo: Readable, revision: Revision, body: _Judged
) -> dict[str, Any]:
    """Answer claims: a commit to the table of identities, or a pull request."""
    given = [(one.a, one.b, one.same) for one in body.answers]
    return _outcome(answers.judge(hub, user, repo, revision, given, propose=body.create_pr))


def _outcome(done: CommitOutcome) -> dict[str, Any]:
    number = done.discussion.number if done.discussion is not None else None
    return {"commit": done.oid, "pull": number}


def _starts(index: Index, identifiers: list[str]) -> list[Entity]:
    return [index.entity(one) for one in identifiers]
