"""An event loop without a machine behind it: time is virtual, and a seed draws whose turn it is.

Everything that waits, waits in this loop; nothing else has to be replaced for anyio and the engine to run on it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from enum import StrEnum
from random import Random
from types import coroutine
from typing import Any, Protocol

from anyio._backends._asyncio import _task_states

STEP_SECONDS = 0.0005
"""What each turn of the loop takes."""
MOST_STEPS = 60_000
"""So many turns in one story, and it goes round in circles."""


class Order(StrEnum):
    """Whose turn it is, among those that can go on."""

    EVEN = "even"
    """Anybody's."""
    RANKED = "ranked"
    """The favourite's; favourites change now and then. Starves some tasks for long."""
    FIRST = "first"
    """As asyncio does it: who has waited longest."""
    LAST = "last"
    """Who has waited shortest."""


class Owner(Protocol):
    """Whose tasks can be ended all at once, as by a loss of power."""

    dead: bool

    def turn(self) -> None:
        """One of its tasks is about to go on; it may die instead."""
        ...


OWNER: ContextVar[Owner | None] = ContextVar("OWNER", default=None)


class Stuck(Exception):
    """Nothing can go on, or everything goes on for ever."""


@coroutine
def turn() -> Generator[None, None, None]:
    """Let others go on."""
    yield


class SeededLoop(asyncio.BaseEventLoop):
    """One thread, no sockets, no clock.

    Tasks are drawn by the seed. Other callbacks keep their order among each other: asyncio promises it, and anyio
    counts on it when it cancels.
    """

    def __init__(self, random: Random, order: Order) -> None:
        super().__init__()
        self._ready: list[asyncio.Handle] = []
        self._scheduled: list[asyncio.TimerHandle] = []
        self._random = random
        self._order = order
        self._ranks: dict[Any, float] = {}
        self._seconds = 0.0
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []
        """Every task there ever was: what the dead held must not be tidied up by the collector."""

    def time(self) -> float:
        """Virtual seconds."""
        return self._seconds

    def skip(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> Any:
        """As asyncio, and remembered."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=str(name) if name else None, context=context)
        self.tasks.append(task)
        return task

    def _run_once(self) -> None:
        self._seconds += STEP_SECONDS
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck("this takes for ever")
        self._wake()
        handle = self._drawn()
        if handle.cancelled():
            return
        owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
        if owner is not None:
            if not owner.dead:
                owner.turn()
            if owner.dead:
                return
        handle._run()

    def _wake(self) -> None:
        """Move what is due to those that can go on; if nobody can, let time pass until somebody does."""
        scheduled = self._scheduled
        while scheduled:
            if scheduled[0].cancelled() or self._is_dead(scheduled[0]):
                heapq.heappop(scheduled)
            elif scheduled[0].when() <= self._seconds:
                self._ready.append(heapq.heappop(scheduled))
            elif not self._ready:
                self._seconds = scheduled[0].when()
            else:
                return
        if not self._ready:
            raise Stuck("nothing can go on")

    @staticmethod
    def _is_dead(handle: asyncio.Handle) -> bool:
        owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
        return owner is not None and bool(owner.dead)

    def _drawn(self) -> asyncio.Handle:
        ready = self._ready
        if len(ready) == 1:
            return ready.pop()
        if self._order is Order.FIRST:
            return ready.pop(0)
        at = len(ready) - 1 if self._order is Order.LAST and self._random.random() < 0.9 else self._any()
        if not _is_task(ready[at]):
            at = next(n for n, handle in enumerate(ready) if not _is_task(handle))
        return ready.pop(at)

    def _any(self) -> int:
        ready = self._ready
        if self._order is not Order.RANKED or self._random.random() < 0.1:
            return self._random.randrange(len(ready))
        return max(range(len(ready)), key=lambda n: self._rank(ready[n]))

    def _rank(self, handle: asyncio.Handle) -> float:
        whose = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
        if not isinstance(whose, asyncio.Task):
            return 0.5
        rank = self._ranks.get(whose)
        if rank is None or self._random.random() < 0.02:
            rank = self._ranks[whose] = self._random.random()
        return rank

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def bury(self) -> None:
        """End every coroutine that was left behind; call it when nothing that they may still do matters."""
        self.set_exception_handler(lambda *_: None)
        for task in self.tasks:
            if task.done():
                if not task.cancelled():
                    task.exception()  # somebody has looked
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _end(task.get_coro())
            _task_states.pop(task, None)  # anyio forgets a task when it ends; what holds on to this one is the entry
        self.tasks.clear()
        self._ready.clear()
        self._scheduled.clear()


def _is_task(handle: asyncio.Handle) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # type: ignore[attr-defined]


def _end(left: Any) -> None:
    for _ in range(20):
        try:
            left.close()
        except BaseException:  # noqa: BLE001, S112  # it is dead, and has nothing to say
            continue
        return


def simulate(random: Random, order: Order, main: Callable[[SeededLoop], Coroutine[Any, Any, None]]) -> SeededLoop:
    """Run to the end, whatever end that is."""
    loop = SeededLoop(random, order)
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.bury()
        loop.close()
    return loop
