# SPDX-License-Identifier: Apache-2.0
"""The licence verdict on a pull request's page, before anybody presses merge."""

from __future__ import annotations

import pytest

from gallery import Gallery
from plait.hub import AddBytes

from .conftest import Browser


def propose(gallery: Gallery, licence: str) -> int:
    card = f"---\nlicense: {licence}\n---\n# Mine\n".encode()
    outcome = gallery.hub.commits.apply(
        gallery.actors["stranger"],
        gallery.model,
        "main",
        [AddBytes("README.md", card), AddBytes("extra.txt", b"x\n")],
        f"Under {licence}",
        create_pr=True,
    )
    assert outcome.discussion is not None
    return outcome.discussion.number


def address(gallery: Gallery, number: int) -> str:
    return f"/{gallery.model.full_name}/discussions/{number}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_not_known_asks_those_who_merge(
    gallery: Gallery, browser: Browser, language: str
) -> None:
    place = address(gallery, propose(gallery, f"house-rules-{language}"))
    page = browser("commons-user").get(f"{place}?lang={language}").text
    assert 'action="' + place + '/licence"' in page
    assert f'action="{place}/merge"' not in page
    stranger = browser("stranger").get(f"{place}?lang={language}").text
    assert "/licence" not in stranger
    assert "house-rules" in stranger
    answer = browser("stranger").post(
        f"{place}/licence", data={"decision": "accepted", "reason": "mine"}
    )
    assert answer.status_code == 403
    empty = browser("commons-user").post(
        f"{place}/licence", data={"decision": "accepted", "reason": " "}
    )
    assert empty.status_code == 400
    odd = browser("commons-user").post(f"{place}/licence", data={"decision": "yes", "reason": "x"})
    assert odd.status_code == 400
    done = browser("commons-user").post(
        f"{place}/licence", data={"decision": "accepted", "reason": "Read <it> twice"}
    )
    assert done.status_code in (302, 303)
    page = browser(None).get(place).text
    assert "Read &lt;it&gt; twice" in page
    assert f'action="{place}/merge"' in browser("commons-user").get(place).text


def test_a_conflict_leaves_nothing_to_press(gallery: Gallery, browser: Browser) -> None:
    place = address(gallery, propose(gallery, "cc-by-nd-4.0"))
    page = browser("commons-user").get(place).text
    assert "do not go together" in page
    assert "does not allow changed versions" in page
    assert f'action="{place}/merge"' not in page
    assert f'action="{place}/licence"' not in page
    assert "not legal advice" in page
    answer = browser("commons-user").post(f"{place}/merge", data={})
    assert answer.status_code == 409


def test_compatible_ones_are_told_too(gallery: Gallery, browser: Browser) -> None:
    place = address(gallery, propose(gallery, "cc-by-nc-4.0"))
    page = browser("commons-user").get(place).text
    assert "Notices to pass on" in page
    assert "not for commercial use" in page
    assert f'action="{place}/merge"' in page
