# SPDX-License-Identifier: Apache-2.0
"""Repositories, history and discussions with the stock client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, RepoCard
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from integration.live import LiveHub, Person


def test_whoami(live_hub: LiveHub, alice: Person) -> None:
    shop = live_hub.organization("shop", alice)
    me = alice.api.whoami()
    assert me["name"] == alice.name
    assert [(org["name"], org["roleInOrg"]) for org in me["orgs"]] == [(shop, "admin")]
    assert me["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError, match="Invalid"):
        HfApi(endpoint=live_hub.url, token="plait_wrong").whoami()
    assert httpx.get(f"{live_hub.url}/api/whoami-v2").status_code == 401


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_create_describe_change_delete(alice: Person, kind: str) -> None:
    api = alice.api
    sdk = "static" if kind == "space" else None
    url = api.create_repo(f"{alice.name}/Thing.1", repo_type=kind, space_sdk=sdk)
    assert (url.repo_id, url.repo_type) == (f"{alice.name}/Thing.1", kind)
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo(url.repo_id, repo_type=kind, space_sdk=sdk)
    assert api.create_repo(url.repo_id, repo_type=kind, space_sdk=sdk, exist_ok=True) == url
    info = api.repo_info(url.repo_id, repo_type=kind)
    assert info.id == url.repo_id
    assert info.author == alice.name
    assert info.private is False
    assert info.created_at is not None
    assert abs(datetime.now(UTC) - info.created_at) < timedelta(minutes=5)
    assert [s.rfilename for s in info.siblings or []] == [".gitattributes"]
    api.update_repo_settings(url.repo_id, repo_type=kind, private=True)
    assert api.repo_info(url.repo_id, repo_type=kind).private is True
    api.update_repo_settings(url.repo_id, repo_type=kind, visibility="public")
    assert api.repo_info(url.repo_id, repo_type=kind).private is False
    api.auth_check(url.repo_id, repo_type=kind)
    api.delete_repo(url.repo_id, repo_type=kind)
    assert not api.repo_exists(url.repo_id, repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(url.repo_id, repo_type=kind)
    api.delete_repo(url.repo_id, repo_type=kind, missing_ok=True)


def test_create_under_other_names(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    shop = live_hub.organization("shop", alice)
    assert alice.api.create_repo(f"{shop}/m", private=True).repo_id == f"{shop}/m"
    assert alice.api.create_repo("bare").repo_id == f"{alice.name}/bare"
    for name in (f"{shop}/x", f"{alice.name}/x", "nobody-here/x"):
        with pytest.raises(HfHubHTTPError, match="may not create") as caught:
            bob.api.create_repo(name)
        assert caught.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError, match="token"):
        HfApi(endpoint=live_hub.url, token=False).create_repo(f"{alice.name}/x")
    reader = HfApi(endpoint=live_hub.url, token=live_hub.token(alice, scope="read"))
    with pytest.raises(HfHubHTTPError) as caught:
        reader.create_repo(f"{alice.name}/x")
    assert caught.value.response.status_code == 403


def test_move(alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/before").repo_id
    alice.api.move_repo(repo, f"{alice.name}/after")
    assert alice.api.repo_exists(f"{alice.name}/after")
    assert alice.api.model_info(repo).id == f"{alice.name}/after"


def test_listing(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    api = alice.api
    names = [f"{alice.name}/list-{number}" for number in range(5)]
    for name in names:
        api.create_repo(name)
    api.create_repo(f"{alice.name}/list-secret", private=True)
    card = "---\nlicense: mit\ntags: [fusion-test]\npipeline_tag: text-classification\n---\n# x\n"
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=names[2])
    found = list(bob.api.list_models(author=alice.name))
    assert {model.id for model in found} == set(names)
    mine = {model.id: model.private for model in api.list_models(author=alice.name)}
    assert mine[f"{alice.name}/list-secret"] is True
    assert [m.id for m in api.list_models(author=alice.name, filter="fusion-test")] == [names[2]]
    assert [m.id for m in api.list_models(author=alice.name, search="LIST-3")] == [names[3]]
    first = next(iter(api.list_models(author=alice.name, filter="license:mit", cardData=True)))
    assert first.card_data is not None
    assert first.card_data.license == "mit"
    assert first.pipeline_tag == "text-classification"
    assert len(list(api.list_models(author=alice.name, limit=2))) == 2
    assert list(api.list_datasets(author=alice.name)) == []
    # Pages are followed by the client.
    answer = httpx.get(f"{live_hub.url}/api/models", params={"author": alice.name, "limit": 2})
    assert 'rel="next"' in answer.headers["Link"]
    seen = [row["id"] for row in answer.json()]
    while (following := answer.links.get("next")) is not None:
        answer = httpx.get(following["url"])
        seen += [row["id"] for row in answer.json()]
    assert sorted(seen) == sorted(names)


def test_history_branches_and_tags(alice: Person) -> None:
    api = alice.api
    repo = api.create_repo(f"{alice.name}/model").repo_id
    for number in range(3):
        api.upload_file(
            path_or_fileobj=str(number).encode(),
            path_in_repo="n.txt",
            repo_id=repo,
            commit_message=f"Number {number}",
            commit_description="with a <description>",
        )
    commits = api.list_repo_commits(repo, formatted=True)
    assert [c.title for c in commits] == ["Number 2", "Number 1", "Number 0", "initial commit"]
    assert commits[0].authors == [alice.name]
    assert commits[0].formatted_message == "with a &lt;description&gt;"
    api.create_branch(repo, branch="feature/one", revision=commits[2].commit_id)
    with pytest.raises(HfHubHTTPError, match="Reference refs/heads/feature/one already exists"):
        api.create_branch(repo, branch="feature/one")
    api.create_branch(repo, branch="feature/one", exist_ok=True)
    with pytest.raises(BadRequestError, match="Invalid reference for a branch"):
        api.create_branch(repo, branch="a..b")
    api.upload_file(
        path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=repo, revision="feature/one"
    )
    assert "b.txt" in api.list_repo_files(repo, revision="feature/one")
    assert "b.txt" not in api.list_repo_files(repo)
    api.create_tag(repo, tag="v1.0", revision=commits[1].commit_id, tag_message="First")
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.create_tag(repo, tag="v1.0")
    refs = api.list_repo_refs(repo, include_pull_requests=True)
    assert [b.name for b in refs.branches] == ["feature/one", "main"]
    assert [(t.name, t.target_commit) for t in refs.tags] == [("v1.0", commits[1].commit_id)]
    assert refs.pull_requests == []
    assert api.model_info(repo, revision="v1.0").sha == commits[1].commit_id
    api.delete_tag(repo, tag="v1.0")
    api.delete_branch(repo, branch="feature/one")
    with pytest.raises(HfHubHTTPError, match="Cannot delete refs/heads/main"):
        api.delete_branch(repo, branch="main")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="v1.0")
    api.super_squash_history(repo)
    assert len(api.list_repo_commits(repo)) == 1


def test_long_histories_and_folders_come_in_pages(live_hub: LiveHub, alice: Person) -> None:
    api = alice.api
    repo = api.create_repo(f"{alice.name}/model").repo_id
    operations = [CommitOperationAdd(f"many/{number:04}.txt", b"x") for number in range(1100)]
    api.create_commit(repo, operations, commit_message="Many")
    assert len(api.list_repo_files(repo)) == 1101
    assert len(list(api.list_repo_tree(repo, "many"))) == 1100
    expanded = list(api.list_repo_tree(repo, "", expand=True))
    assert {entry.path for entry in expanded} == {".gitattributes", "many"}
    assert all(entry.last_commit is not None for entry in expanded)
    url: str | None = f"{live_hub.url}/api/models/{repo}/commits/main?limit=1"
    seen = 0
    while url is not None:
        answer = httpx.get(url)
        seen += len(answer.json())
        url = answer.links.get("next", {}).get("url")
    assert seen == 2


def test_a_card_made_by_the_client(alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    card = RepoCard("---\nlicense: apache-2.0\nlanguage: [en, zh]\n---\n# A model\n")
    alice.api.upload_file(
        path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id=repo
    )
    info = alice.api.model_info(repo)
    assert info.tags is not None
    assert {"license:apache-2.0", "en", "zh"} <= set(info.tags)
    only = alice.api.model_info(repo, expand=["cardData", "sha"])
    assert only.sha == info.sha
    assert only.siblings is None


def test_discussion(alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/data", repo_type="dataset").repo_id
    api = bob.api
    made = api.create_discussion(repo, "A <question>", description="Why?", repo_type="dataset")
    assert made.num == 1
    assert made.url.endswith(f"/datasets/{repo}/discussions/1")
    comment = api.comment_discussion(repo, 1, "And <b>how</b>?", repo_type="dataset")
    assert comment.content == "And <b>how</b>?"
    assert "&lt;b&gt;" in comment.rendered
    edited = api.edit_discussion_comment(repo, 1, comment.id, "How?", repo_type="dataset")
    assert edited.edited
    assert edited.number_of_edits == 1
    with pytest.raises(HfHubHTTPError, match="Only its author"):
        alice.api.edit_discussion_comment(repo, 1, comment.id, "No", repo_type="dataset")
    hidden = alice.api.hide_discussion_comment(repo, 1, comment.id, repo_type="dataset")
    assert hidden.hidden
    assert "How" not in hidden.content
    renamed = api.rename_discussion(repo, 1, "A question", repo_type="dataset")
    assert (renamed.old_title, renamed.new_title) == ("A <question>", "A question")
    change = alice.api.change_discussion_status(
        repo, 1, "closed", comment="Done.", repo_type="dataset"
    )
    assert change.new_status == "closed"
    details = api.get_discussion_details(repo, 1, repo_type="dataset")
    assert details.title == "A question"
    assert details.status == "closed"
    assert [event.type for event in details.events] == [
        "comment",
        "comment",
        "title-change",
        "comment",
        "status-change",
    ]
    assert [event.author for event in details.events][:2] == [bob.name, bob.name]


def test_discussions_are_listed_in_pages(alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    for number in range(1, 53):
        alice.api.create_discussion(repo, f"Number {number}")
    bob.api.create_pull_request(repo, "A pull request")
    alice.api.change_discussion_status(repo, 2, "closed")
    found = list(alice.api.get_repo_discussions(repo))
    assert [d.num for d in found] == list(range(53, 0, -1))
    pulls = list(alice.api.get_repo_discussions(repo, discussion_type="pull_request"))
    assert [(d.num, d.status, d.is_pull_request) for d in pulls] == [(53, "draft", True)]
    closed = list(alice.api.get_repo_discussions(repo, discussion_status="closed"))
    assert [d.num for d in closed] == [2]
    by_bob = list(alice.api.get_repo_discussions(repo, author=bob.name))
    assert [d.num for d in by_bob] == [53]


def test_pull_request_of_text_merges_at_once(alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    alice.api.upload_file(path_or_fileobj=b"one\n", path_in_repo="a.txt", repo_id=repo)
    pull = bob.api.create_pull_request(repo, "Add a file", description="Please.")
    assert pull.status == "draft"
    assert pull.git_reference == "refs/pr/1"
    bob.api.upload_file(
        path_or_fileobj=b"two\n", path_in_repo="b.txt", repo_id=repo, revision="refs/pr/1"
    )
    with pytest.raises(HfHubHTTPError, match="may not"):
        bob.api.merge_pull_request(repo, 1)
    assert bob.api.get_discussion_details(repo, 1).status == "draft"
    alice.api.upload_file(path_or_fileobj=b"three\n", path_in_repo="c.txt", repo_id=repo)
    alice.api.merge_pull_request(repo, 1, comment="Thank you")
    details = alice.api.get_discussion_details(repo, 1)
    assert details.status == "merged"
    assert details.merge_commit_oid == alice.api.model_info(repo).sha
    assert details.target_branch == "refs/heads/main"
    assert details.diff is not None
    assert "+two" in details.diff
    assert {"a.txt", "b.txt", "c.txt"} <= set(alice.api.list_repo_files(repo))
    with pytest.raises(HfHubHTTPError, match="merged already"):
        alice.api.merge_pull_request(repo, 1)


def test_conflicts_are_named(alice: Person, bob: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    alice.api.upload_file(path_or_fileobj=b"one\n", path_in_repo="a.txt", repo_id=repo)
    bob.api.create_commit(
        repo, [CommitOperationAdd("a.txt", b"two\n")], commit_message="Two", create_pr=True
    )
    alice.api.upload_file(path_or_fileobj=b"three\n", path_in_repo="a.txt", repo_id=repo)
    assert alice.api.get_discussion_details(repo, 1).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError) as caught:
        alice.api.merge_pull_request(repo, 1)
    assert caught.value.response.status_code == 409
    assert "a.txt" in str(caught.value)


def test_state_of_a_pull_request(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    alice.api.create_pull_request(repo, "Nothing yet")
    state = httpx.get(f"{live_hub.url}/api/plait/models/{repo}/pulls/1").json()
    assert state["status"] == "draft"
    assert state["job"] is None
    assert state["report"] is None
    assert httpx.get(f"{live_hub.url}/api/plait/models/{repo}/pulls/2").status_code == 404
    assert httpx.get(f"{live_hub.url}/api/plait/jobs/999999").status_code == 404


def test_names_without_a_namespace(alice: Person, tmp_path: Path) -> None:
    assert not alice.api.repo_exists("gpt2")
    with pytest.raises(RepositoryNotFoundError, match="namespace/name"):
        alice.api.hf_hub_download("gpt2", "config.json", cache_dir=tmp_path)
    with pytest.raises(RepositoryNotFoundError):
        alice.api.dataset_info("squad", revision="main")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/spaces/a/b/runtime"),
        ("GET", "/api/spaces/hardware"),
        ("GET", "/api/daily_papers"),
        ("DELETE", "/api/whoami-v2"),
    ],
)
def test_what_plait_lacks_says_so(live_hub: LiveHub, method: str, path: str) -> None:
    answer = httpx.request(method, live_hub.url + path)
    assert answer.status_code == 501
    assert answer.headers["X-Error-Code"] == "NotImplemented"
    assert answer.headers["X-Request-Id"]
    assert answer.json()["error"].endswith(".")


def test_hostile_requests_get_sentences(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/model").repo_id
    headers = {"Authorization": f"Bearer {alice.token}"}
    with httpx.Client(base_url=live_hub.url, headers=headers, timeout=30) as client:
        for method, path, kind, body in [
            ("POST", "/api/repos/create", "json", b"[]"),
            ("POST", "/api/repos/create", "json", b"{"),
            ("POST", "/api/repos/create", "json", b'{"name": 5}'),
            ("POST", "/api/repos/create", "json", b'{"name": "../x"}'),
            ("POST", "/api/repos/create", "json", b'{"name": "x", "type": "kernel"}'),
            ("POST", "/api/repos/create", "json", b'{"name": "a\\u0000b"}'),
            ("POST", f"/api/models/{repo}/preupload/main", "json", b'{"files": 1}'),
            ("POST", f"/api/models/{repo}/paths-info/main", "json", b'{"paths": {}}'),
            ("POST", f"/api/models/{repo}/discussions", "json", b'{"title": ""}'),
            ("GET", f"/api/models/{repo}/tree/main?cursor=-1", "json", b""),
            ("GET", f"/api/models/{repo}/commits/main?limit=0", "json", b""),
            ("GET", "/api/models?cursor=%00", "json", b""),
            ("GET", f"/api/models/{repo}/tree/%FF", "json", b""),
        ]:
            answer = client.request(
                method, path, content=body, headers={"Content-Type": f"application/{kind}"}
            )
            assert answer.status_code == 400, (path, body, answer.text)
            assert answer.json()["error"]
        for path in (
            f"/api/models/{repo}/tree/%00",
            f"/{repo}/resolve/main/..%2F..%2Fsecret.key",
            f"/{repo}/resolve/..%2F..%2Fmain/x",
            f"/{repo}/resolve/main/%2e%2e/%2e%2e/%2e%2e/secret.key",
            "/api/models/%2e%2e/%2e%2e",
            f"/api/models/{repo}/resolve-cache/x",
        ):
            assert client.get(path).status_code in (400, 404, 501), path
        huge = client.post(
            f"/api/models/{repo}/discussions",
            content=b'{"title": "' + b"x" * (9 * 2**20) + b'"}',
            headers={"Content-Type": "application/json"},
        )
        assert huge.status_code == 413
