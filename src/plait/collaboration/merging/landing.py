# SPDX-License-Identifier: Apache-2.0
"""The landing commit: the fused weights, and what the repository says of them.

Blobs come first, then the commit, the branch last and by compare-and-swap: whoever looks sees main
as it was or the whole merge.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from plait import __version__
from plait.collaboration.merging.card import update_card
from plait.collaboration.merging.changes import (
    CARD,
    INDEX,
    RECIPE,
    Sides,
    driver_of,
    merge_paths,
    weight_files,
)
from plait.collaboration.merging.files import UnsettledConflict
from plait.collaboration.merging.licensing import NOTICE, LicenceState, notice_file, relicensed
from plait.collaboration.merging.material import Material
from plait.collaboration.merging.search import Candidate
from plait.hub import (
    SYSTEM,
    AddBytes,
    AddPointer,
    Author,
    CopyFile,
    Delete,
    Discussion,
    Hub,
    Operation,
    Repository,
)
from plait.lineage import FILE as LINEAGE
from plait.lineage import (
    Contribution,
    DataUse,
    Lineage,
    Scores,
    TaskScore,
    Withdrawal,
    dump_lineage,
)

METRIC_TYPES = {"balanced_accuracy": "balanced_accuracy", "accuracy": "accuracy", "macro_f1": "f1"}


def store_weights(
    hub: Hub, repo: Repository, folder: Path, outputs: Mapping[str, str]
) -> list[Operation]:
    """Put the fused files into the blob store, for this repository; nothing is visible yet."""
    operations: list[Operation] = []
    for name, sha256 in sorted(outputs.items()):
        _, size = hub.blobs.write(folder / name, expected_sha256=sha256)
        with hub.session(write=True) as session:
            hub.grant_blob(session, repo, sha256, size)
        operations.append(AddPointer(name, sha256, size))
    index = folder / INDEX
    if index.is_file():
        operations.append(AddBytes(INDEX, index.read_bytes()))
    return operations


def plan_files(sides: Sides, weights: Sequence[Operation]) -> list[Operation]:
    """Return what the landing does to main's tree, but for the card and lineage.

    Weights are the fused ones; files that say how weights are read stay main's; a pickle or a file
    that the hub writes is not taken over; everything else is merged as git does.

    Raises:
        Conflict: main and the pull request contradict each other; the paths are named.
    """
    kinds: dict[str, list[str]] = {}
    for path in sides.changed():
        kinds.setdefault(driver_of(path, sides.repo.type), []).append(path)
    merged = merge_paths(sides, [*kinds.get("text", []), *kinds.get("card", [])])
    if merged.conflicts:
        raise UnsettledConflict(sides.repo, merged.conflicts)
    added = [
        CopyFile(path, path, revision=sides.head)
        for path in kinds.get("model", [])
        if path not in sides.at_main and path in sides.at_head
    ]
    written = {operation.path for operation in weights}
    before = weight_files(sides.at_main, lambda path: sides.read(sides.main, path))
    stale = [
        Delete(path) for path in (*before, INDEX) if path in sides.at_main and path not in written
    ]
    return [*merged.operations, *added, *stale, *weights]


def is_weights(path: str) -> bool:
    """Tell whether a path of a model holds its weights."""
    return driver_of(path) == "weights"


def landing_message(discussion: Discussion, report: Mapping[str, Any]) -> str:
    """Write the commit's message: what was merged, how, and what the gate said."""
    merged = sorted(one["number"] for one in report["inputs"] if one["number"] is not None)
    numbers = ", ".join(f"#{number}" for number in merged)
    return (
        f"Merge pull request #{discussion.number}: {discussion.title}\n\n"
        f"Fused by {report['method']} from the base and {numbers}.\n{report['reason']}\n"
    )


def lineage_of(
    material: Material,
    candidate: Candidate,
    recipe: Mapping[str, Any],
    report: Mapping[str, Any],
    withdrawn: Sequence[Withdrawal] = (),
) -> Lineage:
    """Write down what the candidate was made from, and what was once part of it."""
    contributions = tuple(
        Contribution(
            number=one.number,
            author=one.author,
            organisation=one.organisation,
            title=one.title,
            revision=one.revision,
            files=one.files,
            weight=candidate.weight,
            licence=one.licence,
            base=one.base,
            datasets=one.datasets,
            privacy=one.privacy,
        )
        for one in material.plan.contributions
    )
    return Lineage(
        base=material.plan.base,
        contributions=contributions,
        recipe=recipe,
        output=report["output"]["files"],
        software={"plait": __version__, "numpy": importlib.metadata.version("numpy")},
        evaluation=Scores(
            tasks={
                row["name"]: TaskScore(
                    row["metric"],
                    row["scores"]["candidate"],
                    (row["intervals"]["candidate"][0], row["intervals"]["candidate"][1]),
                    row["n"],
                )
                for row in report["tasks"]
            },
            average=report["average"]["scores"]["candidate"],
        ),
        created=moment(),
        withdrawn=tuple(withdrawn),
        data=tuple(DataUse(**row) for row in report.get("data") or ()),
        budget=dict(report.get("budget") or {}),
    )


