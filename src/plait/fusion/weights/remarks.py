# SPDX-License-Identifier: Apache-2.0
"""What can be run, and was hardly meant: said by a check, and by the fusion itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from plait.fusion.weights import methods
from plait.fusion.weights.ancestry import compare_models
from plait.fusion.weights.checkpoints import Checkpoint
from plait.fusion.weights.plan import Plan, donor_of, scopes, without_effect
from plait.recipes.fusion import FusionRecipe
from plait.recipes.parameters import Rules

QUICK = 256  # elements of a tensor that a fusion looks at, where a check looks at more


def remarks(plan: Plan, models: Mapping[str, Checkpoint]) -> list[str]:
    """Return sentences about a recipe whose plan can be carried out."""
    recipe = plan.recipe
    told = list(_filters(plan))
    unused = without_effect(recipe)
    if unused:
        told.append(f"The method '{recipe.method}' has no use for {', '.join(unused)}.")
    if recipe.method == "slerp":
        values = {float(j.options["t"]) for j in plan.jobs if "t" in j.options}
        beyond = sorted(t for t in values if not 0 <= t <= 1)
        if beyond:
            told.append(
                f"'t' is {beyond[0]:g}: from 0 (the base) to 1 (the other model) the result lies "
                "between the two, elsewhere beyond them."
            )
    bare = [r for r, m in models.items() if not m.config]
    if bare:
        donor = (
            ", and neither has the result, which transformers cannot load then"
            if plan.donor in bare
            else ""
        )
        told.append(
            f"'{bare[0]}' has no config.json{donor}: whether its architecture is the others' is "
            "seen by names and shapes alone."
        )
    return told


def strangers(recipe: FusionRecipe, models: Mapping[str, Checkpoint]) -> list[str]:
    """Return what speaks against averaging these models: a quick look at some of their weights.

    Only of recipes of whole models: others may take layers of strangers on purpose.
    """
    origin = donor_of(recipe)
    if not recipe.models or len(models) < 2 or recipe.method == "passthrough":
        return []
    relations, _ = compare_models(models, origin, sample=QUICK)
    return [
        f"'{r.model}' and '{origin}' do not come from one base (cosine {r.cosine:.2f}; fine-tunes "
        "of one base are above 0.9): their weights mean different things, and the result will "
        "hardly work. 'plait check' says what would."
        for r in relations
        if r.kinship == "unrelated"
    ]


def _filters(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each filter that is a part of no tensor's name."""
    names = [job.name for job in plan.jobs]
    known = {p.name for p in methods.get(plan.recipe.method).parameters}
    seen = set()
    for parameters in scopes(plan.recipe):
        for key, setting in parameters.items():
            rules = setting.rules if isinstance(setting, Rules) and key in known else ()
            for text in (rule.filter for rule in rules if rule.filter is not None):
                if (key, text) not in seen and not any(text in name for name in names):
                    yield (
                        f"The filter '{text[:60]}' of '{key}' is a part of no tensor's name"
                        f"{_nearest(text, names)}"
                    )
                seen.add((key, text))


def _nearest(text: str, names: list[str]) -> str:
    """Return the part of some tensor's name that is nearest to a filter, of as many words."""
    words = text.strip(".").split(".")
    parts = {
        ".".join(split[i : i + len(words)])
        for split in (name.split(".") for name in names)
        for i in range(len(split) - len(words) + 1)
    }
    found = difflib.get_close_matches(text.strip("."), sorted(parts), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else "."
