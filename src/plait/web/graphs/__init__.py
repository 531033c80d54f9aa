# SPDX-License-Identifier: Apache-2.0
"""The pages of a knowledge graph: entities and their picture, queries, conflicts, identities."""

from __future__ import annotations

from fastapi import APIRouter

from plait.web.graphs import conflicts, identities, picture, questions, view


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    address = prefix + "/graph"
    router.add_api_route(address, view.show)
    router.add_api_route(address + "/facts", view.facts)
    router.add_api_route(address + "/picture", picture.send)
    router.add_api_route(address + "/query", questions.show)
    router.add_api_route(address + "/query", questions.ask_it, methods=["POST"])
    router.add_api_route(address + "/conflicts", conflicts.show)
    router.add_api_route(address + "/conflicts", conflicts.settle, methods=["POST"])
    router.add_api_route(address + "/identities", identities.show)
    router.add_api_route(address + "/identities", identities.judge, methods=["POST"])
