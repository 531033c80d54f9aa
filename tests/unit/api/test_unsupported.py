# SPDX-License-Identifier: Apache-2.0
"""Every call that the installed stock client makes finds a route, or a sentence about it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from fastapi.testclient import TestClient

from plait.api import create_api
from plait.api.unsupported import ABSENT, METHODS, RUNNING
from plait.hub import Hub
from plait.settings import Settings

VALUES = {
    "repo_type": "model",
    "src_repo_type": "model",
    "token_type.value": "write",
    "repo_id": "ann/model",
    "src_repo_id": "ann/model",
    "from_id": "ann/model",
    "self.bucket_id": "ann/model",
    "bucket_id": "ann/model",
    "api_prefix": "models",
    "revision": "main",
    "branch": "main",
    "tag": "v1",
    "discussion_num": "1",
    "resource": "comment",
    "status": "pending",
    "user": "ann",
    "username": "ann",
    "organization": "shop",
    "namespace": "ann",
    "collection_slug": "ann/title-" + "0" * 24,
    "encoded_path_in_repo": "",
    "encoded_prefix": "",
    "log_type": "run",
    "route": "logs",
}
VERBS = {"get", "post", "put", "patch", "delete", "head", "stream", "paginate"}
ELSEWHERE = re.compile(r"INFERENCE|DATASETS_SERVER|^https?://")


def client_calls() -> set[tuple[str, str]]:
    """Read (verb, path template) of every call to the hub out of the client's source."""
    found = set()
    for path in Path(huggingface_hub.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                found |= set(calls_of(function))
    return found


def calls_of(function: ast.AST) -> Iterator[tuple[str, str]]:
    texts: dict[str, list[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            for template in templates(node.value):
                texts.setdefault(node.targets[0].id, []).append(template)
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        arguments = [*node.args, *(k.value for k in node.keywords if k.arg in ("url", "path"))]
        for argument in arguments[:2]:
            known = texts.get(argument.id, []) if isinstance(argument, ast.Name) else []
            for template in [*known, *templates(argument)]:
                if name in VERBS:
                    yield ("get" if name in ("paginate", "stream") else name), template
                elif name in ("http_backoff", "request", "_request_wrapper", "http_stream_backoff"):
                    verb = node.args[0] if node.args else None
                    if isinstance(verb, ast.Constant) and isinstance(verb.value, str):
                        yield verb.value.lower(), template


def templates(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from templates(node.body)
        yield from templates(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                value = part.value
                if isinstance(value, ast.Call) and value.args:
                    value = value.args[0]
                parts.append("{" + ast.unparse(value) + "}")
        text = "".join(parts)
        if re.match(r"\{[^}]*(?:endpoint|ENDPOINT)\}/", text) and not ELSEWHERE.search(text):
            yield text


CALLS = sorted(client_calls())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with Hub.open(Settings(tmp_path_factory.mktemp("hub") / "hub")) as hub:
        account = hub.accounts.create_user("ann")
        hub.accounts.create_organization("shop", account)
        token = hub.tokens.create(account)
        hub.repositories.create(hub.accounts.actor_for(account), "model", "ann/model")
        yield TestClient(
            create_api(hub),
            headers={"Authorization": f"Bearer {token}"},
            raise_server_exceptions=False,
            follow_redirects=False,
        )


def test_the_client_was_read() -> None:
    assert len(CALLS) > 95, CALLS
    assert ("post", "{self.endpoint}/api/collections/{collection_slug}/items") in CALLS


@pytest.mark.parametrize(("verb", "template"), CALLS)
def test_every_call_of_the_stock_client_is_answered(
    client: TestClient, verb: str, template: str
) -> None:
    path = template[template.index("}") + 1 :]
    path = re.sub(r"\{([^}]*)\}", lambda m: VALUES.get(m[1], "x" * 8), path)
    answer = client.request(verb, path)
    said = answer.headers.get("X-Error-Code")
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    assert answer.status_code != 405, answer.text
    if answer.status_code in (404, 501):
        assert said, (path, answer.text)
        sentence = answer.headers["X-Error-Message"]
        assert len(sentence) > 15 and sentence.rstrip().endswith((".", "?")), sentence


@pytest.mark.parametrize(
    ("verb", "path", "thing"),
    [
        ("post", "/api/buckets/ann/b", "buckets"),
        ("get", "/api/buckets/ann", "buckets"),
        ("get", "/api/kernels/ann/k/revision/main", "kernel"),
        ("post", "/api/jobs/ann", "jobs"),
        ("get", "/api/jobs/hardware", "jobs"),
        ("put", "/api/scheduled-jobs/ann/1/labels", "jobs"),
        ("get", "/api/spaces/hardware", "hardware"),
        ("get", "/api/spaces/zero-gpu/quota", "GPU"),
        ("post", "/api/spaces/ann/s/secrets", "secrets"),
        ("get", "/api/spaces/ann/s/runtime", "runtime"),
        ("get", "/api/spaces/ann/s/logs/run", "logs"),
        ("get", "/api/papers/2307.09288", "papers"),
        ("get", "/api/daily_papers", "papers"),
        ("get", "/api/agent-harnesses", "harnesses"),
        ("get", "/api/datasets/ann/d/leaderboard", "leaderboards"),
        ("post", "/uploads", "attachments"),
        ("post", "/oauth/token", "OAuth"),
        ("get", "/api/something/new", "/api/something/new"),
    ],
)
def test_what_is_absent_is_named(client: TestClient, verb: str, path: str, thing: str) -> None:
    answer = client.request(verb, path)
    assert answer.status_code == 501
    assert answer.headers["X-Error-Code"] == "NotImplemented"
    assert thing in answer.json()["error"]


def test_nothing_absent_stands_in_the_way_of_what_is_there(client: TestClient) -> None:
    absent = [re.sub(r"\{[^}]*\}", "x", path) for path in ABSENT]
    absent += [f"/api/spaces/x/x/{part}" for part in RUNNING]
    for route, operations in client.get("/api/plait/openapi.json").json()["paths"].items():
        if "{" not in route.rsplit("/", 1)[1]:
            plain = re.sub(r"\{[^}]*\}", "x", route)
            assert plain not in absent, operations
    assert set(METHODS) >= {"GET", "POST", "PUT", "PATCH", "DELETE"}
