# SPDX-License-Identifier: Apache-2.0
"""Recipes whose models are all adapters: one adapter out of several, without their base.

The method is one of PEFT's combinations, or `knots_ties`; the result is an adapter's folder.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import BadInput
from plait.fusion.places import new_folder, write_report
from plait.fusion.results import FusionResult
from plait.fusion.weights.adapters import combinations as ways
from plait.fusion.weights.adapters.combinations import Factors
from plait.fusion.weights.adapters.lora import Lora, open_lora, read_matrix
from plait.fusion.weights.adapters.onto_base import CONFIG, WEIGHTS, is_adapter
from plait.fusion.weights.checksums import hash_files
from plait.fusion.weights.engine import Readers
from plait.fusion.weights.making import Work
from plait.fusion.weights.methods.base import Parameter, Value
from plait.fusion.weights.naming import layer_counts, layer_of
from plait.fusion.weights.numbers import LIMITS, NAMES, STORAGE, Array, encode
from plait.fusion.weights.opening import Folders
from plait.fusion.weights.output import SOFTWARE
from plait.fusion.weights.safetensors import Entry, layout
from plait.recipes.fusion import FusionRecipe, dump_recipe, evaluate, hint

FACTORS = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
PRODUCTS = ("svd", "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd")
COMBINATIONS = (*PRODUCTS, *FACTORS, "cat", "knots_ties")

WEIGHT = Parameter("weight", 1.0, "factor on this adapter's change", True, low=-1e6, high=1e6)
DENSITY = Parameter(
    "density", 1.0, "share of an adapter's values that is kept", True, low=0.0, high=1.0
)
SHARED = (
    Parameter("majority_sign_method", "total", "what elects a sign", words=("total", "frequency")),
    Parameter("svd_rank", 0.0, "rank of the result; 0: the largest there is", low=0, high=100_000),
    Parameter("saved", "same", "modules that are saved whole", words=("same", "mean")),
)
_PARAMETERS = (WEIGHT, DENSITY, *SHARED)


@dataclass(frozen=True)
class Combination:
    """A checked recipe: adapters, what counts for each module, and the result's rank."""

    recipe: FusionRecipe
    kind: str
    loras: tuple[Lora, ...]
    modules: tuple[str, ...]
    rank: int
    options: Mapping[str, Value]

    def settings(self, module: str) -> list[dict[str, float]]:
        """Return each adapter's weight and density for a module."""
        layers = layer_counts(self.modules)
        place = layer_of(module)
        last = layers[place[0]] - 1 if place else 0
        position = (place[1] / last if last else 1.0) if place else 0.0
        return [
            {
                p.name: float(_value(p, (s.parameters, self.recipe.parameters), module, position))
                for p in (WEIGHT, DENSITY)
            }
            for s in self.recipe.models
        ]


def are_adapters(recipe: FusionRecipe, folders: Folders) -> bool:
    """Tell whether all models of a recipe are adapters without a base."""
    return bool(recipe.models) and all(
        len(folders[s.model]) == 1
        and is_adapter(folders[s.model][0])
        and not (folders[s.model][0] / "model.safetensors").is_file()
        for s in recipe.models
    )


def plan_combination(recipe: FusionRecipe, folders: Folders) -> Combination:
    """Read headers and configurations, and refuse what does not go together.

    Raises:
        BadInput: as PEFT refuses it: different ranks for a combination of factors, modules that
            several adapters save whole, kinds that are not LoRA; and an unknown method.
    """
    if recipe.method not in COMBINATIONS:
        raise BadInput(
            f"There is no way '{recipe.method[:60]}' to combine adapters"
            f"{hint(recipe.method, COMBINATIONS)} There are: {', '.join(COMBINATIONS)}. For "
            "another method name whole models, as 'base+adapter'."
        )
    if recipe.base_model is not None or recipe.dialect not in (None, "peft"):
        raise BadInput(
            "Adapters are combined without 'base_model', in the dialect 'peft'. To fuse whole "
            "models, write each as 'base+adapter'."
        )
    _check_names(recipe)
    loras = tuple(open_lora(folders[s.model][0]) for s in recipe.models)
    options = {p.name: _value(p, (recipe.parameters,), "", 0.0) for p in SHARED}
    # one adapter alone is weighed, as PEFT has it
    kind = "linear" if len(loras) == 1 and recipe.method != "cat" else recipe.method
    _check_modules(loras, kind)
    rank = _rank(loras, kind, int(float(options["svd_rank"])))
    modules = tuple(sorted({m for lora in loras for m in lora.pairs}))
    _saved(loras, str(options["saved"]))
    return Combination(recipe, kind, loras, modules, rank, options)


