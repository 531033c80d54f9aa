# SPDX-License-Identifier: Apache-2.0
"""Folders: many pipelined commits, patterns, ignore files, deletions, large folders, proposals."""

from __future__ import annotations

from pathlib import Path

from scene import HOME, ME, VERSION, XET, api, done, has, noise, titles

repo = api.create_repo(f"{ME}/folder").repo_id
folder = HOME / "folder"
count = 320
for index in range(count):
    path = folder / f"shard-{index % 7}" / f"{index:04}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"file {index}")
for index in range(3):
    (folder / f"weights-{index}.safetensors").write_bytes(noise(200_000, index))
(folder / ".git").mkdir()
(folder / ".git" / "config").write_text("never sent")
commit = api.upload_folder(folder_path=folder, repo_id=repo, commit_message="All of it")
assert commit.oid == api.model_info(repo).sha
expected = {
    str(path.relative_to(folder))
    for path in folder.rglob("*")
    if path.is_file() and ".git/" not in str(path)
}
assert set(api.list_repo_files(repo)) == expected | {".gitattributes"}
made = [title for title in titles(repo) if title.startswith("All of it")]
# From 1.20 on, with Xet, a folder goes up in several commits, while later files are being read.
several = XET and VERSION in ("hf-1.33", "hf-2")
assert (len(made) > 1) == several, made
assert Path(api.hf_hub_download(repo, "weights-2.safetensors")).read_bytes() == noise(200_000, 2)

# The same folder again: nothing to do, no commit.
before = titles(repo)
again = api.upload_folder(folder_path=folder, repo_id=repo)
assert again.oid == api.model_info(repo).sha
assert titles(repo) == before

# One file changed, old ones deleted by pattern, others left out.
(folder / "shard-0" / "0000.txt").write_text("changed")
(folder / "notes.md").write_text("left out")
api.upload_folder(
    folder_path=folder,
    repo_id=repo,
    delete_patterns=["shard-6/*"],
    ignore_patterns=["*.md", "shard-6/*"],
    commit_message="Change one",
)
files = set(api.list_repo_files(repo))
assert "notes.md" not in files and not [name for name in files if name.startswith("shard-6/")]
assert Path(api.hf_hub_download(repo, "shard-0/0000.txt")).read_text() == "changed"

# Into a folder, allowed files alone; the folder's own .gitignore counts where it is the root's.
small = HOME / "small"
small.mkdir()
for name in ("a.txt", "b.log", "c.txt", "d.json"):
    (small / name).write_text(name)
(small / ".gitignore").write_text("c.txt\n")
api.upload_folder(
    folder_path=small, path_in_repo="in/here", repo_id=repo, allow_patterns=["a.*", "b.*"]
)
here = {name for name in api.list_repo_files(repo) if name.startswith("in/here/")}
assert here == {"in/here/a.txt", "in/here/b.log"}, here
fresh = api.create_repo(f"{ME}/ignoring").repo_id
api.upload_folder(folder_path=small, repo_id=fresh)
assert sorted(api.list_repo_files(fresh)) == [
    ".gitattributes",
    ".gitignore",
    "a.txt",
    "b.log",
    "d.json",
]

# As a pull request.
offer = api.upload_folder(
    folder_path=small,
    path_in_repo="offered",
    repo_id=repo,
    create_pr=True,
    commit_message="Offer a folder",
)
number = offer.pr_num
if number is None:  # newer clients open the pull request first, and return its last commit
    number = next(iter(api.get_repo_discussions(repo))).num
assert api.file_exists(repo, "offered/d.json", revision=f"refs/pr/{number}")
assert not api.file_exists(repo, "offered/d.json")

if has("upload_large_folder"):
    name = f"{ME}/large"
    api.upload_large_folder(
        repo_id=name, repo_type="dataset", folder_path=folder, num_workers=2, print_report=False
    )
    names = set(api.list_repo_files(name, repo_type="dataset"))
    assert names >= expected and "notes.md" in names
done()
