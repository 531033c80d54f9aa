# SPDX-License-Identifier: Apache-2.0
"""What a fusion found on the way, as a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def summary(report: Mapping[str, Any]) -> list[str]:
    """Return lines about what was chosen and the scores, from a `FusionResult`'s report."""
    if "auto" in report:
        from plait.fusion.auto.table import plain

        return [*plain(report["auto"]).split("\n"), *_test(report.get("results", {}))]
    search, results = report.get("search", {}), report.get("results", {})
    if "members" in search:
        return [*_ensemble(search), *_test(results)]
    if "points" in search:
        return list(_search(search))
    if "best_epoch" in results:
        return [*_student(results), *_test(results)]
    if results:
        return [
            f"{n}: {_percent(found['average'])} on the test split" for n, found in results.items()
        ]
    return list(_others(report))


def _ensemble(search: Mapping[str, Any]) -> Iterator[str]:
    names = search["members"]
    weights = search.get("weights")
    metric = ", ".join(search["metrics"])
    if weights is None:
        yield f"stacking of {', '.join(names)} ({search['rule']})"
    elif isinstance(weights[0], list):
        yield f"a weight for each class and model ({search['rule']})"
    else:
        told = ", ".join(f"{n} {w:.3f}" for n, w in zip(names, weights, strict=True))
        yield f"weights: {told} (rule: {search['rule']}), over {search['combine']}"
    found = search["out_of_fold"]
    yield (
        f"{metric} in % on {search['items']:,} items of '{search['split']}', out of fold: "
        f"{_percent(found['score'])}"
    )
    for key in ("gain", "gain_over_best_member"):
        gain = search[key]
        yield f"  gain over {gain['over']}: {_gain(gain)}"


def _search(search: Mapping[str, Any]) -> Iterator[str]:
    point = search["points"][search["chosen"]]
    values = ", ".join(
        f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in point["parameters"].items()
    )
    work = search["work"]
    kept = " (the default)" if search["chosen"] == search["default"] else ""
    yield f"chosen{kept}: {point['method']} {values}".rstrip()
    yield search["reason"]
    taken = f", {work['taken_up']} measurements taken up from before" if work["taken_up"] else ""
    yield f"{work['candidates']} candidates, {work['items']:,} of {work['of']:,} items run{taken}"


def _student(results: Mapping[str, Any]) -> Iterator[str]:
    count = sum(results["texts"].values())
    yield (
        f"{count:,} texts, {results['labelled']:,} with a label, {results['steps']:,} steps; kept "
        f"epoch {results['best_epoch']} of {len(results['losses'])}, selected by "
        f"{results['selected_by']}"
    )
    for name, scores in results.get("teachers", {}).items():
        told = ", ".join(f"{task} {_percent(score)}" for task, score in scores["tasks"].items())
        yield f"teacher {name} on the test split: {told}"


def _test(results: Mapping[str, Any]) -> Iterator[str]:
    test = results.get("test")
    if not test:
        return
    for name, found in test["tasks"].items():
        low, high = found["interval"]
        yield (
            f"on '{test['split']}': {name} {_percent(found['score'])} ({found['metric']}, "
            f"{_percent(low)} to {_percent(high)}, n={found['n']:,})"
        )


def _others(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what methods of weights found: single values, and small tables of them."""
    for name, found in report.items():
        if isinstance(found, Mapping):
            plain = {k: _short(v) for k, v in found.items() if _short(v)}
            if plain:
                yield f"{name}: " + ", ".join(f"{k} {v}" for k, v in plain.items())
        elif _short(found):
            yield f"{name}: {_short(found)}"


def _short(value: object) -> str:
    """Return a value as a few characters; nothing for what takes a page, such as a curve."""
    if isinstance(value, bool | int | str):
        return str(value) if len(str(value)) <= 100 else ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        parts = {k: _short(v) for k, v in value.items()}
        whole = 0 < len(parts) <= 8 and all(parts.values())
        text = ", ".join(f"{k} {v}" for k, v in parts.items()) if whole else ""
        return f"({text})" if 0 < len(text) <= 200 else ""
    return ""


def _gain(gain: Mapping[str, float]) -> str:
    low, high = _signed(gain["low"]), _signed(gain["high"])
    return f"{_signed(gain['effect'])} points (95%: {low} to {high})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
