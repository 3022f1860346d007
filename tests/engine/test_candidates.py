"""Candidates are judged before they replace anything; after-steps follow what was written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio.to_thread
import pytest
from tests.engine.pair import LOCAL, REMOTE, Pair, WrappedEngine

from trueup.core.codec import plan_from_json, plan_to_json
from trueup.core.errors import StoreError, Unavailable
from trueup.core.model import Entry, Key, Side
from trueup.core.plan import Item, Phase, Plan, Step
from trueup.core.reconcile import Reason
from trueup.core.report import EXIT_FAILED, EXIT_PARTIAL, Ending, Report, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Policy
from trueup.core.table import Standing
from trueup.engine.candidates import OWED, after_step, with_left_over
from trueup.engine.job import Check, Job
from trueup.engine.run import look, run, selected
from trueup.engine.wrap import Wrapper
from trueup.protocols import Source, Store, Threads


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path, policy=Policy(conflict=Conflict.REMOTE_WINS, deletes=Deletes.PROPAGATE))


def no_bad(_: Key, data: bytes) -> str | None:
    return "line 1: bad" if b"bad" in data else None


async def job_of(pair: Pair, check: Check | None = Check(no_bad, 1000), **changes: object) -> Job:  # noqa: B008 - frozen
    engine = WrappedEngine(pair.state, None)
    return replace(await engine._job(pair.spec()), check=check, **changes)  # type: ignore[arg-type]


async def agree(_: Plan) -> bool:
    return True


def held(plan: Plan) -> Mapping[str, str]:
    return {item.key: item.why for item in plan.items if item.reason == Reason.HELD}


def changed(plan: Plan) -> list[str]:
    return [item.key for item in plan.changes]


async def test_what_is_not_valid_is_held_and_the_rest_goes_on(pair: Pair) -> None:
    pair.write(pair.local, "a", "bad")
    pair.write(pair.local, "b", "good")
    report = await run(await job_of(pair), confirm=agree)
    assert held(report.plan) == {"a": "local: line 1: bad"}
    assert report.plan.damaged[0].key == "a"
    assert exit_code(report) == EXIT_PARTIAL
    assert not (pair.remote / "a").exists()
    assert (pair.remote / "b").read_text() == "good"


async def test_the_version_that_is_replaced_is_not_judged(pair: Pair) -> None:
    pair.write(pair.local, "a", "bad")
    pair.write(pair.remote, "a", "good")
    report = await run(await job_of(pair), confirm=agree)
    assert not held(report.plan)
    assert (pair.local / "a").read_text() == "good"


async def test_the_version_that_was_judged_is_the_one_that_is_written(pair: Pair) -> None:
    pair.write(pair.local, "a", "good")

    async def edit_first(_: Plan) -> bool:
        await anyio.to_thread.run_sync(pair.write, pair.local, "a", "bad!")
        return True

    report = await run(await job_of(pair), confirm=edit_first)
    assert [outcome.status for outcome in report.outcomes] == [Status.CHANGED]
    assert not (pair.remote / "a").exists()


async def test_what_is_large_is_not_read(pair: Pair) -> None:
    pair.write(pair.local, "a", "x" * 1001)
    plan = await look(await job_of(pair))
    assert held(plan) == {"a": "local: 1001 bytes are more than the 1000 that are read"}


async def test_a_change_of_kind_is_held_whole(pair: Pair) -> None:
    pair.write(pair.local, "a", "old")
    pair.write(pair.local, "other", "old")
    await pair.settle()
    (pair.local / "a").unlink()
    pair.write(pair.local, "a/below", "bad")
    pair.write(pair.local, "a/beside", "good")
    pair.write(pair.local, "other", "newer")
    plan = await look(await job_of(pair))
    assert changed(plan) == ["other"]
    assert held(plan)["a/below"] == "local: line 1: bad"
    assert {"a", "a/below", "a/beside"} <= set(held(plan))
    assert {item.standing for item in plan.items if item.key in ("a", "a/beside")} == {Standing.PLAIN}


class Mute(Wrapper):
    """Cannot be read, or never ends."""

    hang = False

    def source(self, key: Key, entry: Entry) -> Source:
        def opened() -> object:
            raise Unavailable("not now")

        return replace(self.inner.source(key, entry), open=opened)  # type: ignore[arg-type]


async def test_what_cannot_be_read_is_unknown_and_not_written(pair: Pair) -> None:
    pair.write(pair.local, "a", "good")
    job = await job_of(pair)
    stores: dict[Side, Store] = {**job.stores, LOCAL: Mute(job.stores[LOCAL])}
    plan = await look(replace(job, stores=stores))
    assert held(plan) == {"a": "local: could not be checked: not now"}
    assert [item.standing for item in plan.items] == [Standing.UNKNOWN]


async def test_a_check_that_takes_too_long_holds_the_item(pair: Pair) -> None:
    pair.write(pair.local, "a", "good")
    release = anyio.Event()
    job = await job_of(pair)
    threads = job.ambient.threads

    class Hanging:
        async def __call__(self, function: object, /, *args: object) -> object:
            if getattr(function, "__name__", "") == "_judged":
                await release.wait()
            return await threads(function, *args)  # type: ignore[arg-type]

    ambient = replace(job.ambient, threads=cast("Threads", Hanging()))
    plan = await look(replace(job, ambient=ambient, check=Check(no_bad, 1000, 0.01)))
    assert held(plan) == {"a": "local: could not be read within 0.01 s"}


async def test_a_problem_of_the_check_itself_holds_the_item(pair: Pair) -> None:
    def broken(_: Key, __: bytes) -> str | None:
        raise StoreError("no schema")

    pair.write(pair.local, "a", "good")
    plan = await look(await job_of(pair, Check(broken, 1000)))
    assert held(plan) == {"a": "local: could not be checked: no schema"}


# -- after-steps -----------------------------------------------------------------------------------------------------


class After:
    """One after-step for each file, and one for all; remembers what was carried out."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails = False
        self.again = False

    async def plan(self, plan: Plan, left: Sequence[Item]) -> tuple[Item, ...]:
        ids = {item.key: item.steps[-1].id for item in plan.changes}
        each = [
            after_step(f"each/{key}", f"follows {key}", [step], {"name": key}, again=self.again)
            for key, step in ids.items()
        ]
        every = [after_step("all", "follows all", ids.values(), {"name": "all"}, again=self.again)] if ids else []
        return with_left_over([*each, *every], left)

    async def act(self, step: Step) -> None:
        assert step.record is not None
        if self.fails:
            raise StoreError("no")
        self.done.append(step.record.fields["name"])


