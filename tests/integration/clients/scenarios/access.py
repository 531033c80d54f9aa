# SPDX-License-Identifier: Apache-2.0
"""Gated repositories: asking, granting, accepting, rejecting, cancelling."""

from __future__ import annotations

import tempfile

from huggingface_hub.errors import GatedRepoError
from scene import FACTS, ME, OTHER, api, done, has, nobody, other, refused, send

repo = api.create_repo(f"{ME}/gated").repo_id
api.upload_file(path_or_fileobj=b"behind the gate", path_in_repo="a.txt", repo_id=repo)
api.update_repo_settings(repo, gated="manual")


def locked(who: object) -> bool:
    try:
        who.hf_hub_download(repo, "a.txt", cache_dir=tempfile.mkdtemp())  # type: ignore[attr-defined]
    except GatedRepoError as error:
        assert error.response.status_code == (401 if who is nobody else 403)
        return True
    return False


def ask(**form: str) -> int:
    path = f"/{repo}/ask-access"
    status: int = send("POST", path, token=FACTS["other"]["token"], data=form).status_code
    return status


def requests(status: str) -> list[str]:
    return [r.username for r in getattr(api, f"list_{status}_access_requests")(repo)]


assert other.model_info(repo).gated == "manual"
assert locked(other) and locked(nobody) and not locked(api)
refused(403, other.auth_check, repo)
assert "a.txt" in other.list_repo_files(repo)
assert ask() < 400
assert requests("pending") == [OTHER]
request = next(iter(api.list_pending_access_requests(repo)))
assert request.status == "pending" and request.timestamp
assert locked(other)
refused(403, other.list_pending_access_requests, repo)
refused(403, other.accept_access_request, repo, OTHER)

api.accept_access_request(repo, OTHER)
assert requests("accepted") == [OTHER] and requests("pending") == [] and not locked(other)
other.auth_check(repo)
refused(404, api.accept_access_request, repo, "no-such-user")
api.cancel_access_request(repo, OTHER)
assert requests("pending") == [OTHER] and locked(other)
api.reject_access_request(repo, OTHER, rejection_reason="Not this time")
assert requests("rejected") == [OTHER] and locked(other)
if has("accept_access_request(request_id)"):
    rejected = next(iter(api.list_rejected_access_requests(repo)))
    api.accept_access_request(repo, request_id=rejected.request_id)
    assert not locked(other)
    api.cancel_access_request(repo, OTHER)

api.update_repo_settings(repo, gated="auto")
fresh = api.create_repo(f"{ME}/granted").repo_id
api.update_repo_settings(fresh, gated="manual")
api.grant_access(fresh, OTHER)
assert [r.username for r in api.list_accepted_access_requests(fresh)] == [OTHER]
refused(400, api.grant_access, fresh, OTHER)
refused(400, api.list_pending_access_requests, api.create_repo(f"{ME}/open").repo_id)

repo = api.create_repo(f"{ME}/automatic", repo_type="model").repo_id
api.upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=repo)
api.update_repo_settings(repo, gated="auto")
assert locked(other)
assert ask() < 400
assert not locked(other) and locked(nobody)
api.update_repo_settings(repo, gated=False)
assert not locked(nobody)
done()
