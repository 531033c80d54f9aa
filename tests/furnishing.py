# SPDX-License-Identifier: Apache-2.0
"""What the gallery has beside merges: files of all kinds, gates, teams, collections, tokens."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from plait.hub import AddBytes, AddPointer, Hub, Repository
from plait.hub.database import Delivery, FileScan, Webhook, WebhookWatch
from plait.hub.people.tokens import Grant

if TYPE_CHECKING:
    from gallery import Gallery

KEEPER = "keeper"
PASSWORD = "brass kettle over pine"
GATED_CARD = """---
license: cc-by-4.0
language: [en, zh]
task_categories: [text-classification]
extra_gated_heading: Please say who you are
extra_gated_prompt: These reviews hold names. **Keep them to yourself.**
extra_gated_fields:
  Affiliation: text
  Purpose:
    type: select
    options: [Research, Teaching]
  Since: date_picker
  I agree to keep the data to myself: checkbox
---
# Reviews behind a gate
"""
TABLE = "name,score,note\n" + "".join(f"row {n},{n / 7:.3f},<b>{n}</b>\n" for n in range(130))
LINES = "".join(f'{{"id": {n}, "tags": ["a", "b"], "text": "line {n}"}}\n' for n in range(5))
README = "---\nlicense: mit\nlanguage: en\n---\n# Files\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
SCRIPT = "def add(a: int, b: int) -> int:\n    return a + b\n"


def parquet() -> bytes | None:
    """A small Parquet file, None without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None
    buffer = io.BytesIO()
    rows = pyarrow.table({"id": list(range(300)), "text": [f"text {n}" for n in range(300)]})
    pyarrow.parquet.write_table(rows, buffer)
    return buffer.getvalue()


def keep(hub: Hub, repo: Repository, path: str, data: bytes) -> AddPointer:
    """Store a large file's bytes for a repository."""
    sha256, size = hub.blobs.write([data])
    with hub.session(write=True) as session:
        hub.grant_blob(session, repo, sha256)
    return AddPointer(path, sha256, size)


def furnish(gallery: Gallery) -> None:
    """Put it all into the gallery's hub."""
    hub, actors = gallery.hub, gallery.actors
    commons, shop, stranger = actors["commons"], actors["shop"], actors["stranger"]
    keeper = hub.accounts.create_user(KEEPER, admin=True, fullname="Ke Eper")
    actors[KEEPER] = hub.accounts.actor_for(keeper)
    organization = hub.accounts.get("commons")
    hub.accounts.update_profile(
        commons, organization, fullname="The Commons", about="We **share** what we train.\n"
    )
    hub.accounts.add_member(organization, hub.accounts.get("shop-user"), "contributor", by=commons)
    team = hub.teams.create(commons, organization, "evaluators", "They measure.")
    hub.teams.add_member(commons, team, hub.accounts.get("shop-user"), "read")
    files = _files(gallery)
    gallery.places["files"] = files.full_name
    gated = hub.repositories.create(shop, "dataset", "shop/gated")
    hub.commits.apply(
        shop,
        gated,
        "main",
        [AddBytes("README.md", GATED_CARD.encode()), AddBytes("secret.txt", b"behind the gate\n")],
        "Describe it",
    )
    gated = hub.repositories.update(shop, gated, gated="manual")
    answers = {"Affiliation": "A school", "Purpose": "Research", "Since": "2026-01-01",
               "I agree to keep the data to myself": "yes"}  # fmt: skip
    hub.access.ask(stranger, gated, answers)
    space = hub.repositories.create(commons, "space", "commons/old-name", sdk="static")
    hub.repositories.move(commons, space, "commons/playground")
    hub.likes.add(commons, gallery.model)
    hub.likes.add(shop, gallery.model)
    hub.social.follow(shop, "commons")
    made = hub.collections.create(
        commons, "commons", "What belongs together", description="Models and their data."
    )
    hub.collections.add_item(commons, made.slug, "model", "commons/sentiment", "Begin here.")
    hub.collections.add_item(commons, made.slug, "dataset", "shop/gated")
    hub.collections.add_item(commons, made.slug, "paper", "2306.01708", "TIES")
    gallery.places["collection"] = f"/collections/{made.slug}"
    hub.tokens.create(
        hub.accounts.get("commons-user"),
        scope="fine-grained",
        name="training machine",
        grants=[Grant("write", repository=gallery.model), Grant("read", namespace=organization)],
    )
    _webhook(gallery)


