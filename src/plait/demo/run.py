# SPDX-License-Identifier: Apache-2.0
"""The whole road in one command: four organisations' models become one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.demo.folder import keep_clients_in, prepare_folder
from plait.demo.organisations import (
    COMMONS,
    MODEL,
    Organisation,
    create_accounts,
    keep_at_home,
    propose,
    publish_base,
    publish_held_out,
)
from plait.demo.progress import Steps
from plait.demo.results import DemoReport, Measured, draw, print_table
from plait.demo.server import serving, wait_for_interrupt

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from plait.demo.data import Domain
    from plait.demo.sizes import Size


@dataclass
class Demo:
    """What the steps hand to each other."""

    folder: Path
    size: Size
    steps: Steps
    report: DemoReport
    url: str = ""
    organisations: dict[str, Organisation] = field(default_factory=dict)
    domains: dict[str, Domain] = field(default_factory=dict)
    pulls: dict[str, int] = field(default_factory=dict)
    landed: dict[str, str] = field(default_factory=dict)
    """Organisation → commit on main that its merge landed as."""

    @property
    def members(self) -> list[Organisation]:
        """The four, without commons."""
        return [self.organisations[name] for name in self.report.domains]

    def api(self, organisation: Organisation) -> HfApi:
        """Give the stock client, signed in as the organisation's user."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.url, token=organisation.token)


def run_demo(
    folder: Path,
    *,
    size: Size,
    port: int = 0,
    report_file: Path | None = None,
    serve: bool = True,
) -> DemoReport:
    """Run the demo in ``folder`` and return what it measured; ``serve`` stays until Ctrl-C."""
    from plait.demo.data import DOMAINS, load_domains

    folder = folder.expanduser().resolve()
    prepare_folder(folder)
    keep_clients_in(folder)
    started = time.perf_counter()
    with ExitStack() as stack:
        steps = stack.enter_context(Steps())
        demo = Demo(folder, size, steps, DemoReport(domains=list(DOMAINS)))
        with demo_step(demo, "texts", "Reading the texts of four domains"):
            demo.domains = load_domains(size)
            demo.report.items = {
                f"{name}/{split}": len(items)
                for name, domain in demo.domains.items()
                for split, items in domain.splits.items()
            }
        with demo_step(demo, "start", "Starting a hub"):
            demo.organisations = make_hub(folder)
            demo.url = stack.enter_context(serving(folder / "hub", port))
        steps.say(f"The hub is at {demo.url}")
        publish(demo)
        fine_tune_all(demo)
        propose_all(demo)
        merge_all(demo)
        measure(demo)
        demo.report.seconds["total"] = time.perf_counter() - started
        finish(demo, report_file)
        if serve:
            steps.close()
            wait_for_interrupt(demo.url, demo.folder / "tokens.json")
        return demo.report


@contextmanager
def demo_step(demo: Demo, key: str, title: str, total: float | None = None) -> Iterator[Any]:
    """Show a step's bar and keep how long it took under ``seconds[key]``."""
    started = time.perf_counter()
    with demo.steps.step(title, total) as advance:
        yield advance
    spent = time.perf_counter() - started
    demo.report.seconds[key] = demo.report.seconds.get(key, 0.0) + spent


def make_hub(folder: Path) -> dict[str, Organisation]:
    """Make the hub's folder with the demo's accounts; tokens are kept beside it, for you alone."""
    from plait.hub import Hub
    from plait.settings import load_settings

    hub = Hub.open(load_settings(folder / "hub"))
    try:
        made = create_accounts(hub, folder / "organisations")
    finally:
        hub.close()
    tokens = folder / "tokens.json"
    tokens.touch(mode=0o600)
    tokens.write_text(json.dumps({org.user: org.token for org in made.values()}, indent=2))
    return made


def publish(demo: Demo) -> None:
    """Publish the base as commons, and each organisation's private held-out texts as itself."""
    from plait.demo.data import make_base

    with demo_step(demo, "publish", "Publishing the base and the private held-out texts", 5) as on:
        base = demo.folder / "organisations" / COMMONS / "base"
        make_base(base, demo.size.encoder)
        publish_base(demo.api(demo.organisations[COMMONS]), base, demo.members, demo.size)
        on(1)
        for member in demo.members:
            keep_at_home(member, demo.domains[member.name])
            publish_held_out(demo.api(member), member, demo.domains[member.name])
            on(1)


def fine_tune_all(demo: Demo) -> None:
    """Let each organisation fetch the base and fine-tune it on its own texts only."""
    from plait.demo.finetune import fine_tune_members

    with demo_step(
        demo, "fine-tune", "Fine-tuning, each on its own texts", len(demo.members)
    ) as on:
        fine_tune_members(demo.members, demo.url, MODEL, demo.size, on)


def propose_all(demo: Demo) -> None:
    """Propose each fine-tuned model as a pull request."""
    with demo_step(demo, "propose", "Opening four pull requests", len(demo.members)) as advance:
        for member in demo.members:
            count = demo.report.items[f"{member.name}/train"]
            demo.pulls[member.name] = propose(
                demo.api(member),
                member,
                member.folder / "model",
                f"{count} texts of our own, which stay with us.",
            )
            demo.report.pages[f"pull request of {member.name}"] = (
                f"{demo.url}/{MODEL}/discussions/{demo.pulls[member.name]}"
            )
            advance(1)


