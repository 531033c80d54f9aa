# SPDX-License-Identifier: Apache-2.0
"""What `modalities.py` measured, compared: scores and intervals, the table, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import measure
from plait.charts import Line, Mark, Row, Spot, interval_plot, line_chart, standalone
from plait.fusion.outputs.choosing import Fit, fitter
from plait.fusion.outputs.curve import curve
from plait.fusion.outputs.items import Outputs, gather
from plait.fusion.outputs.options import parse

if TYPE_CHECKING:
    from modalities import Bench

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- table: modalities -->", "<!-- end -->"
RESAMPLES = 4_000
POINTS = 51
OUTPUTS = {
    "average": ("Outputs averaged, α by CV", {"method": "ensemble"}),
    "stacking": ("Outputs stacked", {"method": "stacking"}),
}
Found = dict[str, Any]


def measured(bench: Bench) -> bool:
    """Say whether a set can be shown: each modality alone is measured; print what lacks."""
    lacking = [
        (row.name, seed)
        for row in bench.set.rows
        for seed in row.seeds
        if not bench.kept(row, seed).is_file()
    ]
    if lacking:
        told = ", ".join(f"{name} with seed {seed}" for name, seed in lacking)
        print(f"{bench.set.name}: not measured yet: {told}")
    alone = {row.name for row in bench.set.rows[:2]}
    return not alone & {name for name, _ in lacking}


def write(benches: Sequence[Bench]) -> None:
    """Write and print the results of whole sets; those of other sets stay as they are."""
    path = measure.RESULTS / "modalities.json"
    sets: dict[str, Found] = {}
    if path.is_file():
        known = json.loads(path.read_text())
        for one in known["sets"]:
            sets[one["name"]] = one | {
                "rows": [r for r in known["rows"] if r["set"] == one["name"]]
            }
    for bench in benches:
        earlier = sets.get(bench.set.name, {}).get("rows", [])
        made = compared(bench)
        made["rows"] = whole(bench, made["rows"], earlier)
        sets[bench.set.name] = made
    if benches:
        ordered = [sets[name] for name in sorted(sets)]
        rows = [row | {"set": one["name"]} for one in ordered for row in one.pop("rows")]
        measure.write("modalities", rows, resamples=RESAMPLES, sets=ordered)
    if path.is_file():
        publish(json.loads(path.read_text()))


def whole(bench: Bench, rows: Sequence[Found], earlier: Sequence[Found]) -> list[Found]:
    """Return a set's rows in their order, earlier ones where fewer seeds are in the cache now."""
    found = {row["name"]: row for row in earlier}
    for row in rows:
        if row["name"] not in found or len(row["seeds"]) >= len(found[row["name"]]["seeds"]):
            found[row["name"]] = row
    singles = [row.name for row in bench.set.rows if len(row.encoders) == 1]
    others = [row.name for row in bench.set.rows if len(row.encoders) > 1]
    return [found[name] for name in [*singles, *OUTPUTS, *others] if name in found]


