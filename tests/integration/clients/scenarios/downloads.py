# SPDX-License-Identifier: Apache-2.0
"""Downloads: cached, resumed, ranged, snapshots, what is missing, metadata."""

from __future__ import annotations

import hashlib
from pathlib import Path

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from scene import HOME, ME, MEGABYTE, api, done, has, noise, send

repo = api.create_repo(f"{ME}/files", repo_type="dataset").repo_id
TYPE = {"repo_type": "dataset"}
data = noise(9 * MEGABYTE)
folder = HOME / "made"
(folder / "sub folder").mkdir(parents=True)
(folder / "big.parquet").write_bytes(data)
(folder / "sub folder" / "a+b %20 #1?.txt").write_text("odd name")
(folder / "plain.txt").write_text("plain")
api.upload_folder(folder_path=folder, repo_id=repo, **TYPE)
sha = api.dataset_info(repo).sha

# Into the cache, once.
path = Path(hf_hub_download(repo, "big.parquet", **TYPE))
assert path.read_bytes() == data and path.parent.name == sha
assert hf_hub_download(repo, "big.parquet", local_files_only=True, **TYPE) == str(path)
odd = hf_hub_download(repo, "a+b %20 #1?.txt", subfolder="sub folder", **TYPE)
assert Path(odd).read_text() == "odd name"

# What is missing is remembered as missing.
for call, error in (
    (lambda: hf_hub_download(repo, "nothing.txt", **TYPE), EntryNotFoundError),
    (lambda: hf_hub_download(repo, "plain.txt", revision="nothing", **TYPE), RevisionNotFoundError),
    (lambda: hf_hub_download(f"{ME}/nothing", "plain.txt", **TYPE), RepositoryNotFoundError),
):
    try:
        call()
    except error as caught:
        assert not isinstance(caught, LocalEntryNotFoundError), caught
    else:
        raise AssertionError(error)
missing = try_to_load_from_cache(repo, "nothing.txt", revision=sha, **TYPE)
assert missing is not None and not isinstance(missing, str)

# Metadata.
meta = get_hf_file_metadata(hf_hub_url(repo, "big.parquet", **TYPE))
assert (meta.commit_hash, meta.size) == (sha, len(data))
assert meta.etag == hashlib.sha256(data).hexdigest()
assert meta.location.startswith("http")

# Ranges, as other tools ask for them.
url = f"/datasets/{repo}/resolve/main/big.parquet"
for asked, expected in (
    ("bytes=0-99", data[:100]),
    ("bytes=1000000-1000099", data[1_000_000:1_000_100]),
    ("bytes=-5", data[-5:]),
):
    part = send("GET", url, headers={"Range": asked, "Accept-Encoding": "identity"})
    assert part.status_code == 206 and part.content == expected, (asked, part.status_code)

# A download that was cut off goes on where it ended.
local = HOME / "resumed"
cache = local / ".cache" / "huggingface" / "download"
cache.mkdir(parents=True)
hf_hub_download(repo, "plain.txt", local_dir=local, **TYPE)
names = [p.name for p in cache.iterdir() if p.name.startswith("plain")]
assert names, "the client keeps its notes in local_dir"
etag = meta.etag
try:
    from huggingface_hub._local_folder import get_local_download_paths

    incomplete = get_local_download_paths(local, "big.parquet").incomplete_path(etag)
    incomplete.write_bytes(data[: 4 * MEGABYTE])
except ImportError:
    pass
got = hf_hub_download(repo, "big.parquet", local_dir=local, **TYPE)
assert Path(got).read_bytes() == data
forced = hf_hub_download(repo, "big.parquet", force_download=True, **TYPE)
assert Path(forced).read_bytes() == data

# Snapshots: all, some, of a revision, then from the cache alone.
api.upload_file(path_or_fileobj=b"newer", path_in_repo="plain.txt", repo_id=repo, **TYPE)
whole = Path(snapshot_download(repo, **TYPE))
assert (whole / "plain.txt").read_text() == "newer" and (whole / "big.parquet").read_bytes() == data
old = Path(snapshot_download(repo, revision=sha, **TYPE))
assert (old / "plain.txt").read_text() == "plain" and old.name == sha
some = Path(
    snapshot_download(
        repo, allow_patterns=["*.txt"], ignore_patterns=["sub*"], local_dir=HOME / "some", **TYPE
    )
)
assert [p.name for p in some.iterdir() if p.is_file()] == ["plain.txt"]
assert Path(snapshot_download(repo, local_files_only=True, **TYPE)) == whole
if has("snapshot_download(dry_run)"):
    plan = snapshot_download(repo, dry_run=True, cache_dir=HOME / "fresh", **TYPE)
    assert {item.filename for item in plan} >= {"big.parquet", "plain.txt"}
    assert sum(item.file_size for item in plan) > len(data)
if has("resolve_revision"):
    found = api.resolve_revision(repo, revision="main", **TYPE)
    assert (str(found), found.resolved) == ("main", api.dataset_info(repo).sha)
done()
