# SPDX-License-Identifier: Apache-2.0
"""What is written is read again, by us and by the libraries that others use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from plait.errors import BadInput
from plait.graphs import schema
from plait.graphs.exchange import export_graph, import_graph, rdf
from plait.graphs.exchange.names import Names
from plait.graphs.graph import Builder, Graph
from plait.recipes.graph import GraphFile, Predicate

from ..drawing import FILE, graphs

GRAMMAR = str(Path(__file__).with_name("gexf.rng"))
LAWS = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def sample() -> Graph:
    builder = Builder(GraphFile(prefixes={"ex": "https://example.org/"}))
    builder.label("berlin", "Berlin", language="de", source="a")
    builder.label("berlin", "Spree-Athen <&> \"'", language="de", source="a", main=False)
    builder.entity("berlin", types=["ex:City"])
    builder.statement(
        "berlin", "population", value="3677472", datatype="integer", source="a", confidence=0.5
    )
    builder.statement(
        "berlin", "population", value="3600000", datatype="integer", source="b",
        rank="deprecated", evidence=["once upon a time"],
    )  # fmt: skip
    builder.statement("berlin", "lies in", object="https://x.org/Germany", source="b")
    builder.statement("berlin", "ex:twin", object="ex:Paris", source="b", recorded="2020")
    builder.statement(
        "berlin", "motto", value="hallo\n\x0bWelt", datatype="langString", language="de", source="b"
    )
    return builder.build()


@pytest.mark.parametrize("suffix", ["nt", "nq", "ttl", "trig"])
@LAWS
@given(graph=graphs())
def test_rdf_with_quoted_triples_loses_nothing_of_a_statement(
    suffix: str, graph: Graph, tmp_path: Path
) -> None:
    path = export_graph(graph, tmp_path / f"graph.{suffix}")
    again = import_graph(path, source="elsewhere", file=FILE).graph
    assert again.statements.equals(graph.statements)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@LAWS
@given(graph=graphs())
def test_tables_lose_nothing_of_a_statement(suffix: str, graph: Graph, tmp_path: Path) -> None:
    path = export_graph(graph, tmp_path / f"graph.{suffix}")
    assert import_graph(path, source="x", file=FILE).graph.statements.equals(graph.statements)


@pytest.mark.parametrize("suffix", ["jsonld", "rdf"])
def test_plainer_rdf_keeps_what_is_said(suffix: str, tmp_path: Path) -> None:
    path = export_graph(sample(), tmp_path / f"graph.{suffix}")
    again = import_graph(path, source="a", file=sample().file).graph
    said = {
        (r["subject"], r["predicate"], r["object"] or r["value"])
        for r in again.statements.to_pylist()
    }
    assert ("berlin", "ex:twin", "ex:Paris") in said
    assert ("berlin", "population", "3677472") in said
    assert ("berlin", "population", "3600000") not in said, "what is deprecated is not asserted"


def test_other_libraries_read_our_rdf(tmp_path: Path) -> None:
    rdflib = pytest.importorskip("rdflib")
    path = export_graph(sample(), tmp_path / "graph.ttl", annotations=False)
    found = rdflib.Graph().parse(path)
    label = rdflib.RDFS.label
    assert rdflib.Literal("Berlin", lang="de") in list(found.objects(predicate=label))
    twin, paris = (rdflib.URIRef(f"https://example.org/{name}") for name in ("twin", "Paris"))
    assert (None, twin, paris) in found


def test_rdf_of_others_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.ttl"
    path.write_text(
        "@prefix ex: <https://example.org/> . @prefix owl: <http://www.w3.org/2002/07/owl#> .\n"
        "@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .\n"
        "@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n"
        'ex:a a ex:Thing ; rdfs:label "A"@en ; owl:sameAs ex:b ; ex:size "5"^^xsd:int ; '
        'ex:born "soon"^^xsd:date ; ex:odd "1"^^ex:unit ; ex:knows _:someone .\n'
    )
    made = import_graph(path, source="x", file=GraphFile(prefixes={"ex": "https://example.org/"}))
    graph = made.graph
    rows = {r["predicate"]: r for r in graph.statements.to_pylist()}
    assert (rows["ex:size"]["value"], rows["ex:size"]["datatype"]) == ("5", "integer")
    assert rows["ex:born"]["datatype"] == "string"
    assert rows["ex:knows"]["object"].startswith("_:")
    assert graph.identities.to_pylist()[0]["b"] == "ex:b"
    entity = next(e for e in graph.entities.to_pylist() if e["id"] == "ex:a")
    assert entity["types"] == ["ex:Thing"]
    assert sum(made.notes.values()) == 2


@pytest.mark.parametrize("version", ["1.3", "1.2"])
def test_gexf_is_what_its_readers_and_its_schema_expect(version: str, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    path = export_graph(sample(), tmp_path / "graph.gexf", version=version)
    read = networkx.read_gexf(path, version={"1.3": "1.3", "1.2": "1.2draft"}[version])
    assert read.nodes["berlin"]["label"] == "Berlin"
    assert read.nodes["berlin"]["population"] == "3677472"
    assert read.number_of_edges() == 2
    edge = next(data for *_, data in read.edges(data=True) if data["predicate"] == "ex:twin")
    assert edge["source"] == "b"
    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed")
    grammar = etree.RelaxNG(etree.parse(GRAMMAR))
    assert grammar.validate(etree.parse(path)), grammar.error_log
    schemas = os.environ.get("PLAIT_GEXF_SCHEMAS")
    if schemas:
        # The folder `specs` of https://github.com/gephi/gexf, which no package holds.
        name = {"1.3": "1.3", "1.2": "1.2draft"}[version]
        found = etree.XMLSchema(etree.parse(f"{schemas}/{name}/gexf.xsd"))
        assert found.validate(etree.parse(path)), found.error_log


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('mode="static"', 'mode="still"'),
        ('class="node"', 'class="vertex"'),
        ('type="double"', 'type="number"'),
        ("<size value", "<weight value"),
        (' id="berlin"', ""),
        ("http://gexf.net/1.3", "http://gexf.net/2.0"),
    ],
)
def test_the_grammar_refuses_what_is_no_gexf(said: str, instead: str, tmp_path: Path) -> None:
    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed")
    text = export_graph(sample(), tmp_path / "graph.gexf").read_text()
    assert said in text
    broken = text.replace(said, instead)
    grammar = etree.RelaxNG(etree.parse(GRAMMAR))
    assert not grammar.validate(etree.fromstring(broken.encode()))


@pytest.mark.parametrize("version", ["1.3", "1.2"])
def test_gexf_comes_back(version: str, tmp_path: Path) -> None:
    path = export_graph(sample(), tmp_path / "graph.gexf", version=version)
    made = import_graph(path, source="a").graph
    rows = {
        (r["subject"], r["predicate"], r["object"] or r["value"], r["source"])
        for r in made.statements.to_pylist()
    }
    assert rows == {
        ("berlin", "population", "3677472", "a"),
        ("berlin", "lies in", "https://x.org/Germany", "b"),
        ("berlin", "ex:twin", "ex:Paris", "b"),
        ("berlin", "motto", "hallo\n\ufffdWelt", "a"),
    }
    berlin = next(one for one in made.entities.to_pylist() if one["id"] == "berlin")
    assert (berlin["types"], [one["text"] for one in berlin["labels"]]) == (["ex:City"], ["Berlin"])


def test_gexf_of_others_is_read(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    graph.add_node("a", label="Ann", age=30, height=1.5, glad=True)
    graph.add_edge("a", "b", label="knows", weight=2.0)
    graph.add_edge("b", "a")
    path = tmp_path / "x.gexf"
    networkx.write_gexf(graph, path)
    made = import_graph(path, source="x")
    rows = {(r["subject"], r["predicate"], r["object"] or r["value"], r["datatype"])
            for r in made.graph.statements.to_pylist()}  # fmt: skip
    assert rows == {
        ("a", "age", "30", "integer"),
        ("a", "height", "1.5", "double"),
        ("a", "glad", "true", "boolean"),
        ("a", "knows", "b", "entity"),
        ("b", "related", "a", "entity"),
    }
    path.write_text("<gexf><graph><nodes><node/></nodes></graph></gexf>")
    with pytest.raises(BadInput, match="a node has no id"):
        import_graph(path, source="x")
    path.write_text("<gexf><graph><edges><edge source='a'/></edges></graph></gexf>")
    with pytest.raises(BadInput, match="no source or no target"):
        import_graph(path, source="x")


def test_graphml_is_read_by_others_and_by_us(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    path = export_graph(sample(), tmp_path / "graph.graphml")
    read = networkx.read_graphml(path)
    assert read.nodes["berlin"]["label"] == "Berlin"
    again = import_graph(path, source="b").graph
    edges = {
        (r["subject"], r["predicate"], r["object"])
        for r in again.statements.to_pylist()
        if r["object"]
    }
    assert edges == {
        ("berlin", "lies in", "https://x.org/Germany"),
        ("berlin", "ex:twin", "ex:Paris"),
    }
    other = networkx.DiGraph()
    other.add_node("n1", name="One", size=5)
    other.add_edge("n1", "n2", label="knows")
    networkx.write_graphml(other, tmp_path / "other.graphml")
    rows = import_graph(tmp_path / "other.graphml", source="x").graph.statements.to_pylist()
    assert {(r["predicate"], r["object"] or r["value"], r["datatype"]) for r in rows} == {
        ("knows", "n2", "entity"),
        ("size", "5", "integer"),
    }


def test_xml_that_attacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.graphml"
    path.write_text(
        '<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
        "<graphml><graph><node id='&b;'/></graph></graphml>"
    )
    with pytest.raises(BadInput, match="a document type or entities; remove them"):
        import_graph(path, source="x")
    path.write_text("<graphml><graph>\n<node id='x'>\n</graph></graphml>")
    with pytest.raises(BadInput, match="line 3: it is not XML"):
        import_graph(path, source="x")


def test_a_cypher_script_cannot_be_broken_out_of(tmp_path: Path) -> None:
    builder = Builder()
    builder.statement("x' }) DETACH DELETE n //", "p`]->() DELETE r //", object="\\", source="a")
    builder.statement("x", "q", value="'; MATCH (n) DETACH DELETE n; //\n", source="a")
    text = export_graph(builder.build(), tmp_path / "g.cypher").read_text()
    assert "'x\\' }) DETACH DELETE n //'" in text
    assert "`p``]->() DELETE r //`" in text
    # Every statement is a line of its own: no text ends one.
    assert len(text.strip().splitlines()) == text.count(";\n")
    assert all(line.startswith(("CREATE CONSTRAINT", "UNWIND")) for line in text.splitlines())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.tsv", "a\tb\tc\na\tb\n", "line 2: it has 2 fields where 3 are expected"),
        ("x.csv", "subject,predicate,objekt\na,b,c\n", "no column is called 'objekt'"),
        ("x.csv", "subject,predicate,object\na,,c\n", "line 2: The predicate is empty"),
        ("x.csv", "subject,predicate,value,datatype\na,b,x,integer\n", "line 2: 'x' is no integer"),
        ("x.csv", "subject,predicate,object,confidence\na,b,c,sure\n", "line 2: The confidence"),
        ("x.csv", 'subject,predicate,object\na,b,"c\n', "line"),
        ("x.nt", "<urn:a> <urn:b> <urn:c> .\n<urn:a> <urn:b>\n", "line 3"),
        ("x.ttl", "@prefix ex: <http://e/> .\nex:a ex:b .\n", "line 2"),
        ("x.jsonld", "{", "x.jsonld"),
        ("x.xyz", "", "does not read what ends in '.xyz'"),
    ],
)
def test_malformed_files_are_refused_with_the_line(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        import_graph(path, source="x")


def test_triples_without_a_header_and_known_datatypes(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("a\tknows\tb\na\tage\t30\n")
    file = GraphFile(predicates={"age": Predicate(datatype="integer")})
    rows = import_graph(path, source="x", file=file).graph.statements.to_pylist()
    assert {(r["predicate"], r["object"], r["value"]) for r in rows} == {
        ("knows", "b", None),
        ("age", None, "30"),
    }


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "graph.gexf"
    path.write_text("before")
    with pytest.raises(BadInput, match=r"no version '2\.0'"):
        export_graph(sample(), path, version="2.0")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_identifiers_and_iris_are_one_to_one() -> None:
    names = Names({"ex": "https://example.org/", "exa": "https://example.org/a/"})
    for identifier in (
        "ex:b", "exa:b", "https://other.org/x", "plain", "with space", "ex:with space", "城",
        "urn:isbn:1", "a:b", "exa:",
    ):  # fmt: skip
        assert names.identifier(names.iri(identifier)) == identifier
    assert names.iri("ex:b") == "https://example.org/b"
    assert schema.ENTITY == "entity"


ABOUT = "urn:plait:vocabulary:"
REIFIES = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#reifies>"


def told(path: Path) -> set[tuple[str, str, str, float | None]]:
    rows = import_graph(path, source="x").graph.statements.to_pylist()
    return {(r["subject"], r["object"], r["source"], r["confidence"]) for r in rows}


@pytest.mark.parametrize("order", ["before", "after", "apart", "far"])
def test_what_is_said_of_a_triple_is_found_wherever_it_stands(
    order: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rdf, "WINDOW", 3)
    triple = "<urn:a> <urn:p> <urn:b>"
    asserted = f"{triple} .\n"
    reified = f"_:r {REIFIES} <<( {triple} )>> .\n"
    sure, who = f'_:r <{ABOUT}confidence> "0.5" .\n', f"_:r <{ABOUT}source> <urn:plait:s> .\n"
    others = "".join(f"<urn:c{number}> <urn:p> <urn:d> .\n" for number in range(8))
    path = tmp_path / "x.nt"
    path.write_text(
        {
            "before": reified + sure + who + asserted + others,
            "after": asserted + reified + sure + who + others,
            "apart": asserted + reified + sure + others + who,
            "far": asserted + others + reified + who + sure,
        }[order]
    )
    found = told(path)
    assert ("urn:a", "urn:b", "s", 0.5) in found
    assert len(found) == 9
    # What is only quoted is not said, unless it was and is so no longer.
    path.write_text(others + reified + sure)
    assert len(told(path)) == 8
    path.write_text(others + reified + f'_:r <{ABOUT}rank> "deprecated" .\n')
    assert len(told(path)) == 9


def test_turtle_s_own_way_to_say_something_of_a_triple(tmp_path: Path) -> None:
    path = tmp_path / "x.ttl"
    path.write_text(f"<urn:a> <urn:p> <urn:b> {{| <{ABOUT}confidence> 0.25 |}} , <urn:c> .\n")
    assert told(path) == {("urn:a", "urn:b", "x", 0.25), ("urn:a", "urn:c", "x", None)}
