# SPDX-License-Identifier: Apache-2.0
"""What a recipe would do, and whether it can, before a byte is fused."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from plait.errors import BadInput, PlaitError
from plait.fusion.alternatives import instead_of
from plait.fusion.resolve import resolve_model
from plait.fusion.weights.adapters import WEIGHTS
from plait.fusion.weights.adapters.combine import are_adapters, plan_combination
from plait.fusion.weights.alike import Misfit
from plait.fusion.weights.ancestry import Agreement, Relation, compare_models
from plait.fusion.weights.checkpoints import Checkpoint, identity
from plait.fusion.weights.computed import Computed
from plait.fusion.weights.engine import BLOCK, Engine, Readers, block_length
from plait.fusion.weights.finite import refused
from plait.fusion.weights.licences import licence_notes, licence_of
from plait.fusion.weights.naming import is_tied, layer_counts
from plait.fusion.weights.numbers import STORAGE, Array
from plait.fusion.weights.opening import Folders, Resolver, find_folders, open_models
from plait.fusion.weights.plan import Job, Plan, build_plan, donor_of
from plait.fusion.weights.privacy import statistics_notes
from plait.fusion.weights.remarks import remarks
from plait.fusion.weights.safetensors import read_header
from plait.fusion.weights.templates import chosen_template
from plait.fusion.weights.vocabulary import read_vocabulary, unify
from plait.recipes.fusion import FusionRecipe, load_stages
from plait.recipes.mixture import read_mixture
from plait.recipes.tokenizer import TokenizerSpec

SPEED_SAMPLE = 4_000_000  # bytes that are fused to see how fast it goes


@dataclass(frozen=True)
class ModelFacts:
    """What a model's headers, configuration and card say."""

    reference: str
    architecture: str
    parameters: int
    bytes: int
    formats: tuple[str, ...]
    layers: int
    vocabulary: int | None
    tied: bool
    licence: str | None


@dataclass(frozen=True)
class Cost:
    """What a fusion will take: bytes read and written, memory of buffers, and CPU-seconds."""

    read_bytes: int
    output_bytes: int
    memory_bytes: int
    cpu_seconds: float


