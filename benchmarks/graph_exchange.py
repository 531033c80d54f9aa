# SPDX-License-Identifier: Apache-2.0
"""A million statements out and in again through every format, beside the libraries used directly.

A random graph (a tenth as many entities as statements, heavy-tailed degrees, a fifth of the
statements literals) is written in each format and read again, each in a process of its own. What
came back is compared with what went out, as far as the format can hold it. The peers hold the same
file in their own structures: Oxigraph in a store in memory, NetworkX in a multigraph, rdflib in a
graph, fastobo in its frames; rdflib, which does not read RDF 1.2, gets files without what is said
about statements. Over Bolt the graph goes into ArcadeDB, whose own costs are told apart. Writes
``benchmarks/results/graph-exchange.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
from measure import machine, process_cpu, process_peak

if TYPE_CHECKING:
    from plait.graphs.graph import Graph

RESULT = Path(__file__).parent / "results" / "graph-exchange.json"
SUFFIXES = {
    "csv": "csv", "tsv": "tsv", "ntriples": "nt", "nquads": "nq", "turtle": "ttl", "trig": "trig",
    "jsonld": "jsonld", "rdfxml": "rdf", "graphml": "graphml", "gexf": "gexf", "cypher": "cypher",
    "obo": "obo",
}  # fmt: skip
PEERS = {
    "ntriples": ("Oxigraph", "rdflib"), "nquads": ("Oxigraph",), "turtle": ("Oxigraph", "rdflib"),
    "trig": ("Oxigraph",), "jsonld": ("Oxigraph",), "rdfxml": ("Oxigraph",),
    "graphml": ("NetworkX",), "gexf": ("NetworkX",), "obo": ("fastobo",),
}  # fmt: skip
SAID = ["subject", "predicate", "object", "value", "datatype", "language"]
PREDICATES = [f"relation {number}" for number in range(20)]
LITERALS = {"weight": "double", "founded": "integer", "opened": "date", "motto": "langString"}
SOURCES = ("a", "b", "c", "d")


def drawn(statements: int, seed: int = 1) -> Graph:
    """Draw a graph."""
    from plait.graphs.graph import Builder
    from plait.recipes.graph import GraphFile, Source

    chance = random.Random(seed)
    builder = Builder(GraphFile(sources={one: Source() for one in SOURCES}))
    count = max(10, statements // 10)
    words = ["".join(chance.choices("abdefgilmnorstu", k=6)) for _ in range(3_000)]
    for number in range(count):
        name = f"{chance.choice(words)} {chance.choice(words)} {number}"
        builder.entity(f"e{number}", types=[f"T{number % 7}"])
        builder.label(f"e{number}", name, language="en", source="a")
    held: set[str] = set()
    for number in range(statements // 5):
        # Each entity has each of these once: formats that join several values keep them apart.
        predicate = list(LITERALS)[number % 4]
        text = {
            "weight": str(chance.random()), "founded": str(chance.randrange(3_000)),
            "opened": f"20{chance.randrange(10, 25)}-0{chance.randrange(1, 10)}-11",
            "motto": " ".join(chance.choices(words, k=5)),
        }[predicate]  # fmt: skip
        held.add(
            builder.statement(
                f"e{number // 4 % count}", predicate, value=text, datatype=LITERALS[predicate],
                language="en" if predicate == "motto" else None, **_about(chance),
            )
        )  # fmt: skip
    while len(held) < statements:
        held.add(
            builder.statement(
                f"e{chance.randrange(count)}", chance.choice(PREDICATES),
                object=f"e{int(count * chance.random() ** 3)}", **_about(chance),
            )
        )  # fmt: skip
    return builder.build()


def _about(chance: random.Random) -> dict[str, Any]:
    return {
        "source": chance.choice(SOURCES),
        "confidence": round(chance.random(), 3),
        "recorded": f"20{chance.randrange(10, 25)}-05" if chance.random() < 0.5 else None,
        "evidence": ["It was said there."] if chance.random() < 0.02 else [],
    }


def write_ontology(path: Path, statements: int, seed: int = 1) -> int:
    """Write an ontology in OBO with so many statements; return how many Plait should find."""
    chance = random.Random(seed)
    terms = statements // 10
    with path.open("w") as out:
        out.write("format-version: 1.4\nontology: drawn\n")
        for relation in range(5):
            out.write(f"\n[Typedef]\nid: relation_{relation}\nname: relation {relation}\n")
        for number in range(terms):
            out.write(f"\n[Term]\nid: X:{number:07}\nname: term {number}\n")
            out.write(f'def: "The term of number {number}." []\n')
            out.write(f'synonym: "number {number}" EXACT []\nxref: Y:{number}\n')
            # Of one term no two lines are the same.
            for place, other in enumerate(chance.sample(range(terms), 8)):
                if place < 3:
                    out.write(f"is_a: X:{other:07}\n")
                else:
                    out.write(f"relationship: relation_{place - 3} X:{other:07}\n")
    return terms * 10


class Spent:
    """What the step in a ``with`` took of this process."""

    def __enter__(self) -> Spent:
        self.before_mb = process_peak(os.getpid()) >> 20
        self._wall, self._cpu = time.perf_counter(), _cpu()
        return self

    def __exit__(self, *error: object) -> None:
        self.found = {
            "seconds": round(time.perf_counter() - self._wall, 2),
            "cpu_seconds": round(_cpu() - self._cpu, 2),
            "peak_mb": process_peak(os.getpid()) >> 20,
            "peak_mb_before": self.before_mb,
        }


def _cpu() -> float:
    used = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def plait(name: str, step: str, folder: Path) -> dict[str, Any]:
    """Write or read as ``plait graph export`` and ``import`` do."""
    from plait.graphs.exchange import export_graph, import_graph
    from plait.graphs.storage import read_graph

    path = folder / f"graph.{SUFFIXES[name]}"
    if step == "bare":
        bare = folder / f"bare.{SUFFIXES[name]}"
        export_graph(read_graph(folder / "graph"), bare, format=name, annotations=False)
        return {}
    if step == "write":
        graph = read_graph(folder / "graph")
        with Spent() as spent:
            export_graph(graph, path, format=name)
        found = {**spent.found, "bytes": path.stat().st_size}
        if name == "cypher":
            found["kept"] = said_by_script(path, graph)
        return found
    with Spent() as spent:
        made = import_graph(path, source="elsewhere", format=name).graph
    return {**spent.found, "kept": kept(name, made, folder), "statements": len(made)}


def kept(name: str, made: Graph, folder: Path) -> str:
    """Compare what came back with what went out, and say what was compared.

    Raises:
        AssertionError: it is not the same.
    """
    import pyarrow.compute as pc

    from plait.graphs.storage import read_graph

    if name == "obo":
        expected = json.loads((folder / "facts.json").read_text())["ontology"]
        # A name and a synonym of each term are no statements, but labels.
        labels = pc.sum(pc.list_value_length(made.entities.column("labels"))).as_py()
        assert len(made) + labels - 5 == expected + 2 * expected // 10, (len(made), labels)
        return "the count of statements and names"
    graph = read_graph(folder / "graph")
    if name in ("csv", "tsv", "ntriples", "nquads", "turtle", "trig"):
        assert made.statements.equals(graph.statements)
        if name in ("csv", "tsv"):
            return "statements whole"
        _same(_labels(made, name in ("nquads", "trig")), _labels(graph, name in ("nquads", "trig")))
        assert made.entities.column("types").equals(graph.entities.column("types"))
        return "statements whole, names, types"
    if name in ("jsonld", "rdfxml"):
        columns = [*SAID, "source"] if name == "jsonld" else SAID
        _same(made.statements.select(columns), graph.statements.select(columns))
        _same(_labels(made, name == "jsonld"), _labels(graph, name == "jsonld"))
        return "what is said" + (", and by which source" if name == "jsonld" else "")
    about = ["source", "rank", "confidence", "valid_from", "valid_to"]
    about += ["recorded", "licence"] if name == "graphml" else []
    for entity, columns in (
        (True, ["subject", "predicate", "object", *about]),
        (False, ["subject", "predicate", "value"]),
    ):
        tables = []
        for one in (made, graph):
            is_entity = pc.equal(one.statements.column("datatype"), "entity")
            chosen = is_entity if entity else pc.invert(is_entity)
            tables.append(one.statements.filter(chosen).select(columns))
        _same(*tables)
    return "relationships but for their evidence, texts of literals"


def _labels(graph: Graph, with_source: bool) -> Any:
    import pyarrow as pa

    rows = [
        {
            "id": row["id"],
            **{key: value for key, value in one.items() if with_source or key != "source"},
        }
        for row in graph.entities.select(["id", "labels"]).to_pylist()
        for one in row["labels"]
    ]
    return pa.Table.from_pylist(rows)


def _same(a: Any, b: Any) -> None:
    """Compare two tables as sets of rows."""
    columns = a.column_names
    keys = [(column, "ascending") for column in columns]
    sets = [one.group_by(columns).aggregate([]).select(columns).sort_by(keys) for one in (a, b)]
    assert sets[0].num_rows == sets[1].num_rows, (sets[0].num_rows, sets[1].num_rows)
    assert sets[0].combine_chunks().equals(sets[1].combine_chunks()), "other rows"


def said_by_script(path: Path, graph: Graph) -> str:
    """Check that a Cypher script names every statement's identifier, in both places it may be."""
    found: set[str] = set()
    # A literal's statement is JSON within a text, a relationship's a property.
    told = re.compile(r"""(?:`id`: '|"id": ")([0-9a-f]{32})['"]""")
    with path.open() as lines:
        for line in lines:
            found.update(told.findall(line))
    assert found == set(graph.statements.column("id").to_pylist())
    return "the identifier of every statement"


