# SPDX-License-Identifier: Apache-2.0
"""What a caller may not read does not exist for them, through any route and by any hash."""

from __future__ import annotations

import hashlib
import json
import random
import re
from typing import Any

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from integration.live import LiveHub, Person
from plait.hub.git.pointers import format_pointer
from xet_builder import BuiltXorb, shard

noise = random.Random(3).randbytes
SECRET = "veiled-7"
GHOST = "absent-7"
"""As long as SECRET: even the lengths of answers must be the same."""


def seen(answer: httpx.Response, name: str) -> tuple[Any, ...]:
    """What a caller can tell from an answer, but for the name that they asked for."""
    headers = {
        key: value.replace(name, "NAME")
        for key, value in answer.headers.items()
        if key not in ("date", "x-request-id", "content-length")
    }
    return answer.status_code, re.sub(name, "NAME", answer.text), sorted(headers.items())


def test_private_repositories_through_the_client(
    live_hub: LiveHub, alice: Person, bob: Person
) -> None:
    repo = alice.api.create_repo(f"{alice.name}/{SECRET}", private=True).repo_id
    for api in (bob.api, HfApi(endpoint=live_hub.url, token=False)):
        assert not api.repo_exists(repo)
        assert not list(api.list_models(author=alice.name))
        with pytest.raises(RepositoryNotFoundError):
            api.hf_hub_download(repo, ".gitattributes")
        with pytest.raises(RepositoryNotFoundError):
            api.auth_check(repo)
    for path, body in (
        ("/api/repos/delete", {"name": "{}", "organization": alice.name}),
        ("/api/repos/move", {"fromRepo": f"{alice.name}/{{}}", "toRepo": f"{bob.name}/x"}),
        ("/api/repos/create", {"name": "{}", "organization": alice.name}),
    ):
        answers = []
        for name in (SECRET, GHOST):
            filled = json.loads(json.dumps(body).replace("{}", name))
            answer = httpx.request(
                "DELETE" if path.endswith("delete") else "POST",
                live_hub.url + path,
                json=filled,
                headers={"Authorization": f"Bearer {bob.token}"},
            )
            answers.append(seen(answer, name))
        assert answers[0] == answers[1], path
    assert alice.api.repo_exists(repo)


def test_a_members_role_opens_the_organisations_private_repositories(
    live_hub: LiveHub, alice: Person, bob: Person
) -> None:
    shop = live_hub.organization("shop", alice)
    repo = alice.api.create_repo(f"{shop}/{SECRET}", private=True).repo_id
    assert not bob.api.repo_exists(repo)
    accounts = live_hub.hub.accounts
    accounts.add_member(accounts.get(shop), accounts.get(bob.name), "read")
    assert bob.api.repo_exists(repo)
    with pytest.raises(HfHubHTTPError, match="may not do this"):
        bob.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)


