# SPDX-License-Identifier: Apache-2.0
"""A small graph that sentences are made of."""

from __future__ import annotations

from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Predicate, Source

CAPITALS = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Sweden": "Stockholm",
    "Kenya": "Nairobi", "Peru": "Lima", "Chile": "Santiago", "Japan": "Tokyo", "Ghana": "Accra",
    "Cuba": "Havana", "Egypt": "Cairo", "Iran": "Tehran", "Nepal": "Kathmandu", "Qatar": "Doha",
    "Georgia": "Tbilisi", "Armenia": "Yerevan", "The Netherlands": "Amsterdam",
    "United States": "Washington", "Ivory Coast": "Yamoussoukro",
}  # fmt: skip
BORDERS = (
    ("France", "Spain"), ("France", "Italy"), ("Norway", "Sweden"), ("Peru", "Chile"),
    ("Georgia", "Armenia"), ("Iran", "Armenia"),
)  # fmt: skip
POPULATIONS = {"France": "67000000", "Norway": "5400000", "Qatar": "2900000", "Nepal": "29000000"}
CURRENCIES = {
    "France": "EUR",
    "Spain": "EUR",
    "Italy": "EUR",
    "Japan": "JPY",
    "The Netherlands": "EUR",
}

FILE = GraphFile(
    sources={"atlas": Source("An atlas")},
    predicates={
        "capital": Predicate(functional=True),
        "borders": Predicate(datatype="entity", symmetric=True),
        "population": Predicate(datatype="integer", functional=True),
        "currency": Predicate(values={"EUR": ("euro",), "JPY": ("yen", "Japanese yen")}),
    },
)  # fmt: skip


def identifier(name: str) -> str:
    """Return a country's identifier."""
    return f"c:{name.lower().replace(' ', '-')}"


def atlas(file: GraphFile = FILE) -> Graph:
    """Return the graph; of Georgia there are two, the other a state of the United States."""
    builder = Builder(file)
    for name, capital in CAPITALS.items():
        one = identifier(name)
        builder.entity(one, types=["Country"])
        builder.label(one, name, language="en", source="atlas")
        builder.statement(one, "capital", value=capital, source="atlas")
    builder.label("c:france", "Frankreich", language="de", source="atlas", main=False)
    builder.entity("s:georgia", types=["State"])
    builder.label("s:georgia", "Georgia", language="en", source="atlas")
    builder.statement("s:georgia", "part of", object="c:united-states", source="atlas")
    for a, b in BORDERS:
        builder.statement(identifier(a), "borders", object=identifier(b), source="atlas")
    for name, count in POPULATIONS.items():
        builder.statement(identifier(name), "population", value=count, source="atlas")
    for name, code in CURRENCIES.items():
        builder.statement(identifier(name), "currency", value=code, source="atlas")
    return builder.build()
