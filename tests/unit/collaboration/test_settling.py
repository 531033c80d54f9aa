# SPDX-License-Identifier: Apache-2.0
"""Conflicts are listed with both sides, and settled by a commit on the pull request's branch."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from collaboration.conftest import CARD, Place
from plait.cards import parse_card
from plait.collaboration import jobs
from plait.collaboration.merging.drivers import Outcome, Resolution, Work, register, unregister
from plait.collaboration.merging.drivers.base import one_sided
from plait.collaboration.merging.resolutions import (
    dump_resolutions,
    parse_resolutions,
    together,
)
from plait.collaboration.requests import request_merge
from plait.collaboration.settling import find_conflicts, settle
from plait.collaboration.worker import Worker
from plait.errors import BadInput, Conflict, Forbidden, PlaitError
from plait.hub import AddBytes, AddPointer, Delete, Discussion, Operation
from plait.tables import Value, read_table


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def large(place: Place, path: str, data: bytes) -> Operation:
    sha256, size = place.hub.blobs.write([data])
    with place.hub.session(write=True) as session:
        place.hub.grant_blob(session, place.repo, sha256, size)
    return AddPointer(path, sha256, size)


def conflicted(place: Place) -> Discussion:
    """Propose what contradicts main in a text, a table and the card."""
    rows = [{"id": n, "text": f"t{n}", "label": 0} for n in range(3)]
    place.write(AddBytes("data/train.jsonl", lines(rows)))
    theirs = [{**rows[0], "label": 1}, {**rows[1], "text": "pull"}, rows[2]]
    pull = place.propose(
        AddBytes("notes.txt", b"a\nb\nPULL\nd\ne\n"),
        AddBytes("data/train.jsonl", lines(theirs)),
        AddBytes("README.md", CARD.replace("apache-2.0", "mit").replace("Two.", "Zwei.").encode()),
    )
    ours = [{**rows[0], "label": 2}, {**rows[1], "text": "main"}, rows[2]]
    place.write(
        AddBytes("notes.txt", b"a\nb\nMAIN\nd\ne\n"),
        AddBytes("data/train.jsonl", lines(ours)),
        AddBytes("README.md", CARD.replace("apache-2.0", "bsd-2-clause").encode()),
    )
    return pull


def found(place: Place, pull: Discussion) -> dict[str, Any]:
    listed = find_conflicts(place.hub, place.repo, pull)
    assert listed.known
    return {one.path: one for one in listed.files}


def test_conflicts_are_listed_with_both_sides(place: Place) -> None:
    pull = conflicted(place)
    listed = found(place, pull)
    assert sorted(listed) == ["README.md", "data/train.jsonl", "notes.txt"]
    (licence,) = listed["README.md"].places
    assert (licence.where, licence.main, licence.pull) == ("license", "bsd-2-clause", "mit")
    cells = [(p.where, p.base, p.main, p.pull) for p in listed["data/train.jsonl"].places]
    assert cells == [
        ("row 0, column 'label'", 0, 2, 1),
        ("row 1, column 'text'", "t1", "main", "pull"),
    ]
    (region,) = listed["notes.txt"].places
    assert (region.where, region.main, region.pull) == ("line 3", "MAIN\n", "PULL\n")
    with pytest.raises(Conflict, match="plait pr resolve"):
        request_merge(place.hub, place.owner, place.repo, pull)


@pytest.mark.parametrize("side", ["main", "pull"])
def test_a_side_for_everything_settles_and_the_merge_goes_on(place: Place, side: Any) -> None:
    pull = conflicted(place)
    before = place.hub.git.head(place.repo, f"refs/pr/{pull.number}")
    everything = {path: Resolution(rest=side) for path in found(place, pull)}
    done = settle(place.hub, place.stranger, place.repo, pull, everything)
    assert done.commit is not None
    info = place.hub.git.commit_info(place.repo, done.commit)
    assert info.author == "bob"
    assert info.parents == (before, place.hub.git.head(place.repo))
    assert not found(place, pull)
    request_merge(place.hub, place.owner, place.repo, pull)
    word = "MAIN" if side == "main" else "PULL"
    assert place.read("notes.txt") == f"a\nb\n{word}\nd\ne\n"
    rows = [json.loads(line) for line in place.read("data/train.jsonl").splitlines()]
    assert rows[0]["label"] == (2 if side == "main" else 1)
    # landing writes the licence of the whole; what was chosen is what was settled
    card = parse_card(place.read("README.md", done.commit))
    assert card.data["license"] == ("bsd-2-clause" if side == "main" else "mit")
    assert "Zwei." in card.text  # what did not contradict is kept from both


def test_place_by_place_with_values_of_ones_own_and_in_steps(place: Place) -> None:
    pull = conflicted(place)
    listed = found(place, pull)
    first, second = (place.id for place in listed["data/train.jsonl"].places)
    part = settle(
        place.hub, place.stranger, place.repo, pull,
        {
            "data/train.jsonl": Resolution(places={first: Value(7)}),
            "README.md": Resolution(places={"license": "pull"}),
        },
    )  # fmt: skip
    assert part.left == 2
    assert sorted(found(place, pull)) == ["data/train.jsonl", "notes.txt"]
    (region,) = listed["notes.txt"].places
    done = settle(
        place.hub, place.owner, place.repo, pull,
        {
            "data/train.jsonl": Resolution(places={second: "main"}),
            "notes.txt": Resolution(places={region.id: Value("both\n")}),
        },
    )  # fmt: skip
    assert done.left == 0
    request_merge(place.hub, place.owner, place.repo, pull)
    rows = [json.loads(line) for line in place.read("data/train.jsonl").splitlines()]
    assert (rows[0]["label"], rows[1]["text"]) == (7, "main")
    assert place.read("notes.txt") == "a\nb\nboth\nd\ne\n"
    names = place.hub.git.tree(place.repo, place.hub.git.resolve(place.repo, "main"))
    assert "plait_resolutions.yaml" not in [entry.path for entry in names]


def test_a_recipe_in_the_pull_request_settles_and_never_lands(place: Place) -> None:
    pull = conflicted(place)
    recipe = (
        b"notes.txt: pull\nREADME.md: {places: {license: main}}\ndata/train.jsonl: {rest: pull}\n"
    )
    place.hub.commits.apply(
        place.stranger, place.repo, f"refs/pr/{pull.number}",
        [AddBytes("plait_resolutions.yaml", recipe)], "decide", "",
    )  # fmt: skip
    assert not found(place, pull)
    request_merge(place.hub, place.owner, place.repo, pull)
    assert "PULL" in place.read("notes.txt")
    assert parse_card(place.read("README.md")).data["license"] == "bsd-2-clause"
    names = place.hub.git.tree(place.repo, place.hub.git.resolve(place.repo, "main"))
    assert "plait_resolutions.yaml" not in [entry.path for entry in names]


def test_a_gate_keeps_what_is_in_the_files(place: Place) -> None:
    pull = conflicted(place)
    repo = place.hub.repositories.update(place.owner, place.repo, gated="manual")
    with pytest.raises(Conflict) as refused:
        request_merge(place.hub, place.owner, repo, pull)
    assert "notes.txt" in str(refused.value)
    assert "PULL" not in str(refused.value)


def test_whole_files_are_taken_from_a_side(place: Place) -> None:
    place.write(AddBytes("picture.png", b"\x89PNG\xff\x00"), AddBytes("old.txt", b"x\n"))
    pull = place.propose(AddBytes("picture.png", b"\x89PNG\xff\x01"), Delete("old.txt"))
    place.write(AddBytes("picture.png", b"\x89PNG\xff\x02"), AddBytes("old.txt", b"y\n"))
    listed = found(place, pull)
    assert listed["picture.png"].reason == "not text"
    assert listed["old.txt"].reason == "the pull request removed it, main changed it"
    settle(
        place.hub, place.owner, place.repo, pull,
        {"picture.png": Resolution(rest="pull"), "old.txt": Resolution(rest="pull")},
    )  # fmt: skip
    request_merge(place.hub, place.owner, place.repo, pull)
    oid = place.hub.git.resolve(place.repo, "main")
    assert place.hub.git.read(place.repo, oid, "picture.png").endswith(b"\x01")
    assert "old.txt" not in [e.path for e in place.hub.git.tree(place.repo, oid)]


def test_decisions_that_do_not_fit_are_refused(place: Place) -> None:
    pull = conflicted(place)
    with pytest.raises(BadInput, match="has no conflict"):
        settle(place.hub, place.owner, place.repo, pull, {"other": Resolution(rest="main")})
    with pytest.raises(Conflict, match="changed since"):
        wrong = {"notes.txt": Resolution(places={"5-00": "main"})}
        settle(place.hub, place.owner, place.repo, pull, wrong)
    with pytest.raises(BadInput, match="cannot be given as text"):
        table = {"data/train.jsonl": Resolution(content="x")}
        settle(place.hub, place.owner, place.repo, pull, table)
    with pytest.raises(BadInput, match="main, pull"):
        parse_resolutions(b"notes.txt: theirs\n")
    with pytest.raises(BadInput, match="unknown key"):
        parse_resolutions({"notes.txt": {"take": "main"}})


def test_only_who_may_write_the_branch_settles(place: Place) -> None:
    pull = conflicted(place)
    other = place.hub.accounts.actor_for(place.hub.accounts.create_user("eve"))
    with pytest.raises(Forbidden):
        settle(place.hub, other, place.repo, pull, {"notes.txt": Resolution(rest="main")})
    assert len(found(place, pull)) == 3


def test_resolutions_are_read_as_they_were_written() -> None:
    made = {
        "a": Resolution(rest="main"),
        "b": Resolution("pull", {"x": "main", "y": Value([1, "z"])}),
        "c": Resolution(content="text\n"),
    }
    assert parse_resolutions(dump_resolutions(made)) == made
    more = together(made, {"b": Resolution(places={"x": "pull"}), "a": Resolution(rest="pull")})
    assert more["b"].places == {"x": "pull", "y": Value([1, "z"])}
    assert more["a"].rest == "pull"


class TestLargeTables:
    """Parquet and large files are read and merged by a job."""

    rows = ({"id": 1, "text": "one"}, {"id": 2, "text": "two"})

    def propose(self, place: Place, theirs: Any, ours: Any) -> Discussion:
        place.write(large(place, "data/train.parquet", parquet([*self.rows])))
        pull = place.propose(large(place, "data/train.parquet", parquet(theirs)))
        place.write(large(place, "data/train.parquet", parquet(ours)))
        return pull

    def merged(self, place: Place) -> list[dict[str, Any]]:
        oid = place.hub.git.resolve(place.repo, "main")
        opened = place.hub.commits.open_file(place.repo, oid, "data/train.parquet")
        assert opened.lfs
        data = b"".join(opened.read())
        return [dict(r.values) for r in read_table(data, "parquet", "f").rows]

    def work(self, place: Place) -> None:
        worker = Worker(place.hub)
        while worker.run_once():
            pass

    def test_rows_of_both_land_as_a_new_blob(self, place: Place) -> None:
        pull = self.propose(
            place,
            [*self.rows, {"id": 4, "text": "pull"}],
            [*self.rows, {"id": 3, "text": "main"}],
        )
        outcome = request_merge(place.hub, place.owner, place.repo, pull)
        assert outcome.job is not None
        assert request_merge(place.hub, place.owner, place.repo, pull).job.id == outcome.job.id  # type: ignore[union-attr]
        self.work(place)
        assert place.hub.discussions.get(place.repo, pull.number).status == "merged"
        assert [row["id"] for row in self.merged(place)] == [1, 2, 3, 4]
        said = [e.data.get("raw", "") for e in place.hub.discussions.events(pull)]
        assert any("1 rows added" in text for text in said)

    def test_its_conflicts_are_found_and_settled_by_jobs(self, place: Place) -> None:
        pull = self.propose(
            place,
            [{"id": 1, "text": "PULL"}, self.rows[1]],
            [{"id": 1, "text": "MAIN"}, self.rows[1]],
        )
        assert not find_conflicts(place.hub, place.repo, pull).known
        request_merge(place.hub, place.owner, place.repo, pull)
        self.work(place)
        job = jobs.latest(place.hub, pull.id)
        assert job is not None
        assert job.state == "failed"
        (conflict,) = found(place, pull).values()
        (cell,) = conflict.places
        decided = {"data/train.parquet": Resolution(places={cell.id: "pull"})}
        assert settle(place.hub, place.stranger, place.repo, pull, decided).job is not None
        self.work(place)
        request_merge(place.hub, place.owner, place.repo, pull)
        self.work(place)
        assert self.merged(place)[0]["text"] == "PULL"

    def test_any_order_gives_the_same_blob(self, place: Place) -> None:
        found = set()
        base = parquet([*self.rows])
        additions = [{"id": n, "text": f"row {n}"} for n in (5, 3, 9)]
        for turn, order in enumerate(([0, 1, 2], [2, 0, 1], [1, 2, 0])):
            path = f"data/{turn}.parquet"
            place.write(large(place, path, base))
            pulls = [
                place.propose(large(place, path, parquet([*self.rows, row])), title=f"{turn} {n}")
                for n, row in enumerate(additions)
            ]
            for number in order:
                request_merge(place.hub, place.owner, place.repo, pulls[number])
                self.work(place)
            oid = place.hub.git.resolve(place.repo, "main")
            entry = place.hub.git.entry(place.repo, oid, path)
            assert entry.lfs is not None
            found.add(entry.lfs.sha256)
        assert len(found) == 1


class TestContamination:
    text = "the film was a long and rather tedious affair with no end in sight number {}"

    def rows(self, *numbers: int) -> bytes:
        return lines([{"id": n, "text": self.text.format(n) + f" {n * 7}"} for n in numbers])

    def test_test_rows_are_refused_with_count_and_place(self, place: Place) -> None:
        place.write(
            AddBytes("data/train.jsonl", self.rows(1, 2)),
            AddBytes("data/test.jsonl", self.rows(100, 101, 102)),
        )
        mixed = self.rows(1, 2) + lines(
            [
                {"id": 50, "text": "nothing like the others at all, an entirely new sentence here"},
                {"id": 51, "text": self.text.format(101) + " 707"},
                {"id": 52, "text": self.text.format(102).upper() + " 714"},
            ]
        )
        pull = place.propose(AddBytes("data/train.jsonl", mixed))
        with pytest.raises(Conflict) as refused:
            request_merge(place.hub, place.owner, place.repo, pull)
        assert "2 rows (2 word for word) also stand in 'data/test.jsonl'" in str(refused.value)
        assert "number 2, 3 of those it adds" in str(refused.value)
        place.write(AddBytes("plait.yaml", b"merge: {contamination: show}\n"))
        request_merge(place.hub, place.owner, place.repo, pull)
        said = [e.data.get("raw", "") for e in place.hub.discussions.events(pull)]
        assert any("2 of them stand in the test split" in text for text in said)

    def test_a_new_file_is_looked_through_too(self, place: Place) -> None:
        place.write(AddBytes("splits/held.jsonl", self.rows(7)))
        place.write(AddBytes("plait.yaml", b"merge: {tests: ['splits/held*']}\n"))
        pull = place.propose(AddBytes("more/extra.jsonl", self.rows(7, 8)))
        with pytest.raises(Conflict, match=r"1 row \(1 word for word\).*held.jsonl"):
            request_merge(place.hub, place.owner, place.repo, pull)

    def test_items_of_a_hidden_split_are_refused_without_telling_which(self, place: Place) -> None:
        draw = random.Random(4)
        texts = [" ".join(f"w{draw.randrange(10**6)}" for _ in range(12)) for _ in range(300)]
        data = place.hub.repositories.create(place.owner, "dataset", "commons/texts")
        place = replace(place, repo=data)
        place.write(
            AddBytes("plait.yaml", b"evaluation: {hidden: [exam]}\n"),
            AddBytes("data/train.jsonl", self.rows(1)),
        )
        exam = lines([{"id": n, "text": text} for n, text in enumerate(texts)])
        place.hub.hidden.put(place.owner, place.repo, "exam.jsonl", exam)
        for first, bring in ((0, 6), (10, 2)):
            stolen = [{"id": 900 + n, "text": texts[first + n]} for n in range(bring)]
            pull = place.propose(AddBytes("data/train.jsonl", self.rows(1) + lines(stolen)))
            request_merge(place.hub, place.owner, data, pull)
            assert Worker(place.hub).run_once()
            job = jobs.latest(place.hub, pull.id)
            assert job is not None
            if bring == 2:  # of three hundred: by chance perhaps, and a refusal would tell of them
                assert job.state == "succeeded"
                assert len(place.read("data/train.jsonl").splitlines()) == 3
                continue
            assert job.state == "failed" and "hidden split 'exam'" in (job.error or "")
            said = [e.data.get("raw", "") for e in place.hub.discussions.events(pull)]
            told = " ".join((job.error or "", *said))
            assert not any(word in told for text in texts for word in text.split())
            assert not any(str(900 + n) in told for n in range(bring))
            assert len(place.read("data/train.jsonl").splitlines()) == 1

    def test_near_duplicates_are_shown_and_land(self, place: Place) -> None:
        long = " ".join(f"word{n}" for n in range(40))
        place.write(AddBytes("data/train.jsonl", lines([{"text": long}])))
        added = lines([{"text": long}, {"text": long.replace("word39", "other")}, {"text": long}])
        pull = place.propose(AddBytes("data/train.jsonl", added))
        request_merge(place.hub, place.owner, place.repo, pull)
        said = [e.data.get("raw", "") for e in place.hub.discussions.events(pull)]
        assert any("1 left out that were there already" in text for text in said)
        assert any("1 new rows nearly repeat others" in text for text in said)
        assert any("nearly repeats `word0 word1" in text for text in said)
        assert len(place.read("data/train.jsonl").splitlines()) == 2


class TestDrivers:
    def test_plait_yaml_chooses_driver_and_key(self, place: Place) -> None:
        rules = b"merge: {drivers: {'raw/*': whole}, tables: {'data/*': {key: [a, b]}}}\n"
        table = b"a,b,n\n1,1,0\n1,2,0\n"
        place.write(
            AddBytes("plait.yaml", rules),
            AddBytes("raw/x.csv", table),
            AddBytes("data/x.csv", table),
        )
        pull = place.propose(
            AddBytes("raw/x.csv", table + b"2,2,2\n"),
            AddBytes("data/x.csv", b"a,b,n\n1,1,5\n1,2,0\n"),
        )
        place.write(
            AddBytes("raw/x.csv", table + b"3,3,3\n"),
            AddBytes("data/x.csv", b"a,b,n\n1,1,0\n1,2,6\n"),
        )
        (only,) = found(place, pull).values()
        assert (only.path, only.driver) == ("raw/x.csv", "whole")
        settle(place.hub, place.owner, place.repo, pull, {"raw/x.csv": Resolution(rest="pull")})
        request_merge(place.hub, place.owner, place.repo, pull)
        assert place.read("data/x.csv") == "a,b,n\n1,1,5\n1,2,6\n"

    def test_an_unknown_driver_is_told_with_the_nearest(self, place: Place) -> None:
        place.write(AddBytes("plait.yaml", b"merge: {drivers: {'*.txt': tabel}}\n"))
        pull = place.propose(AddBytes("notes.txt", b"x\n"))
        with pytest.raises(BadInput, match="table"):
            request_merge(place.hub, place.owner, place.repo, pull)

    def test_a_registered_driver_takes_its_files_together(self, place: Place) -> None:
        class Graph:
            name = "graph"
            whole = True

            def __init__(self) -> None:
                self.seen: list[list[str]] = []

            def claims(self, work: Work, path: str) -> bool:
                return path.startswith("graph/")

            def large(self, work: Work, paths: Any) -> bool:
                return False

            def merge(self, work: Work, paths: Any) -> Outcome:
                self.seen.append(list(paths))
                done = Outcome(notes=({"path": "graph", "driver": "graph", "text": "joined"},))
                for path in paths:
                    if one_sided(work, path) is None:
                        joined = b"".join(sorted(d for d in work.bytes(path)[1:] if d))
                        done += Outcome((AddBytes(path, joined),))
                return done

        driver = Graph()
        place.write(AddBytes("graph/a", b"0\n"), AddBytes("graph/b", b"0\n"))
        register(driver)
        try:
            pull = place.propose(AddBytes("graph/a", b"1\n"), AddBytes("graph/b", b"1\n"))
            place.write(AddBytes("graph/a", b"2\n"), AddBytes("graph/b", b"2\n"))
            request_merge(place.hub, place.owner, place.repo, pull)
        finally:
            unregister("graph")
        assert driver.seen == [["graph/a", "graph/b"]]
        assert place.read("graph/a") == "1\n2\n"
        said = [e.data.get("raw", "") for e in place.hub.discussions.events(pull)]
        assert any("joined" in text for text in said)

    def test_a_table_that_cannot_be_read_merges_by_lines(self, place: Place) -> None:
        place.write(AddBytes("odd.csv", b"a,a\n1,1\n2,2\n3,3\n"))
        pull = place.propose(AddBytes("odd.csv", b"a,a\n1,1\n2,2\n3,4\n"))
        place.write(AddBytes("odd.csv", b"a,a\n9,9\n2,2\n3,3\n"))
        request_merge(place.hub, place.owner, place.repo, pull)
        assert place.read("odd.csv") == "a,a\n9,9\n2,2\n3,4\n"

    def test_a_plait_yaml_that_cannot_be_read_can_be_mended(self, place: Place) -> None:
        place.write(AddBytes("plait.yaml", b"merge: {nothing: 1}\n"))
        pull = place.propose(AddBytes("plait.yaml", b"merge: {}\n"))
        request_merge(place.hub, place.owner, place.repo, pull)
        assert place.read("plait.yaml") == "merge: {}\n"
        assert isinstance(PlaitError("x"), Exception)
