# SPDX-License-Identifier: Apache-2.0
"""The demo's progress: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

Advance = Callable[..., None]
"""``advance(amount, description=None)``."""


class Steps:
    """A bar for each step, kept on the screen when it is done."""

    def __init__(self) -> None:
        self._console = Console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._open = False

    def __enter__(self) -> Steps:
        self._progress.start()
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop drawing."""
        if self._open:
            self._progress.stop()
            self._open = False

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(text, highlight=False)

    @contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[Advance]:
        """Show a bar for the block; the block gets the callable that moves it."""
        if not self._console.is_terminal:
            self.say(f"{title} …")
        row = self._progress.add_task(title, total=total)

        def advance(amount: float, description: str | None = None) -> None:
            self._progress.update(row, advance=amount, description=description or title)

        yield advance
        self._progress.update(row, total=total or 1.0, completed=total or 1.0, description=title)
