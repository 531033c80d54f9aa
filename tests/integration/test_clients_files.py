# SPDX-License-Identifier: Apache-2.0
"""Files up and down with the stock client and its defaults, Xet among them."""

from __future__ import annotations

import hashlib
import io
import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
)
from huggingface_hub.errors import BadRequestError, EntryNotFoundError, HfHubHTTPError

from integration.live import LiveHub, Person

noise = random.Random(11).randbytes
MEGABYTE = 2**20


def digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_xet_upload_and_download(live_hub: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    data = noise(12 * MEGABYTE)
    file = tmp_path / "weights.bin"
    file.write_bytes(data)
    before = set(live_hub.hub.xet.store)
    commit = alice.api.upload_file(path_or_fileobj=file, path_in_repo="weights.bin", repo_id=repo)
    assert set(live_hub.hub.xet.store) - before, "the upload did not go through Xet"
    got = alice.api.hf_hub_download(repo, "weights.bin", cache_dir=tmp_path / "cache")
    assert digest(got) == hashlib.sha256(data).hexdigest()
    assert commit.oid in got


def test_second_upload_sends_no_new_xorb(live_hub: LiveHub, alice: Person, tmp_path: Path) -> None:
    api = alice.api
    one = api.create_repo(f"{alice.name}/one").repo_id
    two = api.create_repo(f"{alice.name}/two").repo_id
    file = tmp_path / "weights.bin"
    file.write_bytes(noise(3 * MEGABYTE))
    api.upload_file(path_or_fileobj=file, path_in_repo="weights.bin", repo_id=one)
    before = set(live_hub.hub.xet.store)
    api.upload_file(path_or_fileobj=file, path_in_repo="again.bin", repo_id=two)
    assert set(live_hub.hub.xet.store) == before
    got = api.hf_hub_download(two, "again.bin", cache_dir=tmp_path / "cache")
    assert digest(got) == digest(file)


def test_upload_after_the_repository_was_deleted(
    live_hub: LiveHub, alice: Person, tmp_path: Path
) -> None:
    # The client remembers what it uploaded, whatever became of the repository.
    file = tmp_path / "weights.bin"
    file.write_bytes(noise(MEGABYTE))
    for _ in range(2):
        repo = alice.api.create_repo(f"{alice.name}/again").repo_id
        alice.api.upload_file(path_or_fileobj=file, path_in_repo="w.bin", repo_id=repo)
        alice.api.delete_repo(repo)
    assert not alice.api.repo_exists(repo)


def test_two_people_with_one_client_cache(alice: Person, bob: Person, tmp_path: Path) -> None:
    # A fine-tune of a public model: most chunks are the base's, which somebody else uploaded.
    base = noise(2 * MEGABYTE)
    repo = alice.api.create_repo(f"{alice.name}/base").repo_id
    (tmp_path / "model.safetensors").write_bytes(base)
    alice.api.upload_file(
        path_or_fileobj=tmp_path / "model.safetensors",
        path_in_repo="model.safetensors",
        repo_id=repo,
    )
    tuned = base[:MEGABYTE] + noise(MEGABYTE)
    (tmp_path / "model.safetensors").write_bytes(tuned)
    commit = bob.api.upload_folder(folder_path=tmp_path, repo_id=repo, create_pr=True)
    got = bob.api.hf_hub_download(
        repo, "model.safetensors", revision=commit.pr_revision, cache_dir=tmp_path / "cache"
    )
    assert digest(got) == hashlib.sha256(tuned).hexdigest()


def test_upload_folder(alice: Person, tmp_path: Path) -> None:
    api = alice.api
    repo = api.create_repo(f"{alice.name}/data", repo_type="dataset").repo_id
    folder = tmp_path / "folder"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [a, b]\n---\n# Data\n")
    (folder / "deep/er/ünïcode %41 file.txt").write_text("text")
    (folder / "deep/table.parquet").write_bytes(noise(70_000))
    (folder / "empty.txt").touch()
    (folder / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n")
    (folder / "a.log").write_text("no")
    (folder / "keep.log").write_text("yes")
    (folder / "build").mkdir()
    (folder / "build/x.txt").write_text("no")
    commit = api.upload_folder(folder_path=folder, repo_id=repo, repo_type="dataset")
    assert commit.repo_url.repo_id == repo
    wanted = {
        ".gitattributes",
        ".gitignore",
        "README.md",
        "deep/er/ünïcode %41 file.txt",
        "deep/table.parquet",
        "empty.txt",
        "keep.log",
    }
    assert set(api.list_repo_files(repo, repo_type="dataset")) == wanted
    local = Path(api.snapshot_download(repo, repo_type="dataset", cache_dir=tmp_path / "cache"))
    assert (local / "deep/er/ünïcode %41 file.txt").read_text() == "text"
    assert digest(local / "deep/table.parquet") == digest(folder / "deep/table.parquet")
    again = api.upload_folder(folder_path=folder, repo_id=repo, repo_type="dataset")
    assert again.oid == commit.oid, "an unchanged folder made a commit"
    api.upload_folder(
        folder_path=folder, repo_id=repo, repo_type="dataset", delete_patterns="deep/*"
    )
    assert api.file_exists(repo, "deep/table.parquet", repo_type="dataset")
    api.delete_folder("deep", repo, repo_type="dataset")
    assert not api.file_exists(repo, "deep/table.parquet", repo_type="dataset")


def test_upload_folder_as_pull_request(alice: Person, bob: Person, tmp_path: Path) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    (tmp_path / "model.safetensors").write_bytes(noise(200_000))
    (tmp_path / "config.json").write_text("{}")
    commit = bob.api.upload_folder(
        folder_path=tmp_path, repo_id=repo, create_pr=True, commit_message="Mine"
    )
    assert commit.pr_num == 1
    assert commit.pr_revision == "refs/pr/1"
    assert "config.json" in bob.api.list_repo_files(repo, revision="refs/pr/1")
    assert "config.json" not in bob.api.list_repo_files(repo)
    assert [f.path for f in bob.api.get_paths_info(repo, ["config.json"], revision="refs/pr/1")]
    with pytest.raises(HfHubHTTPError, match="may not do this"):
        bob.api.upload_folder(folder_path=tmp_path, repo_id=repo)


def test_commit_with_create_pr(alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    commit = bob.api.create_commit(
        repo,
        [CommitOperationAdd("notes.txt", b"hello")],
        commit_message="Say hello",
        commit_description="Because.",
        create_pr=True,
    )
    assert commit.pr_url is not None
    details = alice.api.get_discussion_details(repo, commit.pr_num or 0)
    assert details.status == "open"
    assert details.title == "Say hello"
    assert details.diff is not None
    assert "+hello" in details.diff


def test_file_objects_take_the_lfs_road(live_hub: LiveHub, alice: Person, tmp_path: Path) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    data = noise(5 * MEGABYTE)
    before = set(live_hub.hub.xet.store)
    alice.api.upload_file(
        path_or_fileobj=io.BytesIO(data), path_in_repo="x.safetensors", repo_id=repo
    )
    assert set(live_hub.hub.xet.store) == before
    got = alice.api.hf_hub_download(repo, "x.safetensors", cache_dir=tmp_path)
    assert digest(got) == hashlib.sha256(data).hexdigest()


def test_only_endpoint_and_token_are_set(alice: Person) -> None:
    out = alice.run(
        """
        import os
        from pathlib import Path
        from huggingface_hub import create_repo, hf_hub_download, upload_file, whoami
        name = whoami()["name"]
        repo = create_repo(f"{name}/plain", exist_ok=True).repo_id
        data = os.urandom(300_000)
        upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repo)
        assert Path(hf_hub_download(repo, "w.bin")).read_bytes() == data
        print("done", name)
        """
    )
    assert out.split() == ["done", alice.name]


def test_without_xet(alice: Person) -> None:
    out = alice.run(
        """
        import os, sys
        from pathlib import Path
        from huggingface_hub import HfApi
        api = HfApi()
        repo = api.create_repo(f"{api.whoami()['name']}/lfs", repo_type="dataset").repo_id
        folder = Path(os.environ["HOME"]) / "folder"
        folder.mkdir()
        (folder / "a.parquet").write_bytes(b"p" * 400_000)
        (folder / "b.txt").write_text("text")
        api.upload_folder(folder_path=folder, repo_id=repo, repo_type="dataset")
        local = Path(api.snapshot_download(repo, repo_type="dataset"))
        assert (local / "a.parquet").read_bytes() == b"p" * 400_000
        assert (local / "b.txt").read_text() == "text"
        assert "hf_xet" not in sys.modules
        print("done")
        """,
        HF_HUB_DISABLE_XET="1",
    )
    assert out.split() == ["done"]


def test_every_kind_of_operation(alice: Person, tmp_path: Path) -> None:
    api = alice.api
    repo = api.create_repo(f"{alice.name}/model").repo_id
    api.create_commit(
        repo,
        [
            CommitOperationAdd("a.txt", b"a"),
            CommitOperationAdd("b/b.txt", b"b"),
            CommitOperationAdd("big.bin", noise(100_000)),
        ],
        commit_message="Three",
    )
    api.create_commit(
        repo,
        [
            CommitOperationCopy("a.txt", "copy.txt"),
            CommitOperationCopy("big.bin", "b/big.bin"),
            CommitOperationDelete("a.txt"),
        ],
        commit_message="Copy and delete",
    )
    assert set(api.list_repo_files(repo)) == {
        ".gitattributes",
        "b/b.txt",
        "b/big.bin",
        "big.bin",
        "copy.txt",
    }
    got = [api.hf_hub_download(repo, name, cache_dir=tmp_path) for name in ("big.bin", "b/big.bin")]
    assert digest(got[0]) == digest(got[1])
    api.delete_folder("b", repo)
    assert "b/big.bin" not in api.list_repo_files(repo)


def test_a_missing_file_is_remembered_as_missing(alice: Person, tmp_path: Path) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    with pytest.raises(EntryNotFoundError):
        alice.api.hf_hub_download(repo, "nothing.txt", cache_dir=tmp_path)
    assert list(tmp_path.rglob(".no_exist/*/nothing.txt"))
    with pytest.raises(EntryNotFoundError):
        list(alice.api.list_repo_tree(repo, "no/folder"))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", ".git/config", "a//b", "con"])
def test_paths_that_climb_out_are_refused(alice: Person, live_hub: LiveHub, path: str) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model", exist_ok=True).repo_id
    lines: list[dict[str, Any]] = [
        {"key": "header", "value": {"summary": "x", "description": ""}},
        {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}},
    ]
    answer = post_commit(live_hub, alice, repo, lines)
    assert answer.status_code == 400
    assert "path" in answer.json()["error"]
    assert [c.title for c in alice.api.list_repo_commits(repo)] == ["initial commit"]


def post_commit(
    live_hub: LiveHub, who: Person, repo: str, lines: list[dict[str, Any]], query: str = ""
) -> httpx.Response:
    return httpx.post(
        f"{live_hub.url}/api/models/{repo}/commit/main{query}",
        content="\n".join(json.dumps(line) for line in lines),
        headers={"Authorization": f"Bearer {who.token}", "Content-Type": "application/x-ndjson"},
        timeout=30,
    )


def test_parent_mismatch(alice: Person) -> None:
    api = alice.api
    repo = api.create_repo(f"{alice.name}/model").repo_id
    first = api.model_info(repo).sha
    api.create_commit(
        repo, [CommitOperationAdd("a", b"1")], commit_message="one", parent_commit=first
    )
    with pytest.raises(HfHubHTTPError, match="The branch was updated") as caught:
        api.create_commit(
            repo, [CommitOperationAdd("a", b"2")], commit_message="two", parent_commit=first
        )
    assert caught.value.response.status_code == 412


def test_a_repeated_commit_lands_once(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    lines: list[dict[str, Any]] = [
        {"key": "header", "value": {"summary": "Once", "description": ""}},
        {"key": "file", "value": {"path": "a", "content": "eA==", "encoding": "base64"}},
    ]
    answers = [post_commit(live_hub, alice, repo, lines).json() for _ in range(3)]
    assert len({answer["commitOid"] for answer in answers}) == 1
    lines[1]["value"]["path"] = "b"
    proposals = [post_commit(live_hub, alice, repo, lines, "?create_pr=1").json() for _ in range(2)]
    assert proposals[0] == proposals[1]
    assert [c.title for c in alice.api.list_repo_commits(repo)] == ["Once", "initial commit"]


def test_bad_commits(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    header = {"key": "header", "value": {"summary": "x", "description": ""}}
    url = f"{live_hub.url}/api/models/{repo}/commit/main"
    headers = {"Authorization": f"Bearer {alice.token}"}
    for body, status, words in [
        (b"", 400, "empty"),
        (b"not json", 400, "not JSON"),
        (b"[1]", 400, "not a JSON object"),
        (json.dumps({"key": "file", "value": {}}).encode(), 400, "header"),
        (
            json.dumps(header).encode() + b'\n{"key":"surprise","value":{"path":"a"}}',
            400,
            "surprise",
        ),
        (
            json.dumps(header).encode() + b'\n{"key":"file","value":{"path":"a","content":"%"}}',
            200,
            "",
        ),
        (
            json.dumps(header).encode()
            + b'\n{"key":"file","value":{"path":"a","content":"%","encoding":"base64"}}',
            400,
            "not base64",
        ),
        (b"x" * (16 * MEGABYTE), 413, "longer than"),
        (b"[" * 100_000, 400, "not JSON"),
    ]:
        answer = httpx.post(url, content=body, headers=headers, timeout=30)
        assert answer.status_code == status, (body[:80], answer.text)
        assert words in answer.text
        if status != 200:
            assert answer.headers["X-Error-Message"]


def test_bad_card_is_refused_before_the_commit(alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    with pytest.raises((ValueError, BadRequestError), match=r"(?i)yaml"):
        alice.api.upload_file(
            path_or_fileobj=b"---\nlicense: [mit\n---\n# x\n",
            path_in_repo="README.md",
            repo_id=repo,
        )


def test_ranges_and_conditions(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    data = noise(3 * MEGABYTE)
    alice.api.upload_file(path_or_fileobj=data, path_in_repo="big.bin", repo_id=repo)
    alice.api.upload_file(path_or_fileobj=b"0123456789", path_in_repo="small.txt", repo_id=repo)
    with httpx.Client(base_url=live_hub.url) as client:
        for name, whole in (("big.bin", data), ("small.txt", b"0123456789")):
            url = f"/{repo}/resolve/main/{name}"
            head = client.head(url)
            assert head.status_code == 200
            assert int(head.headers["Content-Length"]) == len(whole)
            assert head.headers["X-Linked-Size"] == str(len(whole))
            assert head.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in head.headers["Content-Security-Policy"]
            etag = head.headers["ETag"]
            part = client.get(url, headers={"Range": "bytes=2-5"})
            assert part.status_code == 206
            assert part.content == whole[2:6]
            assert part.headers["Content-Range"] == f"bytes 2-5/{len(whole)}"
            assert client.get(url, headers={"Range": "bytes=-3"}).content == whole[-3:]
            assert client.get(url, headers={"Range": "bytes=7-"}).content == whole[7:]
            beyond = client.get(url, headers={"Range": f"bytes={len(whole)}-"})
            assert beyond.status_code == 416
            stale = client.get(url, headers={"Range": "bytes=2-5", "If-Range": '"old"'})
            assert stale.status_code == 200
            assert stale.content == whole
            for method in ("HEAD", "GET"):
                same = client.request(method, url, headers={"If-None-Match": etag})
                assert same.status_code == 304
                assert same.headers["X-Repo-Commit"] == head.headers["X-Repo-Commit"]


def test_files_that_a_browser_could_run_are_saved(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/space", repo_type="space", space_sdk="static")
    for name in ("index.html", "logo.svg", "page.xhtml", "code.js"):
        HfApi(endpoint=live_hub.url, token=alice.token).upload_file(
            path_or_fileobj=b"<script>alert(1)</script>",
            path_in_repo=name,
            repo_id=repo.repo_id,
            repo_type="space",
        )
        answer = httpx.get(f"{live_hub.url}/spaces/{repo.repo_id}/resolve/main/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "text/html" not in answer.headers["Content-Type"]
