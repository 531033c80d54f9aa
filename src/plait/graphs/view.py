# SPDX-License-Identifier: Apache-2.0
"""What a graph says when its identities are taken for true: each class of entities one, the best
of each disagreement alone. Views are for asking and for learning; nothing is ever stored from them.
"""

from __future__ import annotations

from typing import Any

from plait.graphs import schema
from plait.graphs.graph import Graph
from plait.graphs.identity import Identities, resolve
from plait.graphs.merging.union import unite_entities


def collapsed(graph: Graph, identities: Identities | None = None) -> Graph:
    """Return the graph with one entity for each class of identities.

    Statements keep their own identifiers, so that what is seen in a view is found in the graph;
    identity claims are left out.
    """
    identities = identities or resolve(graph)
    if not identities.representative:
        return graph
    entities = graph.entities
    place = entities.schema.get_field_index("id")
    entities = entities.set_column(
        place, entities.schema.field(place), _mapped(entities.column("id"), identities)
    )
    statements = graph.statements
    for name in ("subject", "object"):
        place = statements.schema.get_field_index(name)
        statements = statements.set_column(
            place, statements.schema.field(place), _mapped(statements.column(name), identities)
        )
    order = [(column, "ascending") for column in schema.ORDER["statements"]]
    return Graph(
        unite_entities([entities]),
        statements.sort_by(order).combine_chunks(),
        schema.schema("identities").empty_table(),
        graph.decisions,
        graph.file,
    )


def truthy(graph: Graph) -> Graph:
    """Return the graph without what is deprecated and without what another value is preferred to.

    As Wikidata's "truthy" statements: of one subject and predicate the preferred ones, if there are
    any, else the normal ones.
    """
    pa = schema.arrow()
    import pyarrow.compute as pc

    table = graph.statements
    preferred = table.filter(pc.equal(table.column("rank"), schema.PREFERRED))
    normal = table.filter(pc.equal(table.column("rank"), schema.NORMAL))
    if preferred.num_rows:
        better = pc.is_in(_pairs(normal), value_set=pc.unique(_pairs(preferred)))
        normal = normal.filter(pc.invert(better))
    order = [(column, "ascending") for column in schema.ORDER["statements"]]
    made = pa.concat_tables([preferred, normal]).sort_by(order).combine_chunks()
    return Graph(graph.entities, made, graph.identities, graph.decisions, graph.file)


def _pairs(table: Any) -> Any:
    """Return each row's subject and predicate as one text; a line break is in neither."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(table.column("subject"), table.column("predicate"), "\n")


def _mapped(column: Any, identities: Identities) -> Any:
    """Replace the members of classes by who stands for them."""
    pa = schema.arrow()
    import pyarrow.compute as pc

    members = pa.array(list(identities.representative), pa.string())
    stands = pa.array(list(identities.representative.values()), pa.string())
    found = pc.index_in(column, value_set=members)
    return pc.if_else(pc.is_valid(found), pc.take(stands, found), column)