def oxigraph(name: str, folder: Path) -> list[dict[str, Any]]:
    """Load the file that Plait wrote into a store in memory, and write that store."""
    import pyoxigraph as ox

    formats = {"ntriples": "N_TRIPLES", "nquads": "N_QUADS", "turtle": "TURTLE", "trig": "TRIG",
               "jsonld": "JSON_LD", "rdfxml": "RDF_XML"}  # fmt: skip
    format = getattr(ox.RdfFormat, formats[name])
    path, out = folder / f"graph.{SUFFIXES[name]}", folder / f"peer.{SUFFIXES[name]}"
    store = ox.Store()
    graphs = None if name in ("nquads", "trig", "jsonld") else ox.DefaultGraph()
    with Spent() as read:
        store.load(path=str(path), format=format)
    with Spent() as written:
        store.dump(str(out), format=format, from_graph=graphs)
    return [{**written.found, "bytes": out.stat().st_size}, {**read.found, "held": len(store)}]


def rdflib(name: str, folder: Path) -> list[dict[str, Any]]:
    """Hold the bare triples in rdflib's graph."""
    import rdflib as peer

    kind = {"ntriples": "nt", "turtle": "turtle"}[name]
    path, out = folder / f"bare.{SUFFIXES[name]}", folder / f"peer.{SUFFIXES[name]}"
    child("--run", name, "Plait", "bare", "--folder", str(folder))
    graph = peer.Graph()
    with Spent() as read:
        graph.parse(path, format=kind)
    with Spent() as written:
        graph.serialize(out, format=kind, encoding="utf-8")
    return [{**written.found, "bytes": out.stat().st_size}, {**read.found, "held": len(graph)}]