def combine_adapters(combination: Combination, work: Work) -> FusionResult:
    """Write the combined adapter into the new folder `work.out`.

    Raises:
        BadInput: for NaN or infinity, or values that the adapters' format cannot hold.
        Cancelled: if asked to stop; nothing is left behind.
    """
    recipe, loras, report = combination.recipe, combination.loras, work.report
    files = [lora.file for lora in loras]
    report.begin("reading", sum(f.stat().st_size for f in files))
    hashes = hash_files(files, threads=work.threads, tick=report.advance)
    tell = report.count("combining")
    with new_folder(work.out, overwrite=work.overwrite) as folder, Readers() as readers:
        tensors = _combined(combination, readers, hashes, tell)
        tensors |= _joined(combination, readers)
        _write(folder / WEIGHTS, tensors)
        config = _config(combination)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        outputs = hash_files([folder / WEIGHTS], cached=False)
        inputs = {
            s.model: {WEIGHTS: hashes[lora.file]}
            for s, lora in zip(recipe.models, loras, strict=True)
        }
        told = {WEIGHTS: outputs[folder / WEIGHTS]}
        found = {"results": {"rank": combination.rank, "modules": len(combination.modules)}}
        write_report(
            folder,
            {
                "schema": 1,
                "recipe": dump_recipe(recipe),
                "inputs": inputs,
                "outputs": told,
                "software": {"plait": SOFTWARE, "numpy": np.__version__},
                **found,
            },
        )
        size = sum(f.stat().st_size for f in (*files, folder / WEIGHTS))
    seconds, cpu = time.monotonic() - work.began[0], time.process_time() - work.began[1]
    return FusionResult(work.out, inputs, told, seconds, cpu, size, report=found)


def _value(
    parameter: Parameter,
    scopes: Sequence[Mapping[str, Any]],
    module: str,
    position: float,
) -> Value:
    for scope in scopes:
        if parameter.name in scope:
            found = evaluate(scope[parameter.name], module, position)
            if found is not None:
                return parameter.checked(found)
    assert parameter.default is not None
    return parameter.default


def _check_names(recipe: FusionRecipe) -> None:
    known = [p.name for p in _PARAMETERS]
    own = [p.name for p in _PARAMETERS if p.per_model]
    for scope, names in ((recipe.parameters, known), *((s.parameters, own) for s in recipe.models)):
        for name in scope:
            if name not in names:
                raise BadInput(
                    f"Combining adapters has no parameter '{name[:60]}'{hint(name, names)} "
                    f"It has: {', '.join(names)}."
                )


def _check_modules(loras: Sequence[Lora], kind: str) -> None:
    kinds = {isinstance(lora.config.get("target_modules"), str) for lora in loras}
    if len(kinds) > 1:
        raise BadInput(
            "Some adapters name their 'target_modules' as a list and some as an expression; give "
            "all of them the same form."
        )
    for module in {m for lora in loras for m in lora.pairs}:
        own = [(lora, lora.pairs[module]) for lora in loras if module in lora.pairs]
        first, start = own[0]
        for lora, pair in own[1:]:
            if pair.shape != start.shape or pair.embedding != start.embedding:
                raise BadInput(
                    f"The adapters of '{module[:100]}' change a matrix {list(start.shape)} in "
                    f"{first.folder} and {list(pair.shape)} in {lora.folder}; they were trained on "
                    "different bases."
                )
            if kind in FACTORS and pair.rank != start.rank:
                raise BadInput(_ranks_differ(start.rank, first, pair.rank, lora, kind))


def _rank(loras: Sequence[Lora], kind: str, wanted: int) -> int:
    if wanted and kind not in (*PRODUCTS, "knots_ties"):
        raise BadInput(f"'svd_rank' does not go with '{kind}': its result has the adapters' rank.")
    if kind in FACTORS:
        for lora in loras[1:]:
            if lora.rank != loras[0].rank:
                raise BadInput(_ranks_differ(loras[0].rank, loras[0], lora.rank, lora, kind))
        return loras[0].rank
    if kind == "cat" or (kind == "knots_ties" and not wanted):
        return sum(lora.rank for lora in loras)
    return wanted or max(lora.rank for lora in loras)


