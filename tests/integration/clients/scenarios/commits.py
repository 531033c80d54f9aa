# SPDX-License-Identifier: Apache-2.0
"""Commits of every kind: add, copy, delete, parent checks, proposals, retried requests."""

from __future__ import annotations

import io
import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationCopy as Copy
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError
from scene import BODY, HOME, ME, api, done, has, noise, other, refused, send, titles


def read(path: str, name: str | None = None, **options: object) -> bytes:
    return Path(api.hf_hub_download(name or repo, path, **options)).read_bytes()


repo = api.create_repo(f"{ME}/model").repo_id
data = noise(300_000)
(HOME / "local.bin").write_bytes(data)
first = api.create_commit(
    repo,
    [
        Add("a.txt", b"text"),
        Add("folder/b.txt", str(HOME / "local.bin").encode()),
        Add("folder/deep/c.txt", io.BytesIO(b"from an object")),
        Add("big.bin", str(HOME / "local.bin")),
        Add("object.bin", io.BytesIO(data[:150_000])),
        Add("empty.txt", b""),
        Add("数据/文件.txt", "汉字".encode()),
    ],
    commit_message="Seven files",
    commit_description="Of every kind.",
)
assert len(first.oid) == 40 and api.model_info(repo).sha == first.oid
assert first.commit_url.endswith(f"{repo}/commit/{first.oid}")
assert read("big.bin") == data and read("object.bin") == data[:150_000]
assert read("folder/deep/c.txt") == b"from an object" and read("empty.txt") == b""
assert read("数据/文件.txt").decode() == "汉字"
files = {entry.path: entry for entry in api.list_repo_tree(repo, recursive=True)}
assert files["big.bin"].lfs and files["big.bin"].size == len(data)
assert files["a.txt"].lfs is None and files["a.txt"].size == 4

# Copies within a repository, regular and large, from now and from before.
api.create_commit(
    repo,
    [
        Copy("a.txt", "copies/a.txt"),
        Copy("big.bin", "copies/big.bin"),
        Copy("folder/b.txt", "copies/b.txt", src_revision=first.oid),
        Delete("object.bin"),
    ],
    commit_message="Copy",
)
assert read("copies/big.bin") == data and read("copies/a.txt") == b"text"
assert not api.file_exists(repo, "object.bin") and api.file_exists(
    repo, "object.bin", revision=first.oid
)

# Copies from another repository.
if has("copy_files"):
    target = api.create_repo(f"{ME}/target", repo_type="dataset").repo_id
    api.create_commit(
        target,
        [
            Copy("big.bin", "in/big.bin", src_repo_id=repo, src_repo_type="model"),
            Copy("a.txt", "in/a.txt", src_repo_id=repo, src_repo_type="model"),
        ],
        commit_message="Copy from the model",
        repo_type="dataset",
    )
    assert read("in/big.bin", target, repo_type="dataset") == data
    api.copy_files(f"hf://{repo}/folder/", f"hf://datasets/{target}/folder")
    assert read("folder/deep/c.txt", target, repo_type="dataset") == b"from an object"

# Deleting.
api.delete_file("empty.txt", repo)
api.delete_folder("copies", repo)
api.delete_files(repo, ["数据/*.txt"], commit_message="Delete by pattern")
assert set(api.list_repo_files(repo)) == {
    ".gitattributes",
    "a.txt",
    "big.bin",
    "folder/b.txt",
    "folder/deep/c.txt",
}
error = refused(404, api.delete_file, "nothing.txt", repo)
assert isinstance(error, EntryNotFoundError), type(error)

# Parents.
head = api.model_info(repo).sha
api.upload_file(path_or_fileobj=b"1", path_in_repo="p", repo_id=repo, parent_commit=head)
error = refused(
    412,
    api.upload_file,
    path_or_fileobj=b"2",
    path_in_repo="p",
    repo_id=repo,
    parent_commit=head,
)
assert "The branch was updated" in str(error)
assert read("p") == b"1"

# What changes nothing makes no commit.
before = titles(repo)
same = api.upload_file(path_or_fileobj=b"1", path_in_repo="p", repo_id=repo)
assert same.oid == api.model_info(repo).sha and titles(repo) == before

# A request that is sent again lands once.
lines = [
    {"key": "header", "value": {"summary": "Sent twice", "description": ""}},
    {"key": "file", "value": {"path": "once", "content": "eA==", "encoding": "base64"}},
]
body = "\n".join(json.dumps(line) for line in lines).encode()
answers = {
    send("POST", f"/api/models/{repo}/commit/main", **{BODY: body}).json()["commitOid"]
    for _ in range(3)
}
assert len(answers) == 1 and titles(repo).count("Sent twice") == 1

# Proposals and branches.
commit = api.create_commit(repo, [Add("new", b"n")], commit_message="Offer", create_pr=True)
assert commit.pr_num and commit.pr_revision == f"refs/pr/{commit.pr_num}"
assert not api.file_exists(repo, "new")
assert api.file_exists(repo, "new", revision=commit.pr_revision)
offer = other.upload_file(
    path_or_fileobj=data[:200_000],
    path_in_repo="offered.bin",
    repo_id=repo,
    create_pr=True,
    commit_message="From a stranger",
)
assert read("offered.bin", revision=offer.pr_revision) == data[:200_000]
more = other.upload_file(
    path_or_fileobj=b"more", path_in_repo="more", repo_id=repo, revision=offer.pr_revision
)
assert titles(repo, revision=offer.pr_revision)[:2] == [
    "Upload more with huggingface_hub",
    "From a stranger",
]
refused(403, other.upload_file, path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)
refused(
    403,
    other.upload_file,
    path_or_fileobj=b"x",
    path_in_repo="x",
    repo_id=repo,
    revision=commit.pr_revision,
)
api.create_branch(repo, branch="dev")
api.upload_file(path_or_fileobj=b"d", path_in_repo="dev.txt", repo_id=repo, revision="dev")
assert not api.file_exists(repo, "dev.txt") and api.file_exists(repo, "dev.txt", revision="dev")
error = refused(
    404, api.upload_file, path_or_fileobj=b"d", path_in_repo="d", repo_id=repo, revision="absent"
)
assert isinstance(error, RevisionNotFoundError), type(error)

later = api.upload_file(
    path_or_fileobj=b"later", path_in_repo="later", repo_id=repo, run_as_future=True
)
assert later.result().oid == api.model_info(repo).sha
done()
