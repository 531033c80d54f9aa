# SPDX-License-Identifier: Apache-2.0
"""Entry point of the ``plait`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from plait import __version__
from plait.cli import (
    accounts,
    audit,
    check,
    compare,
    contributions,
    credit,
    demo,
    discussions,
    evaluate,
    extract,
    fuse,
    graph,
    hidden,
    jobs,
    leaderboard,
    licences,
    lineage,
    maintenance,
    merging,
    notifications,
    plot,
    protection,
    serve,
    settings,
    statistics,
    storage,
    suggest,
    teams,
    tokens,
    train,
    verify,
)
from plait.errors import PlaitError

app = typer.Typer(
    name="plait",
    help=(
        "Build models together: a Hugging-Face-compatible hub where a pull request's merge "
        "really merges.\n\n"
        "New here? Run **plait demo**, then **plait serve --dir my-hub** for a "
        "hub of your own. Clients need only HF_ENDPOINT and HF_TOKEN."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"plait {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Hold the options of the bare command."""


app.add_typer(demo.demo, name="demo")
app.command("serve")(serve.serve)
app.add_typer(accounts.user, name="user")
app.add_typer(accounts.org, name="org")
app.add_typer(tokens.token, name="token")
app.add_typer(teams.team, name="team")
app.add_typer(audit.audit, name="audit")
app.command("fuse")(fuse.fuse)
app.add_typer(graph.graph, name="graph")
app.command("check")(check.check)
app.command("licences")(licences.licences)
app.command("extract")(extract.extract)
app.command("statistics")(statistics.statistics)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("suggest")(suggest.suggest)
app.command("compare")(compare.compare)
app.add_typer(leaderboard.leaderboard, name="leaderboard")
app.add_typer(notifications.notifications, name="notifications")
app.command("activity")(notifications.activity)
app.command("follow")(notifications.follow)
app.command("unfollow")(notifications.unfollow)
app.add_typer(discussions.discussion, name="discussion")
app.command("credit")(credit.credit)
app.command("like")(credit.like)
app.add_typer(plot.plot, name="plot")
app.add_typer(merging.pr, name="pr")
app.add_typer(contributions.contributions, name="contributions")
app.add_typer(jobs.jobs, name="jobs")
app.add_typer(protection.protect, name="protect")
app.command("status")(protection.status)
app.add_typer(hidden.hidden, name="hidden")
app.command("lineage")(lineage.lineage)
app.command("verify")(verify.verify)
app.command("gc")(maintenance.gc)
app.add_typer(storage.storage, name="storage")
app.command("settings")(settings.settings)
app.command("fsck")(maintenance.fsck)
app.command("backup")(maintenance.backup)
app.command("restore")(maintenance.restore)


def main() -> None:
    """Run the command; a known error becomes one line on standard error and exit status 1."""
    try:
        app()
    except PlaitError as error:
        print(f"plait: {error.message}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("plait: stopped.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
