"""The Python API, on real folders: plans that are kept and applied later, the trash, several callers at once."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from tests.engine.pair import LOCAL, REMOTE, Pair, reasons

from trueup.api.trash import Prunable
from trueup.core.codec import CodecError, plan_from_json, plan_to_json, report_from_json, report_to_json
from trueup.core.errors import (
    NotFound,
    PreconditionFailed,
    StalePlan,
    StoreError,
    Unaddressable,
    Unavailable,
    UsageError,
)
from trueup.core.model import Key, key_from_bytes
from trueup.core.plan import Plan
from trueup.core.report import EXIT_OK, EXIT_PARTIAL, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Direction, Policy
from trueup.engine.ambient import Ambient, SystemClock
from trueup.engine.job import Progress
from trueup.engine.wrap import Wrapper
from trueup.protocols import Discarded


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


async def agreed(pair: Pair) -> None:
    for name in ("a", "b", "c", os.fsdecode(b"caf\xe9")):
        pair.write(pair.local, name, f"old {name}".encode("utf-8", "surrogateescape"))
    await pair.settle()


def drift(pair: Pair) -> None:
    pair.write(pair.local, "a", "newer a")
    pair.write(pair.remote, "b", "newer b")
    (pair.local / "c").unlink()
    pair.write(pair.local, os.fsdecode(b"caf\xe9"), "newer")


def through_json(plan: Plan) -> Plan:
    return plan_from_json(json.loads(json.dumps(plan_to_json(plan))))


# -- plans that are kept ---------------------------------------------------------------------------------------------


async def test_a_plan_from_a_file_does_what_it_says(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    plan = through_json(await pair.plan())
    async with pair.engine() as engine:
        report = await engine.apply(plan)
    assert exit_code(report) == EXIT_OK
    assert pair.agree()
    assert not (await pair.plan()).items
    assert report_from_json(json.loads(json.dumps(report_to_json(report)))) == report


async def test_a_plan_that_has_been_applied_is_stale(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    plan = await pair.plan()
    async with pair.engine() as engine:
        await engine.apply(plan)
        before = pair.everything()
        with pytest.raises(StalePlan) as stale:
            await engine.apply(plan)
    assert stale.value.exit_code == 5
    assert pair.everything() == before


async def test_a_plan_with_one_item_that_has_changed_does_nothing_at_all(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    plan = through_json(await pair.plan())
    pair.write(pair.remote, "a", "somebody was faster")
    before = pair.everything()
    async with pair.engine() as engine:
        with pytest.raises(StalePlan):
            await engine.apply(plan)
    assert pair.everything() == before


async def test_what_still_matches_is_applied_if_that_is_wanted(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    plan = through_json(await pair.plan())
    pair.write(pair.remote, "a", "somebody was faster")
    (pair.remote / "c").unlink()
    (pair.remote / "c").symlink_to("a")
    async with pair.engine() as engine:
        report = await engine.apply(plan, skip_stale=True)
    assert exit_code(report) == EXIT_PARTIAL
    by_key = {outcome.key: outcome.status for outcome in report.outcomes}
    assert by_key == {"a": Status.CHANGED, "b": Status.DONE, "c": Status.CHANGED, "caf\udce9": Status.DONE}
    assert pair.live(pair.remote)["a"] == b"somebody was faster"
    assert pair.live(pair.local)["b"] == b"newer b"
    assert (pair.remote / "c").is_symlink()


async def test_only_what_is_selected_is_done(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    plan = await pair.plan()
    async with pair.engine() as engine:
        report = await engine.apply(plan, select=lambda item: item.key == "b")
    assert {outcome.key for outcome in report.outcomes} == {"b"}
    assert set(reasons(await pair.plan())) == {"a", "c", "caf\udce9"}


async def test_a_change_of_kind_is_carried_out_whole_when_a_part_is_selected(pair: Pair) -> None:
    pair.write(pair.local, "x", "file")
    pair.write(pair.local, "y", "stays")
    await pair.settle()
    (pair.local / "x").unlink()
    pair.write(pair.local, "x/inner", "inner")
    plan = await pair.plan()
    async with pair.engine() as engine:
        report = await engine.apply(plan, select=lambda item: item.key == "x/inner")
    assert report.ok
    assert pair.live(pair.remote) == {"x/": None, "x/inner": b"inner", "y": b"stays"}


async def test_a_plan_for_other_folders_is_stale(pair: Pair, tmp_path: Path) -> None:
    await agreed(pair)
    drift(pair)
    plan = await pair.plan()
    pair.local.rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    pair.local.symlink_to(tmp_path / "elsewhere")
    async with pair.engine() as engine:
        with pytest.raises(StalePlan):
            await engine.apply(plan)


async def test_a_plan_cannot_reach_outside_its_folders(pair: Pair) -> None:
    """A plan file can be written by anybody; the store refuses what no folder can hold."""
    pair.write(pair.base, "secret", "keys")
    pair.write(pair.local, "a", "one")
    plan = await pair.plan()
    text = json.dumps(plan_to_json(plan))
    document = json.loads(text.replace('"a"', '"../secret"'))
    from trueup.core.codec import decode, digest

    forged: Plan = decode(Plan, document["plan"], "plan")
    document["digest"] = digest(forged)
    forged = plan_from_json(document)
    before = pair.everything()
    async with pair.engine() as engine:
        try:
            report = await engine.apply(forged, skip_stale=True)
            assert report.counts[Status.DONE] == 0
        except (StoreError, StalePlan, Unaddressable):
            pass
    assert (pair.base / "secret").read_text() == "keys"
    live = {name: seen for name, seen in pair.everything().items() if "/.trueup" not in name}
    assert live == {name: seen for name, seen in before.items() if "/.trueup" not in name}


async def test_a_plan_with_a_step_that_its_item_does_not_show_is_refused(pair: Pair) -> None:
    """By the engine, too, wherever the plan comes from."""
    pair.write(pair.local, "a", "one")
    pair.write(pair.local, "b", "two")
    plan = await pair.plan()
    first, second = plan.items
    forged = replace(plan, items=(replace(first, steps=(*first.steps, *second.steps)),))
    async with pair.engine() as engine:
        with pytest.raises(CodecError, match="is about 'b'"):
            await engine.apply(forged)
    assert not (pair.remote / "b").exists()


# -- decisions -------------------------------------------------------------------------------------------------------


async def test_a_person_decides_single_conflicts(pair: Pair) -> None:
    for name in ("a", "b"):
        pair.write(pair.local, name, "mine")
        pair.write(pair.remote, name, "theirs")
    report = await pair.run(resolve={Key("a"): Conflict.LOCAL_WINS})
    assert reasons(report.plan) == {"a": "local_wins", "b": "conflict"}
    assert pair.live(pair.remote) == {"a": b"mine", "b": b"theirs"}
    assert pair.trashed(pair.remote) == {b"theirs"}


# -- the trash -------------------------------------------------------------------------------------------------------


async def test_a_kept_version_comes_back_under_its_name_or_elsewhere(pair: Pair, tmp_path: Path) -> None:
    await agreed(pair)
    drift(pair)
    await pair.run()
    async with pair.engine() as engine:
        items = {item.item.key: item for item in await engine.trash(pair.spec())}
        assert {key: item.side for key, item in items.items()} == {
            "a": REMOTE, "b": LOCAL, "c": REMOTE, key_from_bytes(b"caf\xe9"): REMOTE,
        }  # fmt: skip
        await engine.restore(pair.spec(), items[Key("c")].item.handle, side=REMOTE)
        assert pair.live(pair.remote)["c"] == b"old c"
        with pytest.raises(PreconditionFailed):
            await engine.restore(pair.spec(), items[Key("c")].item.handle, side=REMOTE)
        target = tmp_path / "elsewhere"
        await engine.restore(pair.spec(), items[Key("a")].item.handle, side=REMOTE, to=target)
        assert target.read_bytes() == b"old a"
        with pytest.raises(PreconditionFailed):
            await engine.restore(pair.spec(), items[Key("b")].item.handle, to=target)
        with pytest.raises(StoreError):
            await engine.restore(pair.spec(), items[Key("b")].item.handle, to=tmp_path / "no" / "folder")
        with pytest.raises(NotFound):
            await engine.restore(pair.spec(), "run/0/nothing")
        assert len(await engine.trash(pair.spec())) == 4  # what came back stays in the trash as well
    assert target.read_bytes() == b"old a"


async def test_the_last_copy_of_anything_is_not_pruned(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    await pair.run()
    async with pair.engine() as engine:
        would = await engine.prune(pair.spec(), dry_run=True)
        assert len(await engine.trash(pair.spec())) == 4
        pruned = await engine.prune(pair.spec())
        assert (pruned.removed, pruned.bytes, len(pruned.refused)) == (would.removed, would.bytes, len(would.refused))
        assert pruned.removed == 3
        (item,) = await engine.trash(pair.spec())
        assert item.item.key == "c"
        assert pruned.refused[0][0] == item.item.handle


async def test_pruning_goes_by_age_and_by_run(pair: Pair) -> None:
    await agreed(pair)
    runs = []
    for text in ("one", "two"):
        pair.write(pair.local, "a", text)
        runs.append(str((await pair.run()).run))
    async with pair.engine() as engine:
        assert (await engine.prune(pair.spec(), older_than_seconds=3600)).removed == 0
        assert (await engine.prune(pair.spec(), run_name=runs[0])).removed == 1
        assert [item.item.run for item in await engine.trash(pair.spec())] == [runs[1]]
        assert (await engine.prune(pair.spec(), older_than_seconds=0)).removed == 1


class Later(SystemClock):
    """Forty days on."""

    def now_ns(self) -> int:
        return super().now_ns() + 40 * 86_400 * 10**9


async def test_what_is_older_than_the_retention_leaves_the_trash_with_the_next_run(pair: Pair) -> None:
    await agreed(pair)
    drift(pair)
    month = 30 * 86_400.0
    assert not (await pair.run(retention_seconds=month)).notes
    later = replace(pair, ambient=Ambient(clock=Later()))
    async with later.engine() as engine:
        assert len(await engine.trash(pair.spec())) == 4
    assert not (await later.run(retention_seconds=month)).notes, "nothing to do: no run, and nothing is destroyed"
    pair.write(pair.local, "new", "new")
    report = await later.run()
    assert not report.notes, "kept for ever, if nothing is said"
    pair.write(pair.local, "newer", "newer")
    report = await later.run(retention_seconds=month)
    assert report.notes == ("3 versions older than 30 days left the trash",)
    async with later.engine() as engine:
        assert [item.item.key for item in await engine.trash(pair.spec())] == ["c"], "the last copy of anything stays"


def test_a_version_of_unknown_age_is_not_old() -> None:
    unknown = Discarded("h", "run", Key("a"), 1, discarded_ns=0)
    assert Prunable(3600.0).covers(unknown, 10**20), "a person who asks for it knows better"
    assert not Prunable(3600.0, dated=True).covers(unknown, 10**20)
    assert Prunable(3600.0, dated=True).covers(replace(unknown, discarded_ns=1), 10**20)


async def test_a_trash_that_cannot_be_tidied_fails_no_run(pair: Pair) -> None:
    class Stuck(Wrapper):
        async def kept(self) -> list[Discarded]:
            raise Unavailable("not now")

    await agreed(pair)
    pair.write(pair.local, "new", "new")
    report = await pair.run(wrap=lambda _, store: Stuck(store), retention_seconds=3600.0)
    assert report.ok
    assert report.notes == ("the trash was not tidied, the next run will try: not now",)
    assert (pair.remote / "new").exists()


# -- looking ---------------------------------------------------------------------------------------------------------


async def test_content_is_read_as_it_is_now(pair: Pair) -> None:
    pair.write(pair.local, "a", "0123456789")
    async with pair.engine() as engine:
        assert await engine.content(pair.spec(), LOCAL, Key("a"), limit=4) == b"0123"
        assert await engine.content(pair.spec(), LOCAL, Key("a"), limit=100) == b"0123456789"
        with pytest.raises(NotFound):
            await engine.content(pair.spec(), REMOTE, Key("a"), limit=4)


async def test_refusals_say_which_guard_would_stop_a_plan(pair: Pair) -> None:
    for n in range(12):
        pair.write(pair.local, str(n), str(n))
    await pair.settle()
    for n in range(12):
        (pair.local / str(n)).unlink()
    async with pair.engine() as engine:
        plan = await engine.plan(pair.spec())
        assert [refusal.guard.value for refusal in engine.refusals(plan, pair.spec())] == ["emptied"]


async def test_the_doctor_finds_another_disk(pair: Pair) -> None:
    await agreed(pair)
    async with pair.engine() as engine:
        assert all(found.ok for found in await engine.doctor(pair.spec()))
        pair.remote.rename(pair.base / "the disk")
        pair.remote.mkdir()
        bad = [found for found in await engine.doctor(pair.spec()) if not found.ok]
        assert [found.check for found in bad] == ["pair remote identity"]
        assert "--allow other-root" in bad[0].fix
        pair.remote.rmdir()
        bad = [found for found in await engine.doctor(pair.spec()) if not found.ok]
        assert len(bad) == 1
        assert bad[0].fix.startswith("mount it")


async def test_the_doctor_sees_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    pair = Pair(tmp_path / "a=b")
    async with pair.engine() as engine:
        found = await engine.doctor(pair.spec(policy=Policy(direction=Direction.PULL)))
    assert all(one.ok for one in found)


async def test_events_tell_what_happens_to_whoever_listens(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")
    events: list[Progress] = []
    async with anyio.create_task_group() as tasks, pair.engine() as engine:
        ready = anyio.Event()

        async def listen() -> None:
            ready.set()
            async for event in engine.events():
                events.append(event)  # noqa: PERF401  # it is read as it comes

        tasks.start_soon(listen)
        await ready.wait()
        await anyio.lowlevel.checkpoint()
        await engine.run(pair.spec())
        await engine.__aexit__(None, None, None)
    assert {event.phase for event in events} >= {"observe", "execute"}


# -- at once ---------------------------------------------------------------------------------------------------------


async def test_one_engine_serves_several_targets_at_once(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / str(n)) for n in range(4)]
    for pair in pairs:
        pair.write(pair.local, "a", "one")
    async with pairs[0].engine() as engine:
        async with anyio.create_task_group() as tasks:
            for pair in pairs:
                tasks.start_soon(engine.run, pair.spec())
        assert len(await engine.history()) == 4
    assert all(pair.agree() for pair in pairs)


async def test_a_target_that_is_not_configured_is_an_error_of_usage(pair: Pair) -> None:
    async with pair.engine() as engine:
        assert dict(engine.targets) == {}
        with pytest.raises(UsageError):
            await engine.plan("nowhere")


async def test_what_is_restored_has_the_time_and_the_mode_that_it_had(pair: Pair) -> None:
    pair.both("a", "one")
    (pair.local / "a").chmod(0o640)
    os.utime(pair.local / "a", (1_000_000, 1_000_000))
    await pair.settle()
    (pair.remote / "a").unlink()
    await pair.run(policy=Policy(deletes=Deletes.PROPAGATE))
    async with pair.engine() as engine:
        (item,) = [kept for kept in await engine.trash(pair.spec()) if kept.side == LOCAL]
        await engine.restore(pair.spec(), item.item.handle)
    status = (pair.local / "a").stat()
    assert (status.st_mtime, status.st_mode & 0o777) == (1_000_000, 0o640)
