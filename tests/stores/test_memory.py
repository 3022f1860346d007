"""What the settings of a memory do; that it keeps the contract is shown in test_contract.py."""

import types
from collections.abc import Coroutine, Generator, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.errors import (
    AccessDenied,
    Locked,
    NoSpace,
    PreconditionFailed,
    ReadOnly,
    StoreError,
    Unaddressable,
)
from trueup.core.model import DIRECTORY_TOKEN, OPAQUE_TOKEN, Entry, Key, Kind, Row, Token, key_bytes, parents
from trueup.protocols import Opening, Trash
from trueup.stores import open_store
from trueup.stores.memory import MemoryStore
from trueup.stores.memory.names import name_problem
from trueup.stores.memory.state import MemoryState
from trueup.testing import LogicalClock
from trueup.testing.expect import content, create, read, rows, source_of

A = Key("a")


@pytest.fixture
def clock() -> LogicalClock:
    return LogicalClock()


class Stepped(LogicalClock):
    """A clock whose sleepers are woken by hand: whoever holds a coroutine is its scheduler."""

    async def sleep(self, seconds: float) -> None:
        await _pause()
        self.pause(seconds)


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value


async def found(store: MemoryStore) -> list[bytes]:
    return [row[0] for row in await rows(store)]


# -- what a person does ------------------------------------------------------------------------------------------


