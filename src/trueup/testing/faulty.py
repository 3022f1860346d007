"""A store that fails on purpose, always in the same way for the same seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import TypeVar

from trueup.core.errors import StoreError, Throttled, TimedOut, Unavailable
from trueup.core.model import Entry, Fingerprint, Key, Row, Token
from trueup.protocols import (
    Clock,
    Discarded,
    Effect,
    Properties,
    Source,
    Store,
    Trash,
    Written,
    one_by_one,
)

T = TypeVar("T")

HANG_SECONDS = 365 * 86_400.0
"""How long a call hangs: longer than anybody waits. A time limit cancels it; a logical clock skips it."""


class Harm(StrEnum):
    """What can happen to a call."""

    BEFORE = "before"
    """It fails, and nothing has happened."""
    THROTTLED = "throttled"
    """It is asked to slow down, and nothing has happened."""
    HANG = "hang"
    """It does not return, and nothing has happened."""
    AFTER = "after"
    """It happens, and then fails: the answer is lost, whatever it was."""
    HANG_AFTER = "hang after"
    """It happens, and then does not return."""
    SHORT = "short"
    """The bytes end early, without an error."""
    FLIPPED = "flipped"
    """One bit of the bytes is another; only where a promised fingerprint can reveal it."""
    BROKEN = "broken"
    """The bytes, or the listing, break off with an error."""


ANY_CALL = frozenset({Harm.BEFORE, Harm.THROTTLED, Harm.HANG})
EFFECTS = ANY_CALL | {Harm.AFTER, Harm.HANG_AFTER}
LISTING = ANY_CALL | {Harm.BROKEN}


@dataclass(frozen=True, slots=True)
class Call:
    """One call, before it is decided whether it is harmed."""

    n: int
    """Counts from 1."""
    name: str
    """The method; ``open`` when a source is opened."""
    key: str
    """Key or handle; empty where there is none."""
    harms: frozenset[Harm]
    """What can happen to it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call."""

    harm: Harm
    error: type[StoreError] = Unavailable
    """Of BEFORE, AFTER and BROKEN; an `Unavailable`, `TimedOut` or any other that a store raises."""
    at: float = 0.5
    """Of SHORT, FLIPPED and BROKEN: after which part of the bytes or of the batch; at least 0, less than 1."""
    batches: int = 0
    """Of a BROKEN listing: how many batches arrive whole before."""
    after_seconds: float | None = None
    """Of THROTTLED: the store's wish."""


Decide = Callable[[Call], Fault | None]
"""Says whether, and how, a call is harmed."""


@dataclass(frozen=True, slots=True)
class Injected:
    """What was done to whom."""

    call: Call
    fault: Fault


@dataclass(frozen=True, slots=True)
class Seeded:
    """Harms calls at random: the same seed and the same calls, the same faults."""

    random: Random
    rate: float = 0.1
    """Share of the calls that are harmed."""
    harms: frozenset[Harm] = frozenset(Harm)
    """What may happen at all."""

    def __call__(self, call: Call) -> Fault | None:
        """As `Decide`."""
        possible = sorted(call.harms & self.harms)
        if self.random.random() >= self.rate or not possible:
            return None
        harm = self.random.choice(possible)
        return Fault(
            harm,
            error=self.random.choice((Unavailable, TimedOut)),
            at=self.random.random(),
            batches=self.random.randrange(3),
            after_seconds=self.random.choice((None, 0.0, 0.25)),
        )


