# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import unicodedata

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import BadInput
from plait.hub import names

NASTY = st.text(
    st.one_of(st.sampled_from("./\\\0\n ~:-_@{}^*?[a.gitGIT\u200cé\u0301%#ß"), st.characters()),
    max_size=40,
)


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "x" * 96, "0", "_x_", "a-b-c", "admin"])
def test_names_that_are_fine(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("x" * 97, "longer than 96"),
        ("a b", "may hold only"),
        ("a/b", "may hold only"),
        ("é", "may hold only"),
        ("-a", "start or end"),
        ("a.", "start or end"),
        (".a", "start or end"),
        ("a--b", "'--'"),
        ("a..b", "'..'"),
        ("model.git", "'.git'"),
        ("model.GIT", "'.git'"),
        ("a\n", "may hold only"),
    ],
)
def test_names_that_are_refused_say_why(name: str, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        names.check_name(name)
    assert says in refused.value.message


@pytest.mark.parametrize("name", ["api", "Datasets", "spaces", "login", "STATIC", "plait"])
def test_the_servers_own_words_are_no_accounts(name: str) -> None:
    with pytest.raises(BadInput, match="reserved"):
        names.check_namespace(name)


@pytest.mark.parametrize("full", ["a", "a/b/c", "", "/", "a/", "/b", "a/..", "../b"])
def test_a_repository_has_two_good_parts(full: str) -> None:
    with pytest.raises(BadInput):
        names.split_repository(full)
    assert names.split_repository("shop/model") == ("shop", "model")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "a//b",
        "a/",
        ".",
        "..",
        "a/../b",
        "a/./b",
        ".git/config",
        "a/.GIT/x",
        ".git ",
        ".git.",
        ".g\u200cit/config",
        "git~1/config",
        ".git::$INDEX_ALLOCATION/config",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x85b",
        "CON",
        "a/nul.txt",
        "com1.tar.gz",
        "x" * 256,
        "/".join(["a" * 200] * 6),
        "/".join(["a"] * 65),
        "\ud800",
    ],
)
def test_paths_that_climb_or_cannot_be_checked_out_are_refused(path: str) -> None:
    with pytest.raises(BadInput):
        names.check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        ".gitattributes",
        ".gitignore",
        "a/b/c.txt",
        "données/x y.csv",
    ],
)
def test_paths_that_are_fine(path: str) -> None:
    assert names.check_path(path) == path


def test_paths_are_given_back_in_one_form() -> None:
    assert names.check_path("cafe\u0301.txt") == "café.txt"


@given(NASTY)
def test_an_accepted_path_stays_inside_and_is_stable(path: str) -> None:
    try:
        accepted = names.check_path(path)
    except BadInput as refused:
        assert refused.message.isprintable()
        return
    assert names.check_path(accepted) == accepted
    assert unicodedata.is_normalized("NFC", accepted)
    parts = accepted.split("/")
    assert all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)
    assert "\\" not in accepted
    assert "\0" not in accepted


@given(NASTY)
def test_an_accepted_branch_is_one_for_git_too(name: str) -> None:
    try:
        names.check_branch(name)
    except BadInput:
        return
    assert pygit2.reference_is_valid_name(f"refs/heads/{name}")
    assert not names.is_oid(name)
    assert names.pull_number(name) is None


@pytest.mark.parametrize(
    "name", ["refs/pr/1", "a" * 40, "HEAD", "a..b", "a b", "x.lock", "/x", "-x", "@", "a^", ""]
)
def test_branches_that_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="Invalid reference for a branch"):
        names.check_branch(name)


def test_pull_request_refs() -> None:
    assert names.pull_number("refs/pr/12") == 12
    for other in ("refs/pr/0", "refs/pr/-1", "refs/pr/1/head", "pr/1", "refs/pr/9999999999"):
        assert names.pull_number(other) is None