def compared(bench: Bench) -> Found:
    """Return a set's facts and rows: scores of test items with intervals over families."""
    draws = Draws(bench)
    texts: dict[str, str] = {}
    answers = {row.name: {s: a for s in row.seeds if (a := bench.answers(row, s)) is not None}
               for row in bench.set.rows}  # fmt: skip
    answers = {name: by_seed for name, by_seed in answers.items() if by_seed}
    known = [row for row in bench.set.rows if row.name in answers]
    singles = [row for row in known if len(row.encoders) == 1]
    frozen = [row.name for row in singles[:2]]
    averages, alpha = _averages(bench, frozen, answers)
    answers |= averages
    scores = {name: {s: draws.score(s, a["test/all"]) for s, a in by_seed.items()}
              for name, by_seed in answers.items()}  # fmt: skip
    whole = [r.name for r in singles if len(scores[r.name]) == len(draws.seeds)]
    best = max(whole, key=lambda name: _mean(scores[name])[0])
    for row in known:
        texts[row.name] = row.title or _title(bench, row)
    rows = []
    for name in [*(r.name for r in singles), *averages,
                 *(r.name for r in known if r not in singles)]:  # fmt: skip
        by_seed = answers[name]
        single = next((r for r in singles if r.name == name), None)
        row = {
            "name": name,
            "title": texts.get(name) or OUTPUTS[name][0],
            "kind": "single" if single else "outputs" if name in averages else "fused",
            "seeds": sorted(by_seed),
            "score": _told(scores[name]),
            "over_best": None if name == best else _told(_minus(scores[name], scores[best])),
            "over_average": None if single or name == "average"
            else _told(_minus(scores[name], scores["average"])),
            "strange": _told({s: draws.score(s, a["test/all"], bench.strange(s))
                              for s, a in by_seed.items()}),
            "missing": {
                bench.set.words[m]: _told({s: draws.score(s, a[f"test/{m}"])
                                           for s, a in by_seed.items()})
                for m in bench.set.words if f"test/{m}" in next(iter(by_seed.values()))
            },
            "cpu_seconds": round(float(np.mean([a["cpu_seconds"] for a in by_seed.values()])), 1),
        }  # fmt: skip
        rows.append(row)
    strange = [float(bench.strange(s).mean()) for s in draws.seeds]
    return {
        "name": bench.set.name,
        "title": bench.set.title,
        "words": list(bench.set.words.values()),
        "items": len(bench.pairs),
        "families": draws.families,
        "labels": bench.labels,
        "splits": {k: len(v) for k, v in bench.splits[draws.seeds[0]].items()},
        "best_single": best,
        "strange_share": round(float(np.mean(strange)), 3),
        "encoding_cpu_seconds": bench.encoding_seconds(),
        "alpha": alpha,
        "rows": rows,
    }


class Draws:
    """Balanced accuracy, and its resamples: families of captions drawn whole, for all seeds alike.

    A family that several seeds test is drawn for all of them at once, so that seeds do not count as
    more evidence than there are families.
    """

    def __init__(self, bench: Bench) -> None:
        names = {name: n for n, name in enumerate(sorted({p.family for p in bench.pairs}))}
        self.families = len(names)
        self.seeds = sorted(bench.splits)
        self._classes = len(bench.labels)
        self._items = {
            seed: (
                np.array([names[i.group] for i in bench.test(seed)]),
                np.array([bench.labels.index(str(i.label)) for i in bench.test(seed)]),
            )
            for seed in self.seeds
        }
        random = np.random.default_rng(0)
        shares = np.full(self.families, 1 / self.families)
        drawn = random.multinomial(self.families, shares, RESAMPLES)
        self._draws = np.concatenate([np.ones((1, self.families)), drawn])

    def score(self, seed: int, logs: Any, chosen: Any = None) -> Any:
        """Return [1 + resamples]: the score on a seed's test items (or some), then its resamples"""
        families, labels = self._items[seed]
        counted = np.ones(len(labels)) if chosen is None else np.asarray(chosen, dtype=float)
        right = (np.asarray(logs).argmax(1) == labels) * counted
        place = families * self._classes + labels
        size = self.families * self._classes
        tables = [np.bincount(place, values, size).reshape(self.families, -1)
                  for values in (right, counted)]  # fmt: skip
        hits, totals = (self._draws @ table for table in tables)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nanmean(np.where(totals > 0, hits / totals, np.nan), axis=1)


def _mean(by_seed: Mapping[int, Any]) -> Any:
    return np.mean(list(by_seed.values()), axis=0)


def _minus(one: Mapping[int, Any], other: Mapping[int, Any]) -> dict[int, Any]:
    return {seed: one[seed] - other[seed] for seed in one}


