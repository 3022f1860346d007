"""The contract catches stores that break it, and the faulty wrapper breaks things as it is told."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import anyio
import pytest

from trueup.core.errors import Corrupt, PreconditionFailed, StoreError, Throttled, TimedOut, Unavailable
from trueup.core.model import DIRECTORY_TOKEN, Key, Row, Token, is_directory
from trueup.core.tree import Names
from trueup.protocols import Properties, Source, Trash, Written
from trueup.stores.memory import MemoryStore
from trueup.testing import Call, Decide, Fault, Faulty, Harm, LogicalClock, Seeded, StoreContract
from trueup.testing.expect import content, create, fingerprint_of, look, read, rows, source_of

pytest_plugins = ["pytester"]

A = Key("a")


# -- broken stores -----------------------------------------------------------------------------------------------


class NoCompare(MemoryStore):
    """Replaces whatever is there."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        if expect != DIRECTORY_TOKEN:
            entry = await self.stat(key)
            expect = entry.token if entry is not None else None
        return await super().write(key, source, expect=expect, trash=trash)


class NoCompareOnRemoval(MemoryStore):
    """Removes whatever is there."""

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        entry = await self.stat(key)
        return await super().remove(key, expect=entry.token if entry is not None else expect, trash=trash)


class ComparesOnlyBefore(MemoryStore):
    """Looks, reads the source, and replaces without looking again; says that it refuses lost races."""

    @property
    def properties(self) -> Properties:
        return replace(super().properties, refuses_lost_races=True)


class LooksAgain(MemoryStore):
    """Returns the version that it sees when all is done."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        written = await super().write(key, source, expect=expect, trash=trash)
        for _ in range(20):
            await anyio.sleep(0.001)
        entry = await self.stat(key)
        return replace(written, token=entry.token if entry is not None else None)


class LosesTrash(MemoryStore):
    """Says that it kept a version, and did not."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        written = await super().write(key, source, expect=expect, trash=trash)
        if written.kept is not None:
            del self.state.trash[written.kept]
        return written


class KeepsUnasked(MemoryStore):
    """Keeps every version, asked or not."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        return await super().write(key, source, expect=expect, trash=trash or Trash("unasked"))


class SortsByComponent(MemoryStore):
    """Lists a directory's content before the names that come between, as a walk over folders does."""

    async def scan(self) -> AsyncIterator[list[Row]]:
        found = [row async for batch in super().scan() for row in batch]
        yield sorted(found, key=lambda row: row[0].rstrip(b"/").split(b"/"))


class SortsAsText(MemoryStore):
    """Lists in the order of Python's strings."""

    async def scan(self) -> AsyncIterator[list[Row]]:
        found = [row async for batch in super().scan() for row in batch]
        yield sorted(found, key=lambda row: row[0].decode("utf-8", "surrogateescape"))


class EndsEarly(MemoryStore):
    """Lists the first page only."""

    async def scan(self) -> AsyncIterator[list[Row]]:
        async for batch in super().scan():
            yield batch[:100]
            break


class NotAtomic(MemoryStore):
    """Removes, takes a breath, and writes."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        if expect is not None and expect != DIRECTORY_TOKEN:
            await self.remove(key, expect=expect, trash=trash)
            await anyio.sleep(0.001)
            expect = None
        return await super().write(key, source, expect=expect, trash=trash)


class AnyName(MemoryStore):
    """Has no problem with any name."""

    @property
    def properties(self) -> Properties:
        return replace(super().properties, names=Names())

    def _problem(self, key: Key) -> str | None:
        return "there are no bytes for it" if "\ud800" in key else None


class Trusting(MemoryStore):
    """Takes whatever bytes arrive."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        with source.open() as chunks:
            data = b"".join(chunks)
        return await super().write(key, source_of(data), expect=expect, trash=trash)


class Impatient(MemoryStore):
    """Has enough when all bytes have arrived, and does not wait for the source to end."""

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        @contextmanager
        def reading() -> Iterator[Iterator[bytes]]:
            def chunks(arriving: Iterator[bytes]) -> Iterator[bytes]:
                left = source.size
                while left > 0:
                    chunk = next(arriving)
                    left -= len(chunk)
                    yield chunk

            with source.open() as arriving:
                yield chunks(arriving)

        return await super().write(key, replace(source, open=reading), expect=expect, trash=trash)


class ContentIsVersion(MemoryStore):
    """Takes equal bytes for the same version."""

    def _token(self) -> Token:
        return Token("same")


class RemovesTrees(MemoryStore):
    """Removes a directory with all that it holds."""

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        if is_directory(key) and await self.stat(key) is not None:
            self.delete(key)
            return Written(None)
        return await super().remove(key, expect=expect, trash=trash)


