"""What happened in runs, numbered and kept, and who waits to hear of it.

Whoever listens reads from the ledger what they have not heard yet, and waits for more: nothing is queued for anybody,
so a slow listener costs nothing and misses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio

from trueup.engine.ambient import Ambient
from trueup.engine.served import Event, Ledger

BATCH = 500
"""Events that are read at once."""
BEAT_SECONDS = 15.0
"""A silent stream says that it is alive: what is between it and the browser may cut it off otherwise."""


class Board:
    """Events of runs.

    Args:
        ledger: Where they are kept.
        ambient: Clock and threads.
    """

    def __init__(self, ledger: Ledger, ambient: Ambient) -> None:
        self._ledger = ledger
        self._ambient = ambient
        self._news: dict[str, anyio.Event] = {}
        self._closed = False

    async def post(self, run_id: str, *events: tuple[str, Mapping[str, Any]]) -> None:
        """Keep what happened, then tell of it."""
        await self._ambient.threads(self._ledger.append, run_id, events)
        self.ring(run_id)

    def ring(self, run_id: str) -> None:
        """Wake whoever waits for a run."""
        news = self._news.pop(run_id, None)
        if news is not None:
            news.set()

    def close(self) -> None:
        """End all streams: the server stops, and the runs go on being remembered."""
        self._closed = True
        for run_id in list(self._news):
            self.ring(run_id)

    async def listen(self, run_id: str, after: int) -> AsyncIterator[Event | None]:
        """Everything after an event, then what comes; None where nothing has come for a while.

        It ends when the run has ended and all is told, or the board is closed.
        """
        while True:
            news = self._news.setdefault(run_id, anyio.Event())  # before reading: what comes meanwhile rings it
            heard, over = await self._ambient.threads(self._heard, run_id, after)
            for event in heard:
                yield event
                after = event.n
            if len(heard) == BATCH:
                continue
            if over or self._closed:
                return
            with anyio.move_on_after(BEAT_SECONDS) as waiting:
                await news.wait()
            if waiting.cancelled_caught:
                yield None

    def _heard(self, run_id: str, after: int) -> tuple[list[Event], bool]:
        """Events, and whether nothing comes after them: an end that is seen first has all its events on disk."""
        run = self._ledger.find(run_id)
        events = self._ledger.events(run_id, after=after, limit=BATCH)
        return events, run is None or run.ended
