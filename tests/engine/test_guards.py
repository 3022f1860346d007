"""Every guard through the real engine: it refuses before the first write, its option lets one run pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.engine.pair import MANY, Pair, Wrap, reasons

from trueup.core.check import FREE_RESERVE_BYTES, Guard, Limits
from trueup.core.errors import PlanRefused, UsageError
from trueup.core.model import REMOTE
from trueup.core.report import EXIT_OK, EXIT_REFUSED, exit_code
from trueup.core.strategy import Deletes, Direction, Policy
from trueup.engine.wrap import Wrapper
from trueup.protocols import Store

COUNT = 12


async def agreed(pair: Pair) -> None:
    for n in range(COUNT):
        pair.write(pair.local, f"d/{n:02}", f"content {n}")
    pair.limits = MANY
    await pair.settle()
    assert pair.agree()


class Roomy(Wrapper):
    """A side with so many bytes free."""

    def __init__(self, inner: Store, free: int) -> None:
        super().__init__(inner)
        self.free = free

    async def free_bytes(self) -> int | None:
        return self.free


def room(free: int) -> Wrap:
    return lambda side, store: Roomy(store, free) if side == REMOTE else store


@dataclass(frozen=True)
class Case:
    guard: Guard
    refused: Callable[[Pair], None]
    passes: Callable[[Pair], None]
    """Just below the guard."""
    options: dict[str, Any]
    passing: dict[str, Any] | None = None
    also: tuple[Guard, ...] = ()
    """Guards that stop the same drift."""


def delete(count: int) -> Callable[[Pair], None]:
    def act(pair: Pair) -> None:
        for n in range(count):
            (pair.local / f"d/{n:02}").unlink()

    return act


def empty(pair: Pair) -> None:
    delete(COUNT)(pair)
    (pair.local / "d").rmdir()


def almost_empty(pair: Pair) -> None:
    delete(COUNT)(pair)


def change(count: int) -> Callable[[Pair], None]:
    def act(pair: Pair) -> None:
        for n in range(count):
            pair.write(pair.local, f"d/{n:02}", f"encrypted {n}")

    return act


def another_disk(pair: Pair) -> None:
    pair.remote.rename(pair.base / "the disk")
    pair.remote.mkdir()
    for n in range(COUNT):
        pair.write(pair.remote, f"d/{n:02}", f"content {n}")
    pair.write(pair.local, "new", "a change")


def just_a_change(pair: Pair) -> None:
    pair.write(pair.local, "new", "a change")


def kilobyte(pair: Pair) -> None:
    pair.write(pair.local, "new", "k" * 1024)


CASES = [
    Case(Guard.MAX_DELETE, delete(4), delete(3), {"limits": Limits(delete_count=3, delete_share=None)}),
    Case(Guard.MAX_DELETE, delete(4), delete(3), {"limits": Limits(delete_count=0, delete_share=3 / 13)}),
    Case(Guard.EMPTIED, empty, almost_empty, {"limits": MANY}),
    Case(Guard.ALL_CHANGED, change(COUNT), change(COUNT - 1), {}),
    Case(Guard.OTHER_ROOT, another_disk, just_a_change, {}),
    Case(
        Guard.FREE_SPACE,
        kilobyte,
        kilobyte,
        {"wrap": room(FREE_RESERVE_BYTES + 1023)},
        {"wrap": room(FREE_RESERVE_BYTES + 1024)},
    ),
]
IDS = [f"{case.guard.value}-{n}" for n, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_guard_refuses_before_anything_is_written(pair: Pair, case: Case) -> None:
    await agreed(pair)
    case.refused(pair)
    before = pair.everything()
    with pytest.raises(PlanRefused) as refused:
        await pair.run(**case.options)
    assert refused.value.exit_code == EXIT_REFUSED
    assert f"--allow {case.guard.value}" in refused.value.attempt
    assert pair.everything() == before
    async with pair.engine() as engine:
        assert len(await engine.history()) <= 2  # a run that was refused has not begun


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_the_option_of_a_guard_lets_one_run_pass(pair: Pair, case: Case) -> None:
    await agreed(pair)
    case.refused(pair)
    report = await pair.run(allow=[case.guard], **case.options)
    assert exit_code(report) == EXIT_OK
    assert report.plan.changes
    assert pair.agree()
    assert not pair.lost() - {f"content {n}".encode() for n in range(COUNT) if case.guard is Guard.ALL_CHANGED}
    if case.guard is not Guard.OTHER_ROOT:
        return
    pair.write(pair.local, "after", "the new identity is agreed upon")
    assert exit_code(await pair.run(**case.options)) == EXIT_OK


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_what_is_just_below_a_guard_passes(pair: Pair, case: Case) -> None:
    await agreed(pair)
    case.passes(pair)
    report = await pair.run(**(case.passing or case.options))
    assert exit_code(report) == EXIT_OK
    assert report.plan.changes
    assert pair.agree()


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_the_option_of_another_guard_does_not_let_it_pass(pair: Pair, case: Case) -> None:
    await agreed(pair)
    case.refused(pair)
    others = set(Guard) - {case.guard, Guard.CORRUPT_STATE}
    with pytest.raises(PlanRefused):
        await pair.run(allow=others, **case.options)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_plan_that_is_applied_later_meets_the_same_guards(pair: Pair, case: Case) -> None:
    await agreed(pair)
    case.refused(pair)
    options = dict(case.options)
    wrap = options.pop("wrap", None)
    plan = await pair.plan(wrap=wrap, **options)
    before = pair.everything()
    async with pair.engine(wrap) as engine:
        if case.options.get("limits", MANY) is MANY:
            with pytest.raises(PlanRefused):
                await engine.apply(plan)
            assert pair.everything() == before
        await engine.apply(plan, allow=[case.guard, Guard.MAX_DELETE])
    assert pair.agree()


async def test_a_handful_of_items_may_vanish_without_a_guard(pair: Pair) -> None:
    for n in range(5):
        pair.write(pair.local, f"{n}", f"content {n}")
    await pair.settle()
    for n in range(5):
        (pair.local / f"{n}").unlink()
    assert exit_code(await pair.run()) == EXIT_OK
    assert pair.live(pair.remote) == {}


async def test_an_emptied_side_is_refused_even_if_nothing_would_be_deleted(pair: Pair) -> None:
    await agreed(pair)
    empty(pair)
    with pytest.raises(PlanRefused):  # restoring everything into what may be a mount point fills the wrong disk
        await pair.run(policy=Policy(deletes=Deletes.RESTORE))


async def test_moved_files_are_counted_only_as_what_they_are(pair: Pair) -> None:
    """Whether or not renames are followed, moving a few files is not refused."""
    await agreed(pair)
    for n in range(3):
        (pair.local / f"d/{n:02}").rename(pair.local / f"d/moved {n}")
    assert exit_code(await pair.run(limits=Limits())) == EXIT_OK
    assert pair.agree()
    assert not pair.lost()


async def test_a_guard_counts_what_was_selected_only(pair: Pair) -> None:
    await agreed(pair)
    delete(6)(pair)
    few = Limits(delete_count=2, delete_share=None)
    report = await pair.run(limits=few, select=lambda item: item.key in ("d/00", "d/01"))
    assert exit_code(report) == EXIT_OK
    assert len(pair.live(pair.remote)) == 1 + COUNT - 2


async def test_a_refused_run_leaves_what_killed_runs_left_where_it_is(pair: Pair) -> None:
    await agreed(pair)
    (pair.remote / "d/.trueup-tmp-dead.00").write_text("perhaps the only copy")
    change(COUNT)(pair)
    before = pair.everything()
    with pytest.raises(PlanRefused):
        await pair.run()
    assert pair.everything() == before
    await pair.run(allow=[Guard.ALL_CHANGED])
    assert b"perhaps the only copy" in pair.trashed(pair.remote)


async def test_what_is_not_written_has_no_guard_on_its_room(pair: Pair) -> None:
    pair.write(pair.remote, "a", "from there")
    report = await pair.run(wrap=room(0), policy=Policy(direction=Direction.PULL))
    assert exit_code(report) == EXIT_OK


OVERLAPS: list[tuple[str, str]] = [("x", "x"), ("x", "x/y"), ("x/y", "x"), ("x=y", "x=y/z")]


@pytest.mark.parametrize(("local", "remote"), OVERLAPS)
async def test_roots_inside_each_other_are_refused(tmp_path: Path, local: str, remote: str) -> None:
    pair = Pair(tmp_path / "pair")
    for name in (local, remote):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UsageError, match="overlap"):
        await pair.run(local=(str(tmp_path / local),), remote=str(tmp_path / remote))


async def test_a_state_inside_a_root_is_refused(pair: Pair) -> None:
    pair.state = pair.local / "state"
    with pytest.raises(UsageError, match="state directory"):
        await pair.run()


async def test_a_state_behind_a_link_into_a_root_is_refused(pair: Pair) -> None:
    (pair.local / "inside").mkdir()
    pair.state = pair.base / "link"
    pair.state.symlink_to(pair.local / "inside")
    with pytest.raises(UsageError, match="state directory"):
        await pair.run()


@pytest.mark.parametrize("direction", [Direction.PULL, Direction.PUSH])
async def test_a_direction_writes_one_side_only(pair: Pair, direction: Direction) -> None:
    await agreed(pair)
    pair.write(pair.local, "d/00", "edited here")
    pair.write(pair.remote, "d/01", "edited there")
    pair.write(pair.local, "new here", "1")
    pair.write(pair.remote, "new there", "2")
    (pair.local / "d/02").unlink()
    (pair.remote / "d/03").unlink()
    read_only = pair.local if direction is Direction.PUSH else pair.remote
    before = {name: seen for name, seen in pair.everything().items() if name.startswith(str(read_only))}
    for _ in range(2):
        await pair.run(policy=Policy(direction=direction, deletes=Deletes.PROPAGATE))
        after = {name: seen for name, seen in pair.everything().items() if name.startswith(str(read_only))}
        assert after == before


async def test_a_plan_writes_nothing_at_all(pair: Pair) -> None:
    pair.write(pair.local, "a", "one")
    pair.write(pair.remote, "b", "two")
    before = pair.everything()
    plan = await pair.plan()
    assert reasons(plan) == {"a": "create", "b": "create"}
    assert pair.everything() == before
    assert not (pair.local / ".trueup").exists()


async def test_a_plan_is_what_the_run_carries_out(pair: Pair) -> None:
    await agreed(pair)
    change(3)(pair)
    delete(1)(pair)
    pair.write(pair.remote, "new", "there")
    plan = await pair.plan()
    report = await pair.run()
    assert report.plan.items == plan.items
    assert {outcome.step for outcome in report.outcomes} == {step.id for item in plan.items for step in item.steps}


async def test_a_run_that_is_declined_has_written_nothing(pair: Pair) -> None:
    async def no(_: object) -> bool:
        return False

    await agreed(pair)
    change(3)(pair)
    before = pair.everything()
    report = await pair.run(confirm=no)
    assert report.ending.value == "declined"
    assert pair.everything() == before
