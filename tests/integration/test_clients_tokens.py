# SPDX-License-Identifier: Apache-2.0
"""Tokens of every scope in the hands of the stock client."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)

from integration.live import LiveHub, Person
from plait.hub.people.tokens import Grant

noise = random.Random(5).randbytes


def client(live_hub: LiveHub, person: Person, **options: Any) -> HfApi:
    return HfApi(endpoint=live_hub.url, token=live_hub.token(person, **options))


def test_a_contributors_token_opens_and_continues_pull_requests(
    live_hub: LiveHub, alice: Person, tmp_path: Any
) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model", private=True).repo_id
    api = client(live_hub, alice, scope="contributor")
    assert api.whoami()["auth"]["accessToken"]["role"] == "fineGrained"
    (tmp_path / "weights.bin").write_bytes(noise(200_000))
    opened = api.upload_file(
        path_or_fileobj=str(tmp_path / "weights.bin"),
        path_in_repo="weights.bin",
        repo_id=repo,
        create_pr=True,
    )
    number = int(opened.pr_num)  # type: ignore[arg-type]
    revision = f"refs/pr/{number}"
    api.create_commit(
        repo, [CommitOperationAdd("more.txt", b"more")], commit_message="More", revision=revision
    )
    assert "more.txt" in api.list_repo_files(repo, revision=revision)
    api.comment_discussion(repo, number, "Please look")
    api.rename_discussion(repo, number, new_title="Better weights")
    others = alice.api.create_pull_request(repo, "By another token of hers")
    api.change_discussion_status(repo, others.num, "closed")
    for act in (
        lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo),
        lambda: api.merge_pull_request(repo, number),
        lambda: api.create_branch(repo, branch="x"),
        lambda: api.delete_repo(repo),
        lambda: api.update_repo_settings(repo, private=False),
        lambda: api.create_repo(f"{alice.name}/other"),
        lambda: api.super_squash_history(repo),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            act()
        assert refused.value.response.status_code == 403
    assert "weights.bin" not in api.list_repo_files(repo)
    alice.api.merge_pull_request(repo, number)
    assert "weights.bin" in api.list_repo_files(repo)


def test_a_contributors_token_does_not_touch_what_others_proposed(
    live_hub: LiveHub, alice: Person, bob: Person
) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    theirs = bob.api.create_pull_request(repo, "Bob's").num
    api = client(live_hub, alice, scope="contributor")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_commit(
            repo, [CommitOperationAdd("x", b"x")], commit_message="x", revision=f"refs/pr/{theirs}"
        )
    with pytest.raises(HfHubHTTPError, match="403"):
        api.change_discussion_status(repo, theirs, "closed")


def test_a_fine_grained_token_in_its_place(live_hub: LiveHub, alice: Person) -> None:
    here = alice.api.create_repo(f"{alice.name}/here", private=True).repo_id
    there = alice.api.create_repo(f"{alice.name}/there", private=True).repo_id
    record = live_hub.hub.repositories.find("model", here)
    api = client(live_hub, alice, scope="fine-grained", grants=[Grant("write", repository=record)])
    api.upload_file(path_or_fileobj=noise(50_000), path_in_repo="w.bin", repo_id=here)
    api.create_tag(here, tag="v1")
    assert not api.repo_exists(there)
    assert [model.id for model in api.list_models(author=alice.name)] == [here]
    with pytest.raises(RepositoryNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=there)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo(f"{alice.name}/more")
    namespace = live_hub.hub.accounts.get(alice.name)
    wide = client(
        live_hub, alice, scope="fine-grained", grants=[Grant("write", namespace=namespace)]
    )
    more = wide.create_repo(f"{alice.name}/more", private=True).repo_id
    assert {model.id for model in wide.list_models(author=alice.name)} == {here, there, more}
    wide.delete_repo(more)


def test_a_token_ends_at_its_time(live_hub: LiveHub, alice: Person) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    api = client(live_hub, alice, expires_at=soon)
    said = datetime.fromisoformat(api.whoami()["auth"]["expiresAt"])
    assert abs(said - soon) < timedelta(seconds=1)
    past = client(live_hub, alice, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(HfHubHTTPError, match="Invalid"):
        past.whoami()


def test_a_disabled_user_is_nobody(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    accounts = live_hub.hub.accounts
    accounts.disable(accounts.get(alice.name))
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        alice.api.whoami()
    with pytest.raises(HfHubHTTPError) as refused:
        alice.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)
    assert refused.value.response.status_code == 401
    accounts.enable(accounts.get(alice.name))
    assert alice.api.whoami()["name"] == alice.name


def test_roles_as_the_client_reads_them(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    shop = live_hub.organization("shop", alice)
    accounts = live_hub.hub.accounts
    accounts.add_member(accounts.get(shop), accounts.get(bob.name), "contributor")
    assert [(o["name"], o["roleInOrg"]) for o in bob.api.whoami()["orgs"]] == [
        (shop, "contributor")
    ]
    hers = alice.api.create_repo(f"{shop}/hers").repo_id
    his = bob.api.create_repo(f"{shop}/his").repo_id
    bob.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=his)
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=hers)
    proposed = bob.api.upload_file(
        path_or_fileobj=b"x", path_in_repo="x", repo_id=hers, create_pr=True
    )
    assert proposed.pr_num
    alice.api.upload_file(path_or_fileobj=b"y", path_in_repo="y", repo_id=his)


def test_a_gate_in_the_client(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    alice.api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    alice.api.update_repo_settings(repo, gated="manual")
    assert bob.api.model_info(repo).gated == "manual"
    for api in (bob.api, HfApi(endpoint=live_hub.url, token=False)):
        with pytest.raises(GatedRepoError):
            api.hf_hub_download(repo, "config.json")
    alice.api.grant_access(repo, bob.name)
    assert bob.api.hf_hub_download(repo, "config.json")
    assert client(live_hub, bob, scope="read").hf_hub_download(repo, "config.json")
