"""Carrying out a plan: the order of phases, what follows a failure, and stopping."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio import to_thread
from tests.engine.pair import QUICK, REMOTE, Meddler, Pair, Wrap, only, reasons

from trueup.core.errors import Corrupt, NoSpace, StalePlan, StoreError
from trueup.core.model import LOCAL, UNTRUSTED, Fingerprint, Key, Row, Side, Token
from trueup.core.reconcile import is_sibling
from trueup.core.report import EXIT_INTERRUPTED, EXIT_OK, EXIT_PARTIAL, Ending, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Direction, Policy
from trueup.core.table import Verb
from trueup.engine.ambient import Ambient
from trueup.engine.job import Progress
from trueup.engine.state import State
from trueup.engine.wrap import Wrapper
from trueup.protocols import Effect, Properties, Source, Store, Trash, Written
from trueup.stores.memory import MemoryStore
from trueup.testing.clock import LogicalClock


class Log:
    """Writes down every effect, in order."""

    def __init__(self) -> None:
        self.effects: list[tuple[str, str]] = []
        self.most = 0
        self.now = 0

    def wrap(self, _: Side, store: Store) -> Store:
        return Logged(store, self)


class Logged(Wrapper):
    def __init__(self, inner: Store, log: Log) -> None:
        super().__init__(inner)
        self.log = log

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        self.log.now += 1
        self.log.most = max(self.log.most, self.log.now)
        self.log.effects.append(("write", key))
        written = await self.inner.write(key, source, expect=expect, trash=trash)
        self.log.now -= 1
        return written

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        self.log.effects.append(("make", key))
        return await self.inner.make_directory(key, expect=expect, trash=trash)

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        self.log.effects.append(("remove", key))
        return await self.inner.remove(key, expect=expect, trash=trash)


def failing(key: str, error: StoreError) -> Wrap:
    class Failing(Wrapper):
        async def write(self, name: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            if name == key:
                raise error
            return await self.inner.write(name, source, expect=expect, trash=trash)

    return only(REMOTE, Failing)


async def agreed(pair: Pair, *names: str) -> None:
    for name in names:
        pair.write(pair.local, name, f"old {name}")
    await pair.settle()
    assert pair.agree()


def clear(pair: Pair, *names: str) -> None:
    for name in names:
        path = pair.local / name
        path.rmdir() if path.is_dir() else path.unlink()


async def test_what_is_deleted_goes_last_and_the_deepest_first(pair: Pair) -> None:
    await agreed(pair, "a", "d/e/f", "d/e/g", "d/h", "z")
    clear(pair, "a", "d/e/f", "d/e/g", "d/e", "d/h", "d")
    pair.write(pair.local, "z", "newer")
    pair.write(pair.local, "0", "new")
    log = Log()
    await pair.run(wrap=log.wrap)
    writes = [n for n, (verb, _) in enumerate(log.effects) if verb != "remove"]
    removes = [n for n, (verb, _) in enumerate(log.effects) if verb == "remove"]
    assert max(writes) < min(removes)
    order = [key for verb, key in log.effects if verb == "remove"]
    assert order.index("d/e/f") < order.index("d/e/") < order.index("d/")
    assert pair.agree()


async def test_a_change_of_kind_empties_the_place_first(pair: Pair) -> None:
    await agreed(pair, "x/a", "x/b/c", "z")
    clear(pair, "x/a", "x/b/c", "x/b", "x")
    pair.write(pair.local, "x", "flat")
    log = Log()
    await pair.run(wrap=log.wrap)
    keys = [key for _, key in log.effects]
    assert keys.index("x/b/c") < keys.index("x/b/") < keys.index("x")
    assert pair.agree()


async def test_nothing_is_deleted_after_a_failed_write(pair: Pair) -> None:
    await agreed(pair, "a", "b", "gone")
    pair.write(pair.local, "a", "newer")
    pair.write(pair.local, "b", "newer")
    clear(pair, "gone")
    report = await pair.run(wrap=failing("a", StoreError("odd")))
    assert exit_code(report) == EXIT_PARTIAL
    assert {o.key: o.status for o in report.outcomes} == {
        "a": Status.FAILED,
        "b": Status.DONE,
        "gone": Status.SKIPPED,
    }
    assert pair.live(pair.remote) == {"a": b"old a", "b": b"newer", "gone": b"old gone"}
    await pair.run()
    assert pair.agree()
    assert not pair.lost()


async def test_what_needs_a_failed_step_is_not_tried(pair: Pair) -> None:
    await agreed(pair, "x", "z")
    clear(pair, "x")
    pair.write(pair.local, "x/inner", "inner")

    class Failing(Wrapper):
        async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
            if expect is not None:
                raise StoreError("odd")
            return await self.inner.make_directory(key, expect=expect, trash=trash)

    report = await pair.run(wrap=only(REMOTE, Failing))
    assert {o.key: o.status for o in report.outcomes}[Key("x/inner")] is Status.SKIPPED
    assert pair.live(pair.remote) == {"x": b"old x", "z": b"old z"}
    await pair.settle()
    assert pair.agree()


async def test_a_full_side_is_not_written_to_again_in_this_run(pair: Pair) -> None:
    for n in range(5):
        pair.write(pair.local, str(n), f"{n}")
        pair.write(pair.remote, f"back {n}", f"{n}")
    tried: list[str] = []

    class Full(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            tried.append(key)
            raise NoSpace("full")

    report = await pair.run(wrap=only(REMOTE, Full), tuning=replace(QUICK, max_concurrent=1))
    assert len(tried) == 1
    assert report.counts[Status.SKIPPED] == 4
    assert len(pair.live(pair.local)) == 10  # the other side goes on


async def test_small_items_go_together_and_one_that_is_refused_stops_no_other(pair: Pair) -> None:
    for n in range(8):
        pair.write(pair.local, f"{n}", f"mine {n}")
    batches: list[int] = []

    class Together(Wrapper):
        async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
            batches.append(len(effects))
            await to_thread.run_sync(pair.write, pair.remote, "3", "theirs")
            return await self.inner.batch(effects)

    report = await pair.run(wrap=only(REMOTE, Together), tuning=replace(QUICK, max_concurrent=1))
    assert batches == [2] * 4
    assert {o.key for o in report.outcomes if o.status is not Status.DONE} == {Key("3")}
    assert pair.live(pair.remote)["3"] == b"theirs"
    assert len((await pair.plan()).items) == 1  # all the others are agreed on


async def test_the_age_of_a_file_counts_from_before_its_batch(pair: Pair) -> None:
    """What takes long to write is not old for that: an edit within the clock's tick would bear the same version."""
    clock = LogicalClock(time.time_ns())
    pair.ambient = replace(Ambient(), clock=clock)
    for n in range(8):
        pair.write(pair.local, f"{n}", f"{n}", age=0)

    class Slow(Wrapper):
        async def batch(self, effects: Sequence[Effect]) -> list[Written | StoreError]:
            answers = await self.inner.batch(effects)
            await clock.sleep(10)
            return answers

    await pair.run(wrap=only(REMOTE, Slow), tuning=replace(QUICK, max_concurrent=1))

    def remembered() -> list[Token]:
        with closing(State(pair.state)) as state:
            return [row[1] for batch in state.scan_ancestors(1) for row in batch]

    assert (await to_thread.run_sync(remembered))[:2] == [UNTRUSTED] * 2


