# SPDX-License-Identifier: Apache-2.0
"""The npm client ``@huggingface/hub``."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from integration.clients.environments import ROOT, SECONDS
from integration.live import Person

FOLDER = ROOT / "tests" / "clients" / "npm"


def test_the_npm_client(alice: Person) -> None:
    if shutil.which("node") is None or not (FOLDER / "node_modules" / "installed-from").exists():
        pytest.skip("@huggingface/hub is not installed: make clients")
    done = subprocess.run(
        ["node", "scenario.mjs", alice.name],
        cwd=FOLDER,
        # This client refuses tokens that do not begin with hf_; the hub takes them so, too.
        env={
            "PATH": os.environ["PATH"],
            "HF_ENDPOINT": alice.server.url,
            "HF_TOKEN": f"hf_{alice.token}",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.rstrip().endswith("npm: done")
