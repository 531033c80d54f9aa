# SPDX-License-Identifier: Apache-2.0
"""``plait plot``: draw what a fusion found, as SVG files that stand alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.options import Json, print_json
from plait.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait.fusion import Progress
    from plait.recipes.project import TaskSpec

plot = typer.Typer(
    no_args_is_help=True,
    help="Draw pictures of fusions: coefficient curves, layers, models by tasks, paths.",
)

Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="The SVG file to write; default: the command's name."),
]
Project = Annotated[
    Path | None,
    typer.Option(help="A plait.yaml or a recipe that names the tasks."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="A task's name (all of them without this), or the folder of a data set. May be given "
        "more than once.",
    ),
]


@plot.command("curve")
def curve(
    source: Annotated[
        Path, typer.Argument(help="A fused model's folder, or a JSON file with a 'search' in it.")
    ],
    parameter: Annotated[
        str | None,
        typer.Option(help="The coefficient to draw the score over, where several varied."),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Draw what a search measured: of coefficients, or of the shares of an ensemble's models."""
    from plait.fusion.outputs.curve import plot as plot_shares
    from plait.fusion.search.plot import plot as plot_search

    found = _search_of(source)

    def draw() -> str:
        try:
            drawing = plot_shares if "members" in found else plot_search
            return drawing(found, parameter)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise BadInput(f"{source} holds no search that Plait wrote.") from None

    _give(found, draw, out, "curve.svg", as_json)


@plot.command("layers")
def layers(
    source: Annotated[
        Path, typer.Argument(help="A recipe of weights, or the folder of a model fused by one.")
    ],
    base: Annotated[
        str | None, typer.Option(help="What the models were made from; default: base_model.")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Draw, layer by layer, models' distances from their base and their conflicts of signs."""
    from plait.fusion.plots import Contributions, draw_layers, measure_layers

    found = measure_layers(Contributions.of(source, base))
    _give(found, lambda: draw_layers(found), out, "layers.svg", as_json)


@plot.command("heatmap")
def heatmap(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files of 'plait evaluate --json'; or models, which are then judged."),
    ],
    project: Project = None,
    tasks: Tasks = None,
    split: Annotated[str, typer.Option(help="Of models that are judged: their items.")] = "test",
    name: Annotated[
        list[str] | None, typer.Option(help="A model's name in the picture, in order.")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Draw the scores of models by tasks, with a number in every cell."""
    from plait.fusion.plots import draw_table, read_table
    from plait.fusion.plots.table import table_of

    if all(source.endswith(".json") for source in sources):
        found = read_table([Path(source) for source in sources], name or [])
    else:
        found = table_of(_judged(sources, name or [], project, tasks or [], split))
    _give(found, lambda: draw_table(found), out, "heatmap.svg", as_json)


@plot.command("path")
def path(
    first: Annotated[str, typer.Argument(help="The model at t = 0.")],
    second: Annotated[str, typer.Argument(help="The model at t = 1.")],
    tasks: Tasks = None,
    project: Project = None,
    split: Annotated[str, typer.Option(help="Which items to measure on.")] = "validation",
    points: Annotated[int, typer.Option(help="How many models to measure on the line.")] = 13,
    threads: Annotated[int | None, typer.Option(help="Threads to use.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Draw loss and score along the straight line between two models, and a little beyond."""
    from plait.fusion.plots import draw_path, measure_path

    specs, folder = _tasks(tasks or [], project)
    with _bar() as show:
        found = measure_path(
            first,
            second,
            specs,
            folder,
            split=split,
            points=points,
            threads=threads,
            progress=show,
        )
    _give(found, lambda: draw_path(found), out, "path.svg", as_json)


def _give(
    numbers: Mapping[str, Any],
    draw: Callable[[], str],
    out: Path | None,
    usual: str,
    as_json: bool,
) -> None:
    """Print the numbers or write the picture; with --json and -o, both."""
    if out is None and as_json:
        print_json(numbers)
        return
    place = out or Path(usual)
    if place.suffix.lower() != ".svg":
        raise BadInput(f"Pictures are SVG files; call it {place.with_suffix('.svg').name}.")
    try:
        place.write_text(draw(), "utf-8")
    except OSError as error:
        raise BadInput(f"{place} cannot be written: {error.strerror or error}.") from None
    if as_json:
        print_json(numbers)
    else:
        print(f"Wrote {place}")


def _search_of(source: Path) -> dict[str, Any]:
    from plait.fusion.results import REPORT

    file = source / REPORT if source.is_dir() else source
    try:
        report = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"There is no {file}: {source} was not made by a fusion.") from None
    except (OSError, ValueError):
        raise BadInput(f"{file} is not a fusion's report.") from None
    found = report.get("search", report) if isinstance(report, dict) else None
    if not isinstance(found, dict) or not ("points" in found or "curves" in found):
        raise BadInput(f"{source} was made without a search of coefficients.")
    return found


def _tasks(names: list[str], project: Path | None) -> tuple[list[TaskSpec], Path]:
    """Return the tasks that are named, and where their data sets' paths start."""
    from plait.evaluation.folders import task_of_folder

    folders = [task_of_folder(Path(name)) for name in names if (Path(name) / "data").is_dir()]
    named = [name for name in names if not (Path(name) / "data").is_dir()]
    if project is None:
        if named:
            raise BadInput(
                f"'{named[0]}' is no data set (a folder with 'data' in it); a task's name needs "
                "--project, the plait.yaml or recipe that has it."
            )
        if not folders:
            raise BadInput("Name tasks with --task (folders of data sets) or --project.")
        return folders, Path()
    specs = _specs_of(project)
    known = {spec.name: spec for spec in specs}
    for name in named:
        if name not in known:
            raise BadInput(f"{project} has no task '{name}'; it has {', '.join(known)}.")
    chosen = [known[name] for name in named] if named else list(specs) if not folders else []
    return [*chosen, *folders], project.parent


def _specs_of(project: Path) -> tuple[TaskSpec, ...]:
    from plait.recipes.fusion import load_recipe
    from plait.recipes.levels import read_level
    from plait.recipes.project import load_project, parse_tasks

    text = project.read_text("utf-8") if project.is_file() else ""
    if "merge_method" in text:
        return load_recipe(project).tasks
    level = read_level(project) if text else None
    if level is not None:
        return parse_tasks(level[0].get("tasks"), "tasks")
    return load_project(project).tasks


def _judged(
    models: list[str], names: list[str], project: Path | None, tasks: list[str], split: str
) -> list[tuple[str, dict[str, Any]]]:
    from plait.evaluation import evaluate
    from plait.fusion.datasets import load_tasks
    from plait.fusion.resolve import resolve_model

    if names and len(names) != len(models):
        raise BadInput(f"There are {len(models)} models but {len(names)} names for them.")
    specs, folder = _tasks(tasks, project)
    loaded = load_tasks(specs, folder, split)
    found = []
    for place, model in enumerate(models):
        made = evaluate(resolve_model(model), loaded, split)
        label = names[place] if names else model.rstrip("/").rsplit("/", 1)[-1]
        found.append((label, made.to_json(items=False)))
    return found


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    quiet = not sys.stderr.isatty()
    with Bar(*columns, console=Console(stderr=True), disable=quiet) as bar:
        row = bar.add_task("Measuring", total=None)
        yield lambda state: bar.update(
            row, description=state.stage, completed=state.done, total=state.total
        )
