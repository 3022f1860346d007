"""Behaviour that every store can be given: read-only, a time limit, retries, a bandwidth.

Wrappers have the protocol of what they wrap: ``Retrying(TimeLimited(store, ...), ...)``.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import anyio

from trueup.core.errors import PreconditionFailed, ReadOnly, StoreError, Throttled, TimedOut
from trueup.core.model import Entry, Fingerprint, Key, Row, Token
from trueup.engine.ambient import Ambient
from trueup.engine.pace import Pace
from trueup.protocols import (
    Clock,
    Discarded,
    Effect,
    Move,
    Properties,
    Put,
    Remove,
    Source,
    Store,
    Trash,
    Written,
    carry_out,
    one_by_one,
)

T = TypeVar("T")


class Wrapper:
    """Passes everything on; subclasses override what they change."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def properties(self) -> Properties:
        """What the wrapped store can and cannot promise."""
        return self.inner.properties

    def scan(self) -> AsyncIterator[list[Row]]:
        """Passed on."""
        return self.inner.scan()

    async def stat(self, key: Key) -> Entry | None:
        """Passed on."""
        return await self.inner.stat(key)

    def source(self, key: Key, entry: Entry) -> Source:
        """Passed on."""
        return self.inner.source(key, entry)

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """Passed on."""
        return await self.inner.fingerprint(key, token)

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """Passed on."""
        return await self.inner.write(key, source, expect=expect, trash=trash)

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """Passed on."""
        return await self.inner.make_directory(key, expect=expect, trash=trash)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """Passed on."""
        return await self.inner.remove(key, expect=expect, trash=trash)

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """Passed on."""
        return await self.inner.move(origin, target, expect=expect)

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """By single calls, so that no subclass is passed by; one that has nothing to add may pass it on."""
        return await one_by_one(self, effects)

    async def flush(self) -> None:
        """Passed on."""
        await self.inner.flush()

    async def kept(self) -> list[Discarded]:
        """Passed on."""
        return await self.inner.kept()

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """Passed on."""
        return self.inner.kept_source(handle, entry)

    async def prune(self, handle: str) -> None:
        """Passed on."""
        await self.inner.prune(handle)

    async def marker(self) -> str | None:
        """Passed on."""
        return await self.inner.marker()

    async def set_marker(self, identity: str) -> str:
        """Passed on."""
        return await self.inner.set_marker(identity)

    def hold(self, holder: str) -> AbstractAsyncContextManager[None]:
        """Passed on."""
        return self.inner.hold(holder)

    async def free_bytes(self) -> int | None:
        """Passed on."""
        return await self.inner.free_bytes()

    async def clean(self) -> list[str]:
        """Passed on."""
        return await self.inner.clean()


class Protected(Wrapper):
    """Refuses every effect. Worn by both sides of a dry run, and by a side that the direction does not write."""

    def _refuse(self) -> ReadOnly:
        return ReadOnly(f"{self.properties.location} must not be written in this run")

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """Refused."""
        raise self._refuse()

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """Refused."""
        raise self._refuse()

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """Refused."""
        raise self._refuse()

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """Refused."""
        raise self._refuse()

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """Refused."""
        raise self._refuse()

    async def prune(self, handle: str) -> None:
        """Refused."""
        raise self._refuse()

    async def set_marker(self, identity: str) -> str:
        """Refused."""
        raise self._refuse()

    def hold(self, holder: str) -> AbstractAsyncContextManager[None]:
        """Refused."""
        raise self._refuse()

    async def clean(self) -> list[str]:
        """Refused."""
        raise self._refuse()