@dataclass
class CheckReport:
    """Whether a recipe can be run and what is known before it is.

    `instead` names the level of fusion that would work where this one does not.
    """

    method: str
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    instead: str | None = None
    models: list[ModelFacts] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    tensors: int = 0
    cost: Cost | None = None

    @property
    def fits(self) -> bool:
        """Whether nothing was found that makes the fusion impossible or meaningless."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        kinships = [asdict(r) | {"kinship": r.kinship} for r in self.relations]
        return {"fits": self.fits} | asdict(self) | {"relations": kinships}


def check_recipe(recipe: Any, *, resolve: Resolver | None = None) -> CheckReport:
    """Say whether a recipe can be run, what speaks against it, and what it would cost.

    Headers, configurations, vocabularies and cards are read, and a small sample of the weights. Of
    a recipe with several documents each is checked, later ones with the shapes that earlier ones
    will give; what cannot be known before is said.

    Args:
        recipe: as for `fuse`.
        resolve: as for `fuse`.

    Raises:
        BadInput: if the recipe itself cannot be read or its models not be found.
    """
    mixture = read_mixture(recipe)
    if mixture:
        from plait.fusion.weights.mixture import check_mixture

        return check_mixture(mixture, resolve)
    stages = load_stages(recipe)
    if len(stages) == 1:
        return check_document(stages[0][1], resolve).report
    from plait.fusion.weights.documents import check_documents

    return check_documents(stages, resolve)


@dataclass(frozen=True)
class Checked:
    """A checked document: its report, and its plan and models if it could be planned."""

    report: CheckReport
    plan: Plan | None = None
    models: Mapping[str, Checkpoint] = field(default_factory=dict)


def check_document(
    recipe: FusionRecipe,
    resolve: Resolver | None,
    planned: Mapping[str, Checkpoint] | None = None,
) -> Checked:
    """Check one fusion; `planned` are models that do not exist yet, with the shapes they will have.

    Raises:
        BadInput: if a model is not found.
    """
    report = CheckReport(recipe.method)
    planned = planned or {}
    folders = find_folders(
        recipe, lambda r: planned[r].folder if r in planned else (resolve or resolve_model)(r)
    )
    if are_adapters(recipe, folders):
        check_combination(recipe, folders, report)
        return Checked(report)
    models = open_models({r: f for r, f in folders.items() if r not in planned})
    models = {r: planned[r] if r in planned else models[r] for r in folders}
    report.models = [facts_of(r, m) for r, m in models.items() if r not in planned]
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    plan, misfit = None, False
    try:
        plan = _planned(recipe, models)
    except BadInput as error:
        misfit = isinstance(error, Misfit)
        report.problems.append(error.message)
    real = {r: m for r, m in models.items() if r not in planned}
    unfinite = refused({r: m.tensors.values() for r, m in real.items()})
    report.problems += unfinite.values()
    kin = True
    if donor_of(recipe) in real:
        kin = _check_relations(recipe, real, report)
    if plan is not None:
        _check_vocabularies(recipe, real, report)
    report.notes += statistics_notes(recipe, models)
    if plan is not None:
        report.tensors = len(plan.jobs)
        report.notes += remarks(plan, models)
        try:
            report.cost = cost_of(plan, models)
        except PlaitError as error:
            report.problems += [] if unfinite else [error.message]
    if not kin:
        report.instead = instead_of("weights", [(m.folder, m.config) for m in models.values()])
    elif misfit:
        report.instead = _instead(recipe, models)
    return Checked(report, plan, models)


def check_combination(recipe: FusionRecipe, folders: Folders, report: CheckReport) -> None:
    """Say whether adapters can be combined without their base."""
    for source in recipe.models:
        folder = folders[source.model][0]
        entries = read_header(folder / WEIGHTS).values()
        report.models.append(
            ModelFacts(
                reference=source.model,
                architecture="LoRA adapter",
                parameters=sum(e.size for e in entries),
                bytes=sum(e.nbytes for e in entries),
                formats=tuple(sorted({e.code for e in entries})),
                layers=max(layer_counts(e.name for e in entries).values(), default=0),
                vocabulary=None,
                tied=False,
                licence=licence_of(folder),
            )
        )
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    try:
        found = plan_combination(recipe, folders)
    except BadInput as error:
        report.problems.append(error.message)
        report.instead = "weights: put each adapter on its base, as 'base+adapter', and fuse those"
        return
    report.tensors = 2 * len(found.modules)
    report.notes.append(f"The combined adapter has the rank {found.rank}.")


def facts_of(reference: str, model: Checkpoint) -> ModelFacts:
    """Return what a model's headers, configuration and card say."""
    names = model.tensors
    vocabulary = read_vocabulary(model.folder)
    return ModelFacts(
        reference=reference,
        architecture=model.architecture,
        parameters=sum(e.size for e in names.values()),
        bytes=sum(e.nbytes for e in names.values()),
        formats=tuple(sorted({e.kind for e in names.values()})),
        layers=max(layer_counts(names).values(), default=0),
        vocabulary=len(vocabulary.tokens) if vocabulary else None,
        tied=is_tied(names, model.architecture),
        licence=licence_of(model.folder),
    )


def _planned(recipe: FusionRecipe, models: dict[str, Checkpoint]) -> Plan:
    unified, vocabulary = unify(recipe, models, donor_of(recipe))
    plan = build_plan(recipe, unified, vocabulary)
    if recipe.chat_template:
        chosen_template(recipe.chat_template, models)
    return plan


def _instead(recipe: FusionRecipe, models: dict[str, Checkpoint]) -> str | None:
    """Return what makes models fit that the recipe as it stands does not: one vocabulary, ..."""
    if recipe.tokenizer is None:
        for spec, how in _VOCABULARIES:
            try:
                _planned(replace(recipe, tokenizer=spec), models)
            except BadInput:
                continue
            return f"weights: the same recipe with {how}"
    return instead_of("weights", [(m.folder, m.config) for m in models.values()])


_UNION = (
    "'tokenizer_source: union': it keeps every token, and gives a model that lacks one an "
    "embedding for it"
)
_PADDED = (
    "'tokenizer: {source: base, pad_to_multiple_of: 64}': one vocabulary, whose embeddings have "
    "one number of rows"
)
_VOCABULARIES = (
    (TokenizerSpec("union"), _UNION),
    (TokenizerSpec("base", pad_to_multiple_of=64), _PADDED),
)


