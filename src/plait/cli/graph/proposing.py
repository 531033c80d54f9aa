# SPDX-License-Identifier: Apache-2.0
"""Statements proposed to a graph on a hub, as a pull request made with the stock client."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.errors import BadInput, PlaitError

if TYPE_CHECKING:
    from plait.graphs.graph import Graph

Propose = Annotated[
    str | None,
    typer.Option(
        metavar="OWNER/NAME", help="Open a pull request on this data set of the hub with them."
    ),
]


def propose_statements(
    repo: str, added: Graph, title: str, endpoint: str | None, token: str | None
) -> int:
    """Open a pull request that adds statements to the graph that a data set's main holds.

    The graph is fetched first and united with what is added: a pull request that left out what main
    says would deprecate it.

    Returns:
        The pull request's number.

    Raises:
        BadInput: no hub is named, or the data set holds no graph.
        PlaitError: the hub refuses, with its own sentence.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from plait.graphs.merging import merge
    from plait.graphs.storage import read_graph, write_graph

    endpoint = endpoint or os.environ.get("HF_ENDPOINT")
    if not endpoint:
        raise BadInput("Say which hub: set HF_ENDPOINT or give --endpoint.")
    api = HfApi(endpoint=endpoint, token=token)
    with tempfile.TemporaryDirectory(prefix="plait-propose-") as folder:
        try:
            api.snapshot_download(
                repo, repo_type="dataset", local_dir=folder,
                allow_patterns=["graph.yaml", "graph/*", "README.md"],
            )  # fmt: skip
            base = read_graph(folder)
            united = merge(None, [base, added]).graph
            written = write_graph(united, Path(folder) / "proposed")
            commit = api.upload_folder(
                repo_id=repo,
                repo_type="dataset",
                folder_path=written,
                allow_patterns=["graph.yaml", "graph/*"],
                commit_message=title,
                create_pr=True,
            )
        except HfHubHTTPError as error:
            told = error.server_message or " ".join(str(error).split())[:200]
            raise PlaitError(f"The hub refuses: {told}") from None
    if commit.pr_num is None:
        raise PlaitError("The hub made no pull request.")
    return int(commit.pr_num)
