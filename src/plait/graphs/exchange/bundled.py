# SPDX-License-Identifier: Apache-2.0
"""The data sets that PyKEEN's package carries: Nations, Kinships and UMLS, as triples with tabs.

PyKEEN itself is not imported. The three files of the published split become three sources, so that
learning can be measured on the split that others report (`split_by_sources`). Nations is Rummel's,
Kinships Denham's, UMLS the Semantic Network (McCray 2003), all as prepared by Kemp et al. (2006).
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from plait.errors import BadInput, MissingExtra
from plait.graphs.exchange.formats import Imported, Progress
from plait.graphs.graph import Builder
from plait.recipes.graph import GraphFile, Predicate, Source

PREFIX = "pykeen:"
SETS = ("kinships", "nations", "umls")
PARTS = ("train", "valid", "test")


def import_bundled(
    name: str,
    *,
    file: GraphFile | None = None,
    licence: str = "",
    progress: Progress = lambda done, stage: None,
) -> Imported:
    """Read one of the sets, named as ``pykeen:umls``; its sources are ``umls-train`` and so on.

    Raises:
        BadInput: there is no such set, or its file is damaged; with the line.
        MissingExtra: PyKEEN's package is not installed.
    """
    chosen = name.removeprefix(PREFIX)
    if chosen not in SETS:
        raise BadInput(
            f"PyKEEN's package has no set '{chosen}'; sets are "
            f"{', '.join(PREFIX + one for one in SETS)}."
        )
    found = find_spec("pykeen")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("pykeen", "graph-learn")
    folder = Path(found.submodule_search_locations[0]) / "datasets" / chosen
    given = file or GraphFile()
    sources = {
        f"{chosen}-{part}": Source(f"{chosen} ({part}) in PyPI pykeen", licence=licence)
        for part in PARTS
    }
    predicates = dict(given.predicates)
    made = Imported(
        Builder(
            replace(
                given,
                title=given.title or chosen,
                sources={**given.sources, **sources},
                predicates=predicates,
            )
        ),
        chosen,
    )
    done = 0
    for part in PARTS:
        path = folder / f"{part}.txt"
        if not path.is_file():
            raise BadInput(f"This version of PyKEEN has no {chosen}/{part}.txt.")
        source = f"{chosen}-{part}"
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                fields = line.rstrip("\n").split("\t")
                if len(fields) != 3 or not all(fields):
                    raise BadInput(f"{path}, line {number:,}: it is no triple.")
                subject, predicate, target = fields
                predicates.setdefault(
                    predicate, Predicate(label={"en": spoken(predicate)}, datatype="entity")
                )
                for one in (subject, target):
                    made.builder.label(one, spoken(one), language="en", source=source)
                made.builder.statement(subject, predicate, object=target, source=source)
                done += 1
        progress(done, f"reading {chosen}")
    return made


def spoken(name: str) -> str:
    """Return a name as words: ``disease_or_syndrome`` is "disease or syndrome"."""
    return name.replace("_", " ").strip() or name
