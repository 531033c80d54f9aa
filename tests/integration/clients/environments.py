# SPDX-License-Identifier: Apache-2.0
"""The stock clients in environments of their own, and what each of them can do."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from integration.live import LiveHub, Person

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS = Path(__file__).parent / "scenarios"
VERSIONS = ("hf-0.36", "hf-1.19", "hf-1.33", "hf-2")
SECONDS = 120

_FROM_119 = VERSIONS[1:]
_FROM_133 = VERSIONS[2:]

CALLS: dict[str, tuple[str, ...]] = {
    "accept_access_request(request_id)": VERSIONS[3:],
    "copy_files": _FROM_119,
    "create_repo(visibility)": _FROM_119,
    "duplicate_repo": _FROM_119,
    "get_sharded_safetensors_metadata": VERSIONS[3:],
    "list_models(direction)": VERSIONS[:1],
    "list_models(language)": VERSIONS[:1],
    "list_models(num_parameters)": _FROM_119,
    "list_organization_followers": _FROM_119,
    "list_user_repos": _FROM_119,
    "resolve_revision": _FROM_133,
    "snapshot_download(dry_run)": _FROM_119,
    "update_repo_settings(visibility)": _FROM_119,
    "update_repo_visibility": VERSIONS[:1],
    "update_webhook(job_id)": VERSIONS[3:],
    "upload_large_folder": VERSIONS[:3],
}
"""What not every version has: a method of ``HfApi``, or a method's parameter. A test holds the
table to the clients; scenarios leave out what the table says is not there, and nothing else."""


@dataclass(frozen=True)
class Client:
    """One version of the stock client, with Xet or without."""

    version: str
    xet: bool

    @property
    def name(self) -> str:
        return f"{self.version}-{'xet' if self.xet else 'lfs'}"

    @property
    def folder(self) -> Path:
        return ROOT / ".venv-clients" / self.version / "bin"

    @property
    def missing(self) -> str | None:
        """Say why the client cannot be used, None where it can."""
        if (self.folder / "python").exists() and (self.folder.parent / "installed-from").exists():
            return None
        return f"{self.version} is not installed: make clients"

    def environment(self, person: Person) -> dict[str, str]:
        """What the client is told: where the hub is and who asks, and nothing else."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        return {
            **kept,
            **({} if self.xet else {"HF_HUB_DISABLE_XET": "1"}),
            "HOME": str(person.home),
            "HF_HOME": str(person.home / "hf"),
            "HF_ENDPOINT": person.server.url,
            "HF_TOKEN": person.token,
            # The newest version is asked of PyPI by the command line; tests stay at home.
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }

    def run(self, scenario: str, hub: LiveHub, person: Person, other: Person) -> None:
        """Run a scenario in a fresh process; its failure is the test's."""
        facts = {
            "me": person.name,
            "other": {"name": other.name, "token": other.token},
            "organization": hub.organization("org", person),
            "calls": [name for name, versions in CALLS.items() if self.version in versions],
            "version": self.version,
            "xet": self.xet,
            "tools": str(self.folder),
        }
        done = subprocess.run(
            [str(self.folder / "python"), str(SCENARIOS / f"{scenario}.py"), json.dumps(facts)],
            env=self.environment(person),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        assert done.returncode == 0, said
        assert done.stdout.rstrip().endswith(f"{scenario}: done"), said


CLIENTS = [Client(version, xet) for version in VERSIONS for xet in (True, False)]
