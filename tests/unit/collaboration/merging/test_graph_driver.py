# SPDX-License-Identifier: Apache-2.0
"""Pull requests on a knowledge graph, through the hub's library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from plait.collaboration import jobs
from plait.collaboration.requests import request_merge
from plait.collaboration.worker import Worker
from plait.errors import Conflict
from plait.graphs import schema
from plait.graphs.graph import Builder, Graph, make
from plait.graphs.storage import card_text, graph_files, read_graph_from
from plait.hub import AddBytes, Delete, Discussion
from plait.recipes.graph import GraphFile, Predicate, Source

from ..conftest import Place

FILE = GraphFile(
    title="Countries",
    sources={"a": Source(trust=0.9), "b": Source(trust=0.4)},
    predicates={"capital": Predicate(functional=True)},
)
SHAPES = """
@prefix sh: <http://www.w3.org/ns/shacl#> .
<urn:plait:s> a sh:NodeShape ; sh:targetClass <urn:plait:Country> ;
  sh:property [ sh:path <urn:plait:capital> ; sh:maxCount 1 ; sh:message "One capital." ] .
"""


def base(file: GraphFile = FILE) -> Graph:
    builder = Builder(file)
    for name in ("fr", "kz"):
        builder.entity(name, types=["Country"])
        builder.label(name, name.upper(), source="a")
    builder.statement("fr", "capital", object="paris", source="a")
    builder.statement("kz", "capital", object="astana", source="a")
    return builder.build()


def more(start: Graph, add: Callable[[Builder], object]) -> Graph:
    builder = Builder(start.file)
    for name in schema.TABLES:
        for row in start.table(name).to_pylist():
            builder.add(name, row)
    add(builder)
    return builder.build()


@pytest.fixture
def graphs(place: Place) -> Place:
    """Return the place with a data set that holds a graph."""
    repo = place.hub.repositories.create(place.owner, "dataset", "commons/countries")
    made = replace(place, repo=repo)
    start = base()
    made.write(
        AddBytes("README.md", card_text(start, "", {"license": "mit"}).encode()),
        *(AddBytes(path, data) for path, data in graph_files(start).items()),
    )
    return made


def propose(place: Place, graph: Graph, title: str = "proposal") -> Discussion:
    return place.propose(
        *(AddBytes(path, data) for path, data in graph_files(graph).items()), title=title
    )


def merge(place: Place, pull: Discussion) -> None:
    """Ask for a merge and let a worker do it; raise what it ended with."""
    request_merge(place.hub, place.owner, place.repo, pull)
    Worker(place.hub).run_once()
    job = jobs.latest(place.hub, pull.id)
    assert job is not None
    if job.state != "succeeded":
        raise Conflict(job.error or "")


def stored(place: Place, revision: str = "main") -> Graph:
    oid = place.hub.git.resolve(place.repo, revision)
    found = {entry.path for entry in place.hub.git.tree(place.repo, oid, recursive=True)}

    def read(path: str) -> bytes | None:
        return place.hub.git.read(place.repo, oid, path) if path in found else None

    return read_graph_from(read, "stored", verify=True)


def test_two_contributions_are_united_whatever_their_order(graphs: Place) -> None:
    one = more(base(), lambda b: b.statement("de", "capital", object="berlin", source="a"))
    other = more(base(), lambda b: b.statement("kz", "capital", object="nursultan", source="b"))
    pulls = [propose(graphs, one), propose(graphs, other)]
    for pull in pulls:
        merge(graphs, pull)
    rows = {(r["subject"], r["object"]): r["rank"] for r in stored(graphs).statements.to_pylist()}
    assert rows == {
        ("fr", "paris"): "normal",
        ("kz", "astana"): "preferred",
        ("kz", "nursultan"): "normal",
        ("de", "berlin"): "normal",
    }
    twin = replace(
        graphs, repo=graphs.hub.repositories.create(graphs.owner, "dataset", "commons/twin")
    )
    twin.write(*(AddBytes(path, data) for path, data in graph_files(base()).items()))
    again = [propose(twin, one), propose(twin, other)]
    for pull in reversed(again):
        merge(twin, pull)
    assert graph_files(stored(twin)) == graph_files(stored(graphs))


def test_what_a_contribution_leaves_out_is_deprecated(graphs: Place) -> None:
    builder = Builder(FILE)
    builder.statement("fr", "capital", object="paris", source="a")
    merge(graphs, propose(graphs, builder.build()))
    rows = {r["object"]: r["rank"] for r in stored(graphs).statements.to_pylist()}
    assert rows == {"paris": "normal", "astana": "deprecated"}
    assert {
        label["text"] for e in stored(graphs).entities.to_pylist() for label in e["labels"]
    } == {"FR", "KZ"}


def test_a_decision_is_a_contribution(graphs: Place) -> None:
    both = more(base(), lambda b: b.statement("kz", "capital", object="nursultan", source="b"))
    merge(graphs, propose(graphs, both))
    now = stored(graphs)
    chosen = next(r["id"] for r in now.statements.to_pylist() if r["object"] == "nursultan")
    decided = make(
        now.file,
        **{name: now.table(name).to_pylist() for name in schema.TABLES if name != "decisions"},
        decisions=[{"statement": chosen, "by": "ann", "at": "2026-01-01", "reason": "seen"}],
    )
    merge(graphs, propose(graphs, decided))
    rows = {r["object"]: r["rank"] for r in stored(graphs).statements.to_pylist()}
    assert rows["nursultan"] == "preferred"
    assert rows["astana"] == "normal"


def test_shapes_that_main_holds_must_not_be_broken(graphs: Place) -> None:
    file = replace(FILE, shapes="shapes.ttl", policy=("ask",))
    guarded = replace(base(), file=file)
    graphs.write(
        AddBytes("shapes.ttl", SHAPES.encode()),
        *(AddBytes(path, data) for path, data in graph_files(guarded).items()),
    )
    bad = more(guarded, lambda b: b.statement("kz", "capital", object="nursultan", source="b"))
    before = graphs.hub.git.resolve(graphs.repo, "main")
    with pytest.raises(Conflict, match=r"break its shapes .* in 1 places: kz capital: One capital"):
        merge(graphs, propose(graphs, bad))
    # A pull request that brings looser shapes is judged by main's.
    sly = graphs.propose(
        AddBytes("shapes.ttl", b"# nothing\n"),
        *(AddBytes(path, data) for path, data in graph_files(bad).items()),
    )
    with pytest.raises(Conflict, match="break its shapes"):
        merge(graphs, sly)
    assert graphs.hub.git.resolve(graphs.repo, "main") == before
    good = more(guarded, lambda b: b.statement("de", "capital", object="berlin", source="b"))
    merge(graphs, propose(graphs, good))
    assert len(stored(graphs)) == 3


def test_a_pull_request_cannot_choose_its_judge(graphs: Place) -> None:
    file = replace(FILE, shapes="shapes.ttl", policy=("ask",))
    guarded = replace(base(), file=file)
    graphs.write(
        AddBytes("shapes.ttl", SHAPES.encode()),
        *(AddBytes(path, data) for path, data in graph_files(guarded).items()),
    )
    before = graphs.hub.git.resolve(graphs.repo, "main")
    for shapes in ("loose.ttl", None):
        other = replace(guarded, file=replace(file, shapes=shapes))
        bad = more(other, lambda b: b.statement("kz", "capital", object="nursultan", source="b"))
        sly = graphs.propose(
            AddBytes("loose.ttl", b"# nothing\n"),
            *(AddBytes(path, data) for path, data in graph_files(bad).items()),
        )
        with pytest.raises(Conflict, match=r"break its shapes \('shapes.ttl'\)"):
            merge(graphs, sly)
    assert graphs.hub.git.resolve(graphs.repo, "main") == before


def test_shapes_that_a_pull_request_brings_are_held_to(graphs: Place) -> None:
    file = replace(FILE, shapes="new.ttl", policy=("ask",))
    start = replace(base(), file=file)
    bad = more(start, lambda b: b.statement("kz", "capital", object="nursultan", source="b"))
    pull = graphs.propose(
        AddBytes("new.ttl", SHAPES.encode()),
        *(AddBytes(path, data) for path, data in graph_files(bad).items()),
    )
    with pytest.raises(Conflict, match=r"break its shapes \('new.ttl'\)"):
        merge(graphs, pull)
    with pytest.raises(Conflict, match=r"names the shapes 'none.ttl', which are not there"):
        merge(graphs, propose(graphs, replace(base(), file=replace(FILE, shapes="none.ttl"))))


def test_rules_of_main_must_not_be_broken(graphs: Place) -> None:
    ruled = replace(FILE, predicates={"capital": Predicate(functional=True, domain=("Country",))})
    start = replace(base(), file=ruled)
    graphs.write(*(AddBytes(path, data) for path, data in graph_files(start).items()))

    def add(b: Builder) -> None:
        b.entity("rhine", types=["River"])
        b.statement("rhine", "capital", object="bonn", source="b")

    said = "break its rules .* of the type Country; rhine is of River"
    with pytest.raises(Conflict, match=said):
        merge(graphs, propose(graphs, more(start, add)))
    # Nor does it help to strike the rule in the same pull request.
    with pytest.raises(Conflict, match=said):
        merge(graphs, propose(graphs, more(replace(start, file=FILE), add)))
    good = more(start, lambda b: b.statement("fr", "borders", object="kz", source="b"))
    merge(graphs, propose(graphs, good))


def test_statements_that_pass_for_others_are_refused(graphs: Place) -> None:
    import pyarrow as pa

    start = base()
    ids = [f"{number:032x}" for number in range(len(start))]
    place = start.statements.schema.get_field_index("id")
    field = start.statements.schema.field(place)
    forged = start.with_tables(
        statements=start.statements.set_column(place, field, pa.array(ids, pa.string()))
    )
    with pytest.raises(Conflict, match="the pull request: row 1 of statements has the identifier"):
        merge(graphs, propose(graphs, forged))


def test_a_graph_yaml_that_disagrees_is_a_conflict(graphs: Place) -> None:
    files = [
        replace(FILE, sources={**FILE.sources, "a": Source(trust=trust)}) for trust in (0.1, 0.8)
    ]
    first, second = [propose(graphs, replace(base(), file=file)) for file in files]
    merge(graphs, first)
    with pytest.raises(Conflict, match=r"graph\.yaml"):
        merge(graphs, second)


def test_deleting_the_tables_is_not_a_merge_of_graphs(graphs: Place) -> None:
    pull = graphs.propose(Delete("graph/statements.parquet"), Delete("graph/entities.parquet"))
    merge(graphs, pull)
    oid = graphs.hub.git.resolve(graphs.repo, "main")
    paths = {entry.path for entry in graphs.hub.git.tree(graphs.repo, oid, recursive=True)}
    assert "graph/statements.parquet" not in paths
