# SPDX-License-Identifier: Apache-2.0
"""What to build on: models and data sets of a hub ranked for somebody's own sample of data."""

from plait.collaboration.suggest.ranking import Sample, fusable, parse_sample, rank_models
from plait.collaboration.suggest.requests import KIND, request

__all__ = ["KIND", "Sample", "fusable", "parse_sample", "rank_models", "request"]