async def test_a_person_sees_and_makes_a_plain_tree(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    store.put("d/b", b"2", modified_ns=7, mode=0o600)
    store.put("a", b"1")
    store.put_directory("e/f/")
    assert store.tree() == {"a": b"1", "d/b": b"2"}
    assert store.directories() == ["d/", "e/", "e/f/"]
    entry = await store.stat(Key("d/b"))
    assert entry is not None
    assert (entry.modified_ns, entry.mode) == (7, 0o600)
    store.delete("d/")
    store.delete("e/f/")
    assert store.tree() == {"a": b"1"}
    assert store.directories() == ["e/"]


async def test_every_edit_of_a_person_changes_the_token(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    tokens = set()
    for _ in range(3):
        store.put("a", b"same")
        tokens.add((await rows(store))[0][1])
    assert len(tokens) == 3


def test_a_person_cannot_do_the_impossible(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    store.put("a", b"1")
    store.put("d/x", b"1")
    for name in ("a/b", "d", "../e", ""):
        with pytest.raises(ValueError, match=r".+"):
            store.put(name, b"2")
    for name in ("a/", "a/b/"):
        with pytest.raises(ValueError, match="in the way"):
            store.put_directory(name)
    with pytest.raises(KeyError):
        store.delete("gone")
    assert store.tree() == {"a": b"1", "d/x": b"1"}


async def test_edits_within_a_tick_can_go_unnoticed_if_that_is_asked_for() -> None:
    store = MemoryStore(clock=LogicalClock(), tick_ns=10**9)
    store.put("a", b"one")
    before = (await rows(store))[0][1]
    store.put("a", b"two")
    assert (await rows(store))[0][1] == before
    store.put("a", b"three")
    assert (await rows(store))[0][1] != before
    before = (await rows(store))[0][1]
    store._clock.pause(1)
    store.put("a", b"seven")
    assert (await rows(store))[0][1] != before


# -- determinism -------------------------------------------------------------------------------------------------


async def course(store: MemoryStore) -> list[Row]:
    token = await create(store, Key("d/a"), b"1")
    await store.write(Key("d/a"), source_of(b"2"), expect=token, trash=Trash("r"))
    store.put("b", b"3")
    return await rows(store)


async def test_the_same_calls_give_the_same_tokens_times_and_handles() -> None:
    one, other = MemoryStore(clock=LogicalClock()), MemoryStore(clock=LogicalClock())
    assert await course(one) == await course(other)
    assert await one.kept() == await other.kept()


NAMES = st.lists(
    st.text(
        st.sampled_from(["a", "b", "!", ".", "~", "\n", "\u00e9", "\udc80", "\uffee", "\U0001f600"]),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@given(st.sets(NAMES, max_size=12), st.booleans(), st.integers(1, 4))
def test_a_scan_is_in_the_order_of_bytes(names: set[str], directories: bool, batch_rows: int) -> None:
    store = MemoryStore(clock=Stepped(), directories=directories, batch_rows=batch_rows)
    put = set()
    for name in sorted(names):
        if name_problem(Key(name)) is None:
            try:
                store.put(name, b"")
            except ValueError:
                continue
            put.add(Key(name))
    expected = put | ({above for key in put for above in parents(key)} if directories else set())
    assert [row[0] for row in finish(rows(store))] == sorted(key_bytes(key) for key in expected)


async def test_batches_are_as_large_as_asked_and_show_what_is_there_when_their_turn_comes(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, batch_rows=2)
    for name in "abcde":
        store.put(name, b"")
    batches = []
    async for batch in store.scan():
        batches.append([row[0] for row in batch])
        if len(batches) == 1:
            store.delete("d")
    assert batches == [[b"a", b"b"], [b"c"], [b"e"]]


# -- names -------------------------------------------------------------------------------------------------------


async def test_a_name_keeps_its_first_spelling(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, case_sensitive=False, normalizes=True)
    store.put("Dir/Caf\u00e9", b"1")
    store.put("DIR/cafe\u0301", b"2")
    await create(store, Key("dIR/new"), b"3")
    assert store.tree() == {"Dir/Caf\u00e9": b"2", "Dir/new": b"3"}
    assert store.directories() == ["Dir/"]


async def test_a_bucket_holds_what_no_file_system_can_and_says_that_it_is_unknown(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, directories=False)
    for name in ("../e", "/lead", "a//b", "dir/", "x", "x/y"):
        store.put(name, b"1")
    opaque = {row[0]: row[1] for row in await rows(store) if row[2] is Kind.UNREADABLE}
    assert opaque == dict.fromkeys((b"../e", b"/lead", b"a//b", b"dir/"), OPAQUE_TOKEN)
    assert [row[0] for row in await rows(store) if row[2] is Kind.FILE] == [b"x", b"x/y"]
    assert await store.stat(Key("../e")) is None
    store.delete("dir/")
    assert "dir/" not in store.tree()


async def test_a_bucket_has_no_directories(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, directories=False)
    assert (await store.make_directory(Key("d/"), expect=None, trash=None)).token == DIRECTORY_TOKEN
    assert (await store.remove(Key("d/"), expect=DIRECTORY_TOKEN, trash=None)).token is None
    assert not await rows(store)
    with pytest.raises(ValueError, match="no directories"):
        store.put_directory("d/")


async def test_in_a_bucket_a_directory_takes_the_place_of_a_file_by_its_removal(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, directories=False)
    token = await create(store, Key("d"), b"1")
    with pytest.raises(PreconditionFailed):
        await store.make_directory(Key("d/"), expect=Token("another"), trash=Trash("r"))
    made = await store.make_directory(Key("d/"), expect=token, trash=Trash("r"))
    assert [item.handle for item in await store.kept()] == [made.kept]
    assert not await rows(store)


async def test_a_file_takes_the_place_of_a_directory_that_holds_nothing_but_directories(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    store.put_directory("d/e/f/")
    store.put("d/g/file", b"1")
    with pytest.raises(PreconditionFailed):
        await store.write(Key("d"), source_of(b"2"), expect=DIRECTORY_TOKEN, trash=None)
    store.delete("d/g/file")
    await store.write(Key("d"), source_of(b"2"), expect=DIRECTORY_TOKEN, trash=None)
    assert [row[0] for row in await rows(store)] == [b"d"]


async def test_a_key_whose_bytes_are_another_key_is_refused(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    with pytest.raises(Unaddressable):
        await create(store, Key("\udcc3\udca9"), b"1")


async def test_files_and_directories_are_asked_for_by_their_own_kind_of_name(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    with pytest.raises(Unaddressable):
        await create(store, Key("d/"), b"1")
    with pytest.raises(Unaddressable):
        await store.make_directory(Key("d"), expect=None, trash=None)


# -- filters and obstructions ------------------------------------------------------------------------------------


class NoLogs:
    sized = True

    def excludes_none(self, names: str) -> bool:
        return False

    def excludes(self, path: str, *, directory: bool) -> bool:
        return path.endswith("cache") if directory else path.endswith(".log")

    def excludes_size(self, size: int) -> bool:
        return size > 3


@pytest.mark.parametrize("directories", [True, False])
async def test_what_does_not_belong_is_left_out_and_counted(clock: LogicalClock, *, directories: bool) -> None:
    store = MemoryStore(clock=clock, filter=NoLogs(), directories=directories)
    for name in ("d/a", "d/b.log", "d/cache/c", "large"):
        store.put(name, b"4444" if name == "large" else b"1")
    listed = [(row[0], row[2], row[3]) for row in await rows(store)]
    expected = [(b"d/a", Kind.FILE, 1), (b"large", Kind.FILTERED, 4)]
    assert listed == ([(b"d/", Kind.DIRECTORY, 2), *expected] if directories else expected)


async def test_a_directory_that_holds_only_filtered_items_is_not_empty(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, filter=NoLogs())
    store.put("d/b.log", b"1")
    with pytest.raises(PreconditionFailed):
        await store.remove(Key("d/"), expect=DIRECTORY_TOKEN, trash=None)


def test_what_was_obstructed_in_a_bucket_is_a_file_again_whatever_its_name(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, directories=False)
    store.put("o/", b"text")
    store.obstruct("o/")
    store.clear("o/")
    assert store.state.nodes["o/"].kind is Kind.FILE


async def test_what_is_obstructed_is_unknown_with_all_below_until_it_is_cleared(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock)
    store.put("d/a", b"1")
    store.put("link", b"2")
    before = await rows(store)
    store.obstruct("d/")
    store.obstruct("link", kind=Kind.SKIPPED, why="symbolic link")
    assert await rows(store) == [
        (b"d/", OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, "permission denied"),
        (b"link", OPAQUE_TOKEN, Kind.SKIPPED, 0, 0, None, "symbolic link"),
    ]
    with pytest.raises(AccessDenied):
        await store.stat(Key("d/a"))
    with pytest.raises(StoreError):
        await store.stat(Key("link"))
    for key in (Key("d/a"), Key("d/new"), Key("link"), Key("link/x")):
        with pytest.raises(StoreError):
            await store.write(key, source_of(b"3"), expect=None, trash=None)
    store.clear("d/")
    store.clear("link")
    assert await rows(store) == before


# -- limits ------------------------------------------------------------------------------------------------------


async def test_a_full_store_says_so_and_stays_as_it_is(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, capacity_bytes=10)
    token = await create(store, A, b"123456")
    assert await store.free_bytes() == 4
    for trash in (Trash("r"), None):
        with pytest.raises(NoSpace):
            await store.write(A, source_of(b"12345"), expect=token, trash=trash)
    assert store.tree() == {A: b"123456"}
    assert store.state.staged == {}
    written = await store.write(A, source_of(b"1234"), expect=token, trash=Trash("r"))
    assert await store.free_bytes() == 0
    await store.prune(written.kept or "")
    assert await store.free_bytes() == 6


async def test_a_read_only_store_refuses_every_write(clock: LogicalClock) -> None:
    state = MemoryState()
    writable = MemoryStore(clock=clock, state=state)
    token = await create(writable, A, b"1")
    kept = (await writable.write(A, source_of(b"2"), expect=token, trash=Trash("r"))).kept or ""
    store = MemoryStore(clock=clock, state=state, read_only=True)
    token = (await rows(store))[0][1]
    for refused in (
        store.write(A, source_of(b"3"), expect=token, trash=None),
        store.make_directory(Key("d/"), expect=None, trash=None),
        store.remove(A, expect=token, trash=None),
        store.prune(kept),
        store.set_marker("me"),
        store.clean(),
    ):
        with pytest.raises(ReadOnly):
            await refused
    assert await read(store, A) == b"2"
    assert [item.handle for item in await store.kept()] == [kept]


async def test_a_store_that_cannot_refuse_loses_the_race_but_not_the_tree(clock: LogicalClock) -> None:
    store = MemoryStore(clock=clock, refuses_lost_races=False)
    token = await create(store, A, b"one")
    lost = source_of(b"two", half_way=lambda: store.put("a", b"theirs"))
    written = await store.write(A, lost, expect=token, trash=Trash("r"))
    assert store.tree() == {A: b"two"}
    entry = await store.stat(A)
    assert entry is not None
    assert await content(store.kept_source(written.kept or "", entry)) == b"one"

    def become_directory() -> None:
        store.delete("a")
        store.put("a/b", b"theirs")

    with pytest.raises(PreconditionFailed):
        await store.write(A, source_of(b"3", half_way=become_directory), expect=written.token, trash=None)
    assert store.tree() == {"a/b": b"theirs"}


# -- what outlives a store ---------------------------------------------------------------------------------------


async def test_two_clients_share_a_state(clock: LogicalClock) -> None:
    state = MemoryState()
    one, other = (MemoryStore(clock=clock, state=state, threads=anyio.to_thread.run_sync) for _ in range(2))
    token = await create(one, A, b"1")
    await other.write(A, source_of(b"2"), expect=token, trash=None)
    with pytest.raises(PreconditionFailed):
        await one.write(A, source_of(b"3"), expect=token, trash=None)
    assert one.tree() == other.tree() == {A: b"2"}


def test_what_a_killed_write_left_is_found_and_kept() -> None:
    store = MemoryStore(clock=Stepped())
    killed = store.write(Key("d/a"), source_of(b"half-done"), expect=None, trash=None)
    killed.send(None)
    killed.send(None)
    killed.close()
    assert finish(rows(store)) == []
    (handle,) = finish(store.clean())
    (kept,) = finish(store.kept())
    assert (kept.handle, kept.run, kept.key, kept.size) == (handle, "leftover", "d/a", 9)
    assert finish(store.clean()) == []


def test_a_write_killed_at_any_step_has_happened_or_has_not() -> None:
    for steps in range(1, 6):
        store = MemoryStore(clock=Stepped())
        store.put("a", b"old")
        token: Token = finish(rows(store))[0][1]
        writing = store.write(A, source_of(b"new"), expect=token, trash=Trash("r"))
        try:
            for _ in range(steps):
                writing.send(None)
        except StopIteration:
            pass
        writing.close()
        happened = store.tree() == {A: b"new"}
        assert happened or store.tree() == {A: b"old"}
        assert len(finish(store.kept())) == happened


async def test_the_lock_of_a_dead_holder_is_taken_over_and_never_freed_by_its_ghost(clock: LogicalClock) -> None:
    state = MemoryState()
    store = MemoryStore(clock=clock, state=state)
    ghost = store.hold("ghost")
    await ghost.__aenter__()
    with pytest.raises(Locked, match="ghost"):
        await store.hold("other").__aenter__()
    state.crash()
    async with store.hold("living"):
        await ghost.__aexit__(None, None, None)
        with pytest.raises(Locked, match="living"):
            await store.hold("other").__aenter__()
    assert state.held is None


async def test_a_url_names_one_memory_for_the_whole_process(clock: LogicalClock) -> None:
    opening = Opening(clock=clock, threads=anyio.to_thread.run_sync, unique=lambda: "u")
    one, same = (open_store("memory://test-url", opening) for _ in range(2))
    other = open_store("memory://test-url-other", opening)
    await create(one, A, b"1")
    assert await read(same, A) == b"1"
    assert await other.stat(A) is None
    assert (one.properties.location, other.properties.location) == ("memory://test-url", "memory://test-url-other")


async def test_fingerprints_are_shown_only_if_they_are_free(clock: LogicalClock) -> None:
    def shown(entry: Entry | None) -> bool:
        return entry is not None and entry.content.fingerprint is not None

    for free in (True, False):
        store = MemoryStore(clock=clock, free_fingerprints=free)
        store.put("a", b"1")
        assert bool((await rows(store))[0][6]) is free
        assert shown(await store.stat(A)) is free


def test_a_source_comes_in_chunks(clock: LogicalClock) -> None:
    store = MemoryStore(clock=Stepped(), chunk_bytes=2)
    store.put("a", b"12345")
    source = store.source(A, finish(store.stat(A)))
    chunks: Iterator[bytes]
    with source.open() as chunks:
        assert list(chunks) == [b"12", b"34", b"5"]
