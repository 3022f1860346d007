"""What an observation concludes, and what it does not read twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.pair import LOCAL, PROPAGATE, REMOTE, Meddler, Pair, only, reasons

from trueup.core.errors import StateDamaged, TrueupError, Unavailable
from trueup.core.model import DIRECTORY_TOKEN, UNTRUSTED, Key, Row, Side, Token
from trueup.core.report import EXIT_OK, exit_code
from trueup.core.strategy import Conflict
from trueup.engine.agree import trusted
from trueup.engine.wrap import Wrapper
from trueup.protocols import Properties, Store
from trueup.stores.memory import MemoryStore
from trueup.testing.clock import LogicalClock

SECOND = 1_000_000_000


class Reads:
    """Counts the fingerprints that are taken."""

    def __init__(self) -> None:
        self.taken: list[tuple[Side, Key]] = []

    def wrap(self, side: Side, store: Store) -> Store:
        taken = self.taken

        class Counted(Wrapper):
            async def fingerprint(self, key: Key, token: Token) -> Any:
                taken.append((side, key))
                return await self.inner.fingerprint(key, token)

        return Counted(store)


class Shuffled(Wrapper):
    """Lists in batches that are in no order at all, as some servers do."""

    async def scan(self) -> AsyncIterator[list[Row]]:
        rows = [row async for batch in self.inner.scan() for row in batch]
        for n in range(0, len(rows), 2):
            yield list(reversed(rows[n : n + 2]))


async def test_a_side_that_lists_out_of_order_is_synced_all_the_same(pair: Pair) -> None:
    for n in range(9):
        pair.write(pair.local, f"{n}/a", f"local {n}")
        pair.write(pair.remote, f"{n}.x", f"remote {n}")
    shuffled = only(REMOTE, Shuffled)
    assert exit_code(await pair.run(wrap=shuffled)) == EXIT_OK
    assert pair.agree()
    assert not (await pair.run(wrap=lambda _, store: Shuffled(store))).plan.items


async def test_a_shuffled_listing_that_breaks_off_deletes_nothing(pair: Pair) -> None:
    class Broken(Wrapper):
        async def scan(self) -> AsyncIterator[list[Row]]:
            rows = [row async for batch in self.inner.scan() for row in batch]
            yield list(reversed(rows))[:4]
            raise Unavailable("broke off")

    for n in range(9):
        pair.write(pair.local, str(n), str(n))
    await pair.settle()
    plan = await pair.plan(wrap=only(REMOTE, Broken))
    assert not plan.complete
    assert not plan.changes


async def test_an_error_of_the_state_comes_out_by_itself(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from trueup.engine.state import State

    pair.write(pair.local, "a", "one")
    await pair.run()

    def damaged(*_: Any) -> Any:
        raise StateDamaged("cannot be read")
        yield  # a generator

    monkeypatch.setattr(State, "scan_ancestors", damaged)
    with pytest.raises(StateDamaged):
        await pair.run()


async def test_what_is_gone_and_forgotten_by_another_run_meanwhile_is_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueup.engine.state import State

    pair.write(pair.local, "a", "one")
    await pair.run()
    for place in (pair.local, pair.remote):
        (place / "a").unlink()
    monkeypatch.setattr(State, "ancestors", lambda *_: ({}, []))  # its row was listed a moment ago
    report = await pair.run()
    assert (exit_code(report), report.plan.items) == (EXIT_OK, ())


async def test_an_error_while_a_run_is_recorded_comes_out_by_itself(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueup.core.errors import NoSpace
    from trueup.engine.journal import Journal

    pair.write(pair.local, "a", "one")

    def full(*_: Any) -> None:
        raise NoSpace("no room for the state")

    monkeypatch.setattr(Journal, "record", full)
    with pytest.raises(TrueupError):
        await pair.run()
    monkeypatch.undo()
    await pair.settle()
    assert pair.agree()


# -- what is read ----------------------------------------------------------------------------------------------------


async def test_a_second_look_at_a_conflict_reads_nothing(pair: Pair) -> None:
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "four")
    pair.write(pair.local, "b", "agreed")
    await pair.run()
    reads = Reads()
    await pair.run(wrap=reads.wrap)
    first = len(reads.taken)
    await pair.run(wrap=reads.wrap)
    plan = await pair.plan(wrap=reads.wrap)
    assert reasons(plan) == {"a": "conflict"}
    assert len(reads.taken) == first


async def test_sizes_that_differ_are_not_read(pair: Pair) -> None:
    pair.write(pair.local, "a", "short")
    pair.write(pair.remote, "a", "very much longer")
    reads = Reads()
    assert reasons(await pair.plan(wrap=reads.wrap)) == {"a": "conflict"}
    assert reads.taken == []


async def test_what_was_just_written_is_not_read_in_the_next_run(pair: Pair) -> None:
    for n in range(5):
        pair.write(pair.local, str(n), f"content {n}")
    await pair.run()
    reads = Reads()
    assert not (await pair.run(wrap=reads.wrap)).plan.items
    assert reads.taken == []


async def test_verify_reads_every_byte_and_finds_what_no_version_shows(pair: Pair) -> None:
    pair.both("a", "good")
    pair.both("b", "fine")
    await pair.run()

    class Rotten(Wrapper):
        """A disk that returns other bytes than were written, under the same version."""

        async def fingerprint(self, key: Key, token: Token) -> Any:
            fingerprint = await self.inner.fingerprint(key, token)
            return replace(fingerprint, digest="00" * 32) if key == "a" else fingerprint

    reads = Reads()
    assert not (await pair.plan(verify=True, wrap=reads.wrap)).items
    assert len(reads.taken) == 4
    assert set(reasons(await pair.plan(verify=True, wrap=only(REMOTE, Rotten)))) == {"a"}
    assert not (await pair.plan(wrap=only(REMOTE, Rotten))).items


async def test_touched_files_are_adopted_after_one_look(pair: Pair) -> None:
    pair.both("a", "same")
    await pair.run()
    pair.write(pair.local, "a", "same", age=100)
    reads = Reads()
    report = await pair.run(wrap=reads.wrap)
    assert not report.plan.changes
    before = len(reads.taken)
    assert not (await pair.run(wrap=reads.wrap)).plan.items
    assert len(reads.taken) == before


# -- timestamps too young to be trusted ------------------------------------------------------------------------------

NOW = 1_000 * SECOND
TICK = 2 * SECOND


@pytest.mark.parametrize(
    ("modified", "tick", "token", "expected"),
    [
        (NOW - 3 * SECOND, TICK, "t", "t"),
        (NOW - TICK, TICK, "t", UNTRUSTED),
        (NOW - TICK - 1, TICK, "t", "t"),
        (NOW, TICK, "t", UNTRUSTED),
        (NOW + 3600 * SECOND, TICK, "t", UNTRUSTED),
        (NOW, 0, "t", "t"),
        (NOW, TICK, DIRECTORY_TOKEN, DIRECTORY_TOKEN),
    ],
)
async def test_a_version_is_trusted_only_if_a_later_edit_would_show(
    pair: Pair, modified: int, tick: int, token: str, expected: str
) -> None:
    class Ticking(Wrapper):
        @property
        def properties(self) -> Properties:
            return replace(self.inner.properties, tick_ns=tick)

    async with pair.engine(lambda _, store: Ticking(store)) as engine:
        job = await engine._job(pair.spec())
    assert trusted(job, LOCAL, Token(token), modified_ns=modified, observed_ns=NOW) == expected


@pytest.mark.parametrize("complete", [False, True], ids=["untold", "told"])
@pytest.mark.parametrize(
    ("modified", "made", "old"), [(0, None, False), (0, 0, True), (0, NOW, False), (1, None, True), (NOW, 0, True)]
)
async def test_a_time_that_was_not_told_is_no_proof_of_age(
    pair: Pair, complete: bool, modified: int, made: int | None, old: bool
) -> None:
    class Listing(Wrapper):
        @property
        def properties(self) -> Properties:
            return replace(self.inner.properties, tick_ns=TICK, complete_rows=complete, made_ns=lambda _: made)

    async with pair.engine(only(REMOTE, Listing)) as engine:
        job = await engine._job(pair.spec())
    proven = old or (complete and made is None)
    token = trusted(job, REMOTE, Token("t"), modified_ns=modified, observed_ns=NOW)
    assert token == ("t" if proven else UNTRUSTED)
    # The local side's versions tell nothing themselves, and bear the time that the remote side told.
    token = trusted(job, LOCAL, Token("t"), modified_ns=modified, observed_ns=NOW, told_by=REMOTE)
    assert token == ("t" if modified == 1 or (complete and not modified) else UNTRUSTED)
    assert trusted(job, LOCAL, Token("t"), modified_ns=0, observed_ns=NOW) == "t"


async def test_a_copy_of_what_was_listed_without_a_time_is_looked_at_again(pair: Pair) -> None:
    bucket = MemoryStore("memory://untold", clock=LogicalClock(), directories=False)
    bucket.put("a", b"one", modified_ns=time.time_ns())

    class Untold(Wrapper):
        """Lists no times, as some services do."""

        @property
        def properties(self) -> Properties:
            return replace(bucket.properties, complete_rows=False)

        async def scan(self) -> AsyncIterator[list[Row]]:
            async for batch in bucket.scan():
                yield [(key, token, kind, size, 0, None, note) for key, token, kind, size, _, _, note in batch]

    reads = Reads()

    def wrap(side: Side, store: Store) -> Store:
        return reads.wrap(side, Untold(bucket) if side == REMOTE else store)

    await pair.run(wrap=wrap)
    assert pair.live(pair.local) == {"a": b"one"}
    assert reads.taken == []
    assert not (await pair.plan(wrap=wrap)).changes
    assert reads.taken == [(LOCAL, "a")]


async def test_a_young_file_is_read_again_and_later_no_more(pair: Pair) -> None:
    for side in pair.sides:
        pair.write(side, "a", "young", age=0)
    await pair.run()
    reads = Reads()
    assert not (await pair.run(wrap=reads.wrap)).plan.changes
    assert len(reads.taken) == 2
    then = time.time_ns() - 100 * SECOND

    class Later:
        """A clock that is further on."""

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def __init__(self, real: Any) -> None:
            self.real = real

        def now_ns(self) -> int:
            return int(self.real.now_ns()) + 100 * SECOND

    from trueup.engine.ambient import Ambient, SystemClock

    del then
    pair.ambient = Ambient(clock=Later(SystemClock()))
    await pair.run(wrap=reads.wrap)
    taken = len(reads.taken)
    assert not (await pair.run(wrap=reads.wrap)).plan.items
    assert len(reads.taken) == taken


# -- what may be concluded -------------------------------------------------------------------------------------------


async def test_a_file_that_vanishes_while_it_is_read_is_unknown(pair: Pair) -> None:
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "four")
    meddler = Meddler(before={("fingerprint", "a"): (pair.local / "a").unlink})
    assert reasons(await pair.plan(wrap=meddler.on(LOCAL))) == {"a": "unknown"}


async def test_a_side_that_cannot_be_read_leaves_its_files_unknown(pair: Pair) -> None:
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "four")

    class Refusing(Wrapper):
        async def fingerprint(self, key: Key, token: Token) -> Any:
            raise Unavailable("no answer")

    plan = await pair.plan(wrap=only(REMOTE, Refusing), policy=replace(PROPAGATE, conflict=Conflict.REMOTE_WINS))
    assert reasons(plan) == {"a": "unknown"}


async def test_a_side_is_described_in_numbers(pair: Pair) -> None:
    for n in range(5):
        pair.write(pair.local, f"d/{n}", str(n))
    await pair.settle()
    pair.write(pair.local, "d/0", "edited")
    plan = await pair.plan()
    assert plan.ancestors == 6
    assert plan.observed[LOCAL].items == plan.observed[REMOTE].items == 6
    assert (plan.observed[LOCAL].unchanged, plan.observed[REMOTE].unchanged) == (4, 5)
    for side in (LOCAL, REMOTE):
        assert plan.observed[side].marker == plan.observed[side].expected_marker is not None
        assert (plan.observed[side].free_bytes or 0) > 0
