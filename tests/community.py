# SPDX-License-Identifier: Apache-2.0
"""What a busy hub has besides: leaderboards, a queue that proposed, a long lineage, feeds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from furnishing import keep
from plait.collaboration import jobs, suggest
from plait.collaboration.leaderboards import measuring, scoring
from plait.collaboration.merging.access import LoadedTask
from plait.collaboration.merging.gate import Measurements
from plait.evaluation.results import ItemScore, TaskResult, score_items, summarise
from plait.evaluation.tasks import Task
from plait.hub import Actor, AddBytes, AddPointer, Author, Hub, Repository
from plait.lineage import Contribution, DataUse, Lineage, Origin, dump_lineage
from plait.recipes.project import TaskSpec

if TYPE_CHECKING:
    from gallery import Gallery

WEIGHTS = "model.safetensors"
MANY = 490
MOODS = """
tasks:
- {name: mood, dataset: shop/moods, metric: accuracy}
leaderboard: {split: test}
"""
EXAM = """
tasks:
- {name: exam, dataset: shop/exam, metric: accuracy}
evaluation: {hidden: [test]}
leaderboard: {split: test}
"""
SKILLS = (("plain", 0.72), ("careful", 0.83), ("careful-too", 0.84), ("guessing", 0.5))


def sha(text: str) -> str:
    """Return the hash of a made-up file."""
    return hashlib.sha256(text.encode()).hexdigest()


def add_many(hub: Hub, actor: Actor, contributions: int = MANY, name: str = "many") -> Repository:
    """Add a model with many contributions of seven organisations."""
    repo = hub.repositories.create(actor, "model", f"commons/{name}")
    digest, size = hub.blobs.write(iter([name.encode()]))
    with hub.session(write=True) as session:
        hub.grant_blob(session, repo, digest, size)
    made = tuple(
        Contribution(
            number, "ann", f"org{number % 7}", f"Part <{number}>", f"{number:040x}",
            {WEIGHTS: sha(f"c{number}")}, 0.5, "mit", None, ("org/texts",), {"x": 1.0},
        )
        for number in range(1, contributions + 1)
    )  # fmt: skip
    base = Origin("commons/away", "a" * 40, {WEIGHTS: sha("away")})
    exam = DataUse("shop", "test", "gate", sha("items"), hidden=True)
    document = dump_lineage(
        Lineage(base, made, {}, {WEIGHTS: digest}, data=(exam,), budget={"seconds": 3.0})
    )
    files = [AddPointer(WEIGHTS, digest, size), AddBytes("lineage.json", document)]
    hub.commits.apply(actor, repo, "main", files, "weights")
    return repo


def outcome(skill: float, seed: int, n: int = 200) -> TaskResult:
    """Answer a task of two classes rightly as often as ``skill`` says."""
    truth = np.random.default_rng(0).integers(0, 2, n)
    right = np.random.default_rng(seed + 1).random(n) < skill
    items = tuple(
        ItemScore(f"test:{k}", f"g{k // 2}", int(truth[k]), int(truth[k] ^ (not right[k])), 0.5)
        for k in range(n)
    )
    return score_items("accuracy", items, {"classes": 2, "labels": ["bad", "good"]})


def enter(
    hub: Hub, data: Repository, model: Repository, task: str, result: TaskResult,
    *, hidden: bool = False,
) -> None:  # fmt: skip
    """Put a result on a data set's leaderboard, as the job does."""
    result = scoring.aligned(result)
    head, main = hub.git.head(model), hub.git.head(data)
    assert head and main
    values: dict[str, Any] = {
        "task": task, "split": "test", "hidden": hidden, "metric": "accuracy",
        "data_revision": main, "score": result.score, "low": result.interval[0],
        "high": result.interval[1], "n": result.n, "groups": result.groups,
        "result": summarise("test", {task: result}).to_json()["tasks"][task],
    }  # fmt: skip
    scoring._keep(hub, data, model, head, sha(task), values)


def queue_report(gallery: Gallery, numbers: list[int]) -> dict[str, Any]:
    """Return what the queue's job proposes for three pull requests."""
    first, second, third = numbers
    git, model = gallery.hub.git, gallery.model
    reason = (
        "The average changes by +6.0 points (at 97.5% confidence by +2.6 points or better). "
        "Every task keeps within its margin."
    )
    return {
        "kind": "queue", "job": 1, "main": git.head(model), "tried": [first, second],
        "may_judge": 2, "confidence": 0.95, "judged": [
            {"numbers": [first, second], "confidence": 0.975, "verdict": "regresses",
             "reason": "Press changes by −3.0 points, a significant loss; no loss is allowed."},
            {"numbers": [first], "confidence": 0.975, "verdict": "passes", "reason": reason}],
        "chosen": [first], "heads": {str(n): git.head(model, f"refs/pr/{n}") for n in numbers},
        "excluded": [
            {"number": third, "reason": "It changes no weights; it is merged at once by itself."}],
        "titles": {str(first): "Fine-tune <unsure>", str(second): "Fine-tune regresses"},
        "left_out": [{"number": second, "tasks": {"shop": -0.03, "press": 0.01},
                      "average": -0.01}],
        "validation": {"split": "validation", "main": {"shop": 0.75, "press": 0.74},
                       "chosen": {"shop": 0.81, "press": 0.78}},
        "evaluations": 5, "known_before": 2, "subsets": 4, "verdict": "passes",
        "reason": reason, "landed": None, "cost": {"seconds": 12.0, "cpu_seconds": 20.5},
    }  # fmt: skip


