# SPDX-License-Identifier: Apache-2.0
"""Likes, overviews of people and organisations, collections."""

from __future__ import annotations

from huggingface_hub.errors import HfHubHTTPError
from scene import FACTS, ME, ORGANIZATION, OTHER, api, done, has, other, refused, send

repo = api.create_repo(f"{ME}/liked").repo_id
data = api.create_repo(f"{ME}/data", repo_type="dataset").repo_id
secret = api.create_repo(f"{ME}/secret", private=True).repo_id

# Likes: given on the page, taken back by the client.
for _ in range(2):
    assert send("POST", f"/api/models/{repo}/like", token=FACTS["other"]["token"]).status_code < 300
assert send("POST", f"/api/datasets/{data}/like").status_code < 300
assert api.model_info(repo).likes == 1
assert [user.username for user in api.list_repo_likers(repo)] == [OTHER]
likes = api.list_liked_repos(OTHER)
assert (likes.user, likes.models, likes.datasets, likes.total) == (OTHER, [repo], [], 1)
assert api.list_liked_repos().datasets == [data]
other.unlike(repo)
other.unlike(repo)
assert api.model_info(repo).likes == 0 and list(api.list_repo_likers(repo)) == []
assert send("POST", f"/api/models/{secret}/like", token=FACTS["other"]["token"]).status_code == 404
assert send("POST", f"/api/models/{secret}/like").status_code < 300
assert other.list_liked_repos(ME).models == []
assert api.list_liked_repos(ME).models == [secret]

# Overviews.
seen = other.get_user_overview(ME)
assert (seen.username, seen.num_models, seen.num_datasets) == (ME, 1, 1), seen
assert api.get_user_overview(ME).num_models == 2
assert seen.fullname and seen.orgs == []  # who belongs where is for those who belong there
assert [org.name for org in api.get_user_overview(ME).orgs] == [ORGANIZATION]
refused(404, api.get_user_overview, "no-such-user")
assert other.get_organization_overview(ORGANIZATION).num_users is None
organization = api.get_organization_overview(ORGANIZATION)
assert (organization.name, organization.num_users) == (ORGANIZATION, 1)
assert [user.username for user in api.list_organization_members(ORGANIZATION)] == [ME]
assert list(api.list_user_followers(ME)) == [] and list(api.list_user_following(ME)) == []
if has("list_organization_followers"):
    assert list(api.list_organization_followers(ORGANIZATION)) == []

# Collections.
shelf = api.create_collection("My shelf", description="What I use", private=True)
assert shelf.title == "My shelf" and shelf.private and shelf.owner["name"] == ME
assert shelf.slug.startswith(f"{ME}/my-shelf-") and shelf.items == []
refused(404, other.get_collection, shelf.slug)
same = api.create_collection("My shelf", private=True, exists_ok=True)
assert same.slug == shelf.slug
refused(409, api.create_collection, "My shelf")
shelf = api.add_collection_item(shelf.slug, repo, "model", note="Small")
shelf = api.add_collection_item(shelf.slug, data, "dataset")
shelf = api.add_collection_item(shelf.slug, secret, "model")
assert [item.item_id for item in shelf.items] == [repo, data, secret]
assert shelf.items[0].note == "Small" and shelf.items[0].item_type == "model"
refused(409, api.add_collection_item, shelf.slug, repo, "model")
api.add_collection_item(shelf.slug, repo, "model", exists_ok=True)
refused(404, api.add_collection_item, shelf.slug, f"{ME}/nothing", "model")
api.update_collection_item(shelf.slug, shelf.items[0].item_object_id, note="Tiny", position=1)
shelf = api.get_collection(shelf.slug)
assert [item.item_id for item in shelf.items][:2] == [data, repo]
assert shelf.items[1].note == "Tiny"
shelf = api.update_collection_metadata(shelf.slug, title="Our shelf", private=False, theme="blue")
assert shelf.title == "Our shelf" and not shelf.private and shelf.theme == "blue"
# The private repository is not there for others.
theirs = other.get_collection(shelf.slug)
assert [item.item_id for item in theirs.items] == [data, repo]
refused(403, other.add_collection_item, shelf.slug, repo, "model")
refused(403, other.delete_collection, shelf.slug)
assert [c.slug for c in other.list_collections(owner=ME)] == [shelf.slug]
assert [c.slug for c in api.list_collections(item=f"models/{repo}")] == [shelf.slug]
for sort in ("lastModified", "trending", "upvotes"):
    assert shelf.slug in [c.slug for c in api.list_collections(owner=[ME], sort=sort, limit=5)]
ours = api.create_collection("Ours", namespace=ORGANIZATION)
assert ours.owner["name"] == ORGANIZATION
refused(403, other.create_collection, "Theirs", namespace=ORGANIZATION)
api.delete_collection_item(shelf.slug, shelf.items[0].item_object_id)
api.delete_collection_item(shelf.slug, shelf.items[0].item_object_id, missing_ok=True)
assert data not in [item.item_id for item in api.get_collection(shelf.slug).items]
api.delete_collection(shelf.slug)
refused(404, api.get_collection, shelf.slug)
api.delete_collection(shelf.slug, missing_ok=True)
try:
    api.delete_collection(shelf.slug)
except HfHubHTTPError as error:
    assert error.response.status_code == 404
done()