def _files(gallery: Gallery) -> Repository:
    hub, actor = gallery.hub, gallery.actors["commons"]
    repo = hub.repositories.create(actor, "dataset", "commons/files-of-every-kind")
    pickle = keep(hub, repo, "old/weights.bin", b"\x80\x04cos\nsystem\n.")
    operations = [
        AddBytes("README.md", README.encode()),
        AddBytes("data/table.csv", TABLE.encode()),
        AddBytes("data/rows.jsonl", LINES.encode()),
        AddBytes("scripts/add.py", SCRIPT.encode()),
        AddBytes("notes/a-rather-long-name-of-a-file-that-has-to-wrap-on-a-phone.txt", b"hello\n"),
        AddBytes("raw.dat", b"\x00\x01\x02"),
        pickle,
    ]  # fmt: skip
    rows = parquet()
    if rows is not None:
        operations.append(keep(hub, repo, "data/rows.parquet", rows))
    hub.commits.apply(actor, repo, "main", operations, "Add a file of every kind")
    changed = SCRIPT.replace("a + b", "b + a").replace("add", "plus")
    second = hub.commits.apply(
        actor,
        repo,
        "main",
        [AddBytes("scripts/add.py", changed.encode()), AddBytes("more.txt", b"one\ntwo\n")],
        "Say plus",
        "Because it is a plus.",
    )
    gallery.places["commit"] = second.oid
    hub.references.create_branch(actor, repo, "feature/long-name", "main")
    hub.references.create_tag(actor, repo, "v1.0", "main", "The first")
    with hub.session(write=True) as session:
        session.merge(
            FileScan(
                content=pickle.sha256,
                repository_id=repo.id,
                path="old/weights.bin",
                verdict="unsafe",
                findings={"imports": [{"module": "os", "name": "system", "safety": "dangerous"}]},
            )
        )
    return repo


def _webhook(gallery: Gallery) -> None:
    # Written as rows: an address is resolved when a webhook is made, and tests have no network.
    hub = gallery.hub
    user = hub.accounts.get("commons-user")
    with hub.session(write=True) as session:
        webhook = Webhook(
            user_id=user.id,
            url="https://hooks.example/plait",
            watched={"items": [{"type": "model", "name": "commons/sentiment"}]},
            domains={"items": ["repo", "discussion"]},
            disabled=True,
        )
        session.add(webhook)
        session.flush()
        session.add(WebhookWatch(webhook_id=webhook.id, repository_id=gallery.model.id))
        session.add(
            Delivery(
                webhook_id=webhook.id,
                repository_id=gallery.model.id,
                payload={"event": {"action": "update", "scope": "repo.content"}},
                state="failed",
                attempts=3,
                status=500,
                answer="<h1>Oops</h1>",
            )
        )
        gallery.places["webhook"] = f"/settings/webhooks/{webhook.public_id}"


def public_addresses(gallery: Gallery) -> list[str]:
    """Pages that everybody may open."""
    files = f"/datasets/{gallery.places['files']}"
    addresses = [
        "/search?search=sentiment",
        "/models?license=apache-2.0&sort=likes",
        "/datasets?language=en",
        "/collections",
        gallery.places["collection"],
        "/setup",
        "/shop-user",
        "/commons?tab=models",
        "/commons?tab=collections",
        "/commons?tab=followers",
        "/commons-user?tab=likes",
        "/shop-user?tab=following",
        "/commons/sentiment/likers",
        "/datasets/shop/gated",
        "/datasets/shop/gated/tree/main",
        "/datasets/shop/gated/access",
        files,
        f"{files}/tree/main",
        f"{files}/tree/feature%2Flong-name/notes",
        f"{files}/blob/main/data/table.csv",
        f"{files}/blob/main/data/rows.jsonl",
        f"{files}/blob/main/scripts/add.py",
        f"{files}/blob/main/old/weights.bin",
        f"{files}/blob/main/raw.dat",
        f"{files}/commits/main",
        f"{files}/commit/{gallery.places['commit']}",
        f"{files}/compare",
        f"{files}/compare?base=v1.0&head=main",
        f"{files}/refs",
        "/spaces/commons/playground",
    ]
    if parquet() is not None:
        addresses.append(f"{files}/blob/main/data/rows.parquet")
    return addresses


def own_addresses(gallery: Gallery) -> list[str]:
    """Pages of the user who runs the organisation ``commons``."""
    files = f"/datasets/{gallery.places['files']}"
    organization = "/organizations/commons/settings"
    return [
        "/commons/sentiment/train",
        "/new",
        "/new?type=space",
        "/organizations/new",
        "/collections/new",
        f"{gallery.places['collection']}/edit",
        f"{files}/new/main/notes",
        f"{files}/edit/main/README.md",
        f"{files}/upload/main",
        f"{files}/delete/main/more.txt",
        f"{files}/settings",
        f"{files}/settings/access",
        "/commons/sentiment/settings",
        "/commons/sentiment/settings/branches",
        "/commons/sentiment/discussions/new",
        "/commons?tab=members",
        "/settings/profile",
        "/settings/password",
        "/settings/sessions",
        "/settings/tokens",
        "/settings/tokens/new",
        "/settings/webhooks",
        "/settings/webhooks/new",
        gallery.places["webhook"],
        "/settings/organizations",
        f"{organization}/profile",
        f"{organization}/members",
        f"{organization}/teams",
        f"{organization}/teams/evaluators",
        f"{organization}/audit",
    ]


SYSTEM_ADDRESSES = (
    "/system",
    "/system/users",
    "/system/organizations",
    "/system/repositories",
    "/system/storage",
    "/system/jobs",
    "/system/audit?verify=1",
    "/system/settings",
)