def networkx(name: str, folder: Path) -> list[dict[str, Any]]:
    """Hold the file that Plait wrote in NetworkX's multigraph, and write that."""
    import networkx as nx

    path, out = folder / f"graph.{SUFFIXES[name]}", folder / f"peer.{SUFFIXES[name]}"
    with Spent() as read:
        if name == "gexf":
            graph = nx.read_gexf(path, version="1.3")
        else:
            graph = nx.read_graphml(path, force_multigraph=True)
    with Spent() as written:
        (nx.write_gexf if name == "gexf" else nx.write_graphml)(graph, out)
    held = graph.number_of_edges()
    return [{**written.found, "bytes": out.stat().st_size}, {**read.found, "held": held}]


def fastobo(name: str, folder: Path) -> list[dict[str, Any]]:
    """Hold the ontology's frames, each with its clauses."""
    import fastobo as peer

    with Spent() as read:
        frames = list(peer.iter(str(folder / "graph.obo"), ordered=True))
    return [{**read.found, "held": sum(len(list(one)) for one in frames)}]


ARCADE = """
import sys, time
from arcadedb_embedded.server import ArcadeDBServer
root, password, port = sys.argv[1:]
server = ArcadeDBServer(root, password, {
    "host": "127.0.0.1", "http_port": 0, "bolt_host": "127.0.0.1", "bolt_port": int(port),
    "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin"})
server.start()
server.create_database("graph")
print("ready", flush=True)
time.sleep(36000)
"""


