# SPDX-License-Identifier: Apache-2.0
"""``plait gc``, ``fsck``, ``backup`` and ``restore``: what an operator runs now and then."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import HubDirectory, Json, open_hub, print_json

BackupFolder = Annotated[Path, typer.Argument(help="The folder of the backup.")]


def gc(
    directory: HubDirectory,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")
    ] = False,
    pack: Annotated[
        bool, typer.Option("--pack/--no-pack", help="Also pack git's objects where there are many.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Remove bytes that no revision refers to any more, and pack git repositories.

    Safe while the hub serves. Bytes younger than a day stay: the commit of their upload may still
    be on its way.
    """
    from plait.hub.git.packing import pack_all
    from plait.hub.upkeep.collect import collect

    with open_hub(directory) as hub:
        report = collect(hub, dry_run=dry_run)
        packed = list(pack_all(hub)) if pack and not dry_run else []
    if as_json:
        print_json({**asdict(report), "packed": [asdict(done) for done in packed]})
        return
    verb = "Would remove" if dry_run else "Removed"
    print(
        f"{verb} {len(report.blobs)} blobs ({report.blob_bytes / 1e6:,.1f} MB), "
        f"{len(report.xorbs)} xorbs, {len(report.temporary)} unfinished uploads, "
        f"{len(report.git_folders)} abandoned git folders, {report.sessions} expired sessions. "
        f"Packed {len(packed)} repositories."
    )


def fsck(
    directory: HubDirectory,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every large file and compare its checksum.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that everything is there and whole; exit status 1 if something is lost or damaged.

    Reads every git object, compares the database with git and with the store, and verifies the
    audit log. Safe while the hub serves; nothing is changed.
    """
    from plait.hub.upkeep.fsck import problems

    damaged = False
    found = []
    with open_hub(directory) as hub:
        for problem in problems(hub, deep=deep):
            damaged |= problem.damage
            found.append(problem)
            if not as_json:
                hint = "" if problem.damage else " (nothing is lost; `plait gc` tidies it)"
                print(f"{problem}{hint}", flush=True)
    if as_json:
        print_json({"whole": not damaged, "problems": [asdict(problem) for problem in found]})
    elif not damaged:
        print("Every revision is whole.")
    if damaged:
        raise typer.Exit(1)


def backup(folder: BackupFolder, directory: HubDirectory, as_json: Json = False) -> None:
    """Copy the hub as it is at this moment into FOLDER. Safe while the hub serves.

    The next backup into the same folder copies only what is new. The folder then holds everything
    that the hub holds, private repositories and the key that signs its sessions included: keep it
    as safe as the hub itself.
    """
    from plait.hub.upkeep.backup import back_up

    with open_hub(directory) as hub:
        done = back_up(hub, folder.expanduser().resolve(), told=_tell)
    if as_json:
        print_json(
            {
                "made": done.made,
                "files": len(done.files),
                "bytes": done.total_bytes,
                "copied": done.copied,
                "copied_bytes": done.copied_bytes,
                "reused": done.reused,
                "gone": done.gone,
            }
        )
        return
    print(
        f"Backed up {len(done.refs)} repositories, {done.total_bytes / 1e6:,.1f} MB; "
        f"{done.copied_bytes / 1e6:,.1f} MB of it are new. The folder holds the hub's secret key."
    )
    if done.gone:
        print(
            f"{len(done.gone)} files were missing from the hub or removed meanwhile, as "
            f"{done.gone[0]}. Run plait fsck."
        )


def restore(folder: BackupFolder, directory: HubDirectory, as_json: Json = False) -> None:
    """Make a hub in a new folder of the backup in FOLDER, and check it; exit status 1 on damage.

    A hub on PostgreSQL or S3 is restored to those that the settings name, which must be empty.
    """
    from plait.hub.upkeep.backup import restore as bring_back
    from plait.settings import load_settings

    found = bring_back(folder.expanduser().resolve(), load_settings(directory), told=_tell)
    if as_json:
        print_json({"whole": not found, "problems": [asdict(problem) for problem in found]})
    else:
        print("\n".join(map(str, found)) if found else "Restored. Every revision is whole.")
    if found:
        raise typer.Exit(1)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
