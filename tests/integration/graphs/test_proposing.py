# SPDX-License-Identifier: Apache-2.0
"""Predicted statements as a pull request: main's own statements stay as they are."""

from __future__ import annotations

from pathlib import Path

from integration.live import Person
from plait.cli.graph.proposing import propose_statements
from plait.graphs.graph import Builder, Graph
from plait.graphs.learn.predicting import ABOUT, SOURCE
from plait.graphs.storage import read_graph, write_graph
from plait.recipes.graph import GraphFile


def test_a_pull_request_adds_statements(alice: Person, tmp_path: Path) -> None:
    made = Builder()
    for place in range(4):
        made.statement(f"e{place}", "next", object=f"e{place + 1}", source="s")
    api, repo = alice.api, f"{alice.name}/ring"
    api.create_repo(repo, repo_type="dataset")
    api.upload_folder(
        repo_id=repo, repo_type="dataset", folder_path=write_graph(made.build(), tmp_path / "ring")
    )
    number = propose_statements(
        repo, proposal(), "Propose a statement", api.endpoint, str(api.token)
    )
    folder = api.snapshot_download(
        repo, repo_type="dataset", revision=f"refs/pr/{number}", local_dir=tmp_path / "pr"
    )
    rows = read_graph(folder).statements.to_pylist()
    assert len(rows) == 5 and {row["rank"] for row in rows} == {"normal"}
    (added,) = [row for row in rows if row["source"] == SOURCE]
    assert (added["object"], added["confidence"]) == ("e0", 0.8)


def proposal() -> Graph:
    made = Builder(GraphFile(sources={SOURCE: ABOUT}))
    made.statement("e4", "next", object="e0", source=SOURCE, confidence=0.8, evidence=["rank 1"])
    return made.build()
