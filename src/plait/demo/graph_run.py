# SPDX-License-Identifier: Apache-2.0
"""``plait demo graph``: two organisations' graphs of countries become one, on a hub."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.demo.folder import keep_clients_in, prepare_folder
from plait.demo.graph_members import (
    GRAPH,
    Member,
    make_members,
    merged,
    propose,
    publish,
    settle,
    slip,
)
from plait.demo.graph_reading import file_for_reading, read_texts
from plait.demo.graphs import PairOfGraphs, countries
from plait.demo.progress import Steps
from plait.demo.server import serving, wait_for_interrupt

if TYPE_CHECKING:
    from plait.graphs.graph import Graph


@dataclass
class GraphDemo:
    """What the steps hand to each other."""

    folder: Path
    steps: Steps
    url: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What was measured, as ``report.json`` holds it."""
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(
        self, key: str, title: str, total: float | None = None
    ) -> Iterator[Callable[..., None]]:
        """Show a step's bar and keep how long it took."""
        started = time.perf_counter()
        with self.steps.step(title, total) as advance:
            yield advance
        self.seconds[key] = time.perf_counter() - started


def run_graph_demo(
    folder: Path,
    *,
    port: int = 0,
    report_file: Path | None = None,
    serve: bool = True,
    size: str = "full",
) -> dict[str, Any]:
    """Run the demo in ``folder`` and return what it measured; ``serve`` stays until Ctrl-C.

    ``size`` is `full` or `small`: how large an encoder learns to read.
    """
    folder = folder.expanduser().resolve()
    prepare_folder(folder)
    keep_clients_in(folder)
    started = time.perf_counter()
    with ExitStack() as stack:
        demo = GraphDemo(folder, stack.enter_context(Steps()))
        with demo.step("graphs", "Reading countries by their own names, and by English ones"):
            pair = countries()
            file = file_for_reading()
            left, right = (replace(one, file=file) for one in (pair.left, pair.right))
            pair = PairOfGraphs(left, right, pair.gold)
        with demo.step("start", "Starting a hub"):
            demo.members = make_members(folder)
            demo.url = stack.enter_context(serving(folder / "hub", port))
        demo.steps.say(f"The hub is at {demo.url}")
        publish_graph(demo, pair)
        refuse(demo, pair)
        union = align_graphs(demo, pair)
        merge_graphs(demo, union)
        decide(demo)
        union = export(demo)
        read_texts(demo, union, pair, size)
        demo.seconds["total"] = time.perf_counter() - started
        finish(demo, report_file)
        if serve:
            demo.steps.close()
            wait_for_interrupt(demo.url, folder / "tokens.json")
        return demo.facts


def publish_graph(demo: GraphDemo, pair: PairOfGraphs) -> None:
    """Publish the graph of native names as atlas."""
    with demo.step("publish", "Publishing atlas' graph, with shapes that every merge must hold"):
        publish(demo.url, demo.members["atlas"], pair.left)
    demo.facts["atlas"] = _counted(pair.left)
    demo.facts["gazetteer"] = _counted(pair.right)


def refuse(demo: GraphDemo, pair: PairOfGraphs) -> None:
    """Propose something that breaks a shape, and see the gate refuse it."""
    gazetteer = demo.members["gazetteer"]
    with demo.step("gate", "Proposing a country of negative area"):
        number = propose(demo.url, gazetteer, slip(pair.left), "A new island")
        state = merged(demo.url, demo.members["atlas"], number)
    said = (state.get("job") or {}).get("error") or state["status"]
    demo.facts["refused"] = {"pull": number, "status": state["status"], "said": said}
    demo.steps.say(f"The gate: {said}")


def align_graphs(demo: GraphDemo, pair: PairOfGraphs) -> Graph:
    """Find which countries are the same; return both graphs with the claims."""
    from plait.graphs.align import align, score
    from plait.graphs.graph import make
    from plait.graphs.merging import merge

    with demo.step("align", "Finding which countries are the same", 1.0) as advance:
        shown = 0.0

        def show(fraction: float, stage: str) -> None:
            nonlocal shown
            advance(fraction - shown)
            shown = fraction

        found = align(pair.left, pair.right, progress=show)
    matches = {one.left: one.right for one in found.matches()}
    scores = score(found.ranked(), matches, pair.gold)
    demo.facts["alignment"] = {
        "pairs": len(matches),
        "key": scores.entities,
        "hits_at_1": scores.hits_at_1.value,
        "precision": scores.precision.value,
        "recall": scores.recall.value,
        "f1": scores.f1.value,
        "abstained": scores.abstained,
    }
    demo.steps.say(
        f"{len(matches):,} pairs; by the hidden ISO codes of {scores.entities:,}: Hits@1 "
        f"{scores.hits_at_1.value:.3f}, precision {scores.precision.value:.3f}, recall "
        f"{scores.recall.value:.3f}"
    )
    claims = make(pair.left.file, identities=found.claims())
    return merge(None, [pair.left, pair.right, claims]).graph