async def ran(pair: Pair, after: After, **changes: object) -> Report:
    return await run(await job_of(pair, None, after=after.plan, act=after.act, **changes), confirm=agree)


async def test_after_steps_are_planned_and_come_last(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    pair.write(pair.remote, "b", "b")
    after = After()
    job = await job_of(pair, None, after=after.plan, act=after.act)
    plan = await look(job)
    assert changed(plan) == ["a", "b", ".trueup/each/a", ".trueup/each/b", ".trueup/all"]
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan
    report = await run(job, confirm=agree)
    assert sorted(after.done) == ["a", "all", "b"]
    assert report.ok
    assert not (await look(job)).items, "nothing is remembered about what is no item"


async def test_nothing_follows_where_nothing_changes(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    await pair.settle()
    after = After()
    assert not (await ran(pair, after)).plan.changes
    assert after.done == []


async def test_what_follows_a_write_that_failed_is_skipped(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    pair.write(pair.local, "b", "b")
    after = After()

    async def edit_first(_: Plan) -> bool:
        await anyio.to_thread.run_sync(pair.write, pair.remote, "a", "somebody's")
        return True

    report = await run(await job_of(pair, None, after=after.plan, act=after.act), confirm=edit_first)
    assert sorted(after.done) == ["all", "b"], "what follows several follows whatever of them was written"
    status = {outcome.key: outcome.status for outcome in report.outcomes}
    assert status[Key(".trueup/each/a")] is Status.SKIPPED
    again = await look(await job_of(pair, None, after=after.plan, act=after.act))
    assert ".trueup/each/a" in changed(again), "what it follows is still to be written"
    assert [step.needs for item in again.items if item.key == ".trueup/each/a" for step in item.steps] != [()]


async def test_what_failed_is_tried_again_by_the_next_run_if_that_is_wanted(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    after = After()
    after.fails = after.again = True
    assert exit_code(await ran(pair, after)) == EXIT_PARTIAL
    plan = await look(await job_of(pair, None, after=after.plan, act=after.act))
    assert [(item.key, item.why) for item in plan.items] == [
        (".trueup/each/a", "follows a" + OWED),
        (".trueup/all", "follows all" + OWED),
    ]
    assert exit_code(await ran(pair, after)) == EXIT_FAILED, "and again, as long as it fails"
    after.fails = False
    pair.write(pair.local, "a", "newer")
    report = await ran(pair, after)
    assert changed(report.plan) == ["a", ".trueup/each/a", ".trueup/all"], "once each"
    assert sorted(after.done) == ["a", "all"]
    assert not (await ran(pair, after)).plan.items


async def test_what_failed_and_need_not_be_tried_again_is_not(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    after = After()
    after.fails = True
    await ran(pair, after)
    after.fails = False
    assert not (await ran(pair, after)).plan.items


async def test_what_a_stopped_run_did_not_come_to_is_done_by_the_next(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    after = After()

    tried: list[str] = []
    stopping = {"on_progress": lambda event: tried.append(event.current), "draining": lambda: "a" in tried}
    report = await ran(pair, after, **stopping)
    assert report.ending is Ending.INTERRUPTED
    assert (pair.remote / "a").exists()
    assert after.done == []
    assert changed((await ran(pair, after)).plan) == [".trueup/each/a", ".trueup/all"]
    assert sorted(after.done) == ["a", "all"]


async def test_what_is_owed_goes_with_every_selection(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    after = After()
    after.fails = after.again = True
    await ran(pair, after)
    after.fails = False
    pair.write(pair.local, "b", "b")
    report = await ran(pair, after, select=lambda _: False)
    assert sorted(changed(report.plan), reverse=True) == [".trueup/each/a", ".trueup/all"]
    assert not (pair.remote / "b").exists()


async def test_an_after_step_that_fails_fails_nothing_else(pair: Pair) -> None:
    pair.write(pair.local, "a", "a")
    after = After()
    after.fails = True
    report = await ran(pair, after)
    assert exit_code(report) == EXIT_PARTIAL
    assert (pair.remote / "a").exists()
    assert not (await pair.plan()).items, "what was written is agreed"


async def test_a_selection_takes_its_after_steps_along_and_nothing_more(pair: Pair) -> None:
    for name in ("a", "b"):
        pair.write(pair.local, name, name)
    after = After()
    job = await job_of(pair, None, after=after.plan, act=after.act, select=lambda item: item.key == "a")
    plan = selected(await look(job), job.select)
    assert changed(plan) == ["a", ".trueup/each/a", ".trueup/all"]
    assert len(plan.items[-1].steps[0].needs) == 1
    await run(job, confirm=agree)
    assert sorted(after.done) == ["a", "all"]
    assert not (pair.remote / "b").exists()


async def test_an_undo_has_its_after_steps_too(pair: Pair) -> None:
    from trueup.engine.undo import undo

    pair.write(pair.local, "a", "a")
    after = After()
    report = await ran(pair, after)
    job = await job_of(pair, None, after=after.plan, act=after.act)
    assert report.run is not None
    back = await undo(await anyio.to_thread.run_sync(job.journal.find, report.run), job, confirm=agree)
    assert back.ok
    assert not (pair.remote / "a").exists()
    assert sorted(after.done) == ["a", "a", "all", "all"]
    assert [item.phase for item in back.plan.items] == [Phase.DELETE, Phase.AFTER, Phase.AFTER]


async def test_only_one_side_is_taken_back_if_that_is_wanted(pair: Pair) -> None:
    from trueup.engine.undo import undo

    pair.write(pair.local, "a", "a")
    pair.write(pair.remote, "b", "b")
    report = await run(await job_of(pair, None), confirm=agree)
    job = await job_of(pair, None)
    assert report.run is not None
    await undo(await anyio.to_thread.run_sync(job.journal.find, report.run), job, confirm=agree, only=LOCAL)
    assert {path.name for path in pair.local.iterdir()} == {".trueup", "a"}
    assert {path.name for path in pair.remote.iterdir()} == {".trueup", "a", "b"}
    assert REMOTE in job.stores
