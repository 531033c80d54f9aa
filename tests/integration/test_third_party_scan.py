# SPDX-License-Identifier: Apache-2.0
"""A third party's scanner over the whole OpenAPI document: whatever it sends, nothing breaks.

Schemathesis makes requests from the document, by anonymous callers and signed-in ones, and holds
the answers to it: no error of the server's own, and no status or form that it does not announce.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from plait.api import create_api
from plait.hub import AddBytes, Hub
from plait.settings import load_settings

load_all_checks()
EXAMPLES = int(os.environ.get("PLAIT_SCAN_EXAMPLES", "5"))
"""Requests of each operation and caller; for a longer hunt, set more."""


def broken(ctx: Any, response: Any, case: Any) -> None:
    """Fail on an answer that no sentence explains: 500, or an error without its code."""
    assert response.status_code < 500 or response.status_code in (501, 507), response.text[:500]
    if response.status_code >= 400 and response.request.method != "HEAD":
        sentence = response.json()["error"]
        assert isinstance(sentence, str)
        assert sentence, response.text


CHECKS = [broken, response_schema_conformance, content_type_conformance]


def _app(folder: Path) -> tuple[Any, dict[str, str]]:
    hub = Hub.open(load_settings(folder, {}, background=0))
    people = {name: hub.accounts.create_user(name) for name in ("ann", "bob")}
    shop = hub.accounts.create_organization("shop", people["ann"])
    hub.accounts.add_member(shop, people["bob"], "read")
    ann = hub.accounts.actor_for(people["ann"])
    for kind in ("model", "dataset", "space"):
        repo = hub.repositories.create(ann, kind, "ann/thing")
        hub.commits.apply(ann, repo, "main", [AddBytes("a/b.txt", b"text")], "one")
        hub.discussions.create(ann, repo, "Title", "Text")
    hub.repositories.create(ann, "model", "shop/secret", True)
    hub.collections.create(ann, "ann", "Things")
    tokens = {name: hub.tokens.create(account) for name, account in people.items()}
    return create_api(hub), tokens


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, str]]:
    return _app(tmp_path_factory.mktemp("scan") / "hub")


@pytest.mark.parametrize("caller", ["nobody", "ann", "bob"])
def test_nothing_breaks(caller: str, scanned: tuple[Any, dict[str, str]]) -> None:
    app, tokens = scanned
    headers = {} if caller == "nobody" else {"Authorization": f"Bearer {tokens[caller]}"}
    schema = schemathesis.openapi.from_asgi("/api/plait/openapi.json", app)
    failures, operations = [], 0
    for result in schema.get_all_operations():
        operation = result.ok()
        operations += 1

        @seed(operations)
        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def probe(case: Any) -> None:
            _known_names(case)
            case.call_and_validate(headers=headers, checks=CHECKS)

        try:
            probe()
        except (Exception, BaseExceptionGroup) as error:
            failures.append(f"{operation.label}: {error}")
    assert operations > 80
    assert not failures, f"{len(failures)} operations:\n" + "\n\n".join(failures)[:20_000]


def _known_names(case: Any) -> None:
    """Lead every second request to something that is there: random names lead nowhere."""
    if sum(map(ord, repr(sorted(case.path_parameters.items())))) % 2:
        return
    known = {
        "kind": "models",
        "namespace": "ann",
        "name": "thing",
        "revision": "main",
        "username": "ann",
        "organization": "shop",
        "number": 1,
        "path": "a/b.txt",
    }
    for name in case.path_parameters:
        if name in known:
            case.path_parameters[name] = known[name]
