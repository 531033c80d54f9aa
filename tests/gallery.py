# SPDX-License-Identifier: Apache-2.0
"""A small hub that has something to show on every page. Its numbers are made up for looking."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from furnishing import furnish, public_addresses
from plait.api import create_api
from plait.collaboration import events, jobs
from plait.hub import Actor, AddBytes, AddPointer, Author, Discussion, Hub, Repository
from plait.settings import load_settings
from plait.web import add_pages

TASKS = ("shop", "press")
CARD = """---
license: apache-2.0
language: [en]
pipeline_tag: text-classification
base_model: elsewhere/encoder
datasets: [shop/reviews, press/reviews]
tags: [sentiment]
model-index:
- name: sentiment
  results:
  - dataset: {name: shop, type: shop/reviews}
    task: {type: text-classification}
    metrics: [{type: balanced_accuracy, value: 0.861}]
---
# Sentiment

Says **positive** or **negative**. See the [labels](docs/labels.txt).

![a picture](docs/picture.png)

<script>alert(1)</script><img src="https://elsewhere.example/x.png" onerror="alert(1)" alt="far">
"""
HOSTILE = (
    '<img src=x alt=x onerror="alert(1)"> [go](javascript:alert(1)) <b onclick="alert(1)">bold</b>'
)


def weights(seed: int) -> bytes:
    """A safetensors file with two small tensors."""
    header = json.dumps(
        {
            "classifier.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "encoder.weight": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + bytes([seed % 256]) * 24


def merge_report(**changes: Any) -> dict[str, Any]:
    """A merge report as the merge job writes it."""

    def scores(shift: float) -> dict[str, float]:
        return {"base": 0.70 + shift, "main": 0.75 + shift, "contribution": 0.78 + shift,
                "candidate": 0.81 + shift}  # fmt: skip

    def intervals(shift: float) -> dict[str, list[float]]:
        return {name: [x - 0.03, x + 0.03] for name, x in scores(shift).items()}

    difference = {"effect": 0.06, "low": 0.02, "high": 0.1, "p": 0.001, "p_adjusted": 0.002,
                  "needed": None}  # fmt: skip
    report: dict[str, Any] = {
        "schema": 1,
        "kind": "verdict",
        "job": 1,
        "repository": "commons/sentiment",
        "number": 1,
        "verdict": "passes",
        "reason": "The average changes by +6.0 points (at 95% confidence by +2.6 points or "
        "better). Every task keeps within its margin.",
        "landed": None,
        "method": "ties",
        "parameters": {"density": 0.5, "weight": {"#1": 0.4, "#2": 0.6}},
        "recipe": {"merge_method": "ties", "base_model": "commons/sentiment@" + "0" * 40},
        "search": {
            "metric": "balanced_accuracy",
            "split": "validation",
            "points": [
                {"method": "task_arithmetic", "parameters": {"weight": 0.5}, "score": 0.78,
                 "tasks": {"shop": 0.8, "press": 0.76}},
                {"method": "ties", "parameters": {"weight": 0.5, "density": 0.5}, "score": 0.8,
                 "tasks": {"shop": 0.81, "press": 0.79}},
            ],
            "chosen": 1,
            "default": 0,
        },
        "gate": {"split": "gate", "confidence": 0.95, "minimum_gain": 0.0, "margin": 0.02},
        "models": {"contribution": {"repository": "commons/sentiment", "revision": "1" * 40}},
        "tasks": [
            {"name": name, "metric": "balanced_accuracy", "role": "protected", "n": 300,
             "groups": 40, "scores": scores(shift), "intervals": intervals(shift),
             "difference": dict(difference), "margin": 0.05, "verdict": "passes", "note": ""}
            for name, shift in zip(TASKS, (0.01, -0.01), strict=True)
        ],
        "average": {"scores": scores(0), "intervals": intervals(0), "margin": 0.02,
                    "difference": dict(difference), "verdict": "passes", "note": ""},
        "credit": {"split": "gate", "base": 0.7, "total": 0.81, "exact": True, "contributions": [
            {"number": 1, "author": "shop-user", "organisation": "shop", "value": 0.08,
             "tasks": {"shop": 0.1, "press": 0.06}},
            {"number": 2, "author": "press-user", "organisation": "press", "value": -0.01,
             "tasks": {"shop": -0.02, "press": 0.0}},
        ]},
        "layers": [{"name": "encoder", "tensors": 1, "relative_change": 0.02,
                    "sign_agreement": 0.6},
                   {"name": "classifier", "tensors": 1, "relative_change": 0.4,
                    "sign_agreement": None}],
        "inputs": [
            {"role": "base", "number": None, "repository": "commons/sentiment",
             "revision": "0" * 40, "files": {"model.safetensors": "a" * 64}},
            {"role": "contribution", "number": 1, "repository": "commons/sentiment",
             "revision": "1" * 40, "files": {"model.safetensors": "b" * 64}},
        ],
        "output": {"files": {"model.safetensors": "c" * 64}},
        "notes": ["The contributions' licences differ: #1 mit, #2 not stated."],
        "cost": {"seconds": 48.3, "cpu_seconds": 83.1},
    }  # fmt: skip
    return {**report, **changes}


UNSURE = (
    "shop changes by +0.4 points, but the true loss may be up to 5.6 points; 5.0 points are "
    "allowed (about 900 items would tell)."
)
WORSE = "shop changes by −3.0 points, a significant loss; 2.0 points are allowed."


@dataclass
class Gallery:
    """The hub, its people, and where its pages are."""

    hub: Hub
    actors: dict[str, Actor]
    model: Repository
    numbers: dict[str, int] = field(default_factory=dict)
    """Discussions by what they show."""
    jobs: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Names and addresses of what `furnishing` made."""

    def token(self, name: str, scope: str = "write") -> str:
        return self.hub.tokens.create(self.hub.accounts.get(name), scope=scope)  # type: ignore[arg-type]

    def app(self) -> FastAPI:
        app = create_api(self.hub)
        add_pages(app, self.hub)
        return app

    def addresses(self) -> list[str]:
        """One address of every kind of page."""
        base = "/commons/sentiment"
        return [
            "/",
            "/?search=nothing-like-this",
            "/datasets",
            "/commons",
            "/login",
            "/nobody/nothing",
            base,
            f"{base}/tree/main",
            f"{base}/tree/main/docs",
            f"{base}/blob/main/README.md",
            f"{base}/blob/main/plait.yaml",
            f"{base}/blob/main/model.safetensors",
            f"{base}/blob/main/docs/picture.png",
            f"{base}/commits/main",
            f"{base}/commit/{self.hub.git.head(self.model)}",
            f"{base}/discussions?status=all",
            f"{base}/lineage",
            f"{base}/contributions",
            f"{base}/queue",
            "/datasets/shop/reviews",
            *(f"{base}/discussions/{number}" for number in self.numbers.values()),
            *(f"/jobs/{number}" for number in self.jobs.values()),
            *public_addresses(self),
        ]


