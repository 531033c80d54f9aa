# SPDX-License-Identifier: Apache-2.0
"""Each organisation's fine-tuning: a process of its own that sees its own texts alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import PlaitError

if TYPE_CHECKING:
    from plait.demo.organisations import Organisation
    from plait.demo.sizes import Size


def fine_tune_members(
    members: Sequence[Organisation],
    endpoint: str,
    model: str,
    size: Size,
    advance: Callable[[float], None],
) -> None:
    """Fine-tune for every member, as many at a time as there are cores.

    Small batches use one core well and two badly, so members run side by side with one thread
    each where there are at most as many cores as members.

    Raises:
        PlaitError: a member's fine-tuning failed; the others are stopped.
    """
    cores = os.cpu_count() or 1
    together = min(cores, len(members))
    threads = max(1, cores // together)
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    waiting = list(members)
    running: dict[str, BaseProcess] = {}
    done: dict[str, float] = {member.name: 0.0 for member in members}
    try:
        while waiting or running:
            while waiting and len(running) < together:
                member = waiting.pop(0)
                arguments = (member, endpoint, model, size, threads, messages)
                worker = context.Process(target=_work, args=arguments, daemon=True)
                worker.start()
                running[member.name] = worker
            try:
                name, fraction, error = messages.get(timeout=1)
            except queue.Empty:
                dead = [n for n, p in running.items() if p.exitcode not in (None, 0)]
                if dead:
                    raise PlaitError(f"The fine-tuning of {dead[0]} ended unexpectedly.") from None
                continue
            if error:
                raise PlaitError(f"The fine-tuning of {name} failed: {error}")
            advance(fraction - done[name])
            done[name] = fraction
            if fraction >= 1.0:
                running.pop(name).join()
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _work(
    member: Organisation, endpoint: str, model: str, size: Size, threads: int, messages: Any
) -> None:
    try:
        fine_tune_member(
            member,
            endpoint,
            model,
            size,
            threads,
            lambda fraction: messages.put((member.name, min(fraction, 0.999), None)),
        )
        messages.put((member.name, 1.0, None))
    except Exception as error:  # it must reach the person who waits, whatever it is
        messages.put((member.name, 0.0, f"{type(error).__name__}: {error}"))


def fine_tune_member(
    member: Organisation,
    endpoint: str,
    model: str,
    size: Size,
    threads: int,
    progress: Callable[[float], None],
) -> Path:
    """Fetch the base as the member, fine-tune it on the member's own texts, keep it at home."""
    from huggingface_hub import snapshot_download

    from plait.training import fine_tune

    base = snapshot_download(model, endpoint=endpoint, token=member.token)
    lines = (member.folder / "training.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    out = member.folder / "model"
    fine_tune(
        Path(base),
        [row["text"] for row in rows],
        [row["label"] for row in rows],
        out,
        epochs=size.epochs,
        learning_rate=size.learning_rate,
        batch_size=size.batch_size,
        max_length=size.max_length,
        freeze_head=True,
        balance_classes=size.balance_classes,
        seed=size.seed,
        threads=threads,
        progress=lambda step, steps, _loss: progress(step / steps),
    )
    return out