def _check_relations(
    recipe: FusionRecipe, models: Mapping[str, Checkpoint], report: CheckReport
) -> bool:
    """Compare the models' weights; tell whether they are of one family."""
    if len(models) < 2:
        return True
    origin = donor_of(recipe)
    report.relations, report.agreements = compare_models(models, origin)
    if not report.relations and not report.problems:
        report.problems.append("The models have no matrix of one shape in common.")
        return False
    kin = True
    for relation in report.relations:
        who = f"'{relation.model}' and '{origin}'"
        if relation.kinship == "same":
            report.notes.append(f"{who} have the same weights: there is nothing to fuse.")
        elif recipe.method == "passthrough":
            continue
        elif relation.kinship == "unrelated":
            kin = False
            report.problems.append(
                f"{who} do not come from one base (cosine {relation.cosine:.2f}; fine-tunes of one "
                "base are above 0.9): their weights mean different things."
            )
        elif relation.kinship == "distant":
            report.notes.append(
                f"{who} are far apart (cosine {relation.cosine:.2f}): judge the result with care."
            )
    for pair in report.agreements:
        if pair.signs is not None and pair.signs < 0.45 and recipe.base_model:
            report.notes.append(
                f"'{pair.one}' and '{pair.other}' change the base in opposite directions "
                f"({pair.signs:.0%} of the signs agree)."
            )
    return kin


def _check_vocabularies(
    recipe: FusionRecipe, models: Mapping[str, Checkpoint], report: CheckReport
) -> None:
    if recipe.tokenizer is not None:
        return
    found = {r: read_vocabulary(m.folder) for r, m in models.items()}
    sizes = {r: len(v.tokens) for r, v in found.items() if v is not None}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"'{reference}' has {size:,}" for reference, size in sizes.items())
        report.notes.append(
            f"The vocabularies are not of one size ({told} tokens): the result has that of "
            f"'{donor_of(recipe)}'; 'tokenizer_source: union' keeps every token."
        )


class _Nowhere:
    """A sink that keeps nothing."""

    def write(self, job: Job, start: int, stored: Array) -> None:
        pass


def cost_of(plan: Plan, models: Mapping[str, Checkpoint]) -> Cost:
    """Fuse a little, of each size of tensor, and reckon the rest from that."""
    jobs = sorted((j for j in plan.jobs if not j.copies and j.size), key=lambda j: j.size)
    keys = {r: identity(m, dict.fromkeys(m.files, "")).encode() for r, m in models.items()}
    done, spent = 0, 0.0
    with Readers() as readers, ThreadPoolExecutor(1) as pool:
        engine = Engine(plan.method, readers, keys)
        for job in jobs[len(jobs) // 2 :] + jobs[: len(jobs) // 2]:
            low, high = engine.segments(job)[0]
            if (high - low) * _element(job) > 8 * SPEED_SAMPLE and done:
                continue
            start = time.process_time()
            pool.submit(engine.make, job, low, high, _Nowhere()).result()
            spent += time.process_time() - start
            done += (high - low) * _element(job)
            if done >= SPEED_SAMPLE:
                break
    output = sum(j.size * STORAGE[j.out].itemsize for j in plan.jobs)
    # each thread has a buffer for every input and some more; files in and out are hashed too
    largest = max(
        (block_length(plan.method, j) * (len(j.inputs) + 8) * 4 for j in jobs), default=BLOCK
    )
    files = {p for m in models.values() for p in m.files}
    hashed = sum(p.stat().st_size for p in files) + output
    matrices = sum(
        e.nbytes for j in plan.jobs for e in j.inputs if isinstance(e, Computed) and e.row > BLOCK
    )
    return Cost(
        read_bytes=plan.bytes,
        output_bytes=output,
        memory_bytes=2 * largest + matrices + 50_000_000,
        cpu_seconds=(spent * plan.bytes / done if done else 0.0) + hashed / 1.2e9,
    )


def _element(job: Job) -> int:
    entries = (*job.inputs, *([job.base] if job.base else []))
    return sum(STORAGE[e.code].itemsize for e in entries)


def human(count: float) -> str:
    """Return a number of bytes as people read it."""
    if count < 1e3:
        return f"{count:.0f} B"
    scale = min(int(math.log10(count)) // 3, 4)
    return f"{count / 1000**scale:.3g} {('', 'kB', 'MB', 'GB', 'TB')[scale]}"