def build_gallery(folder: Path, port: int = 7860) -> Gallery:
    """Make the hub in a new folder."""
    hub = Hub.open(load_settings(folder, {}, port=port))
    actors = {}
    for name in ("commons", "shop", "press"):
        user = hub.accounts.create_user(f"{name}-user")
        hub.accounts.create_organization(name, user)
        actors[name] = hub.accounts.actor_for(user)
    actors["stranger"] = hub.accounts.actor_for(hub.accounts.create_user("stranger"))
    model = hub.repositories.create(actors["commons"], "model", "commons/sentiment")
    gallery = Gallery(hub, actors, model)
    for name, private in (("shop", False), ("press", True)):
        data = hub.repositories.create(actors[name], "dataset", f"{name}/reviews", private)
        files = [AddBytes("README.md", b"# Reviews\n"), AddBytes("data/gate.jsonl", b"{}\n")]
        hub.commits.apply(actors[name], data, "main", files, "Add texts")
    base = _publish(gallery)
    merged = _propose(gallery, "merged", "shop", 1)
    report = _land(gallery, merged, base)
    hub.discussions.add_comment(actors["press"], merged, f"Thank you. {HOSTILE}")
    unsure = _propose(gallery, "unsure", "press", 2)
    _judge(gallery, unsure, _refused(report, "not enough data", UNSURE))
    worse = _propose(gallery, "regresses", "press", 3)
    _judge(gallery, worse, {**_refused(report, "regresses", WORSE), "search": None})
    _propose(gallery, "waiting", "shop", 4)
    running = _propose(gallery, "running", "shop", 5)
    job = jobs.enqueue(hub, "merge", {}, repo=model.id, discussion=running.id)
    held = jobs.lease(hub, "worker")
    assert held is not None
    jobs.progress(hub, held, 0.42, "looking for the best fusion")
    jobs.log(hub, job.id, "Reading <models>\nSearching")
    gallery.jobs["running"] = job.id
    failed = _propose(gallery, "failed", "shop", 6)
    job = jobs.enqueue(hub, "merge", {}, repo=model.id, discussion=failed.id)
    held = jobs.lease(hub, "worker")
    assert held is not None
    jobs.fail(hub, held, "model.safetensors has a NaN in encoder.weight. Train it again.")
    gallery.jobs["failed"] = job.id
    text = hub.commits.apply(
        actors["press"], model, "main", [AddBytes("README.md", b"# Other\n")], "Say it otherwise",
        create_pr=True,
    ).discussion  # fmt: skip
    assert text is not None
    gallery.numbers["text"] = text.number
    closed = hub.discussions.create(actors["press"], model, "Closed", HOSTILE)
    hub.discussions.set_status(actors["press"], closed, "closed")
    gallery.numbers["discussion"] = closed.number
    draft = hub.discussions.create(actors["press"], model, "Draft", pull_request=True)
    gallery.numbers["draft"] = draft.number
    furnish(gallery)
    return gallery