async def test_a_mistake_of_ours_is_not_swallowed(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")

    class Mistaken(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            raise ZeroDivisionError

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # a group, or the error itself
        await pair.run(wrap=only(REMOTE, Mistaken))
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ZeroDivisionError)
    await pair.run()
    assert pair.agree()


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_items_are_under_way_than_are_allowed(pair: Pair, most: int) -> None:
    for n in range(20):
        pair.write(pair.local, str(n), f"{n}")
    log = Log()
    await pair.run(wrap=log.wrap, tuning=replace(QUICK, max_concurrent=most))
    assert log.most == most


async def test_a_run_that_is_asked_to_stop_finishes_what_is_under_way_and_the_next_resumes(pair: Pair) -> None:
    await agreed(pair, "gone")
    for n in range(20):
        pair.write(pair.local, f"{n:02}", f"{n}")
    clear(pair, "gone")
    engine = pair.engine()
    meddler = Meddler(after={("write", "04"): engine.drain})
    engine._wrap = meddler.on(REMOTE)
    async with engine:
        report = await engine.run(pair.spec(tuning=replace(QUICK, max_concurrent=1)))
    assert report.ending is Ending.INTERRUPTED
    assert exit_code(report) == EXIT_INTERRUPTED
    assert [o.key for o in report.outcomes if o.status is Status.DONE] == [f"{n:02}" for n in range(5)]
    assert "gone" in pair.live(pair.remote)
    async with pair.engine() as fresh:
        assert (await fresh.record("last")).summary.state.value == "interrupted"
    again = await pair.run()
    assert exit_code(again) == EXIT_OK
    assert len(again.plan.changes) == 16
    assert pair.agree()


async def test_a_run_that_is_cancelled_frees_its_locks(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")

    class Slow(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.move_on_after(0.3) as scope:
        await pair.run(wrap=only(REMOTE, Slow))
    assert scope.cancelled_caught
    assert exit_code(await pair.run()) == EXIT_OK
    assert pair.agree()


async def test_an_ancestor_is_what_was_written_and_not_what_is_there_by_now(pair: Pair) -> None:
    await agreed(pair, "a")
    pair.write(pair.local, "a", "mine")

    def edit() -> None:
        pair.write(pair.remote, "a", "theirs, right after")

    await pair.run(wrap=Meddler(after={("write", "a"): edit}).on(REMOTE))
    assert reasons(await pair.plan()) == {"a": "update"}
    await pair.run()
    assert pair.live(pair.local)["a"] == b"theirs, right after"


async def test_a_file_that_was_made_meanwhile_with_the_same_content_is_as_good_as_written(pair: Pair) -> None:
    pair.write(pair.local, "a", "same")
    make: Callable[[], Any] = lambda: pair.write(pair.remote, "a", "same")  # noqa: E731
    report = await pair.run(wrap=Meddler(before={("write", "a"): make}).on(REMOTE))
    assert exit_code(report) == EXIT_OK
    assert not (await pair.plan()).items


async def test_a_file_made_so_lately_that_its_version_shows_nothing_is_looked_at_again(pair: Pair) -> None:
    pair.write(pair.local, "a", "same")
    make: Callable[[], Any] = lambda: pair.write(pair.remote, "a", "same", age=0)  # noqa: E731
    report = await pair.run(wrap=Meddler(before={("write", "a"): make}).on(REMOTE))
    assert report.outcomes[0].status is Status.CHANGED
    (pair.remote / "a").write_text("else")  # the same size, perhaps the same instant
    assert reasons(await pair.plan()) == {"a": "conflict"}


async def test_progress_counts_up_to_what_was_planned(pair: Pair) -> None:
    for n in range(7):
        pair.write(pair.local, str(n), "x" * n)
    events: list[Progress] = []
    engine = pair.engine()
    engine._on_progress = events.append
    async with engine:
        await engine.run(pair.spec())
    executed = [event for event in events if event.phase == "execute"]
    assert [event.done for event in executed] == list(range(1, 8))
    assert {event.total for event in executed} == {7}
    assert executed[-1].bytes == executed[-1].total_bytes == sum(range(7))
    assert all(event.outcome is not None and event.outcome.status is Status.DONE for event in executed)


async def test_what_is_not_writable_is_reported_item_by_item(open_pair: Pair, nobody: None) -> None:
    pair = open_pair
    await agreed(pair, "d/a", "b")
    pair.write(pair.local, "d/a", "newer")
    pair.write(pair.local, "b", "newer")
    (pair.remote / "d").chmod(0o555)
    try:
        report = await pair.run(policy=Policy(deletes=Deletes.RESTORE))
    finally:
        (pair.remote / "d").chmod(0o755)
    assert {o.key: (o.status, o.code) for o in report.outcomes if o.step} == {
        "d/a": (Status.FAILED, "TU-DENIED"),
        "b": (Status.DONE, ""),
    }
    assert pair.live(pair.remote)["d/a"] == b"old d/a"
    await pair.settle()
    assert pair.agree()


async def test_a_change_of_kind_is_selected_whole(pair: Pair) -> None:
    pair.both("name", "file")
    pair.both("other", "one")
    await pair.run()
    (pair.local / "name").unlink()
    pair.write(pair.local, "name/below", "deep")
    pair.write(pair.local, "other", "two")
    async with pair.engine() as engine:
        plan = await engine.plan(pair.spec(), select=lambda item: item.key == "name/below")
    assert sorted({item.key for item in plan.changes}) == ["name", "name/", "name/below"]


async def test_what_was_saved_is_told_under_the_name_that_it_had(pair: Pair) -> None:
    await agreed(pair, "a")
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "theirs")
    report = await pair.run(policy=Policy(conflict=Conflict.BACKUP_BOTH))
    (saved,) = [step for item in report.plan.items for step in item.steps if step.verb is Verb.SAVE]
    outcome = next(outcome for outcome in report.outcomes if outcome.step == saved.id)
    assert outcome.key == "a"
    assert outcome.kept is not None
    assert outcome.kept.endswith("/a")


@pytest.mark.parametrize("known", [False, True], ids=["new", "agreed"])
async def test_a_sibling_of_a_stopped_run_that_was_edited_since_is_kept_beside_another(pair: Pair, known: bool) -> None:
    pair.policy = Policy(conflict=Conflict.BACKUP_BOTH, deletes=Deletes.PROPAGATE)
    await agreed(pair, "a", "gone")
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "theirs")
    pair.witness()
    (first,) = {step.key for item in (await pair.plan()).items for step in item.steps if step.verb is Verb.SIBLING}
    (pair.local / "gone").unlink()
    pair.write(pair.local, first, "MINE")  # as long as what it was made of
    if known:
        await pair.run(select=lambda item: item.key == first)
    await pair.settle()
    live = pair.live(pair.local)
    assert live == pair.live(pair.remote)
    assert {live.pop("a"), live.pop(first)} == {b"theirs", b"MINE"}
    ((second, text),) = live.items()
    assert text == b"mine"
    assert is_sibling(Key(second))
    assert not pair.lost()


async def test_a_renamed_folder_is_renamed_on_the_other_side_without_payload_under_every_setting(pair: Pair) -> None:
    for deletes in Deletes:
        pair.policy = Policy(deletes=deletes)
        old, new = f"{deletes.value}/old", f"{deletes.value}/new"
        for n in range(3):
            pair.write(pair.local, f"{old}/deep/{n}", f"{deletes.value} {n}")
        await pair.settle()
        inode = (pair.remote / old / "deep/1").stat().st_ino
        (pair.local / old).rename(pair.local / new)
        report = await pair.run()
        assert (pair.remote / new / "deep/1").stat().st_ino == inode
        assert not (pair.remote / old).exists()
        assert {outcome.status for outcome in report.outcomes} == {Status.DONE}
        assert not (await pair.plan()).items


async def test_nothing_is_moved_on_a_store_that_cannot(pair: Pair) -> None:
    class Unmoving(Wrapper):
        @property
        def properties(self) -> Properties:
            return replace(self.inner.properties, verbs=self.inner.properties.verbs - {Verb.MOVE})

    pair.write(pair.local, "old", "text")
    await pair.settle()
    (pair.local / "old").rename(pair.local / "new")
    report = await pair.run(wrap=only(REMOTE, Unmoving))
    assert reasons(report.plan) == {"new": "create", "old": "delete"}
    assert pair.live(pair.remote) == {"new": b"text"}


async def test_what_is_not_selected_is_not_moved_and_its_folder_stays(pair: Pair) -> None:
    for n in range(3):
        pair.write(pair.local, f"old/{n}", f"text {n}")
    await pair.settle()
    (pair.local / "old").rename(pair.local / "new")
    report = await pair.run(select=lambda item: item.key != "new/1")
    assert {outcome.status for outcome in report.outcomes} == {Status.DONE}
    assert set(pair.live(pair.remote)) == {"old/", "old/1", "new/", "new/0", "new/2"}
    await pair.run()
    assert pair.agree()


async def test_a_plan_whose_move_is_stale_is_refused(pair: Pair) -> None:
    pair.write(pair.local, "old", "text")
    await pair.settle()
    (pair.local / "old").rename(pair.local / "new")
    plan = await pair.plan()
    pair.write(pair.local, "old", "somebody made another")
    async with pair.engine() as engine:
        with pytest.raises(StalePlan, match="no longer"):
            await engine.apply(plan)
    assert pair.live(pair.remote) == {"old": b"text"}


async def test_a_remembered_digest_that_proves_wrong_is_forgotten(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")
    async with pair.engine() as engine:
        job = await engine._job(pair.spec())
        (seen,) = [row for batch in [batch async for batch in job.stores[LOCAL].scan()] for row in batch]
        number = await to_thread.run_sync(job.state.remember_target, job.target)
        wrong = Fingerprint("blake3", "0" * 64)
        await to_thread.run_sync(job.state.cache_digests, number, LOCAL, [(Key("a"), seen[1], wrong)])
    first, second = await pair.run(), await pair.run()
    assert [outcome.code for outcome in first.outcomes] == [Corrupt.code]
    assert (exit_code(second), pair.agree()) == (EXIT_OK, True)


async def test_the_same_content_under_another_spelling_is_not_taken_for_its_own(pair: Pair) -> None:
    folding = MemoryStore("memory://folding", clock=LogicalClock(), case_sensitive=False)
    folding.put("a", b"one", modified_ns=1)

    class Late(Wrapper):
        """Does not list it yet."""

        async def scan(self) -> AsyncIterator[list[Row]]:
            yield []

    pair.write(pair.local, "A", "one")
    report = await pair.run(wrap=only(REMOTE, lambda _: Late(folding)))
    assert [outcome.status for outcome in report.outcomes] == [Status.CHANGED]
    again = await pair.plan(wrap=only(REMOTE, lambda _: folding))
    assert [(item.key, item.reason) for item in again.items] == [("A", "blocked"), ("a", "create")]


async def test_a_sibling_of_a_stopped_run_is_known_where_spellings_are_one_name(pair: Pair) -> None:
    pair.policy = Policy(Direction.PUSH, Conflict.BACKUP_BOTH)
    folding = MemoryStore("memory://folding", clock=LogicalClock(), case_sensitive=False)
    folding.put("a", b"theirs", modified_ns=1)
    pair.write(pair.local, "a", "mine")
    on_folding = only(REMOTE, lambda _: folding)
    (sibling,) = [
        step
        for item in (await pair.plan(wrap=on_folding)).items
        for step in item.steps
        if step.verb is Verb.SIBLING and step.side == REMOTE
    ]
    folding.put(sibling.key, b"theirs", modified_ns=1)
    report = await pair.run(wrap=on_folding)
    assert {outcome.status for outcome in report.outcomes if outcome.step} == {Status.DONE}
    assert next(outcome for outcome in report.outcomes if outcome.step and outcome.key == sibling.key).found
    assert folding.tree() == {"a": b"mine", sibling.key: b"theirs"}
