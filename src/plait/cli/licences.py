# SPDX-License-Identifier: Apache-2.0
"""``plait licences``: whether things under several licences may be made into one."""

from __future__ import annotations

from typing import Annotated

import typer

from plait.cli.options import Json, print_json


def licences(
    stated: Annotated[
        list[str] | None,
        typer.Argument(
            help="Licences as cards state them, or SPDX expressions like 'MIT OR GPL-3.0-only'."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether several licences go together, and what sharing the result asks.

    Without licences, lists those that are known. What it says comes from a table, with the address
    of each text; it is no legal advice.
    """
    from plait.licences import judge, table
    from plait.licences.verdict import DISCLAIMER

    if not stated:
        if as_json:
            print_json({name: terms.url for name, terms in table().items()})
            return
        for name, terms in table().items():
            print(f"{name:<36} {terms.name:<44} {terms.url}")
        return
    verdict = judge({f"{place}. {text}": text for place, text in enumerate(stated, start=1)})
    if as_json:
        print_json(verdict.to_json())
        return
    print(verdict.outcome + (f": {verdict.result}" if verdict.result else ""))
    for reason in verdict.reasons:
        print(f"  {reason.text}")
    for notice in verdict.notices:
        print(f"  - {notice}")
    print(DISCLAIMER)
