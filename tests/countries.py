# SPDX-License-Identifier: Apache-2.0
"""A small hub with a knowledge graph of countries, public and private."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from plait.cli.serve import build_app
from plait.graphs.graph import Builder, Graph
from plait.graphs.identity import claim
from plait.graphs.storage import card_text, graph_files
from plait.hub import Actor, AddBytes, Hub, Repository
from plait.recipes.graph import GraphFile, Predicate, Source
from plait.settings import load_settings

HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = {
    "fr": [("France", "en"), ("法国", "zh")],
    "de": [("Germany", "en"), ("Deutschland", "de"), ("德国", "zh")],
    "ba": [("Bosnia and Herzegovina", "en")],
    "kz": [("Kazakhstan", "en"), ("Қазақстан", "kk")],
    "paris": [("Paris", "en")],
    "berlin": [("Berlin", "en")],
    "astana": [("Astana", "en")],
    "nursultan": [("Nur-Sultan", "en")],
    "geo:de": [("Federal Republic of Germany", "en")],
    "geo:at": [("Austria", "en")],
    "at": [("Österreich", "de")],
    "mark": [(HOSTILE, "en")],
}


def countries() -> Graph:
    """Return a graph with names in several scripts, conflicts, identity claims, and a bad name."""
    file = GraphFile(
        title="Countries",
        sources={"atlas": Source(title="The Atlas", licence="CC0-1.0", trust=0.9),
                 "geo": Source(title="Geo", licence="CC-BY-4.0", trust=0.4)},
        predicates={
            "capital": Predicate(label={"en": "capital", "zh": "首都"}, functional=True),
            "population": Predicate(functional=True, datatype="integer", policy=("ask",)),
            "borders": Predicate(symmetric=True),
        },
    )  # fmt: skip
    builder = Builder(file)
    for name, labels in NAMES.items():
        city = name in ("paris", "berlin", "astana", "nursultan")
        builder.entity(name, types=["City" if city else "Country"])
        for text, language in labels:
            source = "geo" if name.startswith("geo:") else "atlas"
            builder.label(name, text, language=language, source=source)
    said = builder.statement
    said("fr", "capital", object="paris", source="atlas", confidence=0.99)
    said("de", "capital", object="berlin", source="atlas", evidence=["Berlin is the capital."])
    said("kz", "capital", object="astana", source="atlas", recorded="2023")
    said("kz", "capital", object="nursultan", source="geo", recorded="2020", confidence=0.5)
    said("fr", "borders", object="de", source="atlas")
    said("geo:de", "borders", object="geo:at", source="geo", confidence=0.6)
    said("de", "population", value="83000000", source="atlas", licence="CC0-1.0")
    said("de", "population", value="84000000", source="geo", licence="CC-BY-4.0")
    said("fr", "flag", value="https://flags.example/fr.svg", datatype="anyURI", source="geo")
    said("mark", "borders", object="fr", source="geo", confidence=0.1)
    why = json.dumps({"names": [0.4, 1.5], "capital": [1.0, 6.2]})
    for row in (
        claim("de", "geo:de", source="align", method="plait.graphs.align", score=0.97,
              explanation=why),
        claim("at", "geo:at", source="align", method="plait.graphs.align", score=0.62,
              explanation=why),
    ):  # fmt: skip
        builder.add("identities", row)
    return builder.build()


@dataclass
class Atlas:
    """A hub whose user ann owns ``ann/countries``, public, and ``ann/secret``, private."""

    hub: Hub
    app: FastAPI
    repo: Repository
    secret: Repository

    def actor(self, name: str = "ann") -> Actor:
        """Return an actor with a person's rights."""
        found = self.hub.tokens.actor_of(self.hub.accounts.get(name).id, None)
        assert found is not None
        return found

    def token(self, name: str = "ann") -> str:
        """Return a token that may write."""
        return self.hub.tokens.create(self.hub.accounts.get(name))


def build_atlas(folder: Path, graph: Graph | None = None) -> Atlas:
    """Make the hub."""
    settings = load_settings(folder, {"PLAIT_BACKGROUND": "0"})
    hub = Hub.open(settings)
    hub.accounts.create_user("ann")
    hub.accounts.create_user("bob")
    made = Atlas(hub, build_app(hub), None, None)  # type: ignore[arg-type]
    ann = made.actor()
    graph = graph or countries()
    files = graph_files(graph)
    files["README.md"] = card_text(graph, "", {"license": "cc0-1.0"}).encode()
    operations = [AddBytes(path, data) for path, data in files.items()]
    for name in ("countries", "secret"):
        hub.repositories.create(ann, "dataset", f"ann/{name}", private=name == "secret")
        repo = hub.repositories.get(ann, "dataset", f"ann/{name}")
        hub.commits.apply(ann, repo, "main", operations, "The graph")
        setattr(made, "repo" if name == "countries" else "secret", repo)
    return made