def _told(by_seed: Mapping[int, Any]) -> Found:
    values = _mean(by_seed)
    low, high = np.quantile(values[1:], [0.025, 0.975])
    each = [round(float(by_seed[seed][0]), 4) for seed in sorted(by_seed)]
    return {
        "value": round(float(values[0]), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "by_seed": each,
    }


def _title(bench: Bench, row: Any) -> str:
    """Name a single modality's row, such as "Picture alone (efficientnet)"."""
    name = row.encoders[0]
    word = bench.set.words[bench.set.encoders[name][0]]
    shown = {"minilm": "MiniLM", "efficientnet": "EfficientNet-Lite0",
             "resemblyzer": "Resemblyzer", "log-mel": "log-mel"}[name]  # fmt: skip
    return f"{word.capitalize()} alone ({shown}{', tuned' if row.tuned else ''})"


def _averages(
    bench: Bench, singles: Sequence[str], answers: Mapping[str, Mapping[int, Any]]
) -> tuple[dict[str, dict[int, Found]], Found]:
    """Return what output ensembles of the two modalities answer, and the curve of α.

    Temperatures, α and the regression are chosen on validation items, by the code of the recipes
    `method: ensemble` and `method: stacking`.
    """
    found: dict[str, dict[int, Found]] = {name: {} for name in OUTPUTS}
    curves, chosen = [], []
    for seed in sorted(answers[singles[0]]):
        parts = {
            split: _outputs(bench, seed, split, [answers[n][seed][f"{split}/all"] for n in singles])
            for split in ("validation", "test")
        }
        cost = sum(float(answers[name][seed]["cpu_seconds"]) for name in singles)
        for name, (_, method) in OUTPUTS.items():
            fit = _fitted(method, singles, parts["validation"])
            found[name][seed] = {"test/all": fit.predict(parts["test"]), "cpu_seconds": cost}
            if name == "average":
                share = float(fit.weights[0] / fit.weights.sum())
                ready = parts["validation"].calibrated(fit.temperatures)
                made = curve(ready, "probabilities", fit.weights, 0, POINTS, "alpha")
                curves.append([point["score"] for point in made["points"]])
                chosen.append(round(share, 3))
    for place, row in enumerate(singles):  # without a modality the other answers alone
        modality = next(m for r in bench.set.rows if r.name == row
                        for m in [bench.set.encoders[r.encoders[0]][0]])  # fmt: skip
        for seed, one in found["average"].items():
            one[f"test/{modality}"] = answers[singles[place]][seed]["test/all"]
    word = bench.set.words[bench.set.encoders[singles[0].removesuffix("-alone")][0]]
    return found, {
        "share_of": word,
        "chosen": chosen,
        "values": [round(v, 4) for v in np.linspace(0, 1, POINTS).tolist()],
        "scores": [[round(v, 4) for v in row] for row in curves],
    }


def _fitted(method: Mapping[str, Any], singles: Sequence[str], validation: Outputs) -> Fit:
    models = [{"name": name, "model": name} for name in singles]
    tasks = [{"name": "task", "dataset": "data"}]
    return fitter(parse({"models": models, "tasks": tasks} | method, Path()))(validation)


def _outputs(bench: Bench, seed: int, split: str, logs: Sequence[Any]) -> Outputs:
    task = bench.items_of(seed, split)
    present = np.ones((len(task.items), len(logs)), dtype=bool)
    return gather(logs, present, [task], bench.labels, 5, seed)


def publish(results: Found) -> None:
    """Print the tables, and put them and the pictures into the docs."""
    lines = markdown(results)
    print("\n".join(lines))
    document = DOCS / "fusion" / "features.md"
    if document.is_file():
        before, rest = document.read_text("utf-8").split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        document.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after, "utf-8")
    (DOCS / "images" / "fusion-modalities.svg").write_text(scores_picture(results), "utf-8")
    (DOCS / "images" / "fusion-alpha.svg").write_text(alpha_picture(results), "utf-8")