def ranking() -> dict[str, Any]:
    """Return what the job of a suggestion finds."""

    def measured(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.04, "high": value + 0.04}

    models = [
        {"model": f"commons/{name}", "knn": measured(skill), "logme": measured(skill - 1),
         "probe": measured(skill), "near_best": skill > 0.8, "license": "mit",
         "parameters": 22_000_000}
        for name, skill in sorted(SKILLS, key=lambda one: -one[1])
    ]  # fmt: skip
    return {
        "items": 120,
        "models": models,
        "left": [{"model": "commons/sentiment", "reason": "It has no tokenizer."}],
        "datasets": [{"dataset": "shop/moods", "texts": 200, "distance": measured(0.4)}],
        "fusable": [
            {"models": ["commons/careful", "commons/careful-too"], "level": "weights"},
            {"models": ["commons/careful", "commons/plain"], "level": "weights, if one base"},
            {"models": ["commons/careful", "commons/guessing"], "level": "outputs"},
        ],
        "encoder": "commons/careful-too",
    }


def gather(gallery: Gallery) -> None:
    """Put it all into the gallery's hub."""
    hub, actors = gallery.hub, gallery.actors
    commons, shop, press = actors["commons"], actors["shop"], actors["press"]
    add_many(hub, commons)
    data = hub.repositories.create(shop, "dataset", "shop/moods")
    rows = "".join(f'{{"id": "i{k}", "text": "text <{k}>", "label": "bad"}}\n' for k in range(200))
    hub.commits.apply(
        shop, data, "main",
        [AddBytes("plait.yaml", MOODS.encode()), AddBytes("data/test.jsonl", rows.encode())],
        "Declare the tasks",
    )  # fmt: skip
    exam = hub.repositories.create(shop, "dataset", "shop/exam")
    hub.commits.apply(shop, exam, "main", [AddBytes("plait.yaml", EXAM.encode())], "Hide the test")
    for seed, (name, skill) in enumerate(SKILLS):
        card = f"---\nlicense: mit\ndatasets: [shop/train]\n---\n# {name}\n".encode()
        model = hub.repositories.create(commons, "model", f"commons/{name}")
        files = [AddBytes("README.md", card), keep(hub, model, WEIGHTS, _weights(seed))]
        hub.commits.apply(commons, model, "main", files, "Publish")
        model = hub.repositories.get(commons, "model", model.full_name)
        enter(hub, data, model, "mood", outcome(skill, seed))
        enter(hub, exam, model, "exam", outcome(skill - 0.05, seed), hidden=True)
    board = gallery.places["board"] = f"/datasets/{data.full_name}/leaderboard"
    gallery.places["row"] = f"{board}/1"
    gallery.places["hidden row"] = "/datasets/shop/exam/leaderboard/2"
    gallery.places["models"] = "/compare?model=commons/plain&model=commons/careful@main"
    made = hub.collections.create(shop, "shop", "Moods and exams")
    for name in (data.full_name, exam.full_name):
        hub.collections.add_item(shop, made.slug, "dataset", name)
    gallery.places["collection board"] = f"/collections/{made.slug}/leaderboard"
    offer = AddBytes("submissions/plain.yaml", b"model: commons/plain\n")
    opened = hub.commits.apply(commons, data, "main", [offer], "Ours", create_pr=True).discussion
    table = AddBytes(
        "data/test.jsonl", (rows + '{"id": "n", "text": "new", "label": 1}\n').encode()
    )
    more = hub.commits.apply(commons, data, "main", [table], "More rows", create_pr=True).discussion
    assert opened is not None and more is not None
    gallery.places["submission"] = f"/datasets/{data.full_name}/discussions/{opened.number}"
    gallery.places["rows"] = f"/datasets/{data.full_name}/discussions/{more.number}"
    gallery.places["compared"] = f"{board}/compare?task=mood&entry=1&entry=3&entry=5"
    hub.labels.put(commons, gallery.model, "needs data", colour="red")
    hub.labels.put(commons, gallery.model, "question", colour="blue")
    talk = hub.discussions.get(gallery.model, gallery.numbers["waiting"])
    hub.labels.assign(commons, gallery.model, talk, ["needs data", "question"])
    hub.discussions.add_comment(press, talk, "What does @commons-user think of <this>?")
    hub.discussions.add_comment(shop, talk, "@commons-user, it is ready.")
    locked = hub.discussions.create(press, gallery.model, "Loud", "Loud words.")
    hub.discussions.set_locked(commons, locked, True)
    gallery.numbers["locked"] = locked.number
    hub.social.follow(commons, "press")
    hub.social.follow(commons, "shop-user")
    numbers = [gallery.numbers[name] for name in ("unsure", "regresses", "text")]
    _finish(hub, "queue", queue_report(gallery, numbers), repo=gallery.model.id)
    main, head = (hub.git.resolve(gallery.model, at) for at in ("main", f"refs/pr/{numbers[0]}"))
    candidate = hub.git.write_commit(
        gallery.model, base=main, operations=[], parents=[main, head], message="Together",
        author=Author("plait"),
    )  # fmt: skip
    assert hub.previews.put_queue(gallery.model, candidate) is not None
    user = hub.accounts.get("commons-user")
    job = _finish(hub, suggest.KIND, ranking(), requested_by=user.id)
    gallery.places["suggested"] = f"/suggest?job={job}"
    gallery.places["measured"] = f"/compare?job={measured(hub, data, user.id)}"


