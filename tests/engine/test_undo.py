"""Taking a run back, on real folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from anyio import to_thread
from tests.engine.pair import PROPAGATE, Pair, reasons

from trueup.core.errors import UsageError
from trueup.core.report import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, Report, Status, exit_code
from trueup.core.strategy import Conflict, Direction, Keep, Policy
from trueup.core.table import Verb

BACKUP = replace(PROPAGATE, conflict=Conflict.BACKUP_BOTH)


async def agreed(pair: Pair) -> None:
    for name in ("a", "b", "d/e/f", "x", "y/in", "y/deep/er"):
        pair.write(pair.local, name, f"old {name}")
    await pair.settle()
    assert pair.agree()


def nothing_failed(report: Report) -> bool:
    return all(outcome.status is Status.DONE for outcome in report.outcomes)


def create(pair: Pair) -> None:
    pair.write(pair.local, "new/deep/file", "new")


def update(pair: Pair) -> None:
    pair.write(pair.local, "a", "newer")
    pair.write(pair.remote, "b", "newer there")


def delete(pair: Pair) -> None:
    (pair.local / "a").unlink()
    (pair.remote / "d/e/f").unlink()
    (pair.remote / "d/e").rmdir()


def conflict(pair: Pair) -> None:
    pair.write(pair.local, "a", "mine")
    pair.write(pair.remote, "a", "theirs")


def file_to_directory(pair: Pair) -> None:
    (pair.local / "x").unlink()
    pair.write(pair.local, "x/in", "inner")
    pair.write(pair.local, "x/deep/er", "deeper")
    (pair.local / "x/empty/er").mkdir(parents=True)


def directory_to_file(pair: Pair) -> None:
    for name in ("y/in", "y/deep/er"):
        (pair.local / name).unlink()
    (pair.local / "y/deep").rmdir()
    (pair.local / "y").rmdir()
    pair.write(pair.local, "y", "flat")


def rename(pair: Pair) -> None:
    (pair.local / "y").rename(pair.local / "moved")
    (pair.remote / "a").rename(pair.remote / "renamed")
    (pair.local / "b").rename(pair.local / "d/b")


def everything(pair: Pair) -> None:
    create(pair)
    (pair.local / "b").unlink()
    conflict(pair)
    file_to_directory(pair)
    directory_to_file(pair)


DRIFTS = [create, update, delete, rename, conflict, file_to_directory, directory_to_file, everything]


@pytest.mark.parametrize("drift", DRIFTS)
async def test_an_undo_brings_back_what_was_there_and_the_next_plan_is_the_old_one(
    pair: Pair, drift: Callable[[Pair], None]
) -> None:
    pair.policy = BACKUP
    await agreed(pair)
    drift(pair)
    pair.witness()
    before = pair.live(pair.local), pair.live(pair.remote)
    planned = reasons(await pair.plan())
    run = await pair.run()
    assert nothing_failed(run)
    after = pair.live(pair.local), pair.live(pair.remote)
    undone = await pair.undo()
    assert nothing_failed(undone), [o for o in undone.outcomes if o.status is not Status.DONE]
    assert exit_code(undone) == EXIT_OK
    assert (pair.live(pair.local), pair.live(pair.remote)) == before
    assert not pair.lost()
    assert reasons(await pair.plan()) == planned
    # An undo is a run, and can be undone.
    redone = await pair.undo()
    assert nothing_failed(redone), [o for o in redone.outcomes if o.status is not Status.DONE]
    assert (pair.live(pair.local), pair.live(pair.remote)) == after
    assert not (await pair.plan()).changes
    assert not pair.leftovers()
    assert not pair.lost()


async def test_an_undo_that_follows_a_run_again_ends_the_same(pair: Pair) -> None:
    pair.policy = BACKUP
    await agreed(pair)
    everything(pair)
    await pair.run()
    after = pair.live(pair.local), pair.live(pair.remote)
    await pair.undo()
    await pair.run()
    assert (pair.live(pair.local), pair.live(pair.remote)) == after
    assert not (await pair.plan()).items


async def test_a_move_is_taken_back_without_payload_and_found_again_by_the_next_run(pair: Pair) -> None:
    await agreed(pair)
    inode = (pair.remote / "y/deep/er").stat().st_ino
    (pair.local / "y").rename(pair.local / "moved")
    await pair.run()
    assert (pair.remote / "moved/deep/er").stat().st_ino == inode
    undone = await pair.undo()
    assert nothing_failed(undone)
    assert (pair.remote / "y/deep/er").stat().st_ino == inode
    assert not (pair.remote / "moved").exists()
    assert {step.verb for item in undone.plan.items for step in item.steps} == {Verb.MOVE, Verb.PUT, Verb.DELETE}
    for _ in range(3):  # run, undo, run: each finds what the one before left
        again = await pair.run()
        assert nothing_failed(again)
        assert (pair.remote / "moved/deep/er").stat().st_ino == inode
        assert nothing_failed(await pair.undo())
        assert (pair.remote / "y/deep/er").stat().st_ino == inode


async def test_an_undo_of_a_move_leaves_alone_what_was_changed_since(pair: Pair) -> None:
    await agreed(pair)
    for name in ("a", "b"):
        (pair.local / name).rename(pair.local / f"new-{name}")
    await pair.run()
    pair.write(pair.remote, "new-a", "edited since")
    pair.write(pair.remote, "b", "a new one since")
    undone = await pair.undo()
    assert {outcome.status for outcome in undone.outcomes} == {Status.CHANGED}
    there = pair.live(pair.remote)
    assert (there["new-a"], there["b"], there["new-b"]) == (b"edited since", b"a new one since", b"old b")
    assert not pair.lost()


async def test_times_and_permission_bits_come_back(pair: Pair) -> None:
    await agreed(pair)
    (pair.remote / "a").chmod(0o640)
    status = (pair.remote / "a").stat()
    (pair.local / "a").unlink()
    await pair.run()
    await pair.undo()
    now = (pair.remote / "a").stat()
    assert (now.st_mode, now.st_mtime_ns) == (status.st_mode, status.st_mtime_ns)


async def test_what_was_changed_since_is_left_alone_and_the_rest_comes_back(pair: Pair) -> None:
    await agreed(pair)
    for name in ("a", "b"):
        pair.write(pair.local, name, f"newer {name}")
    await pair.run()
    pair.write(pair.remote, "a", "newest")
    undone = await pair.undo()
    assert {(o.key, o.status) for o in undone.outcomes} == {("a", Status.CHANGED), ("b", Status.DONE)}
    assert exit_code(undone) == EXIT_PARTIAL
    assert (pair.live(pair.remote)["a"], pair.live(pair.remote)["b"]) == (b"newest", b"old b")
    assert not pair.leftovers()


async def test_an_undo_of_a_creation_that_was_edited_since_deletes_nothing(pair: Pair) -> None:
    await agreed(pair)
    create(pair)
    await pair.run()
    pair.write(pair.remote, "new/deep/file", "edited since")
    undone = await pair.undo()
    assert exit_code(undone) == EXIT_FAILED or exit_code(undone) == EXIT_PARTIAL
    assert pair.live(pair.remote)["new/deep/file"] == b"edited since"


async def test_a_link_in_the_place_of_what_was_written_does_not_stop_the_undo_of_the_rest(pair: Pair) -> None:
    await agreed(pair)
    update(pair)
    await pair.run()
    (pair.remote / "a").unlink()
    (pair.remote / "a").symlink_to("b")
    undone = await pair.undo()
    assert {o.key: o.status for o in undone.outcomes} == {"a": Status.CHANGED, "b": Status.DONE}
    assert (pair.remote / "a").is_symlink()


async def test_what_was_pruned_is_blocked_and_the_rest_comes_back(pair: Pair) -> None:
    await agreed(pair)
    update(pair)
    await pair.run()
    async with pair.engine() as engine:
        items = await engine.trash(pair.spec())
        assert len(items) == 2
        for item in items:
            if item.item.key == "a":
                (pair.remote / ".trueup/trash" / item.item.handle).unlink()
    undone = await pair.undo()
    assert reasons(undone.plan) == {"a": "blocked", "b": "undo"}
    assert exit_code(undone) == EXIT_PARTIAL
    assert pair.live(pair.remote)["a"] == b"newer"
    assert pair.live(pair.local)["b"] == b"old b"


async def test_what_was_not_kept_is_blocked(pair: Pair) -> None:
    await agreed(pair)
    update(pair)
    await pair.run(policy=replace(PROPAGATE, keep=Keep.NONE))
    undone = await pair.undo()
    assert set(reasons(undone.plan).values()) == {"blocked"}
    assert pair.live(pair.remote)["a"] == b"newer"


async def test_a_run_that_only_agreed_cannot_be_taken_back(pair: Pair) -> None:
    pair.both("a", "same")
    await pair.run()
    with pytest.raises(UsageError, match="no run"):
        await pair.undo()


async def test_a_run_that_does_not_exist_cannot_be_taken_back(pair: Pair) -> None:
    with pytest.raises(UsageError):
        await pair.undo()
    with pytest.raises(UsageError, match="no run"):
        await pair.undo("20200101")


async def test_an_undo_of_a_large_creation_needs_no_guard_to_be_allowed(pair: Pair) -> None:
    for n in range(30):
        pair.write(pair.local, f"{n}", f"{n}")
    pair.limits = replace(pair.limits, delete_count=1, delete_share=None)
    await pair.run()
    undone = await pair.undo()
    assert exit_code(undone) == EXIT_OK
    assert pair.live(pair.remote) == {}
    assert len(pair.live(pair.local)) == 30


async def test_a_partly_failed_run_is_taken_back_as_far_as_it_went(pair: Pair) -> None:
    await agreed(pair)
    update(pair)
    before = pair.live(pair.local), pair.live(pair.remote)
    plan = await pair.plan()
    os.utime(pair.remote / "a")  # another version: the plan is stale for it
    async with pair.engine() as engine:
        await engine.apply(plan, skip_stale=True)
        await engine.undo("last")
    assert (pair.live(pair.local), pair.live(pair.remote)) == before


async def test_an_undo_of_a_pull_writes_the_local_side_only(tmp_path: Path) -> None:
    pair = Pair(tmp_path, policy=Policy(direction=Direction.PULL))
    pair.write(pair.remote, "a", "one")
    await pair.run()
    await pair.undo()
    assert pair.live(pair.local) == {}
    assert pair.live(pair.remote) == {"a": b"one"}
    assert not (pair.remote / ".trueup").exists()


async def test_an_undo_taken_back_does_not_remember_a_sibling_as_agreed(pair: Pair) -> None:
    await agreed(pair)
    conflict(pair)
    pair.policy = replace(BACKUP, direction=Direction.PULL)
    await pair.run()
    await pair.undo()
    await pair.undo()
    plan = await pair.plan()
    (sibling,) = [item for item in plan.items if ".conflict-" in item.key]
    assert sibling.ancestor is None
    assert reasons(plan)[sibling.key] == "only_local"


async def test_what_a_run_only_found_is_not_taken_back(pair: Pair) -> None:
    await agreed(pair)
    conflict(pair)
    (name,) = {
        step.key for item in (await pair.plan(policy=BACKUP)).items for step in item.steps if step.verb is Verb.SIBLING
    }
    pair.write(pair.local, name, "mine")
    report = await pair.run(policy=BACKUP)
    assert nothing_failed(report)
    assert {outcome.key for outcome in report.outcomes if outcome.found} == {name}
    assert pair.agree()
    assert nothing_failed(await pair.undo())
    assert pair.live(pair.local)[name] == b"mine"
    assert name not in pair.live(pair.remote)
    assert pair.live(pair.local)["a"] == b"mine"
    assert pair.live(pair.remote)["a"] == b"theirs"


async def test_of_a_run_that_found_everything_nothing_can_be_taken_back(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")

    async def copied(_: object) -> bool:
        await to_thread.run_sync(pair.write, pair.remote, "a", "one")
        return True

    report = await pair.run(confirm=copied)
    assert [outcome.found for outcome in report.outcomes] == [True]
    with pytest.raises(UsageError, match="nothing that could be taken back"):
        await pair.undo()
    assert pair.live(pair.remote) == {"a": b"one"}
