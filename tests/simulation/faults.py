"""Stores between the engine and what there really is: one that the witness watches, one that lies and lags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from tests.simulation.story import Trouble
from tests.simulation.witness import Acting, Witness

from trueup.core.errors import AccessDenied, NoSpace, StoreError, TimedOut, Unavailable
from trueup.core.model import Key, Row, Token, is_directory
from trueup.engine.wrap import Wrapper
from trueup.protocols import Properties, Source, Store, Trash, Written
from trueup.stores.memory import MemoryStore
from trueup.stores.memory.state import fetch
from trueup.testing.faulty import Call, Fault, Harm

EFFECTS = frozenset({"write", "remove", "move", "make_directory"})


class Troubles:
    """What goes wrong during one use of the engine; calls of both sides are counted together."""

    def __init__(self, troubles: tuple[Trouble, ...], say: Callable[[str], None], lost: Callable[[], None]) -> None:
        self._left = list(troubles)
        self._say = say
        self._lost = lost
        self._calls = self._effects = 0
        self.injected = 0
        self.hot: Key | None = None
        """What a store was called about most recently."""

    def decide(self, side: str, call: Call) -> Fault | None:
        """As `trueup.testing.faulty.Decide`."""
        self._calls += 1
        if call.key:
            self.hot = Key(call.key)
        if call.name in EFFECTS:
            self._effects += 1
        for trouble in self._left:
            if self._concerns(trouble, side, call):
                self._left.remove(trouble)
                return self._fault(trouble, side, call)
        return None

    def _concerns(self, trouble: Trouble, side: str, call: Call) -> bool:
        match trouble.what:
            case "fault":
                return trouble.at == self._calls
            case "effect":
                return call.name in EFFECTS and trouble.at % 6 + 1 == self._effects
            case "listing":
                return call.name == "scan" and (trouble.pick % 2 == 0) == (side == "local")
            case _:
                return False

    def _fault(self, trouble: Trouble, side: str, call: Call) -> Fault:
        harms = sorted(call.harms)
        harm = harms[trouble.pick % len(harms)]
        # Whether it has happened is in doubt after two errors only; the others say that nothing has.
        errors = (Unavailable, TimedOut) if harm is Harm.AFTER else (Unavailable, TimedOut, NoSpace, AccessDenied)
        error: type[StoreError] = errors[trouble.pick // 7 % len(errors)]
        fault = Fault(harm, error, trouble.part, trouble.pick % 3, (None, 0.0, 0.25)[trouble.pick % 3])
        self.injected += 1
        if call.name == "scan":
            self._lost()
        self._say(f"{side} {call.name} {call.key} is harmed: {harm} {error.__name__}")
        return fault

    def takes(self, what: str, side: str) -> bool:
        """Whether a listing is stale, or a success is a lie, now."""
        for trouble in self._left:
            here = (trouble.pick % 2 == 0) == (side == "local") if what == "stale" else trouble.at % 6 == self._effects
            if trouble.what == what and here:
                self._left.remove(trouble)
                self.injected += 1
                return True
        return False


class Shaky(Wrapper):
    """Listings that are late, successes that are none."""

    def __init__(self, inner: Store, side: str, troubles: Troubles, world: Lying) -> None:
        super().__init__(inner)
        self._side = side
        self._troubles = troubles
        self._world = world

    def scan(self) -> AsyncIterator[list[Row]]:
        """What was there some changes ago."""
        if self._troubles.takes("stale", self._side):
            late = self._world.late(self._side)
            if late is not None:
                self._world.say(f"the listing of {self._side} is stale")
                return late.scan()
        return self.inner.scan()

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """Done, or said to be."""
        if trash is None and self._troubles.takes("lie", self._side):
            data, _ = fetch(key, source)
            return self._world.lie(self._side, key, data)
        return await super().write(key, source, expect=expect, trash=trash)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """Done, or said to be."""
        if not is_directory(key) and self._troubles.takes("lie", self._side):
            self._world.say(f"{self._side} says that it has removed {key}")
            return Written(None)
        return await super().remove(key, expect=expect, trash=trash)


class Lying(Protocol):
    """What a store that lies has to know."""

    def say(self, text: str) -> None:
        """Tell what happened."""
        ...

    def late(self, side: str) -> MemoryStore | None:
        """The side as it was some changes ago."""
        ...

    def lie(self, side: str, key: Key, data: bytes) -> Written:
        """A version that there is not."""
        ...


class Watched(Wrapper):
    """Right on top of what there is: the witness looks after each effect."""

    def __init__(
        self,
        inner: Store,
        place: str,
        who: Acting,
        witness: Witness,
        say: Callable[[str], None],
        *,
        locks: bool,
        ordered: bool,
        complete_rows: bool,
    ) -> None:
        super().__init__(inner)
        self._place = place
        self._who = who
        self._witness = witness
        self._say = say
        self._locks = locks
        self._properties = replace(inner.properties, ordered=ordered, complete_rows=complete_rows)

    @property
    def properties(self) -> Properties:
        """Of the store behind, which may not be able to list in order."""
        return self._properties

    async def scan(self) -> AsyncIterator[list[Row]]:
        """In no order, or without times, if so."""
        if self._properties.ordered:
            async for batch in self.inner.scan():
                yield batch if self._properties.complete_rows else [_bare(row) for row in batch]
            return
        for batch in reversed([batch async for batch in self.inner.scan()]):
            rows = list(reversed(batch))
            yield rows if self._properties.complete_rows else [_bare(row) for row in rows]

    def _saw(self, what: str) -> None:
        for change in self._witness.look(self._place, self._who) or ["no change"]:
            self._say(f"{self._place} {what} | {change}")

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        """Watched."""
        self._witness.begins(self._who, "write", key)
        written = await self.inner.write(key, source, expect=expect, trash=trash)
        self._saw(f"write {key} expect={expect}")
        return written

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        """Watched."""
        self._witness.begins(self._who, "write", key)
        written = await self.inner.make_directory(key, expect=expect, trash=trash)
        self._saw(f"make_directory {key} expect={expect}")
        return written

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        """Watched."""
        self._witness.begins(self._who, "remove", key)
        written = await self.inner.remove(key, expect=expect, trash=trash)
        self._saw(f"remove {key} expect={expect}")
        return written

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        """Watched."""
        written = await self.inner.move(origin, target, expect=expect)
        self._saw(f"move {origin} to {target} expect={expect}")
        return written

    async def prune(self, handle: str) -> None:
        """Watched."""
        await self.inner.prune(handle)
        self._saw(f"prune {handle}")

    async def set_marker(self, identity: str) -> str:
        """Watched."""
        marker = await self.inner.set_marker(identity)
        self._saw("set_marker")
        return marker

    async def clean(self) -> list[str]:
        """Watched."""
        cleaned = await self.inner.clean()
        self._saw(f"clean {cleaned}")
        return cleaned

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        """A place that cannot lock lets everybody in."""
        if not self._locks:
            yield
            return
        async with self.inner.hold(holder):
            self._who.holds.add(self._place)
            try:
                yield
            finally:
                self._who.holds.discard(self._place)


def _bare(row: Row) -> Row:
    """What a listing of a bucket tells: neither time nor mode."""
    return (*row[:4], 0, None, row[6])
