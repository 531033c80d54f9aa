# SPDX-License-Identifier: Apache-2.0
"""Large files up and down; with Xet, what is already there is not sent or stored again."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from huggingface_hub import hf_hub_download
from scene import HOME, ME, MEGABYTE, XET, api, done, noise, other

repo = api.create_repo(f"{ME}/xet").repo_id
data = bytearray(noise(12 * MEGABYTE))
file = HOME / "model.safetensors"
file.write_bytes(data)
api.upload_file(path_or_fileobj=file, path_in_repo="model.safetensors", repo_id=repo)
# An edit in the middle, an insertion, and the same bytes under another name.
data[6 * MEGABYTE : 6 * MEGABYTE + 100] = b"x" * 100
data[3 * MEGABYTE : 3 * MEGABYTE] = b"inserted"
file.write_bytes(data)
api.upload_file(path_or_fileobj=file, path_in_repo="model.safetensors", repo_id=repo)
api.upload_file(path_or_fileobj=file, path_in_repo="again.safetensors", repo_id=repo)
assert ("hf_xet" in sys.modules) is XET

expected = hashlib.sha256(data).hexdigest()
for name in ("model.safetensors", "again.safetensors"):
    path = hf_hub_download(repo, name)
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == expected
old = api.list_repo_commits(repo)[2].commit_id
assert Path(hf_hub_download(repo, "model.safetensors", revision=old)).read_bytes() == noise(
    12 * MEGABYTE
)

# A second person, with no caches at all, uploads the same bytes to a repository of theirs.
for folder in ("xet", "hub"):
    shutil.rmtree(HOME / "hf" / folder, ignore_errors=True)
theirs = other.create_repo("theirs", private=True).repo_id
other.upload_file(path_or_fileobj=file, path_in_repo="model.safetensors", repo_id=theirs)
assert (
    hashlib.sha256(
        Path(other.hf_hub_download(theirs, "model.safetensors")).read_bytes()
    ).hexdigest()
    == expected
)
assert not api.repo_exists(theirs)

# Empty and one-byte files, and many at once.
folder = HOME / "many"
folder.mkdir()
for index in range(12):
    (folder / f"{index}.bin").write_bytes(noise(index * 70_000, 100 + index))
(folder / "one.bin").write_bytes(b"1")
api.upload_folder(folder_path=folder, repo_id=repo, path_in_repo="many")
local = api.snapshot_download(repo, allow_patterns=["many/*"], local_dir=HOME / "down")
for path in folder.iterdir():
    assert (HOME / "down" / "many" / path.name).read_bytes() == path.read_bytes(), path.name
assert local
done()
