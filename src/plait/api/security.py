# SPDX-License-Identifier: Apache-2.0
"""What scanners said of files, in the form that the Hub's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plait.api.wire import date
from plait.hub.database import FileScan

_STATUS = {"failed": "error", "scanning": "queued"}
_LEVELS = {"safe": "innocuous", "unsafe": "dangerous"}
MAX_ISSUES = 1000
_UNFINISHED = ("queued", "scanning")


def file_status(scan: FileScan | None) -> dict[str, Any]:
    """The ``securityFileStatus`` of a file that can carry code; None: not scanned yet."""
    if scan is None or scan.verdict in _UNFINISHED:
        return {"status": "queued", "avScan": None, "pickleImportScan": None}
    status = _STATUS.get(scan.verdict, scan.verdict)
    findings = scan.findings
    message = " ".join([*findings.get("notes", []), findings.get("reason", "")]).strip()
    return {
        "status": status,
        # Plait has no virus scanner: it looks at what pickles import.
        "avScan": None,
        "pickleImportScan": {
            "highestSafetyLevel": _LEVELS.get(scan.verdict, "suspicious"),
            "imports": [
                {"path": f"{one['module']}.{one['name']}", "safety": one["safety"]}
                for one in findings.get("imports", [])
            ],
            "message": message,
            "scannedAt": date(scan.scanned_at),
        },
    }


def repository_status(scans: Mapping[str, FileScan | None]) -> dict[str, Any]:
    """The ``securityRepoStatus`` of a repository whose files were scanned so, by path."""
    return {
        "scansDone": all(s is not None and s.verdict not in _UNFINISHED for s in scans.values()),
        "filesWithIssues": [
            {"path": path, "level": _STATUS.get(scan.verdict, scan.verdict)}
            for path, scan in sorted(scans.items())
            if scan is not None and scan.verdict in ("unsafe", "suspicious", "failed")
        ][:MAX_ISSUES],
    }
