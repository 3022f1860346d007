"""How much is under way at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")


class Pace:
    """How many calls may be under way: halved when a store asks to slow down, one more after each full round.

    Args:
        most: Never more than this.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = most
        self._successes = 0

    def throttled(self) -> None:
        """A store asked to slow down."""
        self.limit = max(1, self.limit // 2)
        self._successes = 0

    def succeeded(self) -> None:
        """A call went well."""
        if self.limit < self.most:
            self._successes += 1
            if self._successes >= self.limit:
                self.limit += 1
                self._successes = 0

    async def spread(
        self,
        items: Iterable[T],
        work: Callable[[T], Awaitable[None]],
        *,
        most: int | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Do the work for all items, as many at once as the limit of the moment allows.

        Items are taken from one queue by a few workers: a task for each item would cost more than a small item does.

        Args:
            items: In the order in which they are begun.
            work: Is awaited for each.
            most: Never more than this at once.
            stop: Asked before each item; once it says True no more are begun.
        """
        queue = iter(items)
        workers = 0
        ended = False

        def wanted() -> int:
            return self.limit if most is None else min(self.limit, most)

        async def worker() -> None:
            nonlocal workers, ended
            for item in queue:
                if stop():
                    break
                await work(item)
                if workers > wanted():
                    workers -= 1
                    return
                if workers < wanted() and not ended:
                    workers += 1
                    tasks.start_soon(worker)
            ended = True
            workers -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(wanted()):
                workers += 1
                tasks.start_soon(worker)
