# SPDX-License-Identifier: Apache-2.0
"""Having a model trained on a data set: the form; the job's page shows what comes of it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from plait.collaboration import training
from plait.errors import BadInput, NotFound, PlaitError
from plait.web.here import At, Here
from plait.web.session import Form
from plait.web.sides import said

USUAL = training.Settings()


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    router.add_api_route(prefix + "/train", show)
    router.add_api_route(prefix + "/train", start, methods=["POST"])


def show(at: At) -> Response:
    """Show the form."""
    at.visit.signed_in()
    return _page(at, {})


def _page(at: Here, filled: dict[str, str], *, problem: str = "", code: int = 200) -> Response:
    if at.record.type != "model":
        raise NotFound("Only models are trained.")
    usual = {
        "dataset": "",
        "title": "",
        "freeze_head": "",
        "balance_classes": "",
        "split": "train",
        "text": "text",
        "label": "label",
        "epochs": str(USUAL.epochs),
        "learning_rate": f"{USUAL.learning_rate:g}",
        "freeze_embeddings": "yes",
    }
    return at.visit.render(
        "train.html", code=code, repo=at.view, filled=filled or usual, problem=problem
    )


def start(at: At, form: Form) -> Response:
    """Queue the job and go to its page."""
    at.visit.signed_in()
    if at.record.type != "model":
        raise NotFound("Only models are trained.")
    names = ("dataset", "split", "text", "label", "title", "epochs", "learning_rate")
    flags = ("freeze_embeddings", "freeze_head", "balance_classes")
    filled = {name: form.get(name, "")[:400] for name in (*names, *flags)}
    try:
        try:
            settings = training.Settings(
                epochs=int(filled["epochs"]),
                learning_rate=float(filled["learning_rate"]),
                **{name: filled[name] == "yes" for name in flags},
            )
        except ValueError:
            raise BadInput("epochs must be a whole number, and learning_rate a number.") from None
        job = training.request(
            at.visit.hub,
            at.visit.actor,
            at.record,
            filled["dataset"],
            split=filled["split"],
            text=filled["text"],
            label=filled["label"],
            title=filled["title"],
            settings=settings,
        )
    except NotFound as error:  # of what the form names; the form is not lost for it
        return _page(at, filled, problem=error.message, code=404)
    except PlaitError as error:
        return _page(at, filled, **said(error))
    return at.visit.go(f"/jobs/{job.id}")
