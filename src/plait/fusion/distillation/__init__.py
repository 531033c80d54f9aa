# SPDX-License-Identifier: Apache-2.0
"""Distillation: several teachers of any architecture teach one student what they answer.

The student learns from the teachers' probabilities, softened by a temperature (Hinton, Vinyals and
Dean 2015, arXiv:1503.02531), of several teachers mixed (You, Xu, Xu and Tao 2017, KDD, "Learning
from Multiple Teacher Networks"), and from labels where there are any. A student that starts as a
merge of its teachers' weights and learns from them on unlabelled texts is what ProDistill (Xu, Li
and Zhang 2025, arXiv:2502.12706) and SAMerging (Dalili and Mahdavi 2025, arXiv:2512.21288) do.
"""

from __future__ import annotations

from plait.fusion.distillation.checking import check
from plait.fusion.distillation.run import run

__all__ = ["check", "run"]