def _weights(seed: int) -> bytes:
    from gallery import weights

    return weights(40 + seed)


def measured(hub: Hub, data: Repository, user: int) -> int:
    """Return the finished job that compared three models on a data set."""
    found = {
        hub.repositories.find("model", f"commons/{name}"): summarise(
            "test", {"mood": outcome(skill, seed)}
        )
        for seed, (name, skill) in enumerate(SKILLS[:3])
    }
    task = LoadedTask(Task("mood", "accuracy", (), ()), sha("moods"))
    kept = Measurements(hub, data, "test", [task])
    models = []
    for model, evaluation in found.items():
        assert model is not None
        kept._keep(sha(model.name), evaluation.to_json()["tasks"])
        models.append({"model": model.id, "oid": hub.git.head(model), "named": "main"})
    spec = TaskSpec(name="mood", dataset=data.full_name, metric="accuracy")
    result = {
        "keys": [sha(model.name) for model in found if model is not None],
        "tasks": [measuring._described(spec, task, list(found.values()))],
    }
    payload = {
        "dataset": data.id, "data": hub.git.head(data), "named": "", "split": "test", "task": "",
        "models": models,
    }  # fmt: skip
    return _finish(hub, measuring.KIND, result, payload, requested_by=user)


def _finish(
    hub: Hub, kind: str, result: dict[str, Any], payload: dict[str, Any] | None = None, **more: Any
) -> int:
    job = jobs.enqueue(hub, kind, payload or {}, **more)
    held = jobs.lease(hub, "worker", [kind])
    assert held is not None
    jobs.succeed(hub, held, result)
    return job.id


def community_addresses(gallery: Gallery) -> list[str]:
    """Pages of the community that everybody may open."""
    return [
        gallery.places["board"],
        f"{gallery.places['board']}?sort=size&license=mit",
        gallery.places["row"],
        "/datasets/shop/exam/leaderboard",
        gallery.places["compared"],
        "/compare",
        gallery.places["models"],
        gallery.places["measured"],
        gallery.places["collection board"],
        gallery.places["submission"],
        gallery.places["rows"],
        "/commons/sentiment/queue",
        "/commons/sentiment/activity",
        "/commons/sentiment/discussions",
        f"/commons/sentiment/discussions/{gallery.numbers['waiting']}",
        f"/commons/sentiment/discussions/{gallery.numbers['locked']}",
        "/activity/commons",
        "/activity/shop-user",
        "/commons/many/lineage?open=*",
    ]


def member_addresses(gallery: Gallery) -> list[str]:
    """Pages of the community that the user of ``commons`` alone sees."""
    return [
        "/notifications",
        "/activity",
        gallery.places["hidden row"],
        "/datasets/shop/exam/leaderboard/compare?task=exam&entry=2&entry=4",
        "/suggest",
        gallery.places["suggested"],
    ]


def chinese_addresses(gallery: Gallery) -> list[str]:
    """Pages of collaboration in Chinese, the last one in English again."""
    base = "/commons/sentiment"
    pages = [
        *(
            f"{base}/discussions/{gallery.numbers[name]}"
            for name in ("merged", "unsure", "waiting", "running", "text")
        ),
        f"{base}/discussions",
        f"{base}/contributions",
        f"{base}/lineage",
        f"{base}/queue",
        f"{base}/activity",
        gallery.places["board"],
        gallery.places["row"],
        gallery.places["compared"],
        gallery.places["models"],
        gallery.places["measured"],
        gallery.places["collection board"],
        gallery.places["rows"],
        "/notifications",
        gallery.places["suggested"],
    ]
    marked = [f"{page}{'&' if '?' in page else '?'}lang=zh" for page in pages]
    return [*marked, "/?lang=en"]