class ForgetsItsIdentity(MemoryStore):
    """Takes every new identity."""

    async def set_marker(self, identity: str) -> str:
        self.state.marker = identity
        return identity


class Suite(StoreContract):
    """Joins any of these; not collected, because its name does not begin with Test."""

    def __init__(self, memory: MemoryStore) -> None:
        self.memory = memory

    def outside_write(self, key: Key, data: bytes) -> None:
        self.memory.put(key, data)

    def outside_delete(self, key: Key) -> None:
        self.memory.delete(key)


BROKEN: list[tuple[Callable[[], MemoryStore], str]] = [
    (lambda: NoCompare(clock=LogicalClock()), "test_a_write_that_expects_another_version_is_refused"),
    (lambda: NoCompare(clock=LogicalClock()), "test_a_write_that_expects_nothing_never_replaces"),
    (lambda: NoCompareOnRemoval(clock=LogicalClock()), "test_only_the_expected_version_is_removed"),
    (lambda: NoCompareOnRemoval(clock=LogicalClock()), "test_an_edit_before_a_removal_is_kept"),
    (
        lambda: ComparesOnlyBefore(clock=LogicalClock(), refuses_lost_races=False),
        "test_an_edit_during_a_write_is_not_overwritten",
    ),
    (
        lambda: ComparesOnlyBefore(clock=LogicalClock(), refuses_lost_races=False),
        "test_a_file_created_during_a_write_is_not_overwritten",
    ),
    (
        lambda: ComparesOnlyBefore(clock=LogicalClock(), refuses_lost_races=False),
        "test_of_two_writers_with_one_expectation_exactly_one_wins",
    ),
    (
        lambda: LooksAgain(clock=LogicalClock()),
        "test_an_edit_right_after_a_write_is_not_taken_for_what_was_written",
    ),
    (lambda: LosesTrash(clock=LogicalClock()), "test_a_replaced_version_is_kept"),
    (lambda: LosesTrash(clock=LogicalClock()), "test_after_an_error_a_write_has_happened_or_has_not"),
    (lambda: KeepsUnasked(clock=LogicalClock()), "test_without_a_trash_a_replaced_version_is_destroyed"),
    (
        lambda: SortsByComponent(clock=LogicalClock()),
        "test_a_file_and_a_tree_of_one_name_are_apart_in_order_or_exclude_each_other",
    ),
    (
        lambda: SortsAsText(clock=LogicalClock()),
        "test_a_scan_shows_hostile_names_in_the_order_of_their_bytes",
    ),
    (lambda: EndsEarly(clock=LogicalClock()), "test_a_large_listing_is_whole_and_in_order"),
    (lambda: NotAtomic(clock=LogicalClock()), "test_a_reader_finds_the_old_version_or_the_new_one"),
    (lambda: NotAtomic(clock=LogicalClock()), "test_a_cancelled_write_has_happened_or_has_not"),
    (lambda: NotAtomic(clock=LogicalClock()), "test_a_source_that_breaks_its_promise_changes_nothing"),
    (lambda: AnyName(clock=LogicalClock()), "test_unaddressable_names_are_reported_and_refused"),
    (lambda: Trusting(clock=LogicalClock()), "test_a_source_that_breaks_its_promise_changes_nothing"),
    (lambda: Impatient(clock=LogicalClock()), "test_a_source_that_fails_changes_nothing"),
    (lambda: ContentIsVersion(clock=LogicalClock()), "test_every_write_changes_the_token"),
    (lambda: RemovesTrees(clock=LogicalClock()), "test_only_an_empty_directory_is_removed"),
    (lambda: ForgetsItsIdentity(clock=LogicalClock()), "test_an_identity_is_set_once"),
]


@pytest.mark.parametrize(("open_broken", "test"), BROKEN, ids=[test for _, test in BROKEN])
def test_the_contract_catches_a_store_that_breaks_it(open_broken: Callable[[], MemoryStore], test: str) -> None:
    memory = open_broken()
    with pytest.raises((AssertionError, StoreError, ExceptionGroup)) as failure:
        anyio.run(getattr(Suite(memory), test), memory)
    assert caused_by_the_contract(failure.value)


@pytest.mark.parametrize("test", sorted({test for _, test in BROKEN}))
def test_the_same_tests_pass_on_a_store_that_keeps_it(test: str) -> None:
    memory = MemoryStore(clock=LogicalClock())
    anyio.run(getattr(Suite(memory), test), memory)


