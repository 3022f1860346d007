"""A folder and a bucket: names that are a file and a directory at once, and folders that are not compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from anyio import to_thread
from tests.engine.pair import REMOTE, Pair, reasons

from trueup.core.model import DIRECTORY_TOKEN, Side
from trueup.core.plan import Phase
from trueup.core.report import EXIT_CONFLICTS, EXIT_OK, Report, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Direction, Policy
from trueup.core.table import Verb
from trueup.protocols import Store
from trueup.stores.memory import MemoryStore
from trueup.targets.folders import Selection
from trueup.testing.clock import LogicalClock

START_NS = 1_700_000_000_000_000_000


@dataclass
class Desk(Pair):
    """The remote side is a bucket."""

    bucket: MemoryStore = field(
        default_factory=lambda: MemoryStore("memory://desk", clock=LogicalClock(START_NS), directories=False)
    )

    def wrapped(self, side: Side, store: Store) -> Store:
        return self.bucket if side == REMOTE else store

    async def sync(self, policy: Policy | None = None, **changes: Any) -> Report:
        report = await self.run(wrap=self.wrapped, policy=policy or self.policy, **changes)
        assert {outcome.status for outcome in report.outcomes} <= {Status.DONE}
        return report

    async def agreed(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            self.write(self.local, name, text)
        assert exit_code(await self.sync()) == EXIT_OK
        assert not (await self.sync()).plan.items

    def objects(self) -> dict[str, bytes]:
        return {str(key): data for key, data in self.bucket.tree().items()}

    def files(self) -> dict[str, bytes]:
        return {name: data for name, data in self.live(self.local).items() if data is not None}


@pytest.fixture
def desk(pair: Pair) -> Desk:
    return Desk(pair.base)


# -- `x` and `x/y` -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", Conflict)
@pytest.mark.parametrize("deletes", Deletes)
async def test_what_appears_below_an_agreed_file_is_reported_and_holds_nothing_back(
    desk: Desk, conflict: Conflict, deletes: Deletes
) -> None:
    policy = Policy(conflict=conflict, deletes=deletes)
    await desk.agreed({"x": "file", "x!": "between", "gone": "1", "stays": "1"})
    desk.bucket.put("x/y/z", b"below")
    desk.bucket.put("new", b"new")
    (desk.local / "gone").unlink()
    report = await desk.sync(policy)
    assert {key: reason for key, reason in reasons(report.plan).items() if key.startswith("x")} == {
        "x": "kind_conflict",
        "x/y/z": "held",
    }
    assert exit_code(report) == EXIT_CONFLICTS
    assert desk.files()["x"] == desk.objects()["x"] == b"file"
    assert desk.objects()["x/y/z"] == b"below"
    assert desk.files()["new"] == b"new"
    assert ("gone" in desk.objects()) == (deletes is not Deletes.PROPAGATE)
    assert not (await desk.sync(policy)).plan.needs_apply


@pytest.mark.parametrize("conflict", Conflict)
@pytest.mark.parametrize("deletes", Deletes)
async def test_a_file_that_appears_above_what_is_agreed_is_reported_and_holds_nothing_back(
    desk: Desk, conflict: Conflict, deletes: Deletes
) -> None:
    policy = Policy(conflict=conflict, deletes=deletes)
    await desk.agreed({"x!": "between", "x/a": "1", "x/b": "2", "gone": "1", "stays": "1"})
    desk.bucket.put("x", b"file")
    (desk.local / "gone").unlink()
    report = await desk.sync(policy)
    assert {key: reason for key, reason in reasons(report.plan).items() if key != "gone"} == {"x": "kind_conflict"}
    assert desk.files().keys() >= {"x!", "x/a", "x/b"}
    assert desk.objects()["x"] == b"file"
    assert ("gone" in desk.objects()) == (deletes is not Deletes.PROPAGATE)
    assert not (await desk.sync(policy)).plan.needs_apply


async def test_where_some_of_a_directory_goes_and_some_stays_no_file_takes_its_place(desk: Desk) -> None:
    await desk.agreed({"x/a": "1", "x/b": "2"})
    desk.bucket.put("x", b"file")
    desk.bucket.delete("x/a")
    report = await desk.sync()
    assert reasons(report.plan)["x"] == "kind_conflict"
    assert desk.files().keys() == {"x/a", "x/b"}


async def test_a_directory_all_of_which_goes_makes_way_for_a_file(desk: Desk) -> None:
    await desk.agreed({"x/a": "1", "x/b/c": "2", "z": "3"})
    desk.bucket.put("x", b"file")
    desk.bucket.delete("x/a")
    desk.bucket.delete("x/b/c")
    await desk.sync()
    assert desk.files() == desk.objects() == {"x": b"file", "z": b"3"}


async def test_the_winner_of_such_a_conflict_does_not_touch_what_is_agreed(desk: Desk) -> None:
    await desk.agreed({"x/a": "1", "x/b": "2"})
    desk.bucket.put("x", b"file")
    desk.write(desk.local, "x/a", "edited")
    report = await desk.sync(Policy(conflict=Conflict.LOCAL_WINS))
    assert "x/b" not in reasons(report.plan)
    assert desk.files() == desk.objects() == {"x/a": b"edited", "x/b": b"2"}


async def test_what_only_the_bucket_holds_is_left_there_where_nothing_is_fetched(desk: Desk) -> None:
    await desk.agreed({"x": "file"})
    desk.bucket.put("x/y", b"below")
    report = await desk.sync(Policy(Direction.PUSH, Conflict.LOCAL_WINS))
    assert reasons(report.plan) == {"x/y": "only_remote"}
    assert desk.objects() == {"x": b"file", "x/y": b"below"}


async def test_two_buckets_hold_both(desk: Desk) -> None:
    other = MemoryStore("memory://other", clock=LogicalClock(START_NS), directories=False)
    for name in ("x", "x/y"):
        desk.bucket.put(name, name.encode())
        await desk.run(wrap=lambda side, _: desk.bucket if side == REMOTE else other)
    assert set(other.tree()) == {"x", "x/y"}


async def test_nothing_is_moved_to_where_it_cannot_be(desk: Desk) -> None:
    await desk.agreed({"x": "file", "old": "a content of its own", "z": "3"})
    desk.bucket.delete("old")
    desk.bucket.put("x/new", b"a content of its own")
    report = await desk.sync()
    assert reasons(report.plan) == {"x": "kind_conflict", "x/new": "held", "old": "delete"}
    assert desk.objects() == {"x": b"file", "x/new": b"a content of its own", "z": b"3"}


# -- folders that are not compared -------------------------------------------------------------------------------------


async def test_a_file_takes_the_place_of_folders_in_which_nothing_is_and_the_plan_says_so(desk: Desk) -> None:
    await desk.agreed({"z": "3"})
    (desk.local / "x/e/f").mkdir(parents=True)
    (desk.local / "x/g").mkdir()
    (desk.local / "x0").mkdir()
    desk.bucket.put("x", b"file")
    report = await desk.sync()
    (item,) = report.plan.items
    assert [(step.verb, step.expect) for step in item.steps] == [(Verb.REPLACE_KIND, DIRECTORY_TOKEN)]
    assert item.phase is Phase.REPLACE
    assert desk.files() == desk.objects() == {"x": b"file", "z": b"3"}
    await desk.undo(wrap=desk.wrapped)
    assert desk.live(desk.local) == {"x/": None, "x0/": None, "z": b"3"}


async def test_a_folder_that_is_filled_meanwhile_stays(desk: Desk) -> None:
    (desk.local / "x").mkdir()
    desk.bucket.put("x", b"file")

    async def fill(_: object) -> bool:
        await to_thread.run_sync(desk.write, desk.local, "x/y", "just now")
        return True

    report = await desk.run(wrap=desk.wrapped, confirm=fill)
    assert [outcome.status for outcome in report.outcomes] == [Status.CHANGED]
    assert desk.files() == {"x/y": b"just now"}


async def test_a_folder_with_something_excluded_in_it_is_no_place_for_a_file(desk: Desk) -> None:
    await desk.agreed({"gone": "1", "z": "3"})
    for name in ("x/e/keep.tmp", "y/keep.tmp"):
        desk.write(desk.local, name, "mine")
    (desk.local / "x/f").mkdir()
    (desk.local / "gone").unlink()
    desk.bucket.put("x", b"file")
    desk.bucket.put("y", b"file")
    report = await desk.sync(selection=Selection(exclude=("*.tmp",)))
    assert reasons(report.plan) == {"gone": "delete", "x": "kind_conflict", "y": "kind_conflict"}
    assert desk.files() == {"x/e/keep.tmp": b"mine", "y/keep.tmp": b"mine", "z": b"3"}


async def test_nothing_is_moved_into_the_place_of_a_folder(desk: Desk) -> None:
    await desk.agreed({"old": "a content of its own", "z": "3"})
    (desk.local / "x").mkdir()
    desk.bucket.delete("old")
    desk.bucket.put("x", b"a content of its own")
    await desk.sync()
    assert desk.files() == desk.objects() == {"x": b"a content of its own", "z": b"3"}
