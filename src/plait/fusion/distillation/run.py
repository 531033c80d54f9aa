# SPDX-License-Identifier: Apache-2.0
"""Running a recipe of distillation: teachers run once, a student trained, written and scored."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.evaluation.index import write_card as write_results
from plait.fusion.datasets import model_folder
from plait.fusion.distillation.card import write_card
from plait.fusion.distillation.distiller import Distiller
from plait.fusion.distillation.options import Settings, parse
from plait.fusion.distillation.student import open_student
from plait.fusion.distillation.teachers import (
    Teacher,
    check_owners,
    find_teachers,
    several_heads,
)
from plait.fusion.places import check_out, hash_folder, new_folder, write_report
from plait.fusion.results import FusionResult
from plait.fusion.software import software
from plait.fusion.weights.finite import refuse_unfinite
from plait.recipes.levels import LevelRecipe

if TYPE_CHECKING:
    from plait.fusion.levels import Work


def run(data: Mapping[str, Any], folder: Path, out: Path, work: Work) -> FusionResult:
    """Train a student on a recipe's teachers' answers, and write it to the new folder `out`.

    Raises:
        BadInput: naming what is wrong with the recipe, a model or the data.
        Cancelled: if `work.cancelled` says so; nothing is left behind.
        MissingExtra: if torch or transformers is not installed.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    recipe, settings = parse(data, folder)
    check_out(out, work.overwrite)
    teachers = find_teachers(recipe, settings.owned, work.resolve)
    tasks = [spec.name for spec in recipe.tasks]
    several = several_heads(teachers)
    if several or settings.teacher_weights == "task":
        check_owners(teachers, tasks, several)
    refuse_unfinite({t.name: t.folder for t in teachers})
    with new_folder(out, overwrite=work.overwrite) as place:
        with tempfile.TemporaryDirectory(dir=place, prefix=".start-") as made:
            origin = _origin(settings, recipe, teachers, Path(made), work)
            student = open_student(
                origin,
                teachers,
                tasks,
                several=several,
                max_length=settings.max_length,
                seed=recipe.seed,
            )
        distiller = Distiller(recipe, settings, teachers, student, several, work)
        history = distiller.train()
        student.save(place)
        results, test = distiller.results(history)
        used = zip(recipe.models, teachers, strict=True)
        sources = {m.model: teacher.folder for m, teacher in used}
        if isinstance(settings.student, str) and not _member(settings, teachers):
            sources[settings.student] = origin
        write_card(place, recipe, settings, sources, results)
        if test is not None:
            write_results(place, test, recipe.tasks, name="Distilled model")
        outputs = hash_folder(place)
        inputs = {teacher.name: hash_folder(teacher.folder) for teacher in teachers}
        write_report(
            place,
            {
                "schema": 1,
                "recipe": dict(data),
                "inputs": inputs,
                "outputs": outputs,
                "software": software("torch", "transformers", "numpy"),
                "results": results,
            },
        )
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return FusionResult(
        out,
        inputs,
        outputs,
        time.monotonic() - started,
        time.process_time() - cpu_started,
        size,
        report={"results": results},
    )


def _member(settings: Settings, teachers: Sequence[Teacher]) -> Teacher | None:
    return next((t for t in teachers if t.name == settings.student), None)


def _origin(
    settings: Settings,
    recipe: LevelRecipe,
    teachers: Sequence[Teacher],
    made: Path,
    work: Work,
) -> Path:
    """Return the folder of what the student starts as: a teacher, a model, or a new merge."""
    member = _member(settings, teachers)
    if member is not None:
        return member.folder
    if isinstance(settings.student, str):
        return model_folder(settings.student, recipe.folder, work.resolve)
    from plait.fusion.levels import fuse

    def resolve(reference: str) -> Path:
        named = next((t.folder for t in teachers if t.name == reference), None)
        return named or model_folder(reference, recipe.folder, work.resolve)

    fuse(
        dict(settings.student),
        made / "start",
        resolve=resolve,
        threads=work.threads,
        progress=work.progress,
        cancelled=work.cancelled,
    )
    return made / "start"
