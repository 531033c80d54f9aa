# SPDX-License-Identifier: Apache-2.0
"""Repositories and what surrounds them: listing, facts, moves, gates, discussions, collections."""
