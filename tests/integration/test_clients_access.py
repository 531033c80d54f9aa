# SPDX-License-Identifier: Apache-2.0
"""Gated repositories, redirects, copies and likes with the stock client, and those who try."""

from __future__ import annotations

import hashlib
import io
import subprocess
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)

from integration.live import LiveHub, Person

WEIGHTS = bytes(range(256)) * 50


def filled(person: Person, name: str = "model", **options: bool) -> str:
    repo = person.api.create_repo(f"{person.name}/{name}", **options).repo_id  # type: ignore[arg-type]
    person.api.create_commit(
        repo,
        [CommitOperationAdd("w.bin", WEIGHTS), CommitOperationAdd("a.txt", b"hello")],
        commit_message="files",
    )
    return repo


def test_access_requests_as_the_hubs_own_tests_have_them(alice: Person, bob: Person) -> None:
    repo, api = filled(alice), alice.api
    with pytest.raises(HfHubHTTPError, match="not gated"):
        list(api.list_pending_access_requests(repo))
    api.update_repo_settings(repo, gated="auto")
    assert api.model_info(repo).gated == "auto"
    for call in (
        api.list_accepted_access_requests,
        api.list_pending_access_requests,
        api.list_rejected_access_requests,
    ):
        assert list(call(repo)) == []
    api.grant_access(repo, bob.name)
    request = next(iter(api.list_accepted_access_requests(repo)))
    assert (request.username, request.email, request.status) == (bob.name, None, "accepted")
    for wrong in (api.grant_access, api.accept_access_request):
        with pytest.raises(HfHubHTTPError):
            wrong(repo, bob.name)
    api.cancel_access_request(repo, bob.name)
    assert [r.username for r in api.list_pending_access_requests(repo)] == [bob.name]
    with pytest.raises(HfHubHTTPError):
        api.cancel_access_request(repo, bob.name)
    api.reject_access_request(repo, bob.name, rejection_reason="This is a rejection reason")
    assert [r.username for r in api.list_rejected_access_requests(repo)] == [bob.name]
    with pytest.raises(HfHubHTTPError):
        api.reject_access_request(repo, bob.name, rejection_reason=None)
    api.accept_access_request(repo, request_id=request.request_id)
    assert [r.username for r in api.list_accepted_access_requests(repo)] == [bob.name]
    with pytest.raises(HfHubHTTPError):
        bob.api.grant_access(repo, bob.name)


def test_a_gate_stands_before_every_road_to_the_bytes(
    live_hub: LiveHub, alice: Person, bob: Person, tmp_path: Path
) -> None:
    repo = filled(alice)
    alice.api.update_repo_settings(repo, gated="manual")
    stranger = HfApi(endpoint=live_hub.url, token=False)
    for api in (bob.api, stranger):
        assert api.model_info(repo).gated == "manual"
        assert set(api.list_repo_files(repo)) == {".gitattributes", "a.txt", "w.bin"}
        for path in ("a.txt", "w.bin"):
            with pytest.raises(GatedRepoError, match="Ask for access at"):
                api.hf_hub_download(repo, path, local_dir=tmp_path / "no")
        with pytest.raises(GatedRepoError):
            api.auth_check(repo)
        with pytest.raises(GatedRepoError):
            api.snapshot_download(repo, local_dir=tmp_path / "no")
    head = alice.api.model_info(repo).sha
    sha256 = alice.api.get_paths_info(repo, "w.bin")[0].lfs.sha256  # type: ignore[union-attr]
    with httpx.Client(
        base_url=live_hub.url, headers={"Authorization": f"Bearer {bob.token}"}
    ) as client:
        for path in (
            f"/{repo}/resolve/main/a.txt",
            f"/{repo}/raw/main/a.txt",
            f"/api/models/{repo}/compare/{head}~..main",
            f"/api/models/{repo}/compare/main..main",
            f"/api/models/{repo}/xet-read-token/main",
            f"/api/models/{repo}/safetensors-metadata/w.bin",
            f"/{repo}.git/info/refs?service=git-upload-pack",
            f"/api/models/{repo}/discussions/1?diff=1",
        ):
            answer = client.get(path)
            assert answer.status_code in (401, 403, 404), (path, answer.status_code)
            assert b"hello" not in answer.content
        batch = client.post(
            f"/{repo}.git/info/lfs/objects/batch",
            json={"operation": "download", "objects": [{"oid": sha256, "size": len(WEIGHTS)}]},
        )
        assert batch.status_code in (401, 403)
        copied = client.post(f"/api/models/{repo}/duplicate", json={"repository": f"{bob.name}/c"})
        assert (copied.status_code, copied.headers["X-Error-Code"]) == (403, "GatedRepo")
        mine = bob.api.create_repo(f"{bob.name}/mine").repo_id
        taken = client.post(
            f"/api/models/{repo}/lfs-files/duplicate",
            json={"target": {"type": "model", "name": mine}, "files": [{"sha256": sha256}]},
        )
        assert taken.status_code == 403
        asked = client.post(f"/api/models/{repo}/ask-access", json={})
        assert asked.json()["status"] == "pending"
    clone = subprocess.run(
        ["git", "clone", f"{live_hub.url.replace('://', f'://x:{bob.token}@')}/{repo}", "c"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "HOME": str(tmp_path)},
    )
    assert clone.returncode != 0
    alice.api.accept_access_request(repo, bob.name)
    assert Path(
        bob.api.hf_hub_download(repo, "w.bin", local_dir=tmp_path / "yes")
    ).read_bytes() == (WEIGHTS)
    bob.api.auth_check(repo)