def caused_by_the_contract(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(caused_by_the_contract(one) for one in error.exceptions)
    return isinstance(error, AssertionError | StoreError)


JOINING = """
import pytest
from trueup.core.model import Key
from trueup.stores.memory import MemoryStore
from trueup.testing import LogicalClock, StoreContract

class TestTheirs(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        self.memory = MemoryStore(clock=LogicalClock())
        return self.memory

    def outside_write(self, key: Key, data: bytes) -> None:
        self.memory.put(key, data)

    def outside_delete(self, key: Key) -> None:
        self.memory.delete(key)
"""


def test_other_people_join_in_a_few_lines_without_any_configuration(pytester: pytest.Pytester) -> None:
    assert len(JOINING.strip().splitlines()) <= 25
    pytester.makepyfile(JOINING)
    result = pytester.runpytest_subprocess("-q", "-W", "error", "-p", "no:cacheprovider", "-k", "not trio")
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "skipped", "deselected"}
    assert outcomes["passed"] > 70


def test_importing_the_contract_does_not_import_pytest(pytester: pytest.Pytester) -> None:
    code = "import sys, trueup.testing; sys.exit('pytest' in sys.modules or 'hypothesis' in sys.modules)"
    assert pytester.run(sys.executable, "-c", code).ret == 0


# -- the faulty wrapper ------------------------------------------------------------------------------------------


def only(name: str, fault: Fault) -> Decide:
    return lambda call: fault if call.name == name else None


def faulty(memory: MemoryStore, decide: Decide) -> Faulty:
    return Faulty(memory, decide=decide, clock=LogicalClock())


@pytest.fixture
def memory() -> MemoryStore:
    memory = MemoryStore(clock=LogicalClock(), batch_rows=4)
    for n in range(10):
        memory.put(f"f{n}", b"x" * 100)
    return memory


@pytest.mark.parametrize(
    ("fault", "error", "happened"),
    [
        (Fault(Harm.BEFORE), Unavailable, False),
        (Fault(Harm.BEFORE, error=TimedOut), TimedOut, False),
        (Fault(Harm.THROTTLED, after_seconds=1.5), Throttled, False),
        (Fault(Harm.HANG), TimedOut, False),
        (Fault(Harm.AFTER), Unavailable, True),
        (Fault(Harm.AFTER, error=TimedOut), TimedOut, True),
        (Fault(Harm.HANG_AFTER), TimedOut, True),
        (Fault(Harm.SHORT, at=0.99), Corrupt, False),
        (Fault(Harm.SHORT, at=0.0), Corrupt, False),
        (Fault(Harm.FLIPPED, at=0.3), Corrupt, False),
        (Fault(Harm.BROKEN, error=TimedOut, at=0.7), TimedOut, False),
    ],
)
async def test_a_harmed_write_fails_as_told(
    memory: MemoryStore, fault: Fault, error: type[StoreError], *, happened: bool
) -> None:
    store = faulty(memory, only("write", fault))
    data = b"new" * 50_000
    with pytest.raises(error) as raised:
        await store.write(A, source_of(data, fingerprint=fingerprint_of(data)), expect=None, trash=None)
    assert (memory.tree().get(A) == data) is happened
    assert (A in memory.tree()) is happened
    assert [(one.call.name, one.call.key, one.fault) for one in store.injected] == [("write", "a", fault)]
    if isinstance(raised.value, Throttled):
        assert raised.value.after_seconds == 1.5


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(Harm.BEFORE), Unavailable),
        (Fault(Harm.BROKEN, error=TimedOut), TimedOut),
        (Fault(Harm.SHORT), Corrupt),
        (Fault(Harm.FLIPPED), Corrupt),
    ],
)
async def test_a_harmed_source_is_noticed_by_the_writer(
    memory: MemoryStore, fault: Fault, error: type[StoreError]
) -> None:
    store = faulty(memory, only("open", fault))
    entry = await look(memory, Key("f0"))
    known = replace(entry, content=replace(entry.content, fingerprint=fingerprint_of(b"x" * 100)))
    source = store.source(Key("f0"), known)
    assert store.injected == []
    with pytest.raises(error):
        await memory.write(A, source, expect=None, trash=None)
    assert A not in memory.tree()


async def test_a_kept_version_can_be_harmed_on_its_way_too(memory: MemoryStore) -> None:
    entry = await look(memory, Key("f0"))
    removed = await memory.remove(Key("f0"), expect=entry.token, trash=Trash("r"))
    store = faulty(memory, only("open", Fault(Harm.SHORT, at=0.5)))
    assert await content(store.kept_source(removed.kept or "", entry)) == b"x" * 50


@pytest.mark.parametrize(("batches", "listed"), [(0, 2), (1, 6), (2, 9), (3, 10), (9, 10)])
async def test_a_listing_breaks_off_with_an_error(memory: MemoryStore, batches: int, listed: int) -> None:
    store = faulty(memory, only("scan", Fault(Harm.BROKEN, batches=batches)))
    found: list[Row] = []

    async def listing() -> None:
        async for batch in store.scan():
            found.extend(batch)

    with pytest.raises(Unavailable):
        await listing()
    assert len(found) == listed
    assert found == (await rows(memory))[:listed]