def merge_graphs(demo: GraphDemo, union: Graph) -> None:
    """Propose the union as gazetteer, and merge it as atlas."""
    with demo.step("merge", "Proposing gazetteer's graph, and merging it"):
        number = propose(demo.url, demo.members["gazetteer"], union, "Countries of the gazetteer")
        state = merged(demo.url, demo.members["atlas"], number)
    demo.facts["merged"] = {"pull": number, "status": state["status"]}
    if state["status"] != "merged":
        demo.facts["merged"]["said"] = (state.get("job") or {}).get("error")
        demo.steps.say(f"Not merged: {demo.facts['merged']['said']}")


def decide(demo: GraphDemo) -> None:
    """Settle one conflict as a person would, with a reason."""
    with demo.step("decide", "Settling a conflict between two sources"):
        before, after, settled = settle(demo.url, demo.members["atlas"])
    demo.facts["conflicts"] = {
        "count": before["count"], "open": before["open"], "open_afterwards": after["open"],
        "settled": settled,
    }  # fmt: skip
    demo.steps.say(
        f"{before['count']:,} contradictions, {before['open']:,} of them waited for people; "
        f"settled: {settled or 'none'}"
    )


def export(demo: GraphDemo) -> Graph:
    """Fetch the merged graph with the stock client, write it for Gephi, and return it."""
    from huggingface_hub import snapshot_download

    from plait.graphs.exchange import export_graph
    from plait.graphs.storage import read_graph
    from plait.graphs.view import collapsed, truthy

    with demo.step("export", "Writing the merged graph for Gephi"):
        held = snapshot_download(
            GRAPH, repo_type="dataset", endpoint=demo.url, token=demo.members["atlas"].token
        )
        graph = read_graph(held)
        view = truthy(collapsed(graph))
        path = export_graph(view, demo.folder / "countries.gexf")
    demo.facts["union"] = _counted(graph)
    demo.facts["view"] = _counted(view)
    demo.facts["gexf"] = {"path": str(path), "bytes": path.stat().st_size}
    return graph


def finish(demo: GraphDemo, report_file: Path | None) -> None:
    """Write the report and say what was made, how long it took and where it is seen."""
    base = f"{demo.url}/datasets/{GRAPH}"
    pages = {
        "graph": f"{base}/graph",
        "conflicts": f"{base}/graph/conflicts",
        "pairs of entities": f"{base}/graph/identities",
        "queries": f"{base}/graph/query",
        "refused pull request": f"{base}/discussions/{demo.facts['refused']['pull']}",
        "merged pull request": f"{base}/discussions/{demo.facts['merged']['pull']}",
    }
    if "pull" in demo.facts.get("read", {}):
        pages["what was read"] = f"{base}/discussions/{demo.facts['read']['pull']}"
    demo.facts |= {"pages": pages, "seconds": demo.seconds}
    demo.steps.close()
    report = report_file or demo.folder / "report.json"
    report.write_text(json.dumps(demo.facts, indent=1, ensure_ascii=False) + "\n")
    union, view = demo.facts["union"], demo.facts["view"]
    print(
        f"\n{union['statements']:,} statements, all with their source; {view['entities']:,} "
        f"entities when those that are the same are one, {view['statements']:,} statements "
        "when what is preferred stands alone."
    )
    print(f"Gephi: {demo.facts['gexf']['path']}\nReport: {report}\nPages:")
    for name, address in pages.items():
        print(f"  {name:<24} {address}")
    told = ", ".join(f"{key} {one:.1f}" for key, one in demo.seconds.items() if key != "total")
    print(f"Took {demo.seconds['total']:.0f} s: {told}")


def _counted(graph: Graph) -> dict[str, int]:
    return {"entities": graph.entities.num_rows, "statements": len(graph)}
