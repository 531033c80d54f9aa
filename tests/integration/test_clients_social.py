# SPDX-License-Identifier: Apache-2.0
"""Collections, webhooks and overviews, by the stock client against a live server."""

from __future__ import annotations

import pytest
from huggingface_hub import WebhookWatchedItem
from huggingface_hub.errors import HfHubHTTPError

from .live import LiveHub, Person


def test_collections_as_the_client_makes_them(
    live_hub: LiveHub, alice: Person, bob: Person
) -> None:
    api = alice.api
    api.create_repo(f"{alice.name}/model")
    api.create_repo(f"{alice.name}/secret", private=True)
    api.create_repo(f"{alice.name}/data", repo_type="dataset")
    made = api.create_collection("My Best: Models", description="Some of them")
    assert made.slug.startswith(f"{alice.name}/my-best-models-")
    assert made.url == f"{live_hub.url}/collections/{made.slug}"
    with pytest.raises(HfHubHTTPError):
        api.create_collection("My Best: Models")
    assert api.create_collection("My Best: Models", exists_ok=True).slug == made.slug
    api.add_collection_item(made.slug, f"{alice.name}/model", "model", note="first")
    api.add_collection_item(made.slug, f"{alice.name}/secret", "model")
    api.add_collection_item(made.slug, f"{alice.name}/data", "dataset")
    api.add_collection_item(made.slug, "2307.09288", "paper")
    inner = api.create_collection("Inner", private=True)
    full = api.add_collection_item(made.slug, inner.slug, "collection")
    assert [item.item_type for item in full.items] == [
        *("model", "model", "dataset", "paper", "collection")
    ]
    assert full.items[0].note == "first"
    assert full.items[4].item_id == inner.slug
    with pytest.raises(HfHubHTTPError):
        api.add_collection_item(made.slug, f"{alice.name}/data", "dataset")
    api.add_collection_item(made.slug, f"{alice.name}/data", "dataset", exists_ok=True)
    api.update_collection_item(made.slug, full.items[3].item_object_id, position=0, note="paper")
    assert api.get_collection(made.slug).items[0].note == "paper"
    seen = bob.api.get_collection(made.slug)
    assert [item.item_id for item in seen.items] == [
        *("2307.09288", f"{alice.name}/model", f"{alice.name}/data")
    ]
    with pytest.raises(HfHubHTTPError):
        bob.api.get_collection(inner.slug)
    with pytest.raises(HfHubHTTPError):
        bob.api.add_collection_item(made.slug, "2307.09289", "paper")
    changed = api.update_collection_metadata(made.slug, title="Others", theme="pink", position=2)
    assert (changed.theme, changed.position) == ("pink", 2)
    assert changed.slug != made.slug
    assert api.get_collection(made.slug).slug == changed.slug
    assert [c.slug for c in bob.api.list_collections(owner=alice.name)] == [changed.slug]
    found = api.list_collections(item=f"models/{alice.name}/secret", sort="lastModified")
    assert [c.slug for c in found] == [changed.slug]
    assert list(bob.api.list_collections(item=f"models/{alice.name}/secret")) == []
    for number in range(25):
        api.create_collection(f"Many {number}")
    assert len(list(api.list_collections(owner=alice.name))) == 27
    assert len(list(api.list_collections(owner=alice.name, limit=3))) == 3
    api.delete_collection_item(changed.slug, full.items[0].item_object_id)
    api.delete_collection_item(changed.slug, full.items[0].item_object_id, missing_ok=True)
    with pytest.raises(HfHubHTTPError) as refused:
        api.update_collection_resource_group(changed.slug, "0" * 24)
    assert refused.value.response.status_code == 501
    api.delete_collection(changed.slug)
    api.delete_collection(changed.slug, missing_ok=True)


def test_webhooks_as_the_client_makes_them(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    api = alice.api
    api.create_repo(f"{alice.name}/model")
    watched = [
        WebhookWatchedItem(type="user", name=alice.name),
        {"type": "model", "name": f"{alice.name}/model"},
    ]
    made = api.create_webhook(watched=watched, url="https://hooks.example.org/x", secret="key")
    assert (made.url, made.secret, made.disabled) == ("https://hooks.example.org/x", "key", False)
    assert made.domains == ["repo", "discussion"]
    assert made.watched[1].name == f"{alice.name}/model"
    assert [hook.id for hook in api.list_webhooks()] == [made.id]
    assert api.get_webhook(made.id) == made
    changed = api.update_webhook(made.id, url="https://hooks.example.org/y", domains=["repo"])
    assert (changed.url, changed.domains, changed.watched) == (
        "https://hooks.example.org/y",
        ["repo"],
        made.watched,
    )
    assert api.disable_webhook(made.id).disabled
    assert not api.enable_webhook(made.id).disabled
    assert bob.api.list_webhooks() == []
    for act in (bob.api.get_webhook, bob.api.delete_webhook, bob.api.disable_webhook):
        with pytest.raises(HfHubHTTPError):
            act(made.id)
    for url in ("http://example.org/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
        with pytest.raises(HfHubHTTPError):
            api.create_webhook(watched=watched, url=url)
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_webhook(watched=watched, job_id="0" * 24)
    assert refused.value.response.status_code == 501
    api.delete_webhook(made.id)
    assert api.list_webhooks() == []


def test_overviews_as_the_client_reads_them(live_hub: LiveHub, alice: Person, bob: Person) -> None:
    organization = live_hub.organization("crew", alice)
    alice.api.create_repo(f"{alice.name}/open")
    alice.api.create_repo(f"{alice.name}/secret", private=True)
    live_hub.hub.social.follow(
        live_hub.hub.accounts.actor_for(live_hub.hub.accounts.get(bob.name)), alice.name
    )
    own = alice.api.get_user_overview(alice.name)
    assert (own.username, own.num_models, own.num_followers) == (alice.name, 2, 1)
    assert [o.name for o in own.orgs] == [organization]
    seen = bob.api.get_user_overview(alice.name)
    assert (seen.num_models, seen.orgs, seen.is_following) == (1, [], True)
    assert [u.username for u in alice.api.list_user_followers(alice.name)] == [bob.name]
    assert [u.username for u in alice.api.list_user_following(bob.name)] == [alice.name]
    crew = alice.api.get_organization_overview(organization)
    assert (crew.name, crew.num_users, crew.num_followers) == (organization, 1, 0)
    members = alice.api.list_organization_members(organization)
    assert [u.username for u in members] == [alice.name]
    assert list(bob.api.list_organization_members(organization)) == []
    assert list(bob.api.list_organization_followers(organization)) == []