class TimeLimited(Wrapper):
    """Gives up on a call that takes too long; whether it had an effect is then unknown.

    Listings are not limited as a whole, but from batch to batch.
    """

    def __init__(self, inner: Store, *, seconds: float) -> None:
        super().__init__(inner)
        self._seconds = seconds

    async def _limited(self, what: str, key: Key | str, call: Awaitable[T]) -> T:
        with anyio.move_on_after(self._seconds):  # costs half of what `fail_after` does, thousands of times
            return await call
        raise TimedOut(f"{what} {key} took longer than {self._seconds:g} s")

    async def scan(self) -> AsyncIterator[list[Row]]:
        """Each batch within the limit."""
        batches = aiter(self.inner.scan())
        while True:
            try:
                batch = await self._limited("listing", self.properties.location, batches.__anext__())
            except StopAsyncIteration:
                return
            yield batch

    async def stat(self, key: Key) -> Entry | None:
        """Within the limit."""
        return await self._limited("a look at", key, self.inner.stat(key))

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """Within the limit."""
        return await self._limited("reading", key, self.inner.fingerprint(key, token))

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """Within the limit."""
        return await self._limited("writing", key, self.inner.write(key, source, expect=expect, trash=trash))

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """Within the limit."""
        return await self._limited("making", key, self.inner.make_directory(key, expect=expect, trash=trash))

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """Within the limit."""
        return await self._limited("removing", key, self.inner.remove(key, expect=expect, trash=trash))

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """Within the limit."""
        return await self._limited("moving", origin, self.inner.move(origin, target, expect=expect))

    async def flush(self) -> None:
        """Within the limit."""
        await self._limited("syncing", self.properties.location, self.inner.flush())

    async def kept(self) -> list[Discarded]:
        """Within the limit."""
        return await self._limited("listing the trash of", self.properties.location, self.inner.kept())

    async def prune(self, handle: str) -> None:
        """Within the limit."""
        await self._limited("removing", handle, self.inner.prune(handle))

    async def marker(self) -> str | None:
        """Within the limit."""
        return await self._limited("reading the marker of", self.properties.location, self.inner.marker())

    async def set_marker(self, identity: str) -> str:
        """Within the limit."""
        return await self._limited("marking", self.properties.location, self.inner.set_marker(identity))

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """Taken within the limit, and held as long as it takes; the store sees to it that letting go comes to an end.

        One scope around it all: a store may renew its hold in a task group, which has to end before the scope does.
        """
        with anyio.move_on_after(self._seconds) as scope:
            async with self.inner.hold(holder):
                scope.deadline = math.inf
                yield
        if scope.cancelled_caught:
            raise TimedOut(f"taking hold of {self.properties.location} took longer than {self._seconds:g} s")

    async def free_bytes(self) -> int | None:
        """Within the limit."""
        return await self._limited("a look at the room of", self.properties.location, self.inner.free_bytes())

    async def clean(self) -> list[str]:
        """Within the limit."""
        return await self._limited("tidying", self.properties.location, self.inner.clean())

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """Within the limit for each; which one took too long is not known."""
        seconds = self._seconds * len(effects)
        with anyio.move_on_after(seconds):
            return await self.inner.batch(effects)
        error = TimedOut(f"{len(effects)} small changes took longer than {seconds:g} s")
        return [error] * len(effects)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and when to try again."""

    attempts: int = 2
    """Further attempts after the first."""
    delay_seconds: float = 0.5
    """Before the first of them; doubled for each one after, with jitter up to as much again."""


class Retrying(Wrapper):
    """Tries again what may succeed the second time, each time afresh.

    After an error that leaves the effect unknown it looks first: if the name holds exactly the content that was to be
    written, the write had succeeded and only its answer was lost.
    """

    def __init__(self, inner: Store, *, patience: Patience, ambient: Ambient, pace: Pace | None = None) -> None:
        super().__init__(inner)
        self._patience = patience
        self._ambient = ambient
        self._pace = pace

    async def _persist(self, call: Callable[[bool], Awaitable[T]], failed: StoreError | None = None) -> T:
        """Call with False the first time and with True, after a wait, each further time.

        Args:
            call: Told whether it is called again.
            failed: How the first attempt ended, if somebody has made it already.
        """
        attempt = 0
        while True:
            if failed is None:
                try:
                    return await call(attempt > 0)
                except StoreError as error:
                    failed = error
            if not failed.retryable or attempt == self._patience.attempts:
                raise failed
            await self._wait(attempt, failed)
            attempt, failed = attempt + 1, None

    async def _wait(self, attempt: int, error: StoreError) -> None:
        delay = self._patience.delay_seconds * 2**attempt * (1 + self._ambient.random.random())
        if isinstance(error, Throttled):
            if self._pace is not None:
                self._pace.throttled()
            delay = max(delay, error.after_seconds or 0.0)
        await self._ambient.clock.sleep(delay)

    async def stat(self, key: Key) -> Entry | None:
        """With retries."""
        return await self._persist(lambda _: self.inner.stat(key))

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """With retries."""
        return await self._persist(lambda _: self.inner.fingerprint(key, token))

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """With retries; a write whose answer was lost is recognised by its content."""
        return await self._persist(partial(self._attempt, Put(key, source, expect, trash)))

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """With retries; a removal whose answer was lost is recognised by what is kept."""
        return await self._persist(partial(self._attempt, Remove(key, expect, trash)))

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """With retries. A move whose answer was lost counts as changed: the next plan finds both sides alike."""
        return await self._persist(partial(self._attempt, Move(origin, target, expect)))

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """With retries, one by one, of those that failed."""
        answers = await self.inner.batch(effects)
        for n, answer in enumerate(answers):
            if isinstance(answer, StoreError) and answer.retryable:
                try:
                    answers[n] = await self._persist(partial(self._attempt, effects[n]), answer)
                except StoreError as error:
                    answers[n] = error
        return answers

    async def _attempt(self, effect: Effect, again: bool) -> Written:
        try:
            return await carry_out(self.inner, effect)
        except PreconditionFailed:
            landed = await self._landed(effect) if again else None
            if landed is None:
                raise
            return landed

    async def _landed(self, effect: Effect) -> Written | None:
        """What an earlier attempt left behind; None if that is not what is there."""
        match effect:
            case Put():
                return await self._landed_write(effect.key, effect.source, effect.trash)
            case Remove() if await self.inner.stat(effect.key) is None:
                return Written(None, None, await self._kept_handle(effect.key, effect.trash))
            case _:
                return None

    async def _landed_write(self, key: Key, source: Source, trash: Trash | None) -> Written | None:
        """What an earlier attempt wrote, if it is there; None if something else is."""
        entry = await self.inner.stat(key)
        if entry is None or entry.content.size != source.size:
            return None
        fingerprint = entry.content.fingerprint or await self.inner.fingerprint(key, entry.token)
        if fingerprint != await self._ambient.threads(_hash, source):
            return None
        return Written(entry.token, fingerprint, await self._kept_handle(key, trash))

    async def _kept_handle(self, key: Key, trash: Trash | None) -> str | None:
        if trash is None:
            return None
        handles = [item.handle for item in await self.inner.kept() if item.run == trash.run and item.key == key]
        return handles[-1] if handles else None

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """With retries."""

        async def attempt(again: bool) -> Written:  # the callback's own protocol
            try:
                return await self.inner.make_directory(key, expect=expect, trash=trash)
            except PreconditionFailed:
                entry = await self.inner.stat(key) if again else None
                if entry is None:
                    raise
                return Written(entry.token, None, await self._kept_handle(Key(key.removesuffix("/")), trash))

        return await self._persist(attempt)


class BandwidthLimited(Wrapper):
    """Reads and writes no more bytes a second than it may, all workers together."""

    def __init__(self, inner: Store, *, bytes_per_second: int, clock: Clock) -> None:
        super().__init__(inner)
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = 0.0

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """At the limited rate."""
        return await self.inner.write(key, self._slowed(source), expect=expect, trash=trash)

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """At the limited rate."""
        return await self.inner.batch(
            [replace(one, source=self._slowed(one.source)) if isinstance(one, Put) else one for one in effects]
        )

    def _slowed(self, source: Source) -> Source:
        return replace(source, open=self._paced(source), ask=None if source.ask is None else self._asking(source))

    def _asking(self, source: Source) -> Callable[[], Source]:
        return lambda: self._slowed(replace(source.told(), ask=None))

    def _paced(self, source: Source) -> Callable[[], AbstractContextManager[Iterator[bytes]]]:
        @contextmanager
        def opened() -> Iterator[Iterator[bytes]]:
            with source.open() as chunks:
                yield map(self._pass, chunks)

        return opened

    def _pass(self, chunk: bytes) -> bytes:
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + len(chunk) / self._rate
        self._clock.pause(max(0.0, self._free_at - now))
        return chunk


def _hash(source: Source) -> Fingerprint:
    from blake3 import blake3

    digest = blake3()
    with source.open() as chunks:
        for chunk in chunks:
            digest.update(chunk)
    return Fingerprint("blake3", digest.hexdigest())
