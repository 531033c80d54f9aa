# SPDX-License-Identifier: Apache-2.0
"""Licences: what each asks, and whether several go together. None of it is legal advice."""

from __future__ import annotations

from plait.licences.expressions import choices
from plait.licences.table import Terms, table
from plait.licences.verdict import Reason, Verdict, judge

__all__ = ["Reason", "Terms", "Verdict", "choices", "judge", "table"]
