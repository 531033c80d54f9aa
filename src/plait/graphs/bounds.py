# SPDX-License-Identifier: Apache-2.0
"""The bounds of a process that reads a graph which strangers wrote."""

from __future__ import annotations

import resource
from pathlib import Path

MEMORY = 12 * 2**30
"""Addresses that the process may take; the graph's own tables among them."""
PROCESSOR_SECONDS = 900
_MEMINFO = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
_NAMES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""What a container may take and has taken, and what of that is a cache; control groups 2 and 1."""


def available_memory() -> int | None:
    """Return the bytes that may be taken without swapping, or None where nobody says.

    What the machine has available, and what the container's limit leaves, whichever is less.
    """
    found = []
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError, IndexError):
        pass  # no Linux
    for most, taken, cache in _NAMES:
        try:
            left = int((_GROUPS / most).read_text()) - int((_GROUPS / taken).read_text())
            stat = (_GROUPS / most).with_name("memory.stat").read_text().split()
            found.append(max(0, left + int(stat[stat.index(cache) + 1])))
        except (OSError, ValueError):
            continue  # no such group, or "max": it has no limit
    return min(found, default=None)


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
