# SPDX-License-Identifier: Apache-2.0
"""The page that shows what main and a pull request say differently, where a person settles it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from plait.collaboration.merging.drivers import FileConflict, Place, Resolution
from plait.collaboration.settling import Conflicts, find_conflicts, settle
from plait.errors import BadInput, NotFound
from plait.hub import Discussion, can
from plait.hub.permissions import resource_of
from plait.tables import Side, Value
from plait.web.here import At, Here
from plait.web.session import read_edit

MOST = 80
"""Places that one page shows; the others of a file are settled by taking a side for the rest."""
LONGEST = 4000
Edit = Annotated[dict[str, str], Depends(read_edit)]


@dataclass(frozen=True)
class ShownPlace:
    """A place as the page shows it: each side as text, None where it is not there."""

    id: str
    where: str
    base: str | None
    main: str | None
    pull: str | None
    editable: bool
    long: bool


@dataclass(frozen=True)
class ShownFile:
    """A file in conflict."""

    index: int
    path: str
    driver: str
    reason: str
    places: tuple[ShownPlace, ...]
    count: int
    more: int
    """Places that are not shown."""


def add(router: APIRouter, prefix: str) -> None:
    """Add the routes."""
    address = prefix + "/discussions/{number}/conflicts"
    router.add_api_route(address, page)
    router.add_api_route(address, save, methods=["POST"])


def conflicts_shown(at: Here, discussion: Discussion) -> dict[str, Any]:
    """Return what the pull request's own page shows of its conflicts."""
    if not at.sees_files or discussion.status not in ("open", "draft"):
        return {"conflicts": [], "conflict_count": 0, "may_settle": False}
    found = find_conflicts(at.visit.hub, at.record, discussion)
    return {
        "conflicts": shown(found.files, most=6),
        "conflict_count": sum(one.count for one in found.files),
        "may_settle": _may_settle(at, discussion),
    }


def shown(files: tuple[FileConflict, ...], most: int = MOST) -> list[ShownFile]:
    """Return conflicts as pages show them, at most so many places of all files."""
    listed = []
    left = most
    for index, one in enumerate(files):
        places = tuple(_place(place) for place in one.places[:left])
        left -= len(places)
        more = max(0, one.count - len(places)) if one.places else 0
        listed.append(ShownFile(index, one.path, one.driver, one.reason, places, one.count, more))
    return listed


def page(at: At, number: int) -> Response:
    """Show the conflicts of a pull request."""
    return _render(at.files(), _pull(at, number))


def save(at: At, number: int, form: Edit) -> Response:
    """Settle what the form decides, and go back to the pull request when nothing is left."""
    discussion = _pull(at.files(), number)
    visit = at.visit
    visit.signed_in()
    found = find_conflicts(visit.hub, at.record, discussion)
    try:
        decided = decisions(form, found)
        if not decided:
            raise BadInput(visit.t("conflicts.nothing_chosen"))
        done = settle(visit.hub, visit.actor, at.record, discussion, decided)
    except BadInput as error:
        return _render(at, discussion, problem=error.message, code=error.status)
    address = f"{at.view.url}/discussions/{discussion.number}"
    return visit.go(f"{address}/conflicts" if done.left else address)


def decisions(form: Mapping[str, str], found: Conflicts) -> dict[str, Resolution]:
    """Read what a person chose, by path.

    Raises:
        BadInput: a choice is none of those that the page offers.
    """
    paths = {
        name.removeprefix("path:"): path for name, path in form.items() if name.startswith("path:")
    }
    known = {one.path: one for one in found.files}
    everything = form.get("all", "")
    decided: dict[str, Resolution] = {}
    for index, path in paths.items():
        conflict = known.get(path)
        if conflict is None:
            continue
        if everything:
            which, _, side = everything.partition(":")
            if which in (index, "every"):
                decided[path] = Resolution(rest=_side(side))
            continue
        places: dict[str, Side | Value] = {}
        for place in conflict.places:
            choice = form.get(f"take:{index}:{place.id}")
            if choice == "edit":
                places[place.id] = Value(_written(form.get(f"text:{index}:{place.id}", ""), place))
            elif choice:
                places[place.id] = _side(choice)
        rest = form.get(f"rest:{index}")
        if places or rest:
            decided[path] = Resolution(_side(rest) if rest else None, places)
    return decided


def _side(word: str) -> Side:
    if word == "main":
        return "main"
    if word == "pull":
        return "pull"
    raise BadInput("Choose main's or the pull request's version.")


def _written(text: str, place: Place) -> Any:
    """Return what a person wrote, as a value of the kind that stands there."""
    sides = [side for side in (place.main, place.pull) if side is not None]
    if all(isinstance(side, str) for side in sides):
        return text.replace("\r\n", "\n")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _place(place: Place) -> ShownPlace:
    base, main, pull = (_text(side) for side in (place.base, place.main, place.pull))
    long = any(
        side is not None and ("\n" in side.rstrip("\n") or len(side) > 60) for side in (main, pull)
    )
    return ShownPlace(place.id, place.where, base, main, pull, place.editable, long)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _may_settle(at: Here, discussion: Discussion) -> bool:
    """Tell whether the visitor may write the pull request's branch."""
    return can(at.visit.actor, "pull.write", resource_of(at.record, discussion))


def _pull(at: Here, number: int) -> Discussion:
    discussion = at.visit.hub.discussions.get(at.record, min(max(number, 0), 2**31))
    if not discussion.is_pull_request:
        raise NotFound(f"Discussion {discussion.number} is not a pull request.")
    return discussion


def _render(at: Here, discussion: Discussion, problem: str = "", code: int = 200) -> Response:
    found = find_conflicts(at.visit.hub, at.record, discussion)
    return at.visit.render(
        "conflicts.html",
        code=code,
        repo=at.view,
        number=discussion.number,
        title=discussion.title,
        conflicts=shown(found.files),
        conflict_count=sum(one.count for one in found.files),
        known=found.known,
        refused=found.refused,
        may_settle=_may_settle(at, discussion),
        closed=discussion.status not in ("open", "draft"),
        problem=problem,
    )