class Faulty:
    """A store in front of a store, that harms calls. Implements `trueup.protocols.Store`.

    Args:
        store: The store that does the work.
        decide: Says what happens to which call; `Seeded` draws lots.
        clock: Hangs are sleeps on it.
    """

    def __init__(self, store: Store, *, decide: Decide, clock: Clock) -> None:
        self.inner = store
        self.injected: list[Injected] = []
        """What was done so far."""
        self.calls = 0
        """How many calls were made so far."""
        self._decide = decide
        self._clock = clock

    @property
    def properties(self) -> Properties:
        """Of the store behind."""
        return self.inner.properties

    # -- calls ---------------------------------------------------------------------------------------------------

    async def scan(self) -> AsyncIterator[list[Row]]:
        """As `trueup.protocols.Observe.scan`."""
        fault = await self._before("scan", "", LISTING)
        left = fault.batches if fault is not None and fault.harm is Harm.BROKEN else None
        async for batch in self.inner.scan():
            if left == 0 and fault is not None:
                yield batch[: int(len(batch) * fault.at)]
                raise fault.error("the listing broke off")
            yield batch
            left = None if left is None else left - 1
        if left is not None and fault is not None:
            raise fault.error("the listing broke off")

    async def stat(self, key: Key) -> Entry | None:
        """As `trueup.protocols.Observe.stat`."""
        return await self._call("stat", key, ANY_CALL, lambda: self.inner.stat(key))

    def source(self, key: Key, entry: Entry) -> Source:
        """As `trueup.protocols.Read.source`."""
        return self._opening(key, self.inner.source(key, entry))

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        """As `trueup.protocols.Read.fingerprint`."""
        return await self._call("fingerprint", key, ANY_CALL, lambda: self.inner.fingerprint(key, token))

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.write`; the bytes can be harmed on their way."""
        fault = await self._before("write", key, EFFECTS | _harms_of(source))
        arriving = source if fault is None else _harmed(source, fault)
        return await self._after(fault, lambda: self.inner.write(key, arriving, expect=expect, trash=trash))

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.make_directory`."""
        return await self._call(
            "make_directory", key, EFFECTS, lambda: self.inner.make_directory(key, expect=expect, trash=trash)
        )

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """As `trueup.protocols.Write.remove`."""
        return await self._call("remove", key, EFFECTS, lambda: self.inner.remove(key, expect=expect, trash=trash))

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """As `trueup.protocols.Write.move`."""
        return await self._call("move", origin, EFFECTS, lambda: self.inner.move(origin, target, expect=expect))

    async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
        """As `trueup.protocols.Write.batch`; each effect may fail by itself."""
        return await one_by_one(self, effects)

    async def flush(self) -> None:
        """As `trueup.protocols.Write.flush`."""
        await self._call("flush", "", EFFECTS, self.inner.flush)

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps.kept`."""
        return await self._call("kept", "", ANY_CALL, self.inner.kept)

    def kept_source(self, handle: str, entry: Entry) -> Source:
        """As `trueup.protocols.Keeps.kept_source`."""
        return self._opening(handle, self.inner.kept_source(handle, entry))

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps.prune`."""
        await self._call("prune", handle, EFFECTS, lambda: self.inner.prune(handle))

    async def marker(self) -> str | None:
        """As `trueup.protocols.Marked.marker`."""
        return await self._call("marker", "", ANY_CALL, self.inner.marker)

    async def set_marker(self, identity: str) -> str:
        """As `trueup.protocols.Marked.set_marker`."""
        return await self._call("set_marker", "", EFFECTS, lambda: self.inner.set_marker(identity))

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """As `trueup.protocols.Marked.hold`; harmed only when it begins."""
        await self._before("hold", "", ANY_CALL)
        async with self.inner.hold(holder):
            yield

    async def free_bytes(self) -> int | None:
        """As `trueup.protocols.Marked.free_bytes`."""
        return await self._call("free_bytes", "", ANY_CALL, self.inner.free_bytes)

    async def clean(self) -> list[str]:
        """As `trueup.protocols.Marked.clean`."""
        return await self._call("clean", "", EFFECTS, self.inner.clean)

    # -- harm ----------------------------------------------------------------------------------------------------

    def _draw(self, name: str, key: str, harms: frozenset[Harm]) -> Fault | None:
        self.calls += 1
        call = Call(self.calls, name, key, harms)
        fault = self._decide(call)
        if fault is None:
            return None
        if fault.harm not in harms:
            raise ValueError(f"{fault.harm} cannot happen to {name}, only {', '.join(sorted(harms))}")
        self.injected.append(Injected(call, fault))
        return fault

    async def _before(self, name: str, key: str, harms: frozenset[Harm]) -> Fault | None:
        fault = self._draw(name, key, harms)
        match fault.harm if fault is not None else None:
            case Harm.BEFORE if fault is not None:
                raise fault.error(f"{name} failed")
            case Harm.THROTTLED if fault is not None:
                raise Throttled(f"{name} came too soon", after_seconds=fault.after_seconds)
            case Harm.HANG:
                await self._hang(name)
            case _:
                pass
        return fault

    async def _after(self, fault: Fault | None, call: Callable[[], Awaitable[T]]) -> T:
        if fault is None or fault.harm not in (Harm.AFTER, Harm.HANG_AFTER):
            return await call()
        lost: StoreError | None = None
        try:
            await call()
        except StoreError as error:
            lost = error
        if fault.harm is Harm.HANG_AFTER:
            await self._hang("the answer")
        raise fault.error("the answer was lost") from lost

    async def _call(self, name: str, key: str, harms: frozenset[Harm], call: Callable[[], Awaitable[T]]) -> T:
        return await self._after(await self._before(name, key, harms), call)

    async def _hang(self, what: str) -> None:
        await self._clock.sleep(HANG_SECONDS)
        raise TimedOut(f"{what} never came")

    def _opening(self, key: str, source: Source) -> Source:
        def opening() -> AbstractContextManager[Iterator[bytes]]:
            fault = self._draw("open", key, _harms_of(source) | {Harm.BEFORE})
            if fault is None:
                return source.open()
            if fault.harm is Harm.BEFORE:
                raise fault.error(f"{key!r} could not be opened")
            return _harmed(source, fault).open()

        return replace(source, open=opening)


def _harms_of(source: Source) -> frozenset[Harm]:
    harms = {Harm.BROKEN}
    if source.size:
        harms.add(Harm.SHORT)
        if source.fingerprint is not None:
            harms.add(Harm.FLIPPED)
    return frozenset(harms)


def _harmed(source: Source, fault: Fault) -> Source:
    if fault.harm not in (Harm.SHORT, Harm.FLIPPED, Harm.BROKEN):
        return source

    @contextmanager
    def reading() -> Iterator[Iterator[bytes]]:
        with source.open() as chunks:
            yield _chunks(chunks, int(source.size * fault.at), fault)

    return replace(source, open=reading)


def _chunks(chunks: Iterator[bytes], left: int, fault: Fault) -> Iterator[bytes]:
    """The bytes, harmed after so many of them."""
    for chunk in chunks:
        if len(chunk) <= left:
            left -= len(chunk)
            yield chunk
        elif fault.harm is Harm.FLIPPED:
            yield chunk[:left] + bytes([chunk[left] ^ 1]) + chunk[left + 1 :]
            yield from chunks
            return
        else:
            yield chunk[:left]
            break
    if fault.harm is Harm.BROKEN:
        raise fault.error("the bytes broke off")