def _ranks_differ(one: int, first: Lora, other: int, second: Lora, kind: str) -> str:
    return (
        f"'{kind}' combines A and B each by itself and needs adapters of one rank: {first.folder} "
        f"has {one}, {second.folder} has {other}. Use 'svd', 'cat' or '{kind}_svd'."
        if f"{kind}_svd" in PRODUCTS
        else f"'{kind}' combines A and B each by itself and needs adapters of one rank: "
        f"{first.folder} has {one}, {second.folder} has {other}. Use 'svd' or 'cat'."
    )


def _saved(loras: Sequence[Lora], rule: str) -> dict[str, list[Entry]]:
    """Return tensors of modules that are saved whole, of every adapter that has them."""
    found: dict[str, list[Entry]] = {}
    for lora in loras:
        for key, entry in lora.saved.items():
            found.setdefault(key, []).append(entry)
    for key, entries in found.items():
        shapes = [list(e.shape) for e in entries]
        if any(shape != shapes[0] for shape in shapes):
            raise BadInput(f"The adapters save '{key[:100]}' in the shapes {shapes}.")
        if rule == "same" and len(entries) > 1:
            with Readers() as readers:
                first, *rest = (_whole(readers, e) for e in entries)
            if any(not np.array_equal(first, other) for other in rest):
                raise BadInput(
                    f"Several adapters save '{key[:100]}' whole, each its own, and there is no one "
                    "way to combine these. 'saved: mean' under 'parameters' takes their weighted "
                    "mean; or train the adapters with one head that is frozen."
                )
    return found


def _whole(readers: Readers, entry: Entry) -> Array:
    if not entry.shape:
        raise BadInput(f"{entry.path}: '{entry.name[:100]}' is a single number.")
    return read_matrix(readers, entry).reshape(entry.shape)


def _joined(combination: Combination, readers: Readers) -> dict[str, tuple[str, Array]]:
    made = {}
    for key, entries in _saved(combination.loras, str(combination.options["saved"])).items():
        own = [
            settings["weight"]
            for settings, lora in zip(combination.settings(key), combination.loras, strict=True)
            if key in lora.saved
        ]
        total = math.fsum(own)
        if abs(total) < 1e-8:
            raise BadInput(f"The weights of the adapters that save '{key[:100]}' add up to 0.")
        values = [_whole(readers, e) for e in entries]
        mean = ways.weighed(values, [w / total for w in own]) if len(values) > 1 else values[0]
        made[key] = (entries[0].code, np.asarray(mean))
    return made


def _combined(
    combination: Combination,
    readers: Readers,
    hashes: Mapping[Path, str],
    tell: Callable[[int, int], None],
) -> dict[str, tuple[str, Array]]:
    """Return the result's tensors by name: their format and values."""
    made: dict[str, tuple[str, Array]] = {}
    total = len(combination.modules)
    shared: list[ways.Shared] = []
    for number, module in enumerate(combination.modules):
        tell(number, total)
        settings = combination.settings(module)
        places = [i for i, lora in enumerate(combination.loras) if module in lora.pairs]
        pairs = []
        for place in places:
            pair = combination.loras[place].pairs[module]
            a = read_matrix(readers, pair.a)
            b = read_matrix(readers, pair.b)
            pairs.append(Factors(a, b, settings[place]["weight"], pair.scale))
        if combination.kind == "knots_ties":
            shared.append(ways.in_one_basis(_all_there(pairs, places, len(settings))))
            continue
        keys = [hashes[combination.loras[p].file] for p in places]
        densities = [settings[p]["density"] for p in places]
        found = _one(combination, module, pairs, densities, keys)
        made |= _named(combination, module, found)
    if shared:
        settings = combination.settings("")
        merged = ways.knots_ties(
            shared, [s["density"] for s in settings], [s["weight"] for s in settings]
        )
        for module, whole in zip(combination.modules, merged, strict=True):
            if len(whole.a) > combination.rank:
                whole = ways.nearest(whole, combination.rank)
            made |= _named(combination, module, whole)
    tell(total, total)
    return made