@contextmanager
def arcade(folder: Path) -> Iterator[tuple[Any, int]]:
    """Start ArcadeDB with its Bolt plugin; yield where it answers and its process."""
    from plait.graphs.exchange.bolt import Server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    password = secrets.token_hex(8)
    process = subprocess.Popen(
        [sys.executable, "-c", ARCADE, str(folder / "arcade"), password, str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
        env={**os.environ, "ARCADEDB_JVM_MAX_HEAP": "4g"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                break
        yield Server(f"bolt://127.0.0.1:{port}", "root", password, "graph"), process.pid
    finally:
        process.terminate()
        process.wait()


def bolt(folder: Path, statements: int) -> list[dict[str, Any]]:
    """Send a graph to ArcadeDB and receive it again; the graph is whole afterwards."""
    from plait.graphs import schema
    from plait.graphs.exchange.bolt import send
    from plait.graphs.exchange.receiving import receive

    graph = drawn(statements)
    rows = []
    with arcade(folder) as (server, pid):
        for step in ("write", "read"):
            before = process_cpu(pid)
            with Spent() as spent:
                if step == "write":
                    send(graph, server)
                else:
                    spool = folder / "spool"
                    made = receive(server, source="x", file=graph.file, spool=spool).graph
            rows.append(
                {"format": "bolt", "step": step, "who": "Plait", **spent.found,
                 "server_cpu_seconds": round(process_cpu(pid) - before, 1),
                 "server_peak_mb": process_peak(pid) >> 20}
            )  # fmt: skip
    assert all(made.table(name).equals(graph.table(name)) for name in schema.TABLES)
    rows[1] |= {"kept": "the graph whole", "statements": len(made)}
    return rows


def run(name: str, who: str, step: str, folder: Path) -> list[dict[str, Any]]:
    """Measure a step of Plait, or a peer's reading and writing, in this process."""
    if who == "Plait":
        return [{"format": name, "who": who, "step": step, **plait(name, step, folder)}]
    rows = globals()[who.lower()](name, folder)
    steps = ("write", "read") if len(rows) == 2 else ("read",)
    return [
        {"format": name, "who": who, "step": step, **row}
        for step, row in zip(steps, rows, strict=True)
    ]


def prepare(folder: Path, statements: int) -> None:
    """Draw the graph and the ontology."""
    from plait.graphs.storage import write_graph

    graph = drawn(statements)
    write_graph(graph, folder / "graph")
    facts = {
        "statements": len(graph),
        "entities": graph.entities.num_rows,
        "ontology": write_ontology(folder / "graph.obo", statements),
    }
    (folder / "facts.json").write_text(json.dumps(facts))


def child(*arguments: str) -> Any:
    """Run a part in a process of its own and return what it found."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def say(row: dict[str, Any], plait: dict[str, Any] | None) -> None:
    """Print a row, and a peer's as a ratio of Plait's."""
    ratio = ""
    if plait is not None and row["who"] != "Plait":
        ratio = (
            f"  {row['cpu_seconds'] / max(plait['cpu_seconds'], 0.01):.2f} of Plait's CPU, "
            f"{row['peak_mb'] / plait['peak_mb']:.2f} of its memory"
        )
    size = f"  {row['bytes'] / 1e6:,.0f} MB written" if "bytes" in row else ""
    same = f"  same: {row['kept']}" if "kept" in row else ""
    print(
        f"{row['format']:<9} {row['step']:<6} {row['who']:<9} {row['cpu_seconds']:8.1f} CPU s "
        f"{row['peak_mb']:7,} MB{size}{ratio}{same}",
        flush=True,
    )


def main() -> None:
    """Measure all formats, or those that are named, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=1_000_000)
    parser.add_argument("--bolt", type=int, default=200_000, help="Statements over Bolt; 0: none.")
    parser.add_argument("--formats", default=",".join(SUFFIXES), help="Names, with commas between.")
    parser.add_argument("--alone", action="store_true", help="Without the peers.")
    parser.add_argument("--keep", action="store_true", help="Keep other formats' former results.")
    parser.add_argument("--folder", type=Path, help="Where files lie meanwhile; kept if given.")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--run", nargs=3, metavar=("FORMAT", "WHO", "STEP"))
    given = parser.parse_args()
    if given.run:
        name, who, step = given.run
        if name == "prepare":
            prepare(given.folder, given.statements)
            print("{}")
        else:
            print(json.dumps(run(name, who, step, given.folder)))
        return
    formats = [one for one in given.formats.split(",") if one]
    with tempfile.TemporaryDirectory() as place:
        folder = given.folder or Path(place)
        folder.mkdir(exist_ok=True)
        where = ["--folder", str(folder)]
        if not (folder / "facts.json").exists():
            child("--run", "prepare", "x", "x", *where, "--statements", str(given.statements))
        rows: list[dict[str, Any]] = []
        for name in formats:
            steps = {"cypher": ("write",), "obo": ("read",)}.get(name, ("write", "read"))
            ours: dict[str, Any] = {}
            for step in steps:
                ours[step] = child("--run", name, "Plait", step, *where)[0]
                say(ours[step], None)
            rows += ours.values()
            for who in () if given.alone else PEERS.get(name, ()):
                for row in child("--run", name, who, "both", *where):
                    rows.append(row)
                    say(row, ours[row["step"]])
            for one in folder.glob("*." + SUFFIXES[name]):
                if name != "obo":
                    one.unlink()
        if given.bolt:
            rows += (found := bolt(folder, given.bolt))
            for row in found:
                say(row, None)
        facts = json.loads((folder / "facts.json").read_text())
    if given.keep and given.out.exists():
        measured = {(row["format"], row["who"]) for row in rows}
        former = json.loads(given.out.read_text())
        rows += [row for row in former["rows"] if (row["format"], row["who"]) not in measured]
        given.bolt = given.bolt or former["bolt"]
    order = [*SUFFIXES, "bolt"]
    whos = ["Plait", *dict.fromkeys(one for held in PEERS.values() for one in held)]
    rows.sort(key=lambda row: (order.index(row["format"]), whos.index(row["who"])))
    found = {"benchmark": "graph-exchange", **facts, "bolt": given.bolt, "machine": machine(),
             "rows": rows}  # fmt: skip
    given.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
