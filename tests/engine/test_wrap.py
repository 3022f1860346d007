"""What wrappers add to a store: retries, a time limit, a bandwidth, protection."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from trueup.core.errors import (
    Corrupt,
    Locked,
    NoSpace,
    PreconditionFailed,
    ReadOnly,
    StoreError,
    Throttled,
    TimedOut,
    Unavailable,
)
from trueup.core.model import DIRECTORY_TOKEN, Content, Entry, Fingerprint, Key, Kind, Row, Token
from trueup.engine.ambient import Ambient
from trueup.engine.pace import Pace
from trueup.engine.wrap import BandwidthLimited, Patience, Protected, Retrying, TimeLimited, Wrapper
from trueup.protocols import Discarded, Source, Store, Trash, Written
from trueup.stores.file import FileStore
from trueup.stores.memory import MemoryStore
from trueup.testing.clock import LogicalClock

RUN = Trash("run")


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Half(random.Random):
    def random(self) -> float:
        return 0.5


def content(data: bytes) -> Source:
    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield iter([data])

    return Source(opened, len(data))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ambient(clock: Clock) -> Ambient:
    return Ambient(clock=clock, random=Half())


@pytest.fixture
def store(tmp_path: Path, ambient: Ambient) -> FileStore:
    return FileStore(str(tmp_path), threads=ambient.threads, unique=ambient.unique)


class Failing(Wrapper):
    """Raises the given errors, one for each call, before the effect or after it; then it works."""

    def __init__(self, inner: Store, *errors: Exception, after: bool = False) -> None:
        super().__init__(inner)
        self.errors = list(errors)
        self.after = after
        self.calls = 0

    async def _do(self, call: Any) -> Any:
        self.calls += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None and not self.after:
            raise error
        result = await call()
        if error is not None:
            raise error
        return result

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        written: Written = await self._do(lambda: Wrapper.write(self, key, source, expect=expect, trash=trash))
        return written

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        written: Written = await self._do(lambda: Wrapper.make_directory(self, key, expect=expect, trash=trash))
        return written

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        written: Written = await self._do(lambda: Wrapper.remove(self, key, expect=expect, trash=trash))
        return written


def retrying(inner: Store, ambient: Ambient, attempts: int = 2, pace: Pace | None = None) -> Retrying:
    return Retrying(inner, patience=Patience(attempts, 1.0), ambient=ambient, pace=pace)


def put(root: Path, name: str, data: bytes) -> None:
    (root / name).write_bytes(data)


async def version(store: Store, key: str) -> Token:
    entry = await store.stat(Key(key))
    assert entry is not None
    return entry.token


# -- retries ---------------------------------------------------------------------------------------------------------


async def test_what_may_succeed_the_second_time_is_tried_again(
    store: FileStore, ambient: Ambient, clock: Clock, tmp_path: Path
) -> None:
    failing = Failing(store, Unavailable("1"), Corrupt("2"))
    await retrying(failing, ambient).write(Key("a"), content(b"one"), expect=None, trash=RUN)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert failing.calls == 3
    assert clock.slept == [1.5, 3.0]  # doubled, with jitter up to as much again


async def test_patience_ends(store: FileStore, ambient: Ambient, tmp_path: Path) -> None:
    failing = Failing(store, *(Unavailable(str(n)) for n in range(9)))
    with pytest.raises(Unavailable):
        await retrying(failing, ambient).write(Key("a"), content(b"one"), expect=None, trash=RUN)
    assert failing.calls == 3
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("error", [NoSpace("full"), PreconditionFailed("changed"), StoreError("odd")])
async def test_what_cannot_succeed_the_second_time_is_not_tried_again(
    store: FileStore, ambient: Ambient, error: StoreError
) -> None:
    failing = Failing(store, error)
    with pytest.raises(type(error)):
        await retrying(failing, ambient).write(Key("a"), content(b"one"), expect=None, trash=RUN)
    assert failing.calls == 1


async def test_a_write_whose_answer_was_lost_is_recognised(store: FileStore, ambient: Ambient, tmp_path: Path) -> None:
    put(tmp_path, "a", b"old")
    failing = Failing(store, TimedOut("no answer"), after=True)
    old = await version(store, "a")
    written = await retrying(failing, ambient).write(Key("a"), content(b"new"), expect=old, trash=RUN)
    assert written.token == await version(store, "a")
    assert written.kept == "run/0/a"
    assert [item.handle for item in await store.kept()] == ["run/0/a"]


async def test_somebody_elses_write_after_a_lost_answer_is_not_taken_for_ours(
    store: FileStore, ambient: Ambient, tmp_path: Path
) -> None:
    class Meddled(Failing):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            try:
                return await super().write(key, source, expect=expect, trash=trash)
            except TimedOut:
                await anyio.to_thread.run_sync(put, tmp_path, "a", b"yes")  # of the same length as ours
                raise

    failing = Meddled(store, TimedOut("no answer"), after=True)
    with pytest.raises(PreconditionFailed):
        await retrying(failing, ambient).write(Key("a"), content(b"new"), expect=None, trash=RUN)
    assert (tmp_path / "a").read_bytes() == b"yes"


async def test_a_first_attempt_that_is_refused_looks_no_further(
    store: FileStore, ambient: Ambient, tmp_path: Path
) -> None:
    put(tmp_path, "a", b"new")  # the very content, but nobody has lost an answer
    with pytest.raises(PreconditionFailed):
        await retrying(store, ambient).write(Key("a"), content(b"new"), expect=None, trash=RUN)


async def test_a_removal_whose_answer_was_lost_is_recognised(
    store: FileStore, ambient: Ambient, tmp_path: Path
) -> None:
    put(tmp_path, "a", b"old")
    failing = Failing(store, Unavailable("no answer"), after=True)
    removed = await retrying(failing, ambient).remove(Key("a"), expect=await version(store, "a"), trash=RUN)
    assert (removed.token, removed.kept) == (None, "run/0/a")
    put(tmp_path, "b", b"old")
    failing = Failing(store, Unavailable("no answer"), after=True)
    removed = await retrying(failing, ambient).remove(Key("b"), expect=await version(store, "b"), trash=None)
    assert removed.kept is None


async def test_a_directory_whose_answer_was_lost_is_recognised(
    store: FileStore, ambient: Ambient, tmp_path: Path
) -> None:
    put(tmp_path, "x", b"file")
    failing = Failing(store, Unavailable("no answer"), after=True)
    made = await retrying(failing, ambient).make_directory(Key("x/"), expect=await version(store, "x"), trash=RUN)
    assert (made.token, made.kept) == (DIRECTORY_TOKEN, "run/0/x")


async def test_a_store_that_asks_to_slow_down_is_obeyed(store: FileStore, ambient: Ambient, clock: Clock) -> None:
    pace = Pace(8)
    failing = Failing(store, Throttled("slow", after_seconds=20.0), Throttled("slower"))
    await retrying(failing, ambient, pace=pace).write(Key("a"), content(b"one"), expect=None, trash=RUN)
    assert pace.limit == 2
    assert clock.slept == [20.0, 3.0]


async def test_looks_are_tried_again_too(ambient: Ambient, store: FileStore, tmp_path: Path) -> None:
    put(tmp_path, "a", b"one")

    class Sleepy(Wrapper):
        calls = 0

        async def stat(self, key: Key) -> Entry | None:
            Sleepy.calls += 1
            if Sleepy.calls == 1:
                raise Unavailable("asleep")
            return await self.inner.stat(key)

        async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
            Sleepy.calls += 1
            if Sleepy.calls == 3:
                raise Unavailable("asleep")
            return await self.inner.fingerprint(key, token)

    entry = await retrying(Sleepy(store), ambient).stat(Key("a"))
    assert entry is not None
    assert (await retrying(Sleepy(store), ambient).fingerprint(Key("a"), entry.token)).algorithm == "blake3"


# -- pace ------------------------------------------------------------------------------------------------------------


def test_a_pace_halves_and_recovers_round_by_round() -> None:
    pace = Pace(8)
    for _ in range(5):
        pace.throttled()
    assert pace.limit == 1
    limits = []
    for _ in range(40):
        pace.succeeded()
        limits.append(pace.limit)
    assert limits[:6] == [2, 2, 3, 3, 3, 4]
    assert pace.limit == 8


async def test_no_more_are_under_way_than_the_pace_allows() -> None:
    pace = Pace(4)
    now = most = 0
    seen: list[int] = []

    async def work(n: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await anyio.sleep(0.001)
        if n == 20:
            pace.throttled()
            pace.throttled()
        if n > 30:
            seen.append(now)
        now -= 1

    await pace.spread(range(60), work)
    assert most == 4
    assert set(seen) == {1}


async def test_every_item_is_worked_on_once_also_when_the_pace_recovers() -> None:
    pace = Pace(8)
    for _ in range(3):
        pace.throttled()
    done: list[int] = []

    async def work(n: int) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(n)
        pace.succeeded()

    await pace.spread(range(200), work)
    assert sorted(done) == list(range(200))
    assert pace.limit == 8


async def test_no_item_is_begun_once_it_is_asked_to_stop() -> None:
    done: list[int] = []

    async def work(n: int) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(n)

    await Pace(2).spread(range(100), work, stop=lambda: len(done) >= 5)
    assert 5 <= len(done) <= 7


# -- time ------------------------------------------------------------------------------------------------------------


class Hanging(Wrapper):
    """Never answers."""

    async def scan(self) -> AsyncIterator[list[Row]]:
        yield []
        await anyio.sleep_forever()

    async def _hang(self) -> Any:
        await anyio.sleep_forever()

    async def stat(self, key: Key) -> Entry | None:
        entry: Entry | None = await self._hang()
        return entry

    async def fingerprint(self, key: Key, token: Token) -> Fingerprint:
        fingerprint: Fingerprint = await self._hang()
        return fingerprint

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        written: Written = await self._hang()
        return written

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        written: Written = await self._hang()
        return written

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        written: Written = await self._hang()
        return written

    async def move(self, origin: Key, target: Key, *, expect: Token) -> Written:
        written: Written = await self._hang()
        return written

    async def flush(self) -> None:
        await self._hang()

    async def kept(self) -> list[Discarded]:
        kept: list[Discarded] = await self._hang()
        return kept

    async def prune(self, handle: str) -> None:
        await self._hang()

    async def marker(self) -> str | None:
        marker: str | None = await self._hang()
        return marker

    async def set_marker(self, identity: str) -> str:
        marker: str = await self._hang()
        return marker

    @asynccontextmanager
    async def hold(self, holder: str) -> AsyncIterator[None]:
        await self._hang()
        yield

    async def free_bytes(self) -> int | None:
        free: int | None = await self._hang()
        return free

    async def clean(self) -> list[str]:
        cleaned: list[str] = await self._hang()
        return cleaned


async def held(store: Store) -> None:
    async with store.hold("me"):
        pass


CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "stat": lambda store: store.stat(Key("a")),
    "fingerprint": lambda store: store.fingerprint(Key("a"), Token("t")),
    "write": lambda store: store.write(Key("a"), content(b"x"), expect=None, trash=None),
    "make_directory": lambda store: store.make_directory(Key("a/"), expect=None, trash=None),
    "remove": lambda store: store.remove(Key("a"), expect=Token("t"), trash=None),
    "move": lambda store: store.move(Key("a"), Key("b"), expect=Token("t")),
    "flush": lambda store: store.flush(),
    "kept": lambda store: store.kept(),
    "prune": lambda store: store.prune("handle"),
    "marker": lambda store: store.marker(),
    "set_marker": lambda store: store.set_marker("identity"),
    "hold": held,
    "free_bytes": lambda store: store.free_bytes(),
    "clean": lambda store: store.clean(),
}


def test_every_call_of_a_store_that_can_hang_is_limited() -> None:
    calls = {name for name, call in vars(Wrapper).items() if iscoroutinefunction(call)} | {"hold", "scan"}
    assert calls <= vars(TimeLimited).keys()
    assert calls == CALLS.keys() | {"batch", "scan"}


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_takes_too_long_is_given_up(store: FileStore, call: str) -> None:
    with pytest.raises(TimedOut):
        await CALLS[call](TimeLimited(Hanging(store), seconds=0.01))


async def test_a_hold_lasts_as_long_as_it_takes() -> None:
    class Renewed(Wrapper):
        """Holds by a task of its own, as buckets do."""

        @asynccontextmanager
        async def hold(self, holder: str) -> AsyncIterator[None]:
            async with self.inner.hold(holder), anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                yield
                tasks.cancel_scope.cancel()

    limited = TimeLimited(Renewed(MemoryStore(clock=LogicalClock())), seconds=1.0)
    async with limited.hold("me"):
        await anyio.sleep(1.5)
        with pytest.raises(Locked):
            await held(limited)
    await held(limited)


async def test_what_goes_wrong_during_a_hold_comes_out_as_it_is(store: FileStore) -> None:
    with pytest.raises(PreconditionFailed, match="somebody else"):
        async with TimeLimited(store, seconds=60.0).hold("me"):
            raise PreconditionFailed("somebody else was faster")


async def test_a_listing_that_stalls_is_given_up(store: FileStore) -> None:
    batches = aiter(TimeLimited(Hanging(store), seconds=0.05).scan())
    assert await anext(batches) == []
    with pytest.raises(TimedOut):
        await anext(batches)


async def test_a_listing_may_take_as_long_as_it_likes_between_its_ends(store: FileStore) -> None:
    class Slow(Wrapper):
        async def scan(self) -> AsyncIterator[list[Row]]:
            for _ in range(5):
                await anyio.sleep(0.3)
                yield []

    assert [batch async for batch in TimeLimited(Slow(store), seconds=1.2).scan()] == [[]] * 5


# -- bandwidth -------------------------------------------------------------------------------------------------------


async def test_no_more_bytes_pass_in_a_second_than_may(store: FileStore, clock: Clock, tmp_path: Path) -> None:
    limited = BandwidthLimited(store, bytes_per_second=1000, clock=clock)
    for n in range(4):
        await limited.write(Key(str(n)), content(b"x" * 500), expect=None, trash=None)
    assert clock.now == pytest.approx(2.0)
    assert (tmp_path / "3").read_bytes() == b"x" * 500
    clock.now += 100  # what was not used in the past is not saved up
    begun = clock.now
    for n in range(4):
        await limited.write(Key(f"more {n}"), content(b"x" * 500), expect=None, trash=None)
    assert clock.now - begun == pytest.approx(2.0)


# -- protection ------------------------------------------------------------------------------------------------------


async def test_a_protected_store_refuses_every_effect_and_nothing_else(store: FileStore, tmp_path: Path) -> None:
    put(tmp_path, "a", b"one")
    protected = Protected(store)
    old = await version(protected, "a")
    refused: list[Callable[[], Awaitable[object]]] = [
        lambda: protected.write(Key("a"), content(b"two"), expect=old, trash=None),
        lambda: protected.make_directory(Key("d/"), expect=None, trash=None),
        lambda: protected.remove(Key("a"), expect=old, trash=None),
        lambda: protected.prune("run/0/a"),
        lambda: protected.set_marker("me"),
        lambda: protected.clean(),
    ]
    for call in refused:
        with pytest.raises(ReadOnly):
            await call()
    with pytest.raises(ReadOnly):
        protected.hold("me")
    assert [row[0] async for batch in protected.scan() for row in batch] == [b"a"]
    assert (await protected.fingerprint(Key("a"), old)).algorithm == "blake3"
    assert await protected.kept() == []
    assert await protected.marker() is None
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


async def test_a_wrapper_hands_everything_on(store: FileStore, tmp_path: Path) -> None:
    wrapped = Wrapper(store)
    written = await wrapped.write(Key("a"), content(b"one"), expect=None, trash=RUN)
    assert written.token is not None
    entry = Entry(written.token, Content(Kind.FILE, 3))
    with wrapped.source(Key("a"), entry).open() as chunks:
        assert b"".join(chunks) == b"one"
    await wrapped.make_directory(Key("d/"), expect=None, trash=RUN)
    removed = await wrapped.remove(Key("a"), expect=written.token, trash=RUN)
    assert removed.kept is not None
    with wrapped.kept_source(removed.kept, entry).open() as chunks:
        assert b"".join(chunks) == b"one"
    await wrapped.flush()
    assert len(await wrapped.kept()) == 1
    await wrapped.prune(removed.kept)
    assert await wrapped.set_marker("me") == await wrapped.marker() == "me"
    async with wrapped.hold("me"):
        pass
    assert await wrapped.free_bytes()
    assert await wrapped.clean() == []
    assert wrapped.properties.location == str(tmp_path)
