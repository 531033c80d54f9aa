# SPDX-License-Identifier: Apache-2.0
"""Each organisation's fine-tuning, beside the others', on its own texts alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
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

    Small batches use one core well and two badly, so members run side by side, with more than
    one thread each only where there are more cores than members.

    Raises:
        PlaitError: a member's fine-tuning failed.
    """
    cores = os.cpu_count() or 1
    together = min(cores, len(members))
    threads = max(1, cores // together)
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    done: dict[str, float] = {member.name: 0.0 for member in members}

    def show(timeout: float) -> None:
        with suppress(queue.Empty):
            while True:
                name, fraction = messages.get(timeout=timeout)
                advance(fraction - done[name])
                done[name] = fraction

    pool = ProcessPoolExecutor(together, context, _remember, (messages,))
    try:
        work = {
            pool.submit(_work, member, endpoint, model, size, threads): member.name
            for member in members
        }
        while not all(future.done() for future in work):
            show(0.5)
            for future, name in work.items():
                if future.done() and (error := future.exception()) is not None:
                    raise PlaitError(f"The fine-tuning of {name} failed: {error}") from error
        show(0.1)
        pool.shutdown()
    except BaseException:
        _end(pool)
        raise


def _end(pool: ProcessPoolExecutor) -> None:
    """End a pool at once: what it computes is not wanted any more."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


_messages: Any = None


def _remember(messages: Any) -> None:
    global _messages  # noqa: PLW0603 - how a pool hands a queue to its processes
    _messages = messages
    # Ctrl-C in a terminal reaches every process of the group; the demo itself ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(member: Organisation, endpoint: str, model: str, size: Size, threads: int) -> None:
    fine_tune_member(
        member,
        endpoint,
        model,
        size,
        threads,
        lambda fraction: _messages.put((member.name, fraction)),
    )


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