def test_asking_with_a_form(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    repo = filled(alice)
    alice.api.upload_file(
        path_or_fileobj=b"---\nlicense: mit\nextra_gated_fields:\n  Company: text\n---\n",
        path_in_repo="README.md",
        repo_id=repo,
    )
    alice.api.update_repo_settings(repo, gated="auto")
    head = {"Authorization": f"Bearer {bob.token}"}
    ask = f"{live_hub.url}/{repo}/ask-access"
    assert httpx.post(ask, headers=head).status_code == 400
    assert httpx.post(ask, data={"Company": "Acme"}).status_code == 401
    answer = httpx.post(ask, headers=head, data={"Company": "Acme"})
    assert answer.json()["status"] == "accepted"
    own = httpx.get(f"{live_hub.url}/api/models/{repo}/user-access-request", headers=head).json()
    assert own["fields"] == {"Company": "Acme"}
    request = next(iter(alice.api.list_accepted_access_requests(repo)))
    assert request.fields == {"Company": "Acme"}
    bob.api.auth_check(repo)


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_old_names_lead_to_the_new_one(
    live_hub: LiveHub, alice: Person, bob: Person, kind: str, tmp_path: Path
) -> None:
    api, me = alice.api, alice.name
    sdk = "static" if kind == "space" else None
    old, new = f"{me}/old", f"{me}/new"
    api.create_repo(old, repo_type=kind, space_sdk=sdk)
    api.upload_file(path_or_fileobj=b"one", path_in_repo="a b.txt", repo_id=old, repo_type=kind)
    api.move_repo(old, new, repo_type=kind)
    assert bob.api.repo_info(old, repo_type=kind).id == new
    got = bob.api.hf_hub_download(old, "a b.txt", repo_type=kind, local_dir=tmp_path)
    assert Path(got).read_bytes() == b"one"
    api.upload_file(path_or_fileobj=b"two", path_in_repo="b.bin", repo_id=old, repo_type=kind)
    assert "b.bin" in api.list_repo_files(new, repo_type=kind)
    raw = httpx.get(f"{live_hub.url}/api/{kind}s/{old}?blobs=true")
    assert (raw.status_code, raw.headers["Location"]) == (307, f"/api/{kind}s/{new}?blobs=true")
    api.update_repo_settings(new, repo_type=kind, private=True)
    with pytest.raises(RepositoryNotFoundError):
        bob.api.repo_info(old, repo_type=kind)
    hidden = httpx.get(f"{live_hub.url}/api/{kind}s/{old}")
    assert hidden.status_code == 401
    assert new not in hidden.text + str(hidden.headers)
    with pytest.raises(HfHubHTTPError, match=r"no longer|is now|404"):
        api.delete_repo(old, repo_type=kind)
    api.create_repo(old, repo_type=kind, space_sdk=sdk)
    assert api.repo_info(old, repo_type=kind).id == old


def test_moves_that_are_refused(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    repo = filled(alice)
    alice.api.create_repo(f"{alice.name}/taken")
    with pytest.raises(HfHubHTTPError, match=r"A model repository called .* already exists"):
        alice.api.move_repo(repo, f"{alice.name}/taken")
    for target in (f"{bob.name}/x", "api/x", "datasets/x", "settings/x"):
        with pytest.raises(HfHubHTTPError):
            alice.api.move_repo(repo, target)
    with pytest.raises(HfHubHTTPError):
        bob.api.move_repo(repo, f"{bob.name}/x")
    assert alice.api.repo_exists(repo)


def test_copies_of_repositories(alice: Person, bob: Person, tmp_path: Path) -> None:
    repo = filled(alice)
    copy = bob.api.duplicate_repo(repo, f"{bob.name}/copy")
    assert copy.repo_id == f"{bob.name}/copy"
    assert bob.api.list_repo_files(copy.repo_id) == alice.api.list_repo_files(repo)
    assert bob.api.model_info(copy.repo_id).sha == alice.api.model_info(repo).sha
    got = bob.api.hf_hub_download(copy.repo_id, "w.bin", local_dir=tmp_path)
    assert Path(got).read_bytes() == WEIGHTS
    with pytest.raises(HfHubHTTPError):
        bob.api.duplicate_repo(repo, f"{bob.name}/copy")
    assert bob.api.duplicate_repo(repo, f"{bob.name}/copy", exist_ok=True) == copy
    hidden = bob.api.duplicate_repo(repo, f"{bob.name}/hidden", private=True).repo_id
    assert bob.api.model_info(hidden).private
    alice.api.update_repo_settings(repo, private=True)
    with pytest.raises(RepositoryNotFoundError):
        bob.api.duplicate_repo(repo, f"{bob.name}/again")
    with pytest.raises(HfHubHTTPError):
        alice.api.duplicate_repo(repo, f"{bob.name}/there")


def test_files_are_copied_between_repositories(alice: Person, bob: Person, tmp_path: Path) -> None:
    source, target = filled(alice), bob.api.create_repo(f"{bob.name}/target").repo_id

    def copy(path: str, to: str, repo: str = source) -> CommitOperationCopy:
        return CommitOperationCopy(path, to, src_repo_id=repo, src_repo_type="model")

    bob.api.create_commit(
        target, [copy("w.bin", "deep/w.bin"), copy("a.txt", "b.txt")], commit_message="copy"
    )
    got = bob.api.hf_hub_download(target, "deep/w.bin", local_dir=tmp_path)
    assert Path(got).read_bytes() == WEIGHTS
    bob.api.create_commit(
        target,
        [CommitOperationCopy("deep/w.bin", "again.bin"), CommitOperationCopy("b.txt", "c.txt")],
        commit_message="within",
    )
    assert {"again.bin", "c.txt"} <= set(bob.api.list_repo_files(target))
    alice.api.update_repo_settings(source, private=True)
    with pytest.raises(RepositoryNotFoundError):
        bob.api.create_commit(target, [copy("w.bin", "x.bin")], commit_message="steal")


def test_likes(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    repo, head = filled(alice), {"Authorization": f"Bearer {bob.token}"}
    like = f"{live_hub.url}/api/models/{repo}/like"
    assert httpx.post(like, headers=head).json() == {"liked": True, "likes": 1}
    assert bob.api.list_liked_repos().models == [repo]
    assert [user.username for user in alice.api.list_repo_likers(repo)] == [bob.name]
    assert alice.api.model_info(repo).likes == 1
    alice.api.update_repo_settings(repo, private=True)
    assert bob.api.list_liked_repos().total == 0
    alice.api.update_repo_settings(repo, private=False)
    bob.api.unlike(repo)
    assert bob.api.list_liked_repos().total == 0
    with pytest.raises(RepositoryNotFoundError):
        bob.api.unlike("missing_repo_id")


def test_a_closed_repository(live_hub: LiveHub, alice: Person) -> None:
    repo = filled(alice)
    hub = live_hub.hub
    account = hub.accounts.create_user(f"root-{alice.name[-8:]}", admin=True)
    root = HfApi(endpoint=live_hub.url, token=hub.tokens.create(account, scope="write"))
    settings = f"{live_hub.url}/api/models/{repo}/settings"
    close = {"disabled": True}
    mine = httpx.put(settings, headers={"Authorization": f"Bearer {alice.token}"}, json=close)
    assert mine.status_code == 403
    assert httpx.put(
        settings, headers={"Authorization": f"Bearer {root.token}"}, json=close
    ).is_success
    with pytest.raises(DisabledRepoError):
        alice.api.auth_check(repo)
    assert alice.api.model_info(repo).disabled


def test_downloads_are_counted(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/counted").repo_id
    alice.api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    for person in (alice, bob, bob):
        person.api.hf_hub_download(repo, "config.json", force_download=True)
    deadline = 100
    while alice.api.model_info(repo).downloads != 2 and deadline:
        deadline -= 1
        __import__("time").sleep(0.1)
    found = alice.api.model_info(repo, expand=["downloads", "downloadsAllTime", "trendingScore"])
    assert (found.downloads, found.downloads_all_time) == (2, 2)
    assert found.trending_score


def test_large_files_are_listed_and_purged(alice: Person, bob: Person, tmp_path: Path) -> None:
    api, repo = alice.api, alice.api.create_repo(f"{alice.name}/lfs").repo_id

    def put(path: str, data: bytes, revision: str = "main") -> None:
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo, revision=revision)

    put("lfs_file.bin", b"LFS content")
    put("txt_file.txt", b"TXT content")
    put("lfs_file_2.bin", b"LFS content 2")
    api.create_branch(repo, branch="my-branch")
    put("lfs_file_branch.bin", b"LFS content branch", "my-branch")
    files = list(api.list_lfs_files(repo))
    assert {f.filename for f in files} == {"lfs_file.bin", "lfs_file_2.bin", "lfs_file_branch.bin"}
    on_main = [f for f in files if f.ref in ("main", "refs/heads/main")]
    assert len(on_main) == 2
    with pytest.raises(HfHubHTTPError):
        bob.api.permanently_delete_lfs_files(repo, on_main)
    api.permanently_delete_lfs_files(repo, on_main)
    assert {f.filename for f in api.list_lfs_files(repo)} == {"lfs_file_branch.bin"}
    assert set(api.list_repo_files(repo)) == {".gitattributes", "txt_file.txt"}
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "lfs_file.bin", local_dir=tmp_path)
    put("after.bin", b"after")
    assert len(api.list_repo_commits(repo)) == 5


def test_files_that_came_by_lfs_are_copied_and_read_by_xet_too(
    alice: Person, bob: Person, tmp_path: Path
) -> None:
    data = bytes(range(251)) * 2000
    source = alice.api.create_repo(f"{alice.name}/lfs-road").repo_id
    # A file object goes by LFS, not by Xet.
    alice.api.upload_file(path_or_fileobj=io.BytesIO(data), path_in_repo="w.bin", repo_id=source)
    target = bob.api.create_repo(f"{bob.name}/copy").repo_id
    copy = CommitOperationCopy("w.bin", "w.bin", src_repo_id=source, src_repo_type="model")
    bob.api.create_commit(target, [copy], commit_message="copy")
    out = bob.run(
        """
        import hashlib, sys
        from huggingface_hub import HfApi, HfFileSystem, hf_hub_download
        target, folder = sys.argv[1:]
        fs = HfFileSystem()
        fs.get_file(f"{target}/w.bin", f"{folder}/plain.bin")
        [entry] = HfApi().get_paths_info(target, "w.bin")
        info = {**fs.info(f"{target}/w.bin"), "xet_hash": entry.xet_hash}
        fs.info = lambda *_, **__: info
        fs.get_file(f"{target}/w.bin", f"{folder}/xet.bin")
        for path in (f"{folder}/plain.bin", f"{folder}/xet.bin", hf_hub_download(target, "w.bin")):
            print(hashlib.sha256(open(path, "rb").read()).hexdigest())
        """,
        target,
        str(tmp_path),
    )
    assert out.split() == [hashlib.sha256(data).hexdigest()] * 3


def test_a_repository_is_made_with_its_first_files_or_not_at_all(
    live_hub: LiveHub, alice: Person
) -> None:
    head = {"Authorization": f"Bearer {alice.token}"}
    create = f"{live_hub.url}/api/repos/create"
    file = {"path": "a.txt", "content": "aGk=", "encoding": "base64"}
    body = {"name": "first", "license": "mit", "files": [file]}
    assert httpx.post(create, headers=head, json=body).status_code == 200
    repo = f"{alice.name}/first"
    assert set(alice.api.list_repo_files(repo)) == {".gitattributes", "README.md", "a.txt"}
    assert alice.api.model_info(repo).card_data.license == "mit"  # type: ignore[union-attr]
    for wrong in ({**file, "path": "../x"}, {**file, "content": "%"}):
        refused = httpx.post(create, headers=head, json={"name": "second", "files": [wrong]})
        assert refused.status_code == 400
        assert not alice.api.repo_exists(f"{alice.name}/second")
