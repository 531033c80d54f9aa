# SPDX-License-Identifier: Apache-2.0
"""Create, look at, settings, visibility, move with redirects, duplicate, delete."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError
from scene import ME, ORGANIZATION, OTHER, api, done, has, nobody, other, refused

who = api.whoami()
assert (who["name"], who["type"]) == (ME, "user")
assert [org["name"] for org in who["orgs"]] == [ORGANIZATION]
assert who["auth"]["accessToken"]["role"] == "write"

for kind in ("model", "dataset", "space"):
    extra = {"space_sdk": "gradio"} if kind == "space" else {}
    url = api.create_repo(f"{ME}/thing", repo_type=kind, **extra)
    assert (url.repo_id, url.repo_type) == (f"{ME}/thing", kind)
    assert api.create_repo(url.repo_id, repo_type=kind, exist_ok=True, **extra) == url
    refused(409, api.create_repo, url.repo_id, repo_type=kind, **extra)
    info = api.repo_info(url.repo_id, repo_type=kind)
    assert (info.id, info.author, info.private, info.disabled) == (url.repo_id, ME, False, False)
    assert info.created_at and info.last_modified and len(info.sha) == 40
    assert next(s.rfilename for s in info.siblings) == ".gitattributes"
    assert api.repo_exists(url.repo_id, repo_type=kind)
assert api.space_info(f"{ME}/thing").sdk == "gradio"
assert api.create_repo("bare-name").repo_id == f"{ME}/bare-name"
assert api.create_repo(f"{ORGANIZATION}/shared").repo_id == f"{ORGANIZATION}/shared"
refused(403, other.create_repo, f"{ME}/intruder")
refused(403, other.create_repo, f"{ORGANIZATION}/intruder")

# Private: it does not exist for others.
secret = api.create_repo(f"{ME}/secret", private=True).repo_id
assert api.model_info(secret).private is True
api.auth_check(secret)
for stranger in (other, nobody):
    assert not stranger.repo_exists(secret)
    for call in (stranger.model_info, stranger.list_repo_files, stranger.auth_check):
        error = refused(401 if stranger is nobody else 404, call, secret)
        assert isinstance(error, RepositoryNotFoundError)
if has("create_repo(visibility)"):
    hidden = api.create_repo(f"{ME}/hidden", visibility="private").repo_id
    assert api.model_info(hidden).private is True
    api.update_repo_settings(hidden, visibility="public")
    assert other.model_info(hidden).private is False
api.update_repo_settings(secret, private=False)
assert other.model_info(secret).private is False
if has("update_repo_visibility"):
    api.update_repo_visibility(secret, private=True)
    assert not other.repo_exists(secret)
api.update_repo_settings(secret, private=True)
assert not other.repo_exists(secret)
refused(404, other.update_repo_settings, secret, private=False)
refused(403, other.update_repo_settings, f"{ME}/thing", private=True)
for gate in ("auto", "manual", False):
    api.update_repo_settings(secret, gated=gate)
    assert api.model_info(secret).gated == gate

# Moving: the old name leads to the new one.
api.upload_file(path_or_fileobj=b"moved", path_in_repo="a.txt", repo_id=secret)
api.move_repo(secret, f"{ME}/public-now")
api.update_repo_settings(f"{ME}/public-now", private=False)
for someone in (api, other, nobody):
    assert someone.model_info(secret).id == f"{ME}/public-now"
    assert "a.txt" in someone.list_repo_files(secret)
assert Path(hf_hub_download(secret, "a.txt")).read_text() == "moved"
api.move_repo(f"{ME}/public-now", f"{ORGANIZATION}/ours")
assert api.model_info(secret).id == f"{ORGANIZATION}/ours"
assert api.model_info(f"{ME}/public-now").id == f"{ORGANIZATION}/ours"
refused(409, api.move_repo, f"{ORGANIZATION}/ours", f"{ME}/thing")
refused(403, other.move_repo, f"{ME}/thing", f"{OTHER}/thing")
refused(403, api.move_repo, f"{ME}/thing", f"{OTHER}/thing")
# A new repository takes the old name over.
assert api.create_repo(secret).repo_id == secret
assert api.model_info(secret).id == secret
api.update_repo_settings(f"{ORGANIZATION}/ours", private=True)
assert not other.repo_exists(f"{ME}/public-now")

if has("duplicate_repo"):
    for kind in ("model", "dataset"):
        source, target = f"{ME}/source", f"{ORGANIZATION}/copy"
        api.create_repo(source, repo_type=kind)
        for name, data in (("a.txt", b"text"), ("big.bin", bytes(range(256)) * 500)):
            api.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=source, repo_type=kind)
        copy = api.duplicate_repo(source, target, repo_type=kind, private=True)
        assert copy.repo_id == target
        assert api.repo_info(target, repo_type=kind).private is True
        got = api.hf_hub_download(target, "big.bin", repo_type=kind)
        assert Path(got).read_bytes() == bytes(range(256)) * 500
        assert set(api.list_repo_files(target, repo_type=kind)) >= {"a.txt", "big.bin"}
        refused(409, api.duplicate_repo, source, target, repo_type=kind)
        again = api.duplicate_repo(source, target, repo_type=kind, exist_ok=True)
        assert again.repo_id == target
if has("list_user_repos"):
    mine = {repo.id for repo in api.list_user_repos()}
    assert f"{ME}/thing" in mine
    ours = {repo.id for repo in api.list_user_repos(ORGANIZATION)}
    assert f"{ORGANIZATION}/shared" in ours

assert api.revision_exists(f"{ME}/thing", "main")
assert not api.revision_exists(f"{ME}/thing", "nothing")
assert api.file_exists(f"{ME}/thing", ".gitattributes")
assert not api.file_exists(f"{ME}/thing", "nothing.txt")

refused(403, other.delete_repo, f"{ME}/thing")
refused(404, other.delete_repo, f"{ORGANIZATION}/ours")
for kind in ("model", "dataset", "space"):
    api.delete_repo(f"{ME}/thing", repo_type=kind)
    assert not api.repo_exists(f"{ME}/thing", repo_type=kind)
    refused(404, api.delete_repo, f"{ME}/thing", repo_type=kind)
    api.delete_repo(f"{ME}/thing", repo_type=kind, missing_ok=True)
done()
