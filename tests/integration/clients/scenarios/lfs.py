# SPDX-License-Identifier: Apache-2.0
"""Files through LFS: in one piece, in parts, from objects that Xet does not take."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

from huggingface_hub import CommitOperationAdd
from scene import HOME, ME, MEGABYTE, XET, api, done, noise, send

repo = api.create_repo(f"{ME}/lfs").repo_id


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# File objects go by LFS whatever the version and mode.
small, large = noise(2 * MEGABYTE, 1), noise(21 * MEGABYTE, 2)
for name, data in (("small.bin", small), ("large.bin", large)):
    api.upload_file(path_or_fileobj=io.BytesIO(data), path_in_repo=name, repo_id=repo)
    assert digest(api.hf_hub_download(repo, name)) == hashlib.sha256(data).hexdigest()

# Files on disk: with Xet disabled they take the same road.
(HOME / "disk.bin").write_bytes(large[::-1])
api.upload_file(path_or_fileobj=HOME / "disk.bin", path_in_repo="disk.bin", repo_id=repo)
assert digest(api.hf_hub_download(repo, "disk.bin")) == hashlib.sha256(large[::-1]).hexdigest()
assert XET or "hf_xet" not in sys.modules

# Uploaded before the commit, memory given back.
ahead = CommitOperationAdd("ahead.bin", noise(300_000, 3))
api.preupload_lfs_files(repo, [ahead])
api.create_commit(repo, [ahead], commit_message="Uploaded ahead")
assert (
    digest(api.hf_hub_download(repo, "ahead.bin")) == hashlib.sha256(noise(300_000, 3)).hexdigest()
)

# What the batch route says: parts where a file is large, nothing where it is there already.
oid = hashlib.sha256(large).hexdigest()
fresh = hashlib.sha256(b"never sent").hexdigest()
for name, present in ((oid, True), (fresh, False)):
    answer = send(
        "POST",
        f"/{repo}.git/info/lfs/objects/batch",
        json={
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": [{"oid": name, "size": len(large)}],
            "hash_algo": "sha256",
        },
        headers={"Accept": "application/vnd.git-lfs+json"},
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    actions = said["objects"][0].get("actions")
    if present:
        assert not actions
    else:
        parts = [key for key in actions["upload"].get("header", {}) if key.isdigit()]
        assert said["transfer"] == ("multipart" if parts else "basic")
answer = send(
    "POST",
    f"/{repo}.git/info/lfs/objects/batch",
    json={
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": oid, "size": len(large)}],
    },
    headers={"Accept": "application/vnd.git-lfs+json"},
)
action = answer.json()["objects"][0]["actions"]["download"]
assert action["href"].startswith("http")
infos = api.get_paths_info(repo, ["large.bin"])
assert infos[0].lfs.sha256 == oid and infos[0].lfs.size == len(large)
done()
