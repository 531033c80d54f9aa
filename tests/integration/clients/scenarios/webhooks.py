# SPDX-License-Identifier: Apache-2.0
"""Webhooks: made, seen, changed, switched off and on, removed; each person's own."""

from __future__ import annotations

from scene import FACTS, ME, ORGANIZATION, api, done, has, nobody, other, refused

assert FACTS and list(api.list_webhooks()) == []
api.create_repo(f"{ME}/watched")
hook = api.create_webhook(
    url="https://hooks.example.org/plait",
    watched=[{"type": "user", "name": ME}, {"type": "model", "name": f"{ME}/watched"}],
    domains=["repo", "discussion"],
    secret="word",
)
assert hook.url == "https://hooks.example.org/plait" and not hook.disabled
assert [(w.type, w.name) for w in hook.watched] == [("user", ME), ("model", f"{ME}/watched")]
assert set(hook.domains) == {"repo", "discussion"}
second = api.create_webhook(
    url="https://hooks.example.org/second",
    watched=[{"type": "org", "name": ORGANIZATION}],
    domains=["repo"],
)
assert api.get_webhook(hook.id).url == hook.url
assert {h.id for h in api.list_webhooks()} == {hook.id, second.id}

changed = api.update_webhook(
    hook.id, url="https://hooks.example.org/other", domains=["discussion"], secret="newer"
)
assert changed.url.endswith("/other") and changed.domains == ["discussion"]
assert [w.name for w in changed.watched] == [ME, f"{ME}/watched"]
assert api.disable_webhook(hook.id).disabled and api.get_webhook(hook.id).disabled
assert not api.enable_webhook(hook.id).disabled

# Another's webhook does not exist.
assert list(other.list_webhooks()) == []
for call in (other.get_webhook, other.disable_webhook, other.delete_webhook):
    refused(404, call, hook.id)
refused(401, nobody.list_webhooks)
for url in ("ftp://example.org/x", "https://user:word@example.org/", "not a url"):
    refused(400, api.create_webhook, url=url, watched=[{"type": "user", "name": ME}])
if has("update_webhook(job_id)"):
    assert api.get_webhook(hook.id).job is None
api.delete_webhook(hook.id)
refused(404, api.get_webhook, hook.id)
assert [h.id for h in api.list_webhooks()] == [second.id]
done()
