# SPDX-License-Identifier: Apache-2.0
"""What a merge looks at to flag contamination: its own data sets, and those that a card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plait.cards import parse_card
from plait.collaboration.merging.access import TaskSource
from plait.collaboration.merging.answers import Answers
from plait.collaboration.merging.changes import CARD, Sides
from plait.collaboration.merging.contamination import Flag, overlap, patterns, texts_of
from plait.errors import BadInput, PlaitError
from plait.evaluation import Evaluation
from plait.hub import ANONYMOUS, Hub, Repository, can
from plait.tables import format_of, read_table

MAX_FILES = 8
"""Tables of one data set that are looked through."""
MAX_BYTES = 64 * 2**20
MAX_TEXTS = 200_000
MAX_SETS = 8
"""Data sets of a card that are looked through."""
TRAINING = "train"


def look(
    hub: Hub,
    sides: Sides,
    sources: Sequence[TaskSource],
    judged: Answers,
    searched: Answers | None,
    models: Mapping[str, Evaluation],
    validation: Mapping[str, Evaluation] | None,
    check: Callable[[], None],
) -> list[Flag]:
    """Return the flags of a merge, overlap first.

    Args:
        hub: where.
        sides: of the pull request; its card names data sets.
        sources: of the tasks.
        judged: the gate's items.
        searched: the validation items, where there was a search.
        models: results on the gate's items.
        validation: of base and contribution on the validation items.
        check: raises if the job was cancelled.
    """
    return [
        *of_data(hub, sources, judged, searched, check),
        *of_contribution(hub, sides, sources, judged, models, validation, Known(), check),
    ]


class Known:
    """Texts of data sets that were read, and what overlaps was found, for several contributions."""

    def __init__(self) -> None:
        self.texts: dict[int, list[str]] = {}
        self.flags: dict[tuple[str, int], Flag | None] = {}


def of_data(
    hub: Hub,
    sources: Sequence[TaskSource],
    judged: Answers,
    searched: Answers | None,
    check: Callable[[], None],
) -> list[Flag]:
    """Return the flags that are about the tasks' own data, whatever is merged; see `look`."""
    found: list[Flag | None] = []
    others = {t.task.name: t for t in searched.tasks} if searched is not None else {}
    own = {source.spec.name: source for source in sources}
    for loaded in judged.tasks:
        name, source = loaded.task.name, own[loaded.task.name]
        texts, coarse = texts_of(loaded.task.items), loaded.hidden or source.private
        check()
        if name in others:
            where, seen = "the validation items", texts_of(others[name].task.items)
            found.append(overlap(name, texts, seen, where, coarse=coarse))
            check()
        training = _committed(hub, source, TRAINING)
        where = "the training items of its own data set"
        found.append(overlap(name, texts, training, where, coarse=coarse))
    return [flag for flag in found if flag is not None]


def of_contribution(
    hub: Hub,
    sides: Sides,
    sources: Sequence[TaskSource],
    judged: Answers,
    models: Mapping[str, Evaluation],
    validation: Mapping[str, Evaluation] | None,
    known: Known,
    check: Callable[[], None],
) -> list[Flag]:
    """Return the flags that are about one contribution; see `look`."""
    found: list[Flag | None] = []
    own = {source.spec.name: source for source in sources}
    named = _named_sets(hub, sides)
    for loaded in judged.tasks:
        name, source = loaded.task.name, own[loaded.task.name]
        for dataset in named:
            if dataset.id == source.dataset.id:
                continue
            check()
            if dataset.id not in known.texts:
                known.texts[dataset.id] = _texts(hub, dataset, hub.git.head(dataset))
            if (name, dataset.id) not in known.flags:
                known.flags[name, dataset.id] = overlap(
                    name,
                    texts_of(loaded.task.items),
                    known.texts[dataset.id],
                    f"'{dataset.full_name}', which the contribution's card names",
                    coarse=loaded.hidden or source.private,
                )
            found.append(known.flags[name, dataset.id])
    return [flag for flag in found if flag is not None] + patterns(models, validation)


def _named_sets(hub: Hub, sides: Sides) -> list[Repository]:
    """Return the data sets that the contribution says it was trained on and that may be used."""
    if CARD not in sides.at_head:
        return []
    try:
        stated = parse_card(sides.read(sides.head, CARD).decode("utf-8", "replace")).data
    except BadInput:
        return []
    names = stated.get("datasets")
    listed = [names] if isinstance(names, str) else names if isinstance(names, list) else []
    found = []
    for name in listed[:MAX_SETS]:
        dataset = _find(hub, name)
        # Of private ones nothing may be told, not even whether they hold a given text.
        if dataset is not None and can(ANONYMOUS, "repo.files", dataset):
            found.append(dataset)
    return found


def _find(hub: Hub, name: Any) -> Repository | None:
    try:
        return hub.repositories.find("dataset", name) if isinstance(name, str) else None
    except PlaitError:
        return None


def _committed(hub: Hub, source: TaskSource, split: str) -> list[str]:
    if hub.hidden.is_hidden(source.dataset, split):
        return []
    column = source.spec.columns.text
    return _texts(hub, source.dataset, source.oid, f"data/{split}", column)


def _texts(
    hub: Hub, dataset: Repository, oid: str | None, prefix: str = "", column: str | None = None
) -> list[str]:
    """Read the texts of a data set's tables; what cannot be read has none."""
    texts: list[str] = []
    if oid is None:
        return texts
    entries = [
        entry
        for entry in hub.git.tree(dataset, oid, recursive=True)
        if entry.type == "file"
        and entry.size <= MAX_BYTES
        and format_of(entry.path) is not None
        and (not prefix or entry.path.startswith((f"{prefix}.", f"{prefix}-")))
    ]
    for entry in entries[:MAX_FILES]:
        format = format_of(entry.path)
        if format is None:
            continue
        try:
            content = b"".join(hub.commits.open_file(dataset, oid, entry.path).read())
            table = read_table(content, format, entry.path)
        except PlaitError:
            continue
        for row in table.rows:
            values = [row.values.get(column)] if column else row.values.values()
            texts += [value for value in values if isinstance(value, str)]
            if len(texts) >= MAX_TEXTS:
                return texts
    return texts
