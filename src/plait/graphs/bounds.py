# SPDX-License-Identifier: Apache-2.0
"""The bounds of a process that reads a graph which strangers wrote."""

from __future__ import annotations

import resource

MEMORY = 12 * 2**30
"""Addresses that the process may take; the graph's own tables among them."""
PROCESSOR_SECONDS = 900


def bound_process() -> None:
    """Bound this process's memory and processor time; no core is written when it dies."""
    # Processes that it starts set their own; what is hard could not be raised again.
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, PROCESSOR_SECONDS)):
        resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def free_addresses() -> None:
    """Let this process reserve addresses again, for an engine that reserves more than it fills."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
