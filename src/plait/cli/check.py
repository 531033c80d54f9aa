# SPDX-License-Identifier: Apache-2.0
"""``plait check``: what a fusion would do and cost, and whether it can."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.options import Json, count_of_parameters, cpu_seconds, print_json

if TYPE_CHECKING:
    from plait.fusion.weights.check import CheckReport


def check(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe of any level of fusion.")],
    as_json: Json = False,
) -> None:
    """Check a recipe before a byte is fused: do its models fit, do they come from one base?

    Reads headers, configurations, vocabularies, cards and a small sample of the weights. Ends with
    status 1 if the fusion cannot work, and says what would.
    """
    from plait.fusion import check as check_any

    report = check_any(recipe)
    if as_json:
        print_json(report.as_dict())
    else:
        _show(report)
    if not report.fits:
        raise typer.Exit(1)


def _show(report: CheckReport) -> None:
    from plait.fusion.weights.check import human

    for model in report.models:
        words = f", {model.vocabulary:,} tokens" if model.vocabulary else ""
        tied = ", tied head" if model.tied else ""
        layers = f"{model.layers} layers, " if model.layers > 1 else ""
        print(
            f"{model.reference}: {model.architecture}, {count_of_parameters(model.parameters)}, "
            f"{layers}{'/'.join(model.formats)}, {human(model.bytes)}{words}{tied}, "
            f"licence {model.licence or 'not stated'}"
        )
    for relation in report.relations:
        print(
            f"  {relation.model} from {relation.origin}: {relation.kinship} (distance "
            f"{relation.distance:.3g}, cosine {relation.cosine:.3f}, "
            f"{relation.changed:.0%} changed)"
        )
    for pair in report.agreements:
        signs = "no common change" if pair.signs is None else f"{pair.signs:.0%} of signs agree"
        print(f"  {pair.one} and {pair.other}: {signs}, cosine of changes {pair.cosine:.2f}")
    if report.cost:
        print(
            f"{report.method}: {report.tensors:,} tensors; reads {human(report.cost.read_bytes)}, "
            f"writes {human(report.cost.output_bytes)}, {_about(report.cost.cpu_seconds)}, "
            f"memory about {human(report.cost.memory_bytes)}"
        )
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"problem: {problem}")
    if report.instead:
        print(f"instead: {report.instead}")
    print("This fits." if report.fits else "This does not fit.")


def _about(seconds: float) -> str:
    told = cpu_seconds(seconds)
    return told if told.startswith("under") else f"about {told}"
