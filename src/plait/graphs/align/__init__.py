# SPDX-License-Identifier: Apache-2.0
"""Which entities of two graphs are the same: blocking, evidence, propagation, assignment."""

from plait.graphs.align.aligner import align
from plait.graphs.align.alignment import Alignment, Match, Question
from plait.graphs.align.options import Options
from plait.graphs.align.scoring import Scores, score

__all__ = ["Alignment", "Match", "Options", "Question", "Scores", "align", "score"]