def _refused(report: Mapping[str, Any], verdict: str, note: str) -> dict[str, Any]:
    """Return a report that the gate did not let land, for its first task's sake."""
    made = copy.deepcopy(dict(report))
    made |= {"verdict": verdict, "landed": None, "reason": note[:1].upper() + note[1:]}
    made["tasks"][0] |= {"verdict": verdict, "note": note}
    made["average"]["verdict"] = verdict
    effect = -0.03 if verdict == "regresses" else 0.004
    made["tasks"][0]["scores"]["candidate"] = made["tasks"][0]["scores"]["main"] + effect
    made["tasks"][0]["difference"] |= {
        "effect": effect,
        "low": effect - 0.06,
        "high": effect + 0.05,
    }
    return made


def _store(gallery: Gallery, data: bytes) -> AddPointer:
    sha256, size = gallery.hub.blobs.write([data])
    with gallery.hub.session(write=True) as session:
        gallery.hub.grant_blob(session, gallery.model, sha256)
    return AddPointer("model.safetensors", sha256, size)


def _publish(gallery: Gallery) -> Mapping[str, Any]:
    pointer = _store(gallery, weights(0))
    oid = gallery.hub.commits.apply(
        gallery.actors["commons"],
        gallery.model,
        "main",
        [
            AddBytes("README.md", CARD.encode()),
            AddBytes("plait.yaml", b"fusion: {method: search}\n"),
            AddBytes("docs/labels.txt", b"negative\npositive\n"),
            AddBytes("docs/picture.png", bytes.fromhex(_PNG)),
            pointer,
        ],
        "Publish the base",
    ).oid
    files = {"model.safetensors": pointer.sha256}
    return {"repository": "commons/sentiment", "revision": oid, "files": files}


_PNG = (
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8cf"
    "c0f01f0005000201ff9a1b2a5d0000000049454e44ae426082"
)


def _propose(gallery: Gallery, what: str, who: str, seed: int) -> Discussion:
    outcome = gallery.hub.commits.apply(
        gallery.actors[who],
        gallery.model,
        "main",
        [_store(gallery, weights(seed))],
        f"Fine-tune {what}",
        "Two epochs over our own texts.",
        create_pr=True,
    )
    assert outcome.discussion is not None
    gallery.numbers[what] = outcome.discussion.number
    return outcome.discussion


def _judge(gallery: Gallery, discussion: Discussion, report: Mapping[str, Any]) -> dict[str, Any]:
    hub = gallery.hub
    job = jobs.enqueue(hub, "merge", {}, repo=gallery.model.id, discussion=discussion.id)
    held = jobs.lease(hub, "worker")
    assert held is not None
    head = hub.git.head(gallery.model, f"refs/pr/{discussion.number}")
    full = {**copy.deepcopy(dict(report)), "job": job.id, "number": discussion.number}
    full["inputs"][1] |= {"number": discussion.number, "revision": head}
    events.say(hub, discussion, f"**{full['verdict']}**", full)
    jobs.succeed(hub, held, full)
    return full


def _land(gallery: Gallery, discussion: Discussion, base: Mapping[str, Any]) -> dict[str, Any]:
    hub, model = gallery.hub, gallery.model
    head = hub.git.head(model, f"refs/pr/{discussion.number}")
    main = hub.git.head(model)
    assert head is not None and main is not None
    pointer = _store(gallery, weights(100))
    lineage = {
        "schema": 1,
        "base": base,
        "contributions": [
            {"number": discussion.number, "author": "shop-user", "organisation": "shop",
             "title": discussion.title, "revision": head, "weight": 0.4, "licence": "apache-2.0",
             "files": {"model.safetensors": "b" * 64}}
        ],
        "recipe": {},
        "output": {"files": {"model.safetensors": pointer.sha256}},
        "software": {"plait": "0.1.0"},
        "evaluation": {"average": 0.81, "tasks": {"shop": {
            "metric": "balanced_accuracy", "score": 0.82, "interval": [0.79, 0.85], "n": 300}}},
        "created": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    oid = hub.git.commit(
        model,
        ref="refs/heads/main",
        parent_oid=main,
        parents=[main, head],
        operations=[pointer, AddBytes("lineage.json", json.dumps(lineage).encode())],
        message=f"Merge pull request #{discussion.number}",
        author=Author("plait"),
    )
    report = _judge(gallery, discussion, copy.deepcopy(merge_report(landed=oid)))
    hub.discussions.mark_merged(gallery.actors["commons"], discussion, oid)
    hub.repositories.refresh(model)
    return report
