# SPDX-License-Identifier: Apache-2.0
"""The demo's last act: every model on the test items, as a table, a plot and a JSON report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.evaluation import Comparison, Evaluation


@dataclass(frozen=True)
class Measured:
    """One model on the test items of every domain."""

    name: str
    kind: str
    """``base``, ``single``, ``fused`` or ``ensemble``."""
    evaluation: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Give the scores by domain, their average and its interval."""
        return {
            "kind": self.kind,
            "scores": {name: task.score for name, task in self.evaluation.tasks.items()},
            "average": self.evaluation.average,
            "interval": list(self.evaluation.average_interval),
        }


@dataclass
class DemoReport:
    """Everything that the demo measured."""

    domains: list[str]
    models: list[Measured] = field(default_factory=list)
    final: str = ""
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    """The final model against each single model and the ensemble, paired on the test items."""
    credit: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give plain values, as ``--report`` writes them."""
        return {
            "domains": self.domains,
            "models": {model.name: model.to_json() for model in self.models},
            "final": self.final,
            "comparisons": {
                name: {
                    "effect": difference.average.effect,
                    "interval": [difference.average.low, difference.average.high],
                }
                for name, difference in self.comparisons.items()
            },
            "credit": self.credit,
            "verdicts": self.verdicts,
            "methods": self.methods,
            "items": self.items,
            "seconds": {step: round(value, 2) for step, value in self.seconds.items()},
            "pages": self.pages,
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")


def print_table(report: DemoReport, verdict_order: Sequence[str]) -> None:
    """Print the models against the domains, the paired comparisons and the credit."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title="Balanced accuracy on test items that neither search nor gate has seen",
        caption="Intervals: 95%, bootstrap over documents",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("model", no_wrap=True)
    for domain in report.domains:
        table.add_column(domain, justify="right", no_wrap=True)
    table.add_column("average", justify="right", no_wrap=True)
    previous = ""
    for model in report.models:
        if previous and model.kind != previous:
            table.add_section()
        previous = model.kind
        evaluation = model.evaluation
        low, high = evaluation.average_interval
        style = "bold" if model.name == report.final else ""
        table.add_row(
            model.name,
            *(f"{evaluation.tasks[domain].score:.3f}" for domain in report.domains),
            f"{evaluation.average:.3f} [{low:.3f}, {high:.3f}]",
            style=style,
        )
    console.print(table)
    for name, comparison in report.comparisons.items():
        average = comparison.average
        console.print(
            f"  {report.final} − {name}: {average.effect * 100:+.1f} points "
            f"[{average.low * 100:+.1f}, {average.high * 100:+.1f}]",
            highlight=False,
        )
    console.print("\nVerdicts and credit (Shapley, points of the average on the gate items)")
    for name in verdict_order:
        credit = report.credit.get(name)
        shown = f"{credit * 100:+.1f}" if credit is not None else "–"
        console.print(f"  {name:<8} {report.verdicts.get(name, '–'):<16} {shown}", highlight=False)


def draw(report: DemoReport, path: Path) -> None:
    """Draw the averages as an SVG plot with intervals, standing alone in its file."""
    from plait.charts import Mark, Row, interval_plot, standalone

    series = {"base": 0, "single": 1, "ensemble": 2, "fused": 3}
    titles = {
        "base": "the base",
        "single": "each organisation alone",
        "fused": "main, after each merge",
        "ensemble": "output ensemble (four models at run time)",
    }
    rows = [
        Row(
            titles[kind],
            tuple(
                Mark(
                    model.name,
                    model.evaluation.average,
                    *model.evaluation.average_interval,
                    series=series[kind],
                )
                for model in report.models
                if model.kind == kind
            ),
        )
        for kind in titles
        if any(model.kind == kind for model in report.models)
    ]
    picture = interval_plot(
        rows,
        ident="demo",
        title="Average balanced accuracy over four domains, with 95% intervals",
        description=f"{report.final} against the base, single models and their ensemble",
        show=lambda value: f"{value:.3f}",
    )
    path.write_text(standalone(picture), encoding="utf-8")
