# SPDX-License-Identifier: Apache-2.0
"""Identifiers as IRIs and back: full ones stay, prefixed ones are spelled out, others quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

LOCAL = "urn:plait:"
"""What stands before an identifier that is no IRI."""
VOCABULARY = "urn:plait:vocabulary:"
"""The names of the columns of a statement, in RDF."""

_IRI = re.compile(r"(https?|urn|ftp|mailto|tag|doi|info):[^\s<>\"{}|\\^`]+\Z", re.IGNORECASE)
_KEPT = 1 << 16
"""Identifiers that are kept when they have been made; files name the same ones again and again."""
_BAD = re.compile(r"[\s<>\"{}|\\^`\x00-\x20]")


class Names:
    """Translates identifiers by a graph's prefixes."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        self._prefixes = dict(prefixes)
        self._known: dict[str, str] = {}
        # The longest address first, so that a nested one wins.
        self._spelled = sorted(
            ((at, name) for name, at in prefixes.items()), key=lambda one: -len(one[0])
        )

    def iri(self, identifier: str) -> str:
        """Return an identifier's IRI."""
        if _IRI.match(identifier):
            return identifier
        prefix, colon, rest = identifier.partition(":")
        if colon and prefix in self._prefixes and not _BAD.search(rest):
            spelled = self._prefixes[prefix] + rest
            if self.identifier(spelled) == identifier:
                return spelled
        return LOCAL + quote(identifier, safe="")

    def identifier(self, iri: str) -> str:
        """Return the identifier of an IRI; the other way round of `iri`."""
        found = self._known.get(iri)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[iri] = self._identifier(iri)
        return found

    def _identifier(self, iri: str) -> str:
        if iri.startswith(LOCAL):
            return unquote(iri[len(LOCAL) :])
        for at, name in self._spelled:
            if iri.startswith(at) and len(iri) > len(at):
                return f"{name}:{iri[len(at) :]}"
        return iri