def moment() -> str:
    """Return the time as lineage has it: UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def complete(
    repo: Repository,
    sides: Sides,
    operations: Sequence[Operation],
    lineage: Lineage,
    report: Mapping[str, Any],
    base_model: str | None,
) -> list[Operation]:
    """Return all that a landing does to main's tree: ``operations``, card, lineage and recipe."""
    recipe = yaml.safe_dump(dict(lineage.recipe), sort_keys=False, allow_unicode=True, width=100)
    licence = report.get("licence") or {}
    notice = _notice(sides, operations, licence)
    card = update_card(
        relicensed(_card_text(sides, operations), licence),
        {"base_model": base_model} if base_model else {},
        [_results(repo, report)],
        _section(repo, lineage, report),
    )
    return [
        *operations,
        *([] if notice is None else [AddBytes(NOTICE, notice.encode())]),
        AddBytes(CARD, card.encode()),
        AddBytes(LINEAGE, dump_lineage(lineage)),
        AddBytes(RECIPE, recipe.encode()),
    ]


def land(
    hub: Hub,
    repo: Repository,
    ref: str,
    main: str,
    operations: Sequence[Operation],
    *,
    parents: Sequence[str],
    message: str,
    author: str,
) -> str:
    """Move a branch from ``main`` to the landing commit and return its id.

    Raises:
        PreconditionFailed: the branch stands for another commit; nothing is changed.
    """
    update = hub.git.advance(
        repo,
        ref=ref,
        parent_oid=main,
        parents=parents,
        expected=main,
        operations=operations,
        message=message,
        author=Author(author),
    )
    hub.references.moved(SYSTEM, repo, [update])
    return str(update.new)


def licence_files(
    sides: Sides,
    tree: str | None,
    operations: Sequence[Operation],
    state: LicenceState,
) -> list[Operation]:
    """Return what a merge of files writes of licences: the NOTICE, and the card's licence.

    Nothing where all is under one licence: main's own notices hold.

    Args:
        sides: main and the pull request.
        tree: what git's merge made, or None where ``operations`` make it from main.
        operations: of the merge.
        state: the licence verdict.
    """
    if not state.applies or len({(one or "").lower() for one in state.sources.values()}) < 2:
        return []
    licence = state.to_json()

    def before(path: str) -> str:
        if tree is None:
            return _text_after(sides, operations, path)
        return _text_in(sides, tree, path)

    notice, card = before(NOTICE), before(CARD)
    written = {NOTICE: notice_file(notice, licence), CARD: relicensed(card, licence)}
    return [
        AddBytes(path, text.encode())
        for path, text in written.items()
        if text and text != (notice if path == NOTICE else card)
    ]


def _text_in(sides: Sides, tree: str, path: str) -> str:
    """Return a file of text in a tree, empty without one."""
    folder = sides.hub.git.open(sides.repo)[tree]
    return bytes(folder[path].data).decode("utf-8", "replace") if path in folder else ""


def _notice(
    sides: Sides, operations: Sequence[Operation], licence: Mapping[str, Any]
) -> str | None:
    """Return the NOTICE file with what the licences ask, None where they ask nothing."""
    return notice_file(_text_after(sides, operations, NOTICE), licence)


def _card_text(sides: Sides, operations: Sequence[Operation]) -> str:
    """Return the card as the merge of the two sides leaves it."""
    return _text_after(sides, operations, CARD)


def _text_after(sides: Sides, operations: Sequence[Operation], path: str) -> str:
    """Return a file of text as the merge of the two sides leaves it, empty without one."""
    revision: str | None = sides.main if path in sides.at_main else None
    for operation in operations:
        if operation.path != path:
            continue
        if isinstance(operation, AddBytes):
            return operation.data.decode("utf-8", "replace")
        revision = (operation.revision or sides.head) if isinstance(operation, CopyFile) else None
    return sides.read(revision, path).decode("utf-8", "replace") if revision else ""


def _results(repo: Repository, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores as a card's ``model-index`` entry."""
    return {
        "name": repo.name,
        "results": [
            {
                "task": {"type": "text-classification"},
                "dataset": {
                    "name": row["name"],
                    "type": row["name"],
                    "split": report["gate"]["split"],
                },
                "metrics": [
                    {
                        "type": METRIC_TYPES[row["metric"]],
                        "name": row["metric"],
                        "value": row["scores"]["candidate"],
                    }
                ],
            }
            for row in report["tasks"]
        ],
    }


def _section(repo: Repository, lineage: Lineage, report: Mapping[str, Any]) -> str:
    count = len(lineage.contributions)
    made = (
        f"The weights are a fusion of the base (`{lineage.base.revision[:10]}`) and "
        f"{count} contribution{'s' if count != 1 else ''}, by `{report['method']}`; "
        f"[{LINEAGE}]({LINEAGE}) names every input by hash and [{RECIPE}]({RECIPE}) is the recipe."
    )
    lines = [
        "## Merged from",
        "",
        made,
        "",
        "| contribution | by | licence | credit |",
        "|---|---|---|---:|",
    ]
    shares = {
        row["number"]: row["value"] for row in (report.get("credit") or {}).get("contributions", [])
    }
    for one in sorted(lineage.contributions, key=lambda one: one.number):
        value = shares.get(one.number)
        credit = "" if value is None else f"{value * 100:+.1f}".replace("-", "−")
        title = "".join(f"\\{c}" if c in "|[]<>*_`\\" else c for c in " ".join(one.title.split()))
        lines.append(
            f"| [#{one.number}](/{repo.full_name}/discussions/{one.number}) {title} | "
            f"{one.organisation} | {one.licence or 'not stated'} | {credit} |"
        )
    return "\n".join(lines)
