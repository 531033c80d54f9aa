# SPDX-License-Identifier: Apache-2.0
"""Large files: listed with where they are, and removed for good."""

from __future__ import annotations

import hashlib
from pathlib import Path

from huggingface_hub.errors import EntryNotFoundError
from scene import ME, api, done, noise, other, refused

repo = api.create_repo(f"{ME}/purge").repo_id
kept, gone, old = noise(120_000, 1), noise(130_000, 2), noise(140_000, 3)
for name, data in (("kept.bin", kept), ("gone.bin", gone), ("old.bin", old)):
    api.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=repo)
api.delete_file("old.bin", repo)
api.create_branch(repo, branch="dev")
api.upload_file(path_or_fileobj=gone, path_in_repo="dev.bin", repo_id=repo, revision="dev")
files = list(api.list_lfs_files(repo))
by_oid = {file.file_oid: file for file in files}
shas = {hashlib.sha256(d).hexdigest(): len(d) for d in (kept, gone, old)}
assert set(by_oid) == set(shas), files
for file in files:
    assert file.size == shas[file.file_oid] and file.pushed_at
    assert file.filename in {"kept.bin", "gone.bin", "old.bin", "dev.bin"}
refused(403, other.list_lfs_files, repo)

doomed = [by_oid[hashlib.sha256(d).hexdigest()] for d in (gone, old)]
refused(403, other.permanently_delete_lfs_files, repo, doomed)
api.permanently_delete_lfs_files(repo, doomed)
assert [file.file_oid for file in api.list_lfs_files(repo)] == [hashlib.sha256(kept).hexdigest()]
assert set(api.list_repo_files(repo)) == {".gitattributes", "kept.bin"}
assert "dev.bin" not in api.list_repo_files(repo, revision="dev")
try:
    api.hf_hub_download(repo, "gone.bin", force_download=True)
except EntryNotFoundError:
    pass
else:
    raise AssertionError("a purged file can be downloaded")
assert Path(api.hf_hub_download(repo, "kept.bin", force_download=True)).read_bytes() == kept
# The same bytes may come again.
api.upload_file(path_or_fileobj=gone, path_in_repo="back.bin", repo_id=repo)
assert Path(api.hf_hub_download(repo, "back.bin")).read_bytes() == gone
done()
