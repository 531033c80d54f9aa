# SPDX-License-Identifier: Apache-2.0
"""Linking two tables with Splink 5, in the interpreter that PLAIT_SPLINK_PYTHON names.

Reads ``{"left": [rows], "right": [rows]}`` on stdin and writes ``[[left, right, probability], …]``.
Names, countries, capitals and so on are columns; Splink is trained without labels as its tutorial
does: random sampling for u, expectation maximisation for m, term frequencies of names.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Link the tables on stdin."""
    import pyarrow as pa
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on
    from splink.backends.duckdb import DuckDBAPI

    given = json.load(sys.stdin)
    columns = [
        one
        for one in ("country", "capital", "currency", "region")
        if all(any(row.get(one) for row in given[side]) for side in ("left", "right"))
    ]
    tables = []
    for side in ("left", "right"):
        rows: list[dict[str, Any]] = given[side]
        tables.append(
            pa.table(
                {
                    "unique_id": [row["id"] for row in rows],
                    "name": pa.array([row["name"] or None for row in rows], pa.string()),
                    **{
                        one: pa.array([row.get(one) or None for row in rows], pa.string())
                        for one in columns
                    },
                }
            )
        )
    small = max(len(given["left"]), len(given["right"])) < 1_000
    blocks = (
        ["1=1"]
        if small
        else [block_on("substr(name, 1, 3)"), *(block_on(one) for one in columns[:1])]
    )
    name = cl.JaroWinklerAtThresholds("name", [0.95, 0.88, 0.8]).configure(
        term_frequency_adjustments=True
    )
    settings = SettingsCreator(
        link_type="link_only",
        comparisons=[name, *(cl.LevenshteinAtThresholds(one, [1, 3]) for one in columns)],
        blocking_rules_to_generate_predictions=blocks,
        probability_two_random_records_match=1 / max(len(given["left"]), len(given["right"])),
    )
    api = DuckDBAPI()
    frames = [api.register(table) for table in tables]
    linker = Linker(frames, settings, log_level=40)
    linker.training.estimate_u_using_random_sampling(max_pairs=2_000_000, seed=1)
    for one in ("name", *columns[:1]):
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(one))
    found = linker.inference.predict(threshold_match_probability=0.001).as_record_list()
    ours = {row["id"] for row in given["left"]}
    pairs = []
    for row in found:
        a, b = row["unique_id_l"], row["unique_id_r"]
        pairs.append([*((a, b) if a in ours else (b, a)), row["match_probability"]])
    json.dump(pairs, sys.stdout)


if __name__ == "__main__":
    main()
