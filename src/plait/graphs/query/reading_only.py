# SPDX-License-Identifier: Apache-2.0
"""Which Cypher a stranger may send: clauses that read the graph and do nothing else.

The engine runs on a database that is opened for reading alone. That alone would still let a query
read files of the machine (``LOAD FROM``), open other databases (``ATTACH``) or load extensions, so
that every clause that does more than read the graph is refused before the engine sees it.
"""

from __future__ import annotations

import re

from plait.errors import BadInput

MAX_CHARACTERS = 20_000

_FORBIDDEN = {
    **dict.fromkeys(
        ("CREATE", "MERGE", "SET", "DELETE", "DETACH", "REMOVE", "DROP", "ALTER", "FOREACH"),
        "changes a graph; graphs are changed by pull requests",
    ),
    **dict.fromkeys(
        ("LOAD", "COPY", "EXPORT", "IMPORT", "ATTACH", "USE", "INSTALL", "UNINSTALL", "UPDATE"),
        "reaches out of the graph",
    ),
    **dict.fromkeys(
        ("CALL", "BEGIN", "COMMIT", "ROLLBACK", "CHECKPOINT", "COMMENT", "MACRO"),
        "does more than read",
    ),
}
_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
  | (?P<name>`(?:``|[^`])*`)
  | (?P<word>[^\W\d]\w*)
  | (?P<open>'|"|`|/\*)
  | (?P<end>;)
  | (?P<mark>[.:$])
  | (?P<other>\s+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def check_reads_only(query: str) -> str:
    """Return the query if it only reads the graph.

    Raises:
        BadInput: naming the word that does more, or what is left open.
    """
    if len(query) > MAX_CHARACTERS:
        raise BadInput(f"A query may have {MAX_CHARACTERS:,} characters.")
    if not query.strip():
        raise BadInput("The query is empty. Ask, for example: MATCH (a)-[r]->(b) RETURN a, r, b")
    mark = False
    ended = False
    for token in _TOKEN.finditer(query):
        kind = token.lastgroup
        if kind == "open":
            raise BadInput(f"The {token[0]} at character {token.start() + 1} is never closed.")
        if kind in ("comment",) or (kind == "other" and not token[0].strip()):
            continue
        if ended:
            raise BadInput("One query at a time: something follows the ';'.")
        ended = kind == "end"
        # A word behind a point, a colon or a dollar is somebody's property, type or parameter.
        if kind == "word" and not mark and (why := _FORBIDDEN.get(token[0].upper())):
            raise BadInput(
                f"{token[0].upper()} {why}. Put a name that is such a word into backticks."
            )
        mark = kind == "mark"
    return query
