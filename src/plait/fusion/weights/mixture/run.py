# SPDX-License-Identifier: Apache-2.0
"""Making a mixture of experts, and saying before what it will be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.alternatives import instead_of
from plait.fusion.results import FusionResult
from plait.fusion.weights.ancestry import compare_models
from plait.fusion.weights.check import CheckReport, cost_of, facts_of
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.checksums import hash_files
from plait.fusion.weights.companions import write_companions
from plait.fusion.weights.finite import refused
from plait.fusion.weights.licences import licence_notes
from plait.fusion.weights.making import Prepared, Work, make_folder, refuse_input
from plait.fusion.weights.mixture.architectures import Architecture, choose, configuration
from plait.fusion.weights.mixture.gates import EMBEDDING, Gates, find_gates
from plait.fusion.weights.mixture.plan import Dense, measure, plan_mixture
from plait.fusion.weights.numbers import NAMES
from plait.fusion.weights.opening import Resolver, find_models, open_models
from plait.fusion.weights.plan import Plan
from plait.fusion.weights.remote import fetched_parts, stored
from plait.fusion.weights.safetensors import Entry
from plait.fusion.weights.vocabulary import read_vocabulary
from plait.recipes.mixture import MixtureRecipe, dump_mixture


def fuse_mixture(recipe: MixtureRecipe, resolve: Resolver | None, work: Work) -> FusionResult:
    """Make a mixture of experts in the new folder `work.out`.

    Raises:
        BadInput: if the models do not fit into one mixture.
        MissingExtra: if the gates need a package that is not installed.
    """
    if resolve is None:
        # of experts in repositories only the feed-forward layers are fetched; a base that is run
        # is needed whole
        run = [recipe.base_model] if recipe.gate == "hidden" else []
        parts = [r for r in recipe.references() if r not in run]
        with fetched_parts(parts, partial(_needs, recipe)) as find:
            return fuse_mixture(recipe, find, work)
    folders = find_models(recipe.references(), resolve)
    refuse_input(work.out, folders)
    models = open_models(folders)
    target = choose(recipe, models)
    dense = measure(recipe, models)
    base = models[recipe.base_model]
    files = list(dict.fromkeys(p for m in models.values() for p in m.files))
    work.report.begin("reading", sum(p.stat().st_size for p in files))
    hashes = hash_files(files, threads=work.threads, tick=work.report.advance)
    work.report.begin("asking the base for its gates", 1)
    gates = find_gates(recipe, base, len(dense.prefixes), dense.hidden)
    plan = plan_mixture(recipe, models, target, dense, gates)

    def companions(folder: Path, shards: Iterable[str]) -> None:
        write_companions(folder, plan, models, shards)
        config = _config(recipe, base, target, dense, plan)
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, "utf-8")

    return make_folder(Prepared(plan, models, hashes), dump_mixture(recipe), work, companions)


def _needs(recipe: MixtureRecipe, resolve: Resolver) -> Iterable[Entry]:
    models = open_models(find_models(recipe.references(), resolve))
    target = choose(recipe, models)
    plan = plan_mixture(recipe, models, target, *_without_gates(recipe, models))
    yield from stored(entry for job in plan.jobs for entry in job.inputs)
    if recipe.gate == "cheap_embed":
        yield models[recipe.base_model].tensors[EMBEDDING]


def _without_gates(recipe: MixtureRecipe, models: Mapping[str, Checkpoint]) -> tuple[Dense, Gates]:
    """Return the sizes, and zeros for gates: finding these can mean running the base."""
    dense = measure(recipe, models)
    layers = range(len(dense.prefixes))
    zeros = np.zeros((len(recipe.experts), dense.hidden), np.float32)
    return dense, Gates(dict.fromkeys(layers, zeros), dict.fromkeys(layers, zeros[:1]))


def _config(
    recipe: MixtureRecipe, base: Checkpoint, target: Architecture, dense: Dense, plan: Plan
) -> dict[str, Any]:
    config = configuration(recipe, base, target, dense.inner)
    out = next(j.out for j in plan.jobs if not j.copies)
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    return config | {key: NAMES[out]}


def check_mixture(recipe: MixtureRecipe, resolve: Resolver | None) -> CheckReport:
    """Say whether a mixture can be made, what speaks against it, and what it costs."""
    report = CheckReport("mixture of experts")
    models = open_models(find_models(recipe.references(), resolve))
    report.models = [facts_of(r, m) for r, m in models.items()]
    report.notes += licence_notes({m.reference: m.licence for m in report.models})
    try:
        target = choose(recipe, models)
        plan = plan_mixture(recipe, models, target, *_without_gates(recipe, models))
    except BadInput as error:
        report.problems.append(error.message)
        report.instead = instead_of("mixture", [(m.folder, m.config) for m in models.values()])
        return report
    report.notes.append(
        f"The result is a {target.model} of {len(recipe.experts)} experts, "
        f"{recipe.per_token} for each token."
    )
    report.tensors = len(plan.jobs)
    report.problems += refused({r: m.tensors.values() for r, m in models.items()}).values()
    _check_relations(recipe, models, report)
    if not report.problems:
        report.cost = cost_of(plan, models)
    if recipe.gate == "hidden":
        held = sum(e.nbytes for e in models[recipe.base_model].tensors.values())
        report.notes.append(
            f"The gate mode 'hidden' runs '{recipe.base_model}' and holds it in memory "
            f"({held / 1e9:.2g} GB); 'cheap_embed' does not."
        )
    return report


def _check_relations(
    recipe: MixtureRecipe, models: Mapping[str, Checkpoint], report: CheckReport
) -> None:
    base = recipe.base_model
    if len(models) > 1:
        report.relations, report.agreements = compare_models(models, base)
    for relation in report.relations:
        if relation.kinship == "unrelated":
            report.problems.append(
                f"'{relation.model}' and '{base}' do not come from one base (cosine "
                f"{relation.cosine:.2f}; fine-tunes of one base are above 0.9): an expert would "
                "not understand the base's hidden states."
            )
    if len(models) == 1 and recipe.gate != "random":
        report.notes.append("All experts are the same model: the gates have nothing to choose.")
    found = {r: read_vocabulary(m.folder) for r, m in models.items()}
    tokens = {r: v.tokens for r, v in found.items() if v is not None}
    for reference, own in tokens.items():
        if base in tokens and own != tokens[base]:
            report.notes.append(
                f"'{reference}' has another vocabulary than '{base}', whose tokenizer and "
                "embeddings the mixture has."
            )