async def test_a_call_that_hangs_can_be_given_up(memory: MemoryStore) -> None:
    class Real(LogicalClock):
        async def sleep(self, seconds: float) -> None:
            await anyio.sleep(seconds)

    for harm, happened in ((Harm.HANG, False), (Harm.HANG_AFTER, True)):
        store = Faulty(memory, decide=only("write", Fault(harm)), clock=Real())
        with anyio.move_on_after(0.02) as scope:
            await store.write(A, source_of(b"1"), expect=None, trash=None)
        assert scope.cancelled_caught
        assert (A in memory.tree()) is happened


async def test_a_lost_answer_is_lost_whatever_it_was(memory: MemoryStore) -> None:
    store = faulty(memory, only("remove", Fault(Harm.AFTER, error=TimedOut)))
    with pytest.raises(TimedOut) as raised:
        await store.remove(Key("f0"), expect=Token("other"), trash=None)
    assert isinstance(raised.value.__cause__, PreconditionFailed)


async def test_every_method_can_be_harmed(memory: MemoryStore) -> None:
    store = faulty(memory, lambda _: Fault(Harm.BEFORE))
    calls = [
        store.stat(A),
        store.fingerprint(A, Token("v")),
        store.write(A, source_of(b""), expect=None, trash=None),
        store.make_directory(Key("d/"), expect=None, trash=None),
        store.remove(A, expect=Token("v"), trash=None),
        store.flush(),
        store.kept(),
        store.prune("h"),
        store.marker(),
        store.set_marker("me"),
        store.free_bytes(),
        store.clean(),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(Unavailable):
        await store.hold("me").__aenter__()
    with pytest.raises(Unavailable):
        await rows(store)
    assert store.calls == len(store.injected) == len(calls) + 2
    assert memory.state.held is None


def test_what_cannot_happen_to_a_call_is_a_mistake_in_the_test(memory: MemoryStore) -> None:
    store = faulty(memory, only("stat", Fault(Harm.SHORT)))
    with pytest.raises(ValueError, match="cannot happen to stat"):
        anyio.run(store.stat, A)


async def course(seed: int, harms: frozenset[Harm] = frozenset(Harm)) -> tuple[list[object], dict[Key, bytes]]:
    memory = MemoryStore(clock=LogicalClock())
    store = faulty(memory, Seeded(Random(seed), rate=0.5, harms=harms))
    for n in range(40):
        data = bytes([n]) * 1000
        try:
            entry = await store.stat(A)
            expect = entry.token if entry is not None else None
            await store.write(A, source_of(data, fingerprint=fingerprint_of(data)), expect=expect, trash=None)
        except (Unavailable, Corrupt):
            continue
    return list(store.injected), memory.tree()


async def test_the_same_seed_does_the_same_harm_and_another_seed_another() -> None:
    assert await course(1) == await course(1)
    assert (await course(1))[0] != (await course(2))[0]


async def test_only_the_harms_that_are_asked_for_happen() -> None:
    injected, _ = await course(3, frozenset({Harm.AFTER, Harm.SHORT}))
    assert {one.fault.harm for one in injected} == {Harm.AFTER, Harm.SHORT}  # type: ignore[attr-defined]


async def test_seeds_reach_every_harm() -> None:
    harms: set[Harm] = set()
    for seed in range(20):
        harms |= {one.fault.harm for one in (await course(seed))[0]}  # type: ignore[attr-defined]
    assert harms == set(Harm)


async def test_a_flip_that_nobody_could_notice_does_not_happen(memory: MemoryStore) -> None:
    seen: list[Call] = []

    def decide(call: Call) -> None:
        seen.append(call)

    store = faulty(memory, decide)
    await create(store, A, b"1")
    await create(store, Key("empty"), b"")
    assert [Harm.FLIPPED in call.harms for call in seen] == [False, False]
    assert [Harm.SHORT in call.harms for call in seen] == [True, False]


async def test_a_wrapper_that_harms_nothing_is_not_noticed(memory: MemoryStore) -> None:
    store = faulty(memory, lambda _: None)
    assert await rows(store) == await rows(memory)
    assert await read(store, Key("f1")) == b"x" * 100
    assert store.injected == []
    assert store.properties is memory.properties


# -- the clock ---------------------------------------------------------------------------------------------------


async def test_a_logical_clock_moves_only_when_somebody_looks_or_sleeps() -> None:
    clock = LogicalClock(5, tick_ns=10)
    assert [clock.now_ns(), clock.now_ns()] == [15, 25]
    before = clock.monotonic()
    await clock.sleep(3.0)
    clock.pause(2.0)
    assert clock.monotonic() == pytest.approx(before + 5.0)
