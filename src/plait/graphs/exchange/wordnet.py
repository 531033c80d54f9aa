# SPDX-License-Identifier: Apache-2.0
"""The folder of a WordNet database (``data.noun``, ``data.verb``, …), by wndb(5WN).

Synsets are entities named by their words; pointers are statements, glosses literals. Pointers
between single words keep the words in their evidence, since a synset has several.
"""

from __future__ import annotations

from pathlib import Path

from plait.errors import BadInput
from plait.graphs.exchange.formats import Imported, Progress

_PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_POINTERS = {
    "!": "antonym", "@": "hypernym", "@i": "instance_hypernym", "~": "hyponym",
    "~i": "instance_hyponym", "#m": "member_holonym", "#s": "substance_holonym",
    "#p": "part_holonym", "%m": "member_meronym", "%s": "substance_meronym",
    "%p": "part_meronym", "=": "attribute", "+": "derivationally_related",
    ";c": "domain_topic", "-c": "has_domain_topic", ";r": "domain_region",
    "-r": "has_domain_region", ";u": "domain_usage", "-u": "has_domain_usage", "*": "entails",
    ">": "causes", "^": "also_see", "$": "verb_group", "&": "similar_to", "<": "participle",
    "\\": "pertainym",
}  # fmt: skip
_STEP = 20_000


def read(
    path: Path, into: Imported, *, format: str, progress: Progress, parts: str = "noun,verb,adj,adv"
) -> None:
    """Read a database.

    Args:
        parts: the parts of speech to read.

    Raises:
        BadInput: a file is missing, or a line is not what wndb says; with its number.
    """
    done = 0
    for part in parts.split(","):
        if part not in _PARTS:
            raise BadInput(f"WordNet has no part '{part}'; parts are {', '.join(_PARTS)}.")
        file = path / f"data.{part}"
        if not file.is_file():
            raise BadInput(f"{path} holds no data.{part}; name the folder that does (often dict/).")
        with file.open(encoding="utf-8", errors="strict") as lines:
            for number, line in enumerate(lines, start=1):
                if line.startswith("  "):
                    continue  # the licence, at the head of every file
                try:
                    _synset(into, line)
                except (ValueError, IndexError, KeyError):
                    raise BadInput(f"{file}, line {number:,}: it is no synset.") from None
                done += 1
                if done % _STEP == 0:
                    progress(done, f"reading {part}s")


def _synset(into: Imported, line: str) -> None:
    head, _, gloss = line.partition("|")
    fields = head.split()
    part = "a" if fields[2] == "s" else fields[2]
    identifier = f"wn:{fields[0]}-{part}"
    count = int(fields[3], 16)
    builder, source = into.builder, into.source
    words = [fields[4 + 2 * place].partition("(")[0].replace("_", " ") for place in range(count)]
    builder.entity(identifier, types=[f"synset-{part}"], sources=[source])
    for place, word in enumerate(words):
        builder.label(identifier, word, language="en", source=source, main=place == 0)
    builder.statement(identifier, "gloss", value=gloss.strip(), source=source)
    at = 4 + 2 * count
    for place in range(int(fields[at])):
        symbol, offset, kind, ends = fields[at + 1 + 4 * place : at + 5 + 4 * place]
        evidence = []
        if ends != "0000":
            evidence = [f"word {words[int(ends[:2], 16) - 1]}, to word {int(ends[2:], 16)}"]
        target = f"wn:{offset}-{'a' if kind == 's' else kind}"
        builder.statement(
            identifier, _POINTERS[symbol], object=target, source=source, evidence=evidence
        )
