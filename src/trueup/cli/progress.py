"""Progress of long work on stderr: bars on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from trueup.cli.common import Output, Session
from trueup.core.report import Status
from trueup.render.documents import event
from trueup.render.names import printable, size
from trueup.render.text import line

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from trueup.api import Progress

BARS_AFTER_SECONDS = 1.0
"""Work that takes less shows nothing."""

LINE_SECONDS = 10.0
EVENT_SECONDS = 1.0
_SHOWN = 40
"""Columns for the name at hand."""


class Display:
    """Is called for everything that happens; shows a little of it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._phase = ""
        now = time.monotonic()
        self._phase_since = self._line_at = self._event_at = now

    def update(self, progress: Progress) -> None:
        """Something happened."""
        now = time.monotonic()
        if self._session.output is Output.JSONL:
            self._emit(progress, now)
        if self._session.quiet:
            return
        if _lively():
            self._update_bars(progress, now)
        elif now - self._line_at >= LINE_SECONDS:
            self._line_at = now
            self._session.tell([line(_sentence(progress))])

    def close(self) -> None:
        """Take the bars away; before anything else is written to the terminal."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._task = None
        self._phase = ""

    def _emit(self, progress: Progress, now: float) -> None:
        """Every outcome is an event; of mere progress, one a second."""
        if progress.outcome is not None:
            self._session.answer(event("outcome", outcome=progress.outcome, done=progress.done, total=progress.total))
        elif now - self._event_at >= EVENT_SECONDS:
            self._event_at = now
            self._session.answer(
                event(
                    "progress",
                    phase=progress.phase,
                    side=progress.side,
                    done=progress.done,
                    total=progress.total,
                    bytes=progress.bytes,
                    total_bytes=progress.total_bytes,
                    current=progress.current,
                )
            )

    def _update_bars(self, progress: Progress, now: float) -> None:
        if progress.phase != self._phase:
            self.close()
            self._phase, self._phase_since = progress.phase, now
        if self._bars is None and now - self._phase_since >= BARS_AFTER_SECONDS:
            self._bars = _bars(with_bytes=bool(progress.total_bytes))
            self._bars.start()
            self._task = self._bars.add_task("", total=None, items="", current="")
        if self._bars is not None and self._task is not None:
            by_bytes = bool(progress.total_bytes)
            self._bars.update(
                self._task,
                description=_phase(progress),
                completed=progress.bytes if by_bytes else progress.done,
                total=progress.total_bytes if by_bytes else progress.total,
                items=_items(progress),
                current=_shortened(printable(progress.current)),
            )


def _lively() -> bool:
    import os

    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _bars(*, with_bytes: bool) -> Bars:
    from rich import progress
    from rich.console import Console

    moved = (progress.DownloadColumn(), progress.TransferSpeedColumn()) if with_bytes else ()
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.TextColumn("{task.fields[items]}", markup=False),
        *moved,
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[current]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


def _phase(progress: Progress) -> str:
    return f"{progress.phase} {progress.side}" if progress.side else progress.phase


def _items(progress: Progress) -> str:
    return f"{progress.done:,}" + ("" if progress.total is None else f"/{progress.total:,}")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else "..." + text[3 - _SHOWN :]


def _sentence(progress: Progress) -> str:
    moved = ""
    if progress.total_bytes:
        moved = f", {size(progress.bytes)} of {size(progress.total_bytes)}"
    elif progress.bytes:
        moved = f", {size(progress.bytes)}"
    failed = ""
    if progress.outcome is not None and progress.outcome.status is not Status.DONE:
        failed = f" ({progress.outcome.status.value})"
    current = f": {printable(progress.current)}{failed}" if progress.current else ""
    return f"{_phase(progress)}: {_items(progress)} items{moved}{current}"
