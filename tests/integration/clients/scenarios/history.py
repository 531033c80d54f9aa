# SPDX-License-Identifier: Apache-2.0
"""Branches, tags, references, lists of commits, squashing."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.errors import RevisionNotFoundError
from scene import ME, api, done, noise, other, refused, titles

for kind in ("model", "dataset"):
    TYPE = {"repo_type": kind}
    repo = api.create_repo(f"{ME}/history", **TYPE).repo_id
    for index in range(4):
        api.upload_file(
            path_or_fileobj=b"%d" % index,
            path_in_repo="n.txt",
            repo_id=repo,
            commit_message=f"Number {index}",
            commit_description=f"Description {index}",
            **TYPE,
        )
    commits = list(api.list_repo_commits(repo, **TYPE))
    assert [c.title for c in commits] == [
        *(f"Number {n}" for n in (3, 2, 1, 0)),
        "initial commit",
    ]
    assert commits[0].message == "Description 3" and commits[0].authors == [ME]
    assert all(len(c.commit_id) == 40 and c.created_at for c in commits)
    formatted = next(iter(api.list_repo_commits(repo, formatted=True, **TYPE)))
    assert "Number 3" in formatted.formatted_title

    # Branches.
    api.create_branch(repo, branch="dev", **TYPE)
    api.create_branch(repo, branch="old/one", revision=commits[2].commit_id, **TYPE)
    refused(409, api.create_branch, repo, branch="dev", **TYPE)
    api.create_branch(repo, branch="dev", exist_ok=True, **TYPE)
    error = refused(404, api.create_branch, repo, branch="x", revision="nothing", **TYPE)
    assert isinstance(error, RevisionNotFoundError), type(error)
    refused(400, api.create_branch, repo, branch="bad..name", **TYPE)
    refused(403, other.create_branch, repo, branch="mine", **TYPE)
    assert titles(repo, revision="old/one", **TYPE)[0] == "Number 1"
    assert Path(api.hf_hub_download(repo, "n.txt", revision="old/one", **TYPE)).read_text() == "1"

    # Tags.
    api.create_tag(repo, tag="v1", revision=commits[1].commit_id, tag_message="First", **TYPE)
    api.create_tag(repo, tag="v2", **TYPE)
    refused(409, api.create_tag, repo, tag="v1", **TYPE)
    api.create_tag(repo, tag="v1", exist_ok=True, **TYPE)
    refused(403, other.create_tag, repo, tag="v3", **TYPE)
    assert api.repo_info(repo, revision="v1", **TYPE).sha == commits[1].commit_id

    refs = api.list_repo_refs(repo, include_pull_requests=True, **TYPE)
    heads = {b.name: (b.ref, b.target_commit) for b in refs.branches}
    assert heads == {
        "main": ("refs/heads/main", commits[0].commit_id),
        "dev": ("refs/heads/dev", commits[0].commit_id),
        "old/one": ("refs/heads/old/one", commits[2].commit_id),
    }
    # An annotated tag may be named by itself or by its commit.
    assert {t.name: t.ref for t in refs.tags} == {"v1": "refs/tags/v1", "v2": "refs/tags/v2"}
    assert refs.pull_requests == []
    offer = api.create_pull_request(repo, title="Offer", **TYPE)
    refs = api.list_repo_refs(repo, include_pull_requests=True, **TYPE)
    assert [p.ref for p in refs.pull_requests] == [f"refs/pr/{offer.num}"]
    assert api.list_repo_refs(repo, **TYPE).pull_requests is None

    api.delete_tag(repo, tag="v2", **TYPE)
    refused(404, api.delete_tag, repo, tag="v2", **TYPE)
    api.delete_branch(repo, branch="old/one", **TYPE)
    refused(404, api.delete_branch, repo, branch="old/one", **TYPE)
    error = refused(403, other.delete_branch, repo, branch="dev", **TYPE)
    for code in (400, 403):
        try:
            refused(code, api.delete_branch, repo, branch="main", **TYPE)
            break
        except AssertionError:
            if code == 403:
                raise
    refs = api.list_repo_refs(repo, **TYPE)
    assert sorted(b.name for b in refs.branches) == ["dev", "main"]
    assert [t.name for t in refs.tags] == ["v1"]

    # Squashing keeps the files and forgets how they came; what others hold stays.
    data = noise(150_000)
    api.upload_file(path_or_fileobj=data, path_in_repo="big.bin", repo_id=repo, **TYPE)
    refused(403, other.super_squash_history, repo, **TYPE)
    # A pull request that is open stands on main's history.
    refused(409, api.super_squash_history, repo, **TYPE)
    api.change_discussion_status(repo, offer.num, "closed", **TYPE)
    api.super_squash_history(repo, commit_message="All in one", **TYPE)
    assert titles(repo, **TYPE) == ["All in one"]
    assert set(api.list_repo_files(repo, **TYPE)) == {".gitattributes", "n.txt", "big.bin"}
    assert Path(api.hf_hub_download(repo, "big.bin", **TYPE)).read_bytes() == data
    assert titles(repo, revision="v1", **TYPE)[0] == "Number 2"
    api.super_squash_history(repo, branch="dev", **TYPE)
    assert len(titles(repo, revision="dev", **TYPE)) == 1
    refused(404, api.super_squash_history, repo, branch="nothing", **TYPE)

# Many commits come in pages.
repo = f"{ME}/history"
for index in range(60):
    api.create_tag(repo, tag=f"t{index}")
assert len(api.list_repo_refs(repo).tags) == 61
done()