def merge_all(demo: Demo) -> None:
    """Merge the four one after the other; each merge is a job that the gate decides."""
    from plait.client import pull_request_state, wait_for

    commons = demo.organisations[COMMONS]
    api = demo.api(commons)
    for member in demo.members:
        number = demo.pulls[member.name]
        title = f"Merging {member.name}'s pull request"
        with demo_step(demo, "merge", title, 1.0) as advance:
            shown = 0.0

            def show(state: Mapping[str, Any], title: str = title) -> None:
                nonlocal shown
                job = state.get("job")
                if job and job["fraction"] > shown:
                    advance(job["fraction"] - shown, f"{title}: {job['stage']}")
                    shown = job["fraction"]

            api.merge_pull_request(MODEL, number)
            state = wait_for(
                lambda number=number: pull_request_state(  # type: ignore[misc]
                    demo.url, commons.token, "model", MODEL, number
                ),
                timeout=1800,
                show=show,
            )
            advance(1.0 - shown, title)
        record_merge(demo, member, state)


def record_merge(demo: Demo, member: Organisation, state: Mapping[str, Any]) -> None:
    """Keep a merge's verdict, method and credit, and say how it ended."""
    merge = state.get("report")
    if merge is None:
        error = (state.get("job") or {}).get("error") or state["status"]
        demo.report.verdicts[member.name] = f"failed: {error}"
        demo.steps.say(f"{member.name}: {error}")
        return
    demo.report.verdicts[member.name] = merge["verdict"]
    demo.report.methods[member.name] = {
        "method": merge["method"],
        "parameters": merge["parameters"],
    }
    scores = merge["average"]["scores"]
    demo.steps.say(
        f"{member.name}: {merge['verdict']}; on the gate items {scores['main']:.3f} → "
        f"{scores['candidate']:.3f} by {merge['method']}"
    )
    if merge["landed"]:
        demo.landed[member.name] = merge["landed"]
        credit = (merge.get("credit") or {}).get("contributions", [])
        if credit:
            demo.report.credit = {row["organisation"]: row["value"] for row in credit}


def measure(demo: Demo) -> None:
    """Measure every model on the test items, each organisation reading its own."""
    from huggingface_hub import snapshot_download

    from plait.evaluation import (
        CachedPredictor,
        OutputEnsemble,
        TextClassifier,
        compare,
        evaluate,
        load_task,
    )
    from plait.recipes.project import load_project

    revisions: list[tuple[str, str, str]] = [("base", "base", base_revision(demo))]
    revisions += [(m.name, "single", f"refs/pr/{demo.pulls[m.name]}") for m in demo.members]
    merged = [m.name for m in demo.members if m.name in demo.landed]
    for index, name in enumerate(merged):
        label = "main after " + (" + ".join(merged[: index + 1]) if index < 1 else f"+ {name}")
        revisions.append((label, "fused", demo.landed[name]))
    with demo_step(demo, "test", "Measuring on the test items", len(revisions) + 1) as advance:
        base = demo.folder / "organisations" / COMMONS / "base" / "plait.yaml"
        specs = {spec.name: spec for spec in load_project(base).tasks}
        tasks = []
        for member in demo.members:
            folder = snapshot_download(
                member.dataset, repo_type="dataset", endpoint=demo.url, token=member.token
            )
            tasks.append(load_task(specs[member.name], Path(folder), "test"))
        singles: list[CachedPredictor] = []
        for name, kind, revision in revisions:
            folder = snapshot_download(MODEL, revision=revision, endpoint=demo.url, token=False)
            classifier = CachedPredictor(TextClassifier.load(Path(folder)))
            demo.report.models.append(Measured(name, kind, evaluate(classifier, tasks, "test")))
            if kind == "single":
                singles.append(classifier)
            advance(1)
        ensemble = evaluate(OutputEnsemble(singles), tasks, "test")
        demo.report.models.append(Measured("output ensemble", "ensemble", ensemble))
        advance(1)
        fused = [model for model in demo.report.models if model.kind == "fused"]
        if fused:
            final = fused[-1]
            demo.report.final = final.name
            for model in demo.report.models:
                if model.kind in ("single", "ensemble"):
                    demo.report.comparisons[model.name] = compare(
                        final.evaluation, model.evaluation, confidence=0.95, seed=0
                    )


def base_revision(demo: Demo) -> str:
    """Give the commit of the base: main before the first merge."""
    from huggingface_hub import HfApi

    commits = HfApi(endpoint=demo.url, token=False).list_repo_commits(MODEL)
    published = [c for c in commits if c.title.startswith("Publish the base")]
    return published[0].commit_id


def finish(demo: Demo, report_file: Path | None) -> None:
    """Print the table, draw the plot, write the report and say where the pages are."""
    report = demo.report
    report.pages = {
        "model": f"{demo.url}/{MODEL}",
        "lineage": f"{demo.url}/{MODEL}/lineage",
        **report.pages,
    }
    demo.steps.close()
    print_table(report, [m.name for m in demo.members])
    plot = demo.folder / "results.svg"
    draw(report, plot)
    report.write(demo.folder / "report.json")
    if report_file is not None:
        report.write(report_file)
    print(f"\nPlot: {plot}\nReport: {report_file or demo.folder / 'report.json'}")
    print("Pages:")
    for name, address in report.pages.items():
        print(f"  {name:<24} {address}")
    print(f"Took {report.seconds['total']:.0f} s: " + describe_seconds(report.seconds))


def describe_seconds(seconds: Mapping[str, float]) -> str:
    """Say how long each step took."""
    return ", ".join(f"{step} {value:.0f}" for step, value in seconds.items() if step != "total")
