# SPDX-License-Identifier: Apache-2.0
"""``HfFileSystem``: what fsspec's users do with a hub."""

from __future__ import annotations

from huggingface_hub import HfFileSystem
from scene import HOME, ME, api, done, noise, other

fs = HfFileSystem()
repo = api.create_repo(f"{ME}/fs", repo_type="dataset").repo_id
root = f"datasets/{repo}"
data = noise(3_000_000)

with fs.open(f"{root}/text/a.txt", "w") as stream:
    stream.write("first\nsecond\n")
with fs.open(f"{root}/big.bin", "wb") as stream:
    stream.write(data)
assert fs.exists(root) and fs.exists(f"{root}/text/a.txt") and not fs.exists(f"{root}/nothing")
assert fs.isdir(f"{root}/text") and fs.isfile(f"{root}/big.bin")
assert not fs.exists(f"datasets/{ME}/nothing/x")
assert fs.read_text(f"{root}/text/a.txt") == "first\nsecond\n"
assert fs.read_bytes(f"{root}/big.bin") == data
assert sorted(fs.ls(root, detail=False)) == [
    f"{root}/.gitattributes",
    f"{root}/big.bin",
    f"{root}/text",
]
entry = fs.info(f"{root}/big.bin")
assert (entry["type"], entry["size"]) == ("file", len(data)) and entry["lfs"]
dated = fs.info(f"{root}/text/a.txt", expand_info=True)
assert dated["last_commit"] is not None

# Parts of a file, and a file as a stream.
with fs.open(f"{root}/big.bin", "rb", block_size=2**17) as stream:
    stream.seek(1_000_000)
    assert stream.read(1000) == data[1_000_000:1_001_000]
    stream.seek(-10, 2)
    assert stream.read() == data[-10:]
assert fs.cat_ranges([f"{root}/big.bin"] * 2, [0, 500], [10, 510]) == [data[:10], data[500:510]]
with fs.open(f"{root}/big.bin", "rb", block_size=0) as stream:
    assert stream.read(100) == data[:100]

# Patterns and walks.
fs.pipe_file(f"{root}/text/deep/b.txt", b"b")
assert sorted(fs.glob(f"{root}/**/*.txt")) == [f"{root}/text/a.txt", f"{root}/text/deep/b.txt"]
assert sorted(fs.find(f"{root}/text")) == [f"{root}/text/a.txt", f"{root}/text/deep/b.txt"]
walked = {folder: sorted(files) for folder, _, files in fs.walk(f"{root}/text")}
assert walked == {f"{root}/text": ["a.txt"], f"{root}/text/deep": ["b.txt"]}
assert fs.du(f"{root}/text") == 14

# Copies, moves, downloads, deletions.
fs.cp_file(f"{root}/text/a.txt", f"{root}/copy.txt")
fs.cp_file(f"{root}/big.bin", f"{root}/copy.bin")
fs.mv(f"{root}/copy.txt", f"{root}/moved.txt")
assert fs.read_bytes(f"{root}/copy.bin") == data and not fs.exists(f"{root}/copy.txt")
fs.get_file(f"{root}/moved.txt", str(HOME / "got.txt"))
assert (HOME / "got.txt").read_text() == "first\nsecond\n"
(HOME / "put").mkdir()
(HOME / "put" / "c.txt").write_text("c")
fs.put(str(HOME / "put"), f"{root}/put", recursive=True)
fs.invalidate_cache()
assert [name for name in fs.find(root) if name.endswith("c.txt")]
fs.rm(f"{root}/moved.txt")
fs.rm(f"{root}/text", recursive=True)
fs.invalidate_cache()
assert not fs.exists(f"{root}/text/a.txt") and not fs.exists(f"{root}/moved.txt")
# Revisions and addresses.
sha = api.list_repo_commits(repo, repo_type="dataset")[-1].commit_id
assert fs.ls(f"{root}@{sha}", detail=False) == [f"{root}@{sha}/.gitattributes"]
api.create_branch(repo, branch="dev", repo_type="dataset")
with fs.open(f"{root}@dev/only-here.txt", "w") as stream:
    stream.write("dev")
fs.invalidate_cache()
assert fs.exists(f"{root}@dev/only-here.txt") and not fs.exists(f"{root}/only-here.txt")
assert fs.url(f"{root}/big.bin").endswith(f"/datasets/{repo}/resolve/main/big.bin")
resolved = fs.resolve_path(f"{root}@dev/only-here.txt")
assert (resolved.repo_id, resolved.revision) == (repo, "dev")

# Private means private.
secret = api.create_repo(f"{ME}/secret", private=True).repo_id
assert fs.exists(secret) and not HfFileSystem(token=other.token).exists(secret)
done()
