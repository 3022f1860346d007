"""Walk several listings in step: chunks that cover the same range of keys."""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from trueup.core.errors import StoreError

Batch = list[Any]
"""Tuples whose first member is the key in bytes."""


LOW = 1024
"""Rows below which a stream fetches more, so that unequal batches do not leave crumbs that cost as much as a batch."""


class OutOfOrder(Exception):
    """A listing is not in key order; the name is the stream's."""


@dataclass(slots=True)
class _Stream:
    """One listing, read ahead, its order checked."""

    name: str
    receive: ObjectReceiveStream[Batch | StoreError]
    buffer: Batch = field(default_factory=list)
    last: bytes | None = None
    believed: bool = False
    """Whether its order needs no check."""
    ended: bool = False
    lost: StoreError | None = None

    async def refill(self) -> None:
        """Get the next batch if the buffer has run low."""
        while len(self.buffer) < LOW and not self.ended:
            try:
                batch = await self.receive.receive()
            except anyio.EndOfStream:
                self.ended = True
                return
            if isinstance(batch, StoreError):
                self.lost, self.ended = batch, True
                return
            if not self.believed:
                self._check_order(batch)
            self.buffer = self.buffer + batch if self.buffer else batch

    def _check_order(self, batch: Batch) -> None:
        previous = self.last
        for row in batch:
            if previous is not None and row[0] <= previous:
                raise OutOfOrder(self.name)
            previous = row[0]
        self.last = previous

    def take(self, bound: bytes | None) -> Batch:
        """Cut off everything up to the bound."""
        if bound is None or not self.buffer or self.buffer[-1][0] <= bound:
            taken, self.buffer = self.buffer, []
            return taken
        at = bisect_right(self.buffer, bound, key=lambda row: row[0])
        taken, self.buffer = self.buffer[:at], self.buffer[at:]
        return taken


@dataclass(frozen=True, slots=True)
class Chunk:
    """The same range of keys of every stream; streams that broke off, with the error, from the chunk they did in."""

    rows: Mapping[str, Batch]
    lost: Mapping[str, StoreError]


async def in_step(
    sources: Mapping[str, AsyncIterator[Batch]], *, believed: Collection[str] = ()
) -> AsyncIterator[Chunk]:
    """Chunks of all sources over the same ranges of keys.

    Each source is read ahead in a task of its own, so that slow listings overlap. A source that raises a StoreError is
    named in every chunk from then on; what it listed before still counts.

    Args:
        sources: Listings by name.
        believed: Those whose order needs no check, because a database has put them in it.

    Raises:
        OutOfOrder: If a source is not in strictly ascending order of keys.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(few_collections())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        streams = []
        for name, source in sources.items():
            send, receive = anyio.create_memory_object_stream[Batch | StoreError](2)
            stack.push_async_callback(receive.aclose)
            streams.append(_Stream(name, receive, believed=name in believed))
            tasks.start_soon(_pump, source, send)
        try:
            while True:
                for stream in streams:
                    await stream.refill()
                rows = {}
                bound = min((stream.buffer[-1][0] for stream in streams if stream.buffer), default=None)
                for stream in streams:
                    rows[stream.name] = stream.take(bound)
                lost = {stream.name: stream.lost for stream in streams if stream.lost is not None}
                try:
                    yield Chunk(rows, lost)
                except GeneratorExit:  # closed early; out of a task group it would come as a group and hide the cause
                    return
                if all(stream.ended and not stream.buffer for stream in streams):
                    return
        finally:
            tasks.cancel_scope.cancel()


async def _pump(source: AsyncIterator[Batch], send: ObjectSendStream[Batch | StoreError]) -> None:
    async with send, aclosing(source):  # type: ignore[type-var]  # generators, all of them
        try:
            async for batch in source:
                await send.send(batch)
        except StoreError as error:
            await send.send(error)


_walks = 0
_usual_thresholds = gc.get_threshold()


@contextmanager
def few_collections() -> Iterator[None]:
    """Let the collector of cycles run rarely: rows come by the million, live shortly and form no cycles.

    Each of them makes it look at all that are in flight: 1M x 1M entries cost 6.2 CPU seconds with the usual
    thresholds and 4.6 so. Walks overlap, therefore they are counted; all of them in the event loop's thread.
    """
    global _walks, _usual_thresholds  # the collector is as global as can be
    if not _walks:
        _usual_thresholds = gc.get_threshold()
        gc.set_threshold(max(100_000, _usual_thresholds[0]), *_usual_thresholds[1:])
    _walks += 1
    try:
        yield
    finally:
        _walks -= 1
        if not _walks:
            gc.set_threshold(*_usual_thresholds)
