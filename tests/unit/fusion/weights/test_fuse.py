# SPDX-License-Identifier: Apache-2.0
"""The folder that a fusion makes: whole or not there, and taken up again after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled, Conflict
from plait.fusion.weights import Progress, engine, fuse, fused_tensors, output
from plait.fusion.weights.output import partial_folder

from .models import bert, read_safetensors, to_bfloat16, write_model, write_safetensors

Family = Callable[..., dict[str, Path]]


def recipe(
    folders: dict[str, Path], method: str = "task_arithmetic", **more: Any
) -> dict[str, Any]:
    models = [str(p) for n, p in folders.items() if n != "base"]
    return {
        "merge_method": method,
        "base_model": str(folders["base"]),
        "models": [{"model": m, "parameters": {"weight": 0.3}} for m in models],
    } | more


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_writes_what_is_computed_in_memory(family: Family, tmp_path: Path) -> None:
    data = recipe(family())
    result = fuse(data, tmp_path / "out")
    written = read_safetensors(tmp_path / "out" / "model.safetensors")
    for name, values in fused_tensors(data):
        np.testing.assert_array_equal(written.pop(name), values)
    assert not written
    assert result.outputs == {"model.safetensors": sha256(tmp_path / "out" / "model.safetensors")}
    assert result.inputs[str(tmp_path / "m1")] == {
        "model.safetensors": sha256(tmp_path / "m1" / "model.safetensors")
    }
    assert leftovers(tmp_path) == []


def test_the_safetensors_library_reads_it(family: Family, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    data = recipe(family())
    fuse(data, tmp_path / "out")
    made = library.load_file(tmp_path / "out" / "model.safetensors")
    for name, values in fused_tensors(data):
        np.testing.assert_array_equal(made[name], values)


def test_empty_tensors_and_single_numbers(tmp_path: Path) -> None:
    shapes = {"none": (0, 3), "one": (), "few": (2, 1)}
    folders = {
        n: write_model(tmp_path / n, {k: np.full(s, v, np.float32) for k, s in shapes.items()})
        for n, v in (("base", 1), ("a", 2))
    }
    for method in ("task_arithmetic", "ties", "dare_ties"):
        data = recipe(folders, method)
        fuse(data, tmp_path / method)
        made = read_safetensors(tmp_path / method / "model.safetensors")
        assert {n: v.shape for n, v in made.items()} == shapes
        assert made["one"] == dict(fused_tensors(data))["one"]
    assert made["one"] == pytest.approx(1.3)


def test_an_output_given_by_a_crooked_path(family: Family, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    result = fuse(recipe(family()), tmp_path / "inside" / ".." / "out")
    assert result.out == tmp_path / "out"
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_only_some_tensors(family: Family) -> None:
    data = recipe(family())
    every = [n for n, _ in fused_tensors(data)]
    assert every == sorted(every)
    assert [n for n, _ in fused_tensors(data, only={"classifier.bias"})] == ["classifier.bias"]
    layer = [n for n, _ in fused_tensors(data, only=lambda n: ".layer.1." in n)]
    assert layer == [n for n in every if ".layer.1." in n]


def test_files_beside_the_weights_come_from_the_base(family: Family, tmp_path: Path) -> None:
    folders = family()
    (folders["base"] / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    (folders["base"] / "pytorch_model.bin").write_bytes(b"never copied")
    (folders["m0"] / "vocab.txt").write_text("of another")
    write_model(folders["base"], bert(0), torch_dtype="float32", num_hidden_layers=3)
    fuse(recipe(folders, out_dtype="bfloat16"), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "plait_fusion.json",
        "tokenizer.json",
    ]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == "bfloat16"
    assert config["num_hidden_layers"] == 3


def test_shards_in_and_out(family: Family, tmp_path: Path) -> None:
    folders = family()
    whole = fuse(recipe(folders), tmp_path / "whole")
    for folder in folders.values():
        tensors = read_safetensors(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = list(tensors)
        parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, own in parts.items():
            write_safetensors(folder / file, {n: tensors[n] for n in own})
        index = {n: f for f, own in parts.items() for n in own}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    again = fuse(recipe(folders), tmp_path / "again")
    assert again.outputs == whole.outputs
    split = fuse(recipe(folders), tmp_path / "split", out_shard_size=2000)
    assert len(split.outputs) > 2
    index = json.loads((tmp_path / "split" / "model.safetensors.index.json").read_text())
    together = {}
    for file in split.outputs:
        found = read_safetensors(tmp_path / "split" / file)
        assert all(index["weight_map"][n] == file for n in found)
        together |= found
    for name, values in read_safetensors(tmp_path / "whole" / "model.safetensors").items():
        np.testing.assert_array_equal(together[name], values)
    # and what was written in shards is read in shards
    one = {"merge_method": "passthrough", "models": [{"model": str(tmp_path / "split")}]}
    assert fuse(one, tmp_path / "joined").outputs == whole.outputs


class TestTheOutputFolder:
    def test_one_that_exists_is_kept(self, family: Family, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("years of work")
        for overwrite in (False, True):
            with pytest.raises(Conflict):
                fuse(recipe(family()), tmp_path / "out", overwrite=overwrite)
        assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"

    def test_an_empty_one_is_used(self, family: Family, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        assert fuse(recipe(family()), tmp_path / "out").outputs

    def test_an_earlier_fusion_is_replaced_when_asked(self, family: Family, tmp_path: Path) -> None:
        folders = family()
        first = fuse(recipe(folders), tmp_path / "out")
        with pytest.raises(Conflict, match="exists already"):
            fuse(recipe(folders, "linear"), tmp_path / "out")
        second = fuse(recipe(folders, "linear"), tmp_path / "out", overwrite=True)
        assert second.outputs != first.outputs
        assert sha256(tmp_path / "out" / "model.safetensors") == second.outputs["model.safetensors"]
        assert leftovers(tmp_path) == []

    def test_an_input_is_never_the_output(self, family: Family, tmp_path: Path) -> None:
        folders = family()
        fuse(recipe(folders), tmp_path / "out")
        data = recipe({"base": folders["base"], "out": tmp_path / "out"})
        with pytest.raises(BadInput, match="one of the inputs"):
            fuse(data, tmp_path / "out", overwrite=True)

    def test_two_runs_do_not_mix(self, family: Family, tmp_path: Path) -> None:
        data = recipe(family())

        def second(progress: Progress) -> None:
            if progress.stage == "fusing":
                with pytest.raises(Conflict, match="Another run"):
                    fuse(data, tmp_path / "out")

        fuse(data, tmp_path / "out", progress=second)
        assert leftovers(tmp_path) == []


class TestNothingHalfDone:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("method", ["linear", "ties"])
    def test_not_a_number(self, family: Family, tmp_path: Path, bad: float, method: str) -> None:
        folders = family()
        tensors = read_safetensors(folders["m1"] / "model.safetensors")
        poisoned = tensors["classifier.weight"].copy()
        poisoned[1, 3] = bad
        write_model(folders["m1"], tensors | {"classifier.weight": poisoned})
        kind = "NaN" if np.isnan(bad) else "infinity"
        with pytest.raises(BadInput) as caught:
            fuse(recipe(folders, method), tmp_path / "out")
        assert str(folders["m1"] / "model.safetensors") in caught.value.message
        assert f"'classifier.weight' holds {kind} (element 19)" in caught.value.message
        assert not (tmp_path / "out").exists()
        assert leftovers(tmp_path) == []

    def test_not_a_number_in_bfloat16_where_ties_would_drop_it(self, tmp_path: Path) -> None:
        base = to_bfloat16(np.ones(100))
        tuned = base.copy()
        tuned[42] = 0x7FC0
        folders = {
            n: write_model(tmp_path / n, {"w": v}) for n, v in (("base", base), ("a", tuned))
        }
        data = recipe(folders, "ties", parameters={"density": 0.1})
        with pytest.raises(BadInput, match=r"'w' holds NaN \(element 42\)"):
            list(fused_tensors(data))

    def test_a_result_that_does_not_fit(self, tmp_path: Path) -> None:
        folders = {
            n: write_model(tmp_path / n, {"w": np.full(4, v, np.float16)})
            for n, v in (("base", 0), ("a", 60000))
        }
        data = recipe(folders)
        data["models"][0]["parameters"]["weight"] = 2
        with pytest.raises(BadInput, match="values that float16 cannot hold"):
            fuse(data, tmp_path / "out")
        assert leftovers(tmp_path) == []
        assert fuse(data | {"out_dtype": "float32"}, tmp_path / "out").outputs

    @pytest.mark.parametrize("stage", ["reading", "fusing", "checking"])
    def test_cancelled(self, family: Family, tmp_path: Path, stage: str) -> None:
        seen: list[str] = []
        with pytest.raises(Cancelled):
            fuse(
                recipe(family()),
                tmp_path / "out",
                progress=lambda p: seen.append(p.stage),
                cancelled=lambda: stage in seen,
            )
        assert not (tmp_path / "out").exists()
        assert leftovers(tmp_path) == []

    def test_an_input_that_changes_meanwhile(self, family: Family, tmp_path: Path) -> None:
        folders = family()

        def meddle(progress: Progress) -> None:
            if progress.stage == "fusing" and progress.done == progress.total:
                os.utime(folders["m0"] / "model.safetensors", ns=(1, 1))

        with pytest.raises(BadInput, match="changed while it was read"):
            fuse(recipe(folders), tmp_path / "out", progress=meddle)
        assert not (tmp_path / "out").exists()

    def test_an_input_that_shrinks_meanwhile(self, family: Family, tmp_path: Path) -> None:
        folders = family()

        def meddle(progress: Progress) -> None:
            if progress.stage == "fusing" and progress.done == 0:
                os.truncate(folders["m0"] / "model.safetensors", 3000)

        with pytest.raises(BadInput, match="became shorter"):
            fuse(recipe(folders), tmp_path / "out", progress=meddle)
        assert leftovers(tmp_path) == []


def test_progress_goes_from_nothing_to_all(family: Family, tmp_path: Path) -> None:
    told: list[Progress] = []
    fuse(recipe(family()), tmp_path / "out", progress=told.append)
    assert list(dict.fromkeys(p.stage for p in told)) == ["reading", "fusing", "checking"]
    for stage in ("reading", "fusing", "checking"):
        own = [p for p in told if p.stage == stage]
        assert own[0].done == 0
        assert own[-1].done == own[-1].total > 0


# makes parts slowly and journals each at once, so that it can be killed in the middle
SLOW = """
import sys, time
from pathlib import Path
from plait.fusion.weights import engine, fuse, output
output.JOURNAL_SECONDS = 0
make = engine.Engine.make
def slowly(*args):
    make(*args)
    time.sleep(0.05)
