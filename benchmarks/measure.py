# SPDX-License-Identifier: Apache-2.0
"""How the benchmarks measure: whole processes, CPU-seconds and peak memory, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Cost:
    """What a process cost: seconds on the CPU (user and system), on the clock, and peak bytes."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    returncode: int


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Cost:
    """Run ``command`` to its end and say what it and its waited-for children cost."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code:
        sys.stderr.write(errors.decode(errors="replace")[-2000:])
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, code)


def process_cpu(pid: int) -> float:
    """CPU-seconds that a running process (all its threads) has used so far. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_peak(pid: int) -> int:
    """Peak resident bytes of a running process. Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"No VmHWM in /proc/{pid}/status")


def machine() -> dict[str, Any]:
    """The machine in words that mean something elsewhere."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def write(name: str, rows: list[dict[str, Any]], **more: Any) -> Path:
    """Write a benchmark's rows to ``benchmarks/results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        **more,
        "rows": rows,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def row(name: str, cost: Cost, **more: Any) -> dict[str, Any]:
    """One row of a result: the cost, rounded, and whatever else was measured."""
    values = asdict(cost)
    values.pop("returncode")
    return {
        "name": name,
        "cpu_seconds": round(values["cpu_seconds"], 3),
        "wall_seconds": round(values["wall_seconds"], 3),
        "peak_mb": round(values["peak_bytes"] / 1e6, 1),
        **more,
    }
