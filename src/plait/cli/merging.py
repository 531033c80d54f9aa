# SPDX-License-Identifier: Apache-2.0
"""``plait pr list``, ``merge``, ``preview``, ``review`` and ``queue``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from plait.cli.contributions import Number, Repo, repository_path, wait_for_job
from plait.cli.options import Endpoint, HubToken, Json, print_json
from plait.cli.pulls import pr
from plait.client import call
from plait.errors import BadInput

Kind = Annotated[str, typer.Option("--type", help="model, dataset or space.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job.")]


@pr.command("list")
def list_pulls(
    repo: Repo,
    all_: Annotated[bool, typer.Option("--all", help="Also those closed or merged.")] = False,
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """List the pull requests of a repository."""
    path = f"{repository_path(repo, repo_type)}/pulls{'?all=true' if all_ else ''}"
    rows = call(endpoint, token, "GET", path)["pulls"]
    if as_json:
        print_json(rows)
        return
    for one in rows:
        cells = (f"#{one['number']}", one["status"], one["author"], one["verdict"], one["title"])
        print("\t".join(cell or "-" for cell in cells))


@pr.command("merge")
def merge(
    repo: Repo,
    number: Number,
    wait: Wait = True,
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Merge a pull request: text at once, weights by a job that judges first.

    Exit status 0: landed (or queued, with --no-wait). 1: it did not land.
    """
    base = f"{repository_path(repo, repo_type)}/pulls/{number}"
    asked = call(endpoint, token, "POST", f"{base}/merge")
    if asked["commitOid"] is not None or not wait:
        print_json(asked) if as_json else print(asked["commitOid"] or f"Job {asked['job']['id']}")
        return
    report = wait_for_job(endpoint, token, asked["job"])["result"] or {}
    _told(report, as_json, "Merged")


@pr.command("preview")
def preview(
    repo: Repo,
    number: Number,
    wait: Wait = True,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Build what merging would land, as the revision refs/preview/N, without landing it."""
    base = f"{repository_path(repo)}/pulls/{number}"
    job = call(endpoint, token, "POST", f"{base}/preview")["job"]
    if not wait:
        print_json(job) if as_json else print(f"Job {job['id']} builds it.")
        return
    report = wait_for_job(endpoint, token, job)["result"] or {}
    found = call(endpoint, token, "GET", base)["preview"]
    if as_json:
        print_json({"preview": found, "verdict": report.get("verdict")})
        return
    print(f"{report.get('verdict')}: {report.get('reason')}")
    if found is not None:
        print(f"hf download {repo} --revision {found['revision']}")


@pr.command("review")
def review(
    repo: Repo,
    number: Number,
    approve: Annotated[
        bool | None, typer.Option("--approve/--reject", help="What you think of it.")
    ] = None,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    repo_type: Kind = "model",
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Review a pull request's newest commit; without a verdict, show what it still needs."""
    base = f"{repository_path(repo, repo_type)}/pulls/{number}"
    if approve is None:
        found = call(endpoint, token, "GET", f"{base}/requirements")
    else:
        verdict = "approve" if approve else "reject"
        body = json.dumps({"verdict": verdict, "comment": comment}).encode()
        found = call(endpoint, token, "POST", f"{base}/review", body)
    if as_json:
        print_json(found)
        return
    for one in found["reviews"]:
        note = " (lapsed)" if one["dismissed"] else "" if one["counts"] else " (does not count)"
        print(f"{one['reviewer']}\t{one['verdict']}\t{one['head'][:10]}{note}")
    print("\n".join(found["missing"]) or "Nothing is missing.")


@pr.command("queue")
def queue(
    repo: Repo,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[N]...", help="Which; all open ones if none.")
    ] = None,
    land: Annotated[
        bool, typer.Option("--land", help="Merge the best set if it passes the gate.")
    ] = False,
    proposal: Annotated[
        int | None, typer.Option(min=1, help="Land exactly what this job of the queue proposed.")
    ] = None,
    judge: Annotated[
        int,
        typer.Option(min=1, max=3, help="Sets that the gate may judge; they share its error rate."),
    ] = 3,
    show: Annotated[bool, typer.Option("--show", help="Show the last proposal alone.")] = False,
    wait: Wait = True,
    endpoint: Endpoint = None,
    token: HubToken = None,
    as_json: Json = False,
) -> None:
    """Try open pull requests together and propose the set that is best.

    Exit status 0: a set passes (and landed, with --land). 1: none does.
    """
    path = f"{repository_path(repo)}/queue"
    if show:
        report = call(endpoint, token, "GET", path)["report"]
        if report is None:
            raise BadInput(f"The queue of {repo} has proposed nothing yet.")
    else:
        land = land or proposal is not None
        terms = {"numbers": numbers or [], "land": land, "proposal": proposal, "judge": judge}
        job = call(endpoint, token, "POST", path, json.dumps(terms).encode())["job"]
        if not wait:
            print_json(job) if as_json else print(f"Job {job['id']} tries them.")
            return
        report = wait_for_job(endpoint, token, job)["result"]
    preview = None if report["landed"] else call(endpoint, token, "GET", path)["preview"]
    if as_json:
        print_json({**report, "preview": preview})
    else:
        print("\n".join(_proposal(report)))
        if preview is not None:
            print(f"hf download {repo} --revision {preview['revision']}")
    if report["verdict"] != "passes" or (land and not report["landed"]):
        raise typer.Exit(1)


def _proposal(report: dict[str, Any]) -> list[str]:
    chosen = ", ".join(f"#{number}" for number in report["chosen"]) or "none"
    lines = [f"{report['verdict'] or 'nothing'}: {chosen}. {report['reason']}"]
    for row in report["left_out"]:
        tasks = ", ".join(f"{name} {cost * 100:+.1f}" for name, cost in row["tasks"].items())
        lines.append(f"left out #{row['number']}\t{row['average'] * 100:+.1f} points ({tasks})")
    lines += [f"not tried #{row['number']}\t{row['reason']}" for row in report["excluded"]]
    for row in report.get("judged", ()):
        named = ", ".join(f"#{number}" for number in row["numbers"])
        at = f"at {row['confidence'] * 100:g}% confidence"
        lines.append(f"judged {named}\t{row['verdict'] or 'not judged'} {at}: {row['reason']}")
    lines += [f"flag\t{flag['text']}" for flag in (report.get("merge") or {}).get("flags", ())]
    lines.append(
        f"{report['evaluations']} sets measured ({report['known_before']} known before) of "
        f"{report['subsets']:,}; {report['cost']['cpu_seconds']:.0f} CPU-s."
    )
    if report["landed"]:
        lines.append(f"landed: {report['landed']}")
    elif report["verdict"] == "passes":
        lines.append(f"`--proposal {report['job']}` lands exactly this.")
    return lines


def _told(report: dict[str, Any], as_json: bool, done: str) -> None:
    if as_json:
        print_json(report)
    elif report.get("landed"):
        print(f"{done}: {report['landed']}. {report.get('reason', '')}")
    else:
        print(f"Not landed. {report.get('verdict', '')}: {report.get('reason', '')}")
    if not report.get("landed"):
        raise typer.Exit(1)


__all__ = ["pr"]