def test_a_revoked_token_opens_nothing(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/{SECRET}", private=True).repo_id
    token = live_hub.token(alice)
    found = live_hub.hub.tokens.authenticate(token)
    assert found is not None
    upload = xet_headers(live_hub, token, repo)
    live_hub.hub.tokens.revoke(found[1].id)
    answer = httpx.get(
        f"{live_hub.url}/api/models/{repo}", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 401
    assert answer.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert send_xorb(upload, BuiltXorb([b"late"])).status_code == 401


def secret_file(alice: Person) -> tuple[str, bytes]:
    repo = alice.api.create_repo(f"{alice.name}/{SECRET}", private=True).repo_id
    data = noise(60_000)
    alice.api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repo)
    return repo, data


def test_knowing_a_sha256_is_not_enough(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    _, data = secret_file(alice)
    sha256 = hashlib.sha256(data).hexdigest()
    unknown = hashlib.sha256(b"never uploaded").hexdigest()
    repo = bob.api.create_repo(f"{bob.name}/mine").repo_id
    headers = {"Authorization": f"Bearer {bob.token}"}
    refused = []
    for oid in (sha256, unknown):
        for key, value in (
            ("lfsFile", {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(data)}),
            ("lfsFile", {"path": "w.bin", "algo": "sha256", "oid": oid}),
            (
                "file",
                {"path": "w.bin", "content": format_pointer(oid, len(data)).decode()},
            ),
        ):
            for query in ("", "?create_pr=1"):
                lines = [
                    {"key": "header", "value": {"summary": "x", "description": ""}},
                    {"key": key, "value": value},
                ]
                answer = httpx.post(
                    f"{live_hub.url}/api/models/{repo}/commit/main{query}",
                    content="\n".join(json.dumps(line) for line in lines),
                    headers=headers,
                )
                assert answer.status_code == 400, (key, query)
                refused.append((oid, seen(answer, oid)))
    known = [answer for oid, answer in refused if oid == sha256]
    assert known == [answer for oid, answer in refused if oid == unknown]
    # LFS asks for the bytes even though the hub has them.
    for operation, there in (("upload", True), ("download", False)):
        batch = httpx.post(
            f"{live_hub.url}/{repo}.git/info/lfs/objects/batch",
            json={"operation": operation, "objects": [{"oid": sha256, "size": len(data)}]},
            headers=headers,
        ).json()
        assert ("actions" in batch["objects"][0]) is there
    assert [c.title for c in bob.api.list_repo_commits(repo)] == ["initial commit"]
    # Whoever has the bytes may of course upload them.
    bob.api.create_commit(repo, [CommitOperationAdd("w.bin", data)], commit_message="Mine too")


def xet_headers(live_hub: LiveHub, token: str, repo: str) -> dict[str, str]:
    answer = httpx.get(
        f"{live_hub.url}/api/models/{repo}/xet-write-token/main",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.json()["accessToken"] == answer.headers["X-Xet-Access-Token"]
    return {
        "Authorization": f"Bearer {answer.json()['accessToken']}",
        "X-Address": answer.headers["X-Xet-Cas-Url"],
    }


def send_xorb(headers: dict[str, str], xorb: BuiltXorb, name: str | None = None) -> httpx.Response:
    url = f"{headers['X-Address']}/v1/xorbs/default/{name or xorb.name}"
    return httpx.post(url, content=xorb.body, headers=headers)


def send_shard(headers: dict[str, str], body: bytes) -> httpx.Response:
    return httpx.post(f"{headers['X-Address']}/v1/shards", content=body, headers=headers)


def test_knowing_a_xorb_is_not_enough(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    private = alice.api.create_repo(f"{alice.name}/{SECRET}", private=True).repo_id
    mine = bob.api.create_repo(f"{bob.name}/mine").repo_id
    hers = xet_headers(live_hub, alice.token, private)
    his = xet_headers(live_hub, bob.token, mine)
    # One chunk: the xorb's hash is the chunk's, so that even the proof can be made from it.
    xorb = BuiltXorb([noise(9000)])
    assert send_xorb(hers, xorb).json() == {"was_inserted": True}
    assert send_xorb(hers, xorb).json() == {"was_inserted": False}
    body = shard([[(xorb, 0, 1)]])
    assert send_shard(hers, body).status_code == 200
    refused = send_shard(his, body)
    unknown = BuiltXorb([noise(9000)])
    missing = send_shard(his, shard([[(unknown, 0, 1)]]))
    assert refused.status_code == missing.status_code == 400
    assert seen(refused, xorb.name) == seen(missing, unknown.name)
    # With the bytes in hand it is his as well.
    assert send_xorb(his, xorb).json() == {"was_inserted": False}
    assert send_shard(his, body).status_code == 200


def test_lying_shards_and_xorbs(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    headers = xet_headers(live_hub, alice.token, repo)
    xorb = BuiltXorb([noise(3000), noise(3000), noise(3000)])
    assert send_xorb(headers, xorb, "0" * 64).status_code == 400
    assert send_xorb(headers, xorb, "nonsense").status_code == 400
    assert send_xorb(headers, xorb).status_code == 200
    terms = [[(xorb, 0, 3)]]
    for body, words in [
        (shard(terms, sha256="1" * 64), "sha256"),
        (shard(terms, proof=bytes(32)), "verification hash"),
        (shard(terms, digest=bytes(32)), "do not make that hash"),
        (shard(terms, size=1), "which is wrong"),
        (shard([[(xorb, 0, 9)]]), "has 3 chunks"),
        (shard(terms)[:-10], "cut short"),
        (b"", "cut short"),
    ]:
        answer = send_shard(headers, body)
        assert answer.status_code == 400, words
        assert words in answer.json()["error"]
    assert send_shard(headers, shard(terms)).status_code == 200
    # An account's token is no upload token, and the other way round.
    plain = {**headers, "Authorization": f"Bearer {alice.token}"}
    assert send_xorb(plain, xorb).status_code == 401
    assert httpx.get(f"{live_hub.url}/api/whoami-v2", headers=headers).status_code == 401
    forged = {**headers, "Authorization": headers["Authorization"][:-3] + "abc"}
    assert send_xorb(forged, xorb).status_code == 401


def test_lfs_addresses_are_for_these_bytes_only(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    data = noise(1000)
    sha256 = hashlib.sha256(data).hexdigest()
    url = f"{live_hub.url}/{repo}.git/info/lfs/objects/batch"
    headers = {"Authorization": f"Bearer {alice.token}"}
    asked = {"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}]}
    actions = httpx.post(url, json=asked, headers=headers).json()["objects"][0]["actions"]
    address = actions["upload"]["href"]
    assert httpx.put(address, content=data[:-1] + b"x").status_code == 400
    assert httpx.put(address, content=data + b"x").status_code == 413
    assert httpx.put(address, content=data[:-1]).status_code == 400
    assert httpx.put(address[:-2] + "AA", content=data).status_code == 401
    assert httpx.get(address).status_code == 401
    check = {"oid": sha256, "size": len(data)}
    verify = actions["verify"]["href"]
    assert httpx.post(verify, json=check, headers=headers).status_code == 404
    assert httpx.put(address, content=data).status_code == 200
    assert httpx.post(verify, json=check, headers=headers).status_code == 200
    asked["operation"] = "download"
    again = httpx.post(url, json=asked, headers=headers).json()["objects"][0]
    assert httpx.get(again["actions"]["download"]["href"]).content == data