engine.Engine.make = slowly
fuse(Path(sys.argv[1]), sys.argv[2], threads=2)
"""


def killed(recipe_path: Path, out: Path, parts: int) -> int:
    """Run a fusion and kill it when its journal has so many parts; return how many it has then."""
    journal = partial_folder(out) / output.JOURNAL
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(recipe_path), str(out)])
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline and child.poll() is None:
            if journal.exists() and journal.read_text().count("\n") > parts:
                break
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    return journal.read_text().count("\n") - 1


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe(family(), "ties", parameters={"density": 0.4})
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(data))
    wanted = fuse(data, tmp_path / "wanted")
    done = killed(path, tmp_path / "out", 4)
    assert not (tmp_path / "out").exists()
    made: list[str] = []
    make = engine.Engine.make

    def counted(self: engine.Engine, job: Any, *rest: Any) -> None:
        made.append(job.name)
        make(self, job, *rest)

    monkeypatch.setattr(engine.Engine, "make", counted)
    result = fuse(path, tmp_path / "out")
    assert result.resumed
    assert result.outputs == wanted.outputs
    assert len(made) == len(bert(0)) - done
    assert leftovers(tmp_path) == []


def test_what_was_killed_is_not_gone_on_with_after_a_change(family: Family, tmp_path: Path) -> None:
    folders = family()
    data = recipe(folders)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(data))
    killed(path, tmp_path / "out", 4)
    write_model(folders["m1"], bert(77, bert(0)))
    result = fuse(data, tmp_path / "out")
    assert not result.resumed
    assert result.outputs == fuse(data, tmp_path / "other").outputs


def test_a_journal_cut_off_in_the_middle_of_a_line(family: Family, tmp_path: Path) -> None:
    data = recipe(family())
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(data))
    killed(path, tmp_path / "out", 4)
    with (partial_folder(tmp_path / "out") / output.JOURNAL).open("a") as journal:
        journal.write('"bert.encoder.layer.2.outp')
    result = fuse(data, tmp_path / "out")
    assert result.resumed
    assert result.outputs == fuse(data, tmp_path / "other").outputs


def test_memory_stays_within_buffers(tmp_path: Path) -> None:
    """Fuse models of 48 MB in a process that may not have that much."""
    random = np.random.default_rng(0)
    base = {
        f"layer.{i}.w": random.standard_normal((1000, 1500)).astype(np.float32) for i in range(8)
    }
    folders = {
        n: write_model(tmp_path / n, {k: v + i for k, v in base.items()})
        for i, n in enumerate(("base", "a", "b"))
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe(folders, "ties", parameters={"density": 0.3})))
    script = (
        "import sys; from plait.fusion.weights import fuse\n"
        "def anonymous():\n"
        "    for line in open('/proc/self/status'):\n"
        "        if line.startswith('RssAnon'): return int(line.split()[1]) / 1000\n"
        "before = anonymous(); most = 0\n"
        "def watch(p):\n"
        "    global most; most = max(most, anonymous())\n"
        "fuse(sys.argv[1], sys.argv[2], threads=2, progress=watch)\n"
        "print(most - before)"
    )
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "out")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(told.stdout) < 30


def test_importing_is_light() -> None:
    script = (
        "import sys, plait.fusion\n"
        "heavy = {'torch', 'transformers', 'safetensors', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
