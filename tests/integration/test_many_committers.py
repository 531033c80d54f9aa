# SPDX-License-Identifier: Apache-2.0
"""Two hundred people commit to one branch at once: each lands once, or is told to look again."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter

import httpx

from integration.live import LiveHub, Person
from plait.hub.upkeep.fsck import damage

COMMITTERS = 200


def body(number: int, parent: str | None) -> bytes:
    header = {"summary": f"commit {number}", "description": ""}
    if parent is not None:
        header["parentCommit"] = parent
    content = base64.b64encode(f"of {number}".encode()).decode()
    file = {"path": f"files/{number}.txt", "content": content, "encoding": "base64"}
    lines = [{"key": "header", "value": header}, {"key": "file", "value": file}]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def test_two_hundred_committers(live_hub: LiveHub, alice: Person) -> None:
    repo = alice.api.create_repo(f"{alice.name}/busy").repo_id
    start = alice.api.model_info(repo).sha
    answers: dict[int, httpx.Response] = {}
    gate = threading.Barrier(COMMITTERS)

    def commit(number: int) -> None:
        # Every fourth insists on the state that it has seen.
        parent = start if number % 4 == 0 else None
        with httpx.Client(timeout=240) as client:
            gate.wait()
            answers[number] = client.post(
                f"{live_hub.url}/api/models/{repo}/commit/main",
                content=body(number, parent),
                headers={
                    "Authorization": f"Bearer {alice.token}",
                    "Content-Type": "application/x-ndjson",
                },
            )

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(COMMITTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = Counter(answer.status_code for answer in answers.values())
    assert set(statuses) <= {200, 412}
    landed = {number for number, answer in answers.items() if answer.status_code == 200}
    assert {number for number in range(COMMITTERS) if number % 4} <= landed
    # At most one of those who insisted was first.
    assert len([number for number in landed if number % 4 == 0]) <= 1
    found = live_hub.hub.repositories.find("model", repo)
    assert found is not None
    git = live_hub.hub.git
    head = git.resolve(found)
    titles = Counter(info.title for info in git.log(found, head, 1000))
    assert titles == Counter({"initial commit": 1, **{f"commit {n}": 1 for n in landed}})
    assert {answers[n].json()["commitOid"] for n in landed} < {
        info.oid for info in git.log(found, head, 1000)
    }
    files = {entry.path for entry in git.tree(found, head, "files")}
    assert files == {f"files/{n}.txt" for n in landed}
    assert alice.api.model_info(repo).sha == head
    assert [p for p in damage(live_hub.hub) if repo in p.place] == []