def _all_there(pairs: Sequence[Factors], places: Sequence[int], count: int) -> list[Factors]:
    """Return a pair for each adapter; nothing for those that do not change the module."""
    known = dict(zip(places, pairs, strict=True))
    first = pairs[0]
    nothing = Factors(np.zeros_like(first.a[:1]), np.zeros_like(first.b[:, :1]), 0.0, 0.0)
    return [known.get(place, nothing) for place in range(count)]


def _one(
    combination: Combination,
    module: str,
    pairs: Sequence[Factors],
    densities: Sequence[float],
    keys: Sequence[str],
) -> Factors:
    kind = combination.kind
    name = kind.removesuffix("_svd")
    if kind == "cat":
        return ways.beside_each_other(pairs)
    if kind == "svd":
        whole = ways.beside_each_other(pairs)
        return ways.nearest(whole, combination.rank)
    drawn = [_generator(combination.recipe.seed, key, module) for key in keys]

    def prune(place: int, values: Array) -> Array:
        if name.startswith("dare"):
            return ways.keep_random(values, densities[place], drawn[place])
        if name in ("ties", "magnitude_prune"):
            return ways.keep_largest(values, densities[place])
        return values

    def join(parts: Sequence[Array], weights: Sequence[float]) -> Array:
        if name.endswith("ties"):
            return ways.elected(parts, weights, str(combination.options["majority_sign_method"]))
        return ways.weighed(parts, weights)

    if kind in PRODUCTS:
        return ways.of_products(pairs, prune, join, combination.rank)
    return ways.of_factors(pairs, prune, join)


def _generator(seed: int, key: str, module: str) -> np.random.Generator:
    """Return random numbers that depend on the adapter's content and the module alone."""
    digest = blake2b(f"{seed}|{key}|{module}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _named(combination: Combination, module: str, found: Factors) -> dict[str, tuple[str, Array]]:
    """Return a pair's tensors as PEFT stores them, filled up with zeros to the result's rank."""
    pair = next(lora.pairs[module] for lora in combination.loras if module in lora.pairs)
    rank = combination.rank
    a = np.zeros((rank, found.a.shape[1]), np.float64)
    b = np.zeros((found.b.shape[0], rank), np.float64)
    a[: len(found.a)] = found.a
    b[:, : found.b.shape[1]] = found.b
    shape_a, shape_b = (rank, *pair.a.shape[1:]), (len(b), rank, *pair.b.shape[2:])
    ends = ("lora_embedding_A", "lora_embedding_B") if pair.embedding else _LINEAR
    return {
        f"{module}.{ends[0]}": (pair.a.code, a.reshape(shape_a)),
        f"{module}.{ends[1]}": (pair.b.code, b.reshape(shape_b)),
    }


_LINEAR = ("lora_A.weight", "lora_B.weight")


def _config(combination: Combination) -> dict[str, Any]:
    """Return the first adapter's configuration with the result's rank and modules; the scale is 1.

    Rank-stabilised scales are undone: a scale of 1 is then what the rank over itself gives.
    """
    loras = combination.loras
    targets = [lora.config.get("target_modules") for lora in loras]
    union: Any = None
    if all(isinstance(t, list) for t in targets):
        union = sorted({str(m) for t in targets if t for m in t})
    elif targets:
        union = "|".join(f"({t})" for t in dict.fromkeys(map(str, targets)))
    saved = sorted({str(n) for lora in loras for n in lora.config.get("modules_to_save") or []})
    return {
        **loras[0].config,
        "r": combination.rank,
        "lora_alpha": combination.rank,
        "use_rslora": False,
        "target_modules": union,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": saved or None,
        "inference_mode": True,
    }


def _write(path: Path, tensors: Mapping[str, tuple[str, Array]]) -> None:
    header, starts, size = layout((n, code, v.shape) for n, (code, v) in tensors.items())
    with path.open("wb") as file:
        file.write(header)
        for name, (code, values) in tensors.items():
            flat = np.ascontiguousarray(values).reshape(-1)
            if flat.size and not float(np.abs(flat).max()) <= LIMITS[code]:
                raise BadInput(
                    f"Combining '{name[:100]}' gives values that {NAMES[code]} cannot hold; choose "
                    "smaller weights."
                )
            stored = np.empty(flat.size, STORAGE[code])
            encode(flat, code, stored, np.empty(flat.size, np.uint32))
            file.seek(starts[name])
            file.write(stored.tobytes())
        file.truncate(size)
