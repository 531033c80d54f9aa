# SPDX-License-Identifier: Apache-2.0
"""What a model was made from: ``lineage.json``, and the same in the forms that others read."""

from __future__ import annotations

from plait.lineage.document import (
    FILE,
    MAX_BYTES,
    SCHEMA,
    Contribution,
    DataUse,
    Lineage,
    Origin,
    Scores,
    TaskScore,
    Withdrawal,
    dump_lineage,
    parse_lineage,
)
from plait.lineage.exports import FORMATS, export

__all__ = [
    "FILE",
    "FORMATS",
    "MAX_BYTES",
    "SCHEMA",
    "Contribution",
    "DataUse",
    "Lineage",
    "Origin",
    "Scores",
    "TaskScore",
    "Withdrawal",
    "dump_lineage",
    "export",
    "parse_lineage",
]