def markdown(results: Found) -> list[str]:
    """Return the tables' lines."""
    lines: list[str] = []
    for one in results["sets"]:
        if lines:
            lines.append("")
        rows = [row for row in results["rows"] if row["set"] == one["name"]]
        best = next(row["title"] for row in rows if row["name"] == one["best_single"])
        words = one["words"]
        about = (
            f"{one['items']:,} items, {len(one['labels'])} labels ({', '.join(one['labels'])}), "
            f"{one['families']} families of captions; balanced accuracy in %, means over seeds. "
            f"Differences are to *{best}*; {100 * one['strange_share']:.0f}% of the test items "
            "have *no known word*."
        )
        named = f"| model | score | difference | only {words[0]} | only {words[1]} "
        lines += [f"### {one['title']}", "", about, "", f"{named}| no known word | CPU-s |"]
        lines.append("|---|---:|---:|---:|---:|---:|---:|")
        most = max(len(row["seeds"]) for row in rows)
        top = max(row["score"]["value"] for row in rows if len(row["seeds"]) == most)
        for row in rows:
            score = _interval(row["score"])
            missing = [row["missing"].get(word) for word in words]
            seeds = len(row["seeds"])
            fewer = "" if seeds == most else f" ({seeds} seed{'s' if seeds > 1 else ''})"
            cells = [
                f"**{score}**" if not fewer and row["score"]["value"] == top else score,
                _interval(row["over_best"], "+") if row["over_best"] else "",
                *(f"{100 * m['value']:.1f}" if m else "" for m in missing),
                f"{100 * row['strange']['value']:.1f}",
                f"{row['cpu_seconds']:.1f}",
            ]
            lines.append(f"| {row['title']}{fewer} | {' | '.join(cells)} |")
        told = [f"{row['title'].lower()} {_interval(row['over_average'], '+')}"
                for row in rows if row["over_average"]]  # fmt: skip
        lines += ["", f"Differences to the average of outputs: {'; '.join(told)}."]
    return lines


def _interval(found: Found, sign: str = "") -> str:
    low, high = (format(100 * bound, f"{sign}.1f") for bound in found["interval"])
    return f"{format(100 * found['value'], sign + '.1f')} [{low}, {high}]"


def scores_picture(results: Found) -> str:
    """Draw every row's score with its interval."""
    series = {"single": 0, "outputs": 1, "fused": 3}
    groups = [
        Row(one["title"], tuple(
            Mark(row["title"], row["score"]["value"], *row["score"]["interval"],
                 series[row["kind"]])
            for row in results["rows"] if row["set"] == one["name"]
        ))
        for one in results["sets"]
    ]  # fmt: skip
    return standalone(
        interval_plot(
            groups,
            ident="modalities",
            title="Each modality alone, averaged outputs, fused features",
            description="Balanced accuracy on test items with 95% intervals over families.",
            show=lambda value: f"{100 * value:.1f}",
        ),
        width=900,
    )


def alpha_picture(results: Found) -> str:
    """Draw the score on validation items over α; the band is from the lowest to the highest seed"""
    lines = []
    for place, one in enumerate(results["sets"]):
        alpha, scores = one["alpha"], np.array(one["alpha"]["scores"])
        spots = [
            Spot(value, float(column.mean()), float(column.min()), float(column.max()))
            for value, column in zip(alpha["values"], scores.T, strict=True)
        ]
        chosen = float(np.mean(alpha["chosen"]))
        lines.append(
            Line(f"{one['title'].split(':')[0]}, chosen {chosen:.2f}", spots, (3, 1)[place % 2])
        )
    return standalone(
        line_chart(
            lines,
            ident="alpha",
            title="Average of two modalities' outputs over α",
            description="Validation items, mean of the seeds; bands from the lowest to the highest "
            "seed. What was chosen is the mean of the seeds.",
            across="α, the share of the name",
            up="balanced accuracy, %",
            show=lambda value: f"{100 * value:.1f}",
        )
    )
