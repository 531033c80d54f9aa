# SPDX-License-Identifier: Apache-2.0
"""``plait protect`` and ``plait status``: rules of branches, and checks from outside."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from plait.cli.contributions import Repo, repository_path
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.client import call

protect = typer.Typer(
    no_args_is_help=True,
    help="Protected branches: who pushes, who merges, reviews and checks.",
)
Kind = Annotated[str, typer.Option("--type", help="model, dataset or space.")]
Pattern = Annotated[
    str, typer.Argument(metavar="BRANCH", help="A branch, or a pattern as 'release/*'.")
]


@protect.command("list")
def list_rules(
    repo: Repo,
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """List the rules of a repository's branches."""
    rules = call(endpoint, token, "GET", f"{repository_path(repo, repo_type)}/protection")["rules"]
    if as_json:
        print_json(rules)
        return
    for rule in rules:
        print(_line(rule))


@protect.command("set")
def set_rule(
    repo: Repo,
    branch: Pattern,
    push: Annotated[
        list[str] | None,
        typer.Option(help="Who may push: user:NAME, team:NAME, role:ROLE or nobody. Repeatable."),
    ] = None,
    merge: Annotated[
        list[str] | None, typer.Option(help="Who may merge, as for --push. Repeatable.")
    ] = None,
    reviews: Annotated[int, typer.Option(min=0, help="Approvals that a merge needs.")] = 0,
    check: Annotated[
        list[str] | None,
        typer.Option(help="A check from outside that must succeed. Repeatable."),
    ] = None,
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Protect a branch: it is never rewritten or deleted, and moves only as the rule says.

    Without --push and --merge everybody who writes may; with reviews or checks nobody pushes
    directly but those named.
    """
    body = {
        "push": _subjects(push),
        "merge": _subjects(merge),
        "reviews": reviews,
        "contexts": check or [],
    }
    path = f"{repository_path(repo, repo_type)}/protection/{quote(branch, safe='')}"
    rule = call(endpoint, token, "PUT", path, json.dumps(body).encode())
    print_json(rule) if as_json else print(_line(rule))


@protect.command("remove")
def remove_rule(
    repo: Repo,
    branch: Pattern,
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
) -> None:
    """Remove the rule of a branch or pattern."""
    path = f"{repository_path(repo, repo_type)}/protection/{quote(branch, safe='')}"
    call(endpoint, token, "DELETE", path)
    print(f"{branch} of {repo} is not protected by this rule any more.")


def status(
    repo: Repo,
    revision: Annotated[str, typer.Argument(metavar="REV", help="A commit, or refs/pr/N.")],
    state: Annotated[
        str | None, typer.Option(help="Report: pending, success, failure or error.")
    ] = None,
    context: Annotated[str, typer.Option(help="Which check reports.")] = "default",
    description: Annotated[str, typer.Option(help="A line for people.")] = "",
    url: Annotated[str, typer.Option(help="The check's own page.")] = "",
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Show what checks found about a commit; with --state, report what one found."""
    path = f"{repository_path(repo, repo_type)}/statuses/{quote(revision, safe='')}"
    if state is not None:
        body = {
            "state": state,
            "context": context,
            "description": description,
            "target_url": url,
        }
        call(endpoint, token, "POST", path, json.dumps(body).encode())
    found = call(endpoint, token, "GET", path)
    if as_json:
        print_json(found)
        return
    print(f"{found['sha'][:10]}: {found['state']}")
    for one in found["statuses"]:
        print(f"{one['context']}\t{one['state']}\t{one['description'] or ''}")


def _subjects(named: list[str] | None) -> list[str] | None:
    if not named:
        return None
    return [one for one in named if one != "nobody"]


def _line(rule: dict[str, Any]) -> str:
    def who(named: list[str] | None) -> str:
        return "writers" if named is None else ", ".join(named) or "nobody"

    parts = [
        rule["pattern"],
        f"push: {who(rule['push'])}",
        f"merge: {who(rule['merge'])}",
        f"reviews: {rule['reviews']}",
        f"checks: {', '.join(rule['contexts']) or 'none'}",
    ]
    return "\t".join(parts)
