"""The scenarios of the specification on a folder and a bucket, with plain requests for other people's work.

The numbers are those of the list "Twenty-eight scenarios every release must pass"; `test_scenarios` has those of two
folders. Between engine and server stands the fault proxy, which does nothing until a test tells it to. Where a server
that ignores conditions could end otherwise, the test runs on one of those too, and says what the plan admits.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest
from anyio import to_thread
from tests.engine.pair import PROPAGATE, Pair, reasons
from tests.engine.real_bucket import Plain
from tests.engine.real_runs import COUNTED
from tests.engine.test_buckets import Site
from tests.engine.test_scenarios import (
    CLOCKS,
    DAMAGE,
    EVERY_DELETES,
    HOSTILE,
    NEWEST,
    STRATEGIES,
    garble,
    sql,
    truncate,
)
from tests.services import Service

from trueup.core.check import Guard
from trueup.core.errors import Locked, PlanRefused, StateDamaged, StoreError
from trueup.core.model import LOCAL, REMOTE, Key, Side
from trueup.core.plan import Plan
from trueup.core.report import EXIT_CONFLICTS, EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, Report, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Policy
from trueup.stores.object import ObjectStore
from trueup.targets.folders import Folders, Selection
from trueup.testing.engines import KEYS
from trueup.testing.expect import source_of
from trueup.testing.proxy import (
    ANY,
    Action,
    After,
    Before,
    CutAnswer,
    DropAnswer,
    DropRequest,
    EditedListing,
    FaultProxy,
    FlipAnswer,
    FlipRequest,
    Hang,
    InjectedKeys,
    Rule,
    StaleListing,
    TruncatedListing,
    UnorderedListing,
    s3_error,
)
from trueup.testing.proxy.etags import NoETags

pytestmark = pytest.mark.engine

LARGE = bytes(range(256)) * (40 * 1024)
"""Goes in parts."""
_numbers = count()


@dataclass
class Bucketed(Site):
    """A folder and a prefix behind a proxy; other people reach the server without it."""

    name: str = field(default_factory=lambda: f"scenario{next(_numbers)}")
    proxy: FaultProxy = field(kw_only=True)
    behind: Service = field(kw_only=True)
    selection: Selection = field(default_factory=Selection)
    state: str = "state"
    ever: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.plain = Plain(self.behind, f"{self.name}/")

    def spec(self, local: Path | None = None, policy: Policy | None = None) -> Folders:
        return replace(super().spec(local, policy), selection=self.selection)

    async def run(self, state: str = "", local: Path | None = None, **settings: Any) -> Report:
        return await super().run(state or self.state, local, **settings)

    def write(self, name: str, data: bytes, *, age: float = 3600.0) -> None:
        super().write(name, data, age=age)
        self.ever.add(data)

    def place(self, name: str, data: bytes) -> None:
        """Somebody else writes an object, at once."""
        self.plain.put(name, data)
        self.ever.add(data)

    async def put(self, name: str, data: bytes) -> None:
        await to_thread.run_sync(self.place, name, data)

    async def delete(self, name: str) -> None:
        await to_thread.run_sync(self.plain.delete, name)

    async def remote(self) -> dict[str, bytes]:
        return await to_thread.run_sync(self._remote)

    def _remote(self) -> dict[str, bytes]:
        return {name: self.plain.get(name) for name in self.plain.live()}

    async def agreed(self, names: dict[str, bytes]) -> None:
        """Both sides hold these and have agreed on them."""
        for name, data in names.items():
            self.write(name, data)
        assert exit_code(await self.run()) == EXIT_OK
        assert await self.remote() == self.live()

    async def lost(self) -> set[bytes]:
        """What was written once and is neither live nor kept."""
        return await to_thread.run_sync(self._lost)

    def _lost(self) -> set[bytes]:
        answers = [self.plain.request("GET", name) for name in self.plain.list()]
        held = {answer.body for answer in answers if answer.status == 200}  # a killed run's last request may be late
        held |= {path.read_bytes() for path in self.local.rglob("*") if path.is_file()}
        return self.ever - held

    def harm(self, action: Action, method: str = ANY, name: str = "", **rule: Any) -> Rule:
        """From now on this happens to requests about an object."""
        path = f"^/{self.server.bucket}/{self.name}/{re.escape(name)}$" if name else ""
        return self.proxy.add(Rule(action, method=method, path=path, **rule))


@pytest.fixture
def site(tmp_path: Path, strong_s3: Service) -> Iterator[Bucketed]:
    yield from bucketed(tmp_path, strong_s3)


@pytest.fixture
def weak(tmp_path: Path, weak_s3: Service) -> Iterator[Bucketed]:
    yield from bucketed(tmp_path, weak_s3)


def bucketed(base: Path, behind: Service) -> Iterator[Bucketed]:
    with FaultProxy(behind.endpoint.removeprefix("http://")) as proxy:
        yield Bucketed(base, Service(proxy.endpoint, behind.bucket), proxy=proxy, behind=behind)


# -- 1, 2: the same size, the same time ------------------------------------------------------------------------------


async def test_new_content_of_the_same_size_and_time_is_seen(site: Bucketed) -> None:  # 1
    await site.agreed({"here": b"one", "there": b"one"})
    then = (site.local / "here").stat().st_mtime_ns
    (site.local / "here").write_bytes(b"two")
    os.utime(site.local / "here", ns=(then, then))
    await site.put("there", b"two")
    await site.run()
    assert await site.agree() == {"here": b"two", "there": b"two"}


async def test_two_edits_within_one_second_of_the_service_are_seen(site: Bucketed) -> None:  # 2
    await site.put("a", b"one")
    await site.run()
    await site.put("a", b"two")  # services tell whole seconds: often the same time as the edit before
    await site.run()
    assert site.live() == {"a": b"two"}


async def test_without_etags_two_edits_within_one_second_are_seen_too(site: Bucketed) -> None:  # 2
    site.harm(NoETags())
    await site.run()
    await to_thread.run_sync(time.sleep, 1 - time.time() % 1)  # so that both edits are in one second
    await site.put("a", b"one")
    await site.run()
    await site.put("a", b"two")
    await site.run()
    assert site.live() == {"a": b"two"}


# -- 3: the destination is edited between listing and write ----------------------------------------------------------


@pytest.mark.parametrize("mine", [b"mine", LARGE], ids=["small", "in parts"])
@pytest.mark.parametrize("known", [True, False], ids=["replaced", "created"])
async def test_an_object_edited_right_before_the_write_keeps_the_edit(
    site: Bucketed, mine: bytes, *, known: bool
) -> None:  # 3
    await site.agreed({"a": b"old", "b": b"stays"} if known else {"b": b"stays"})
    site.write("warm up", LARGE)  # what the service can refuse is known from now on
    await site.run()
    site.write("a", mine)
    last = Rule(
        Before(lambda _: site.place("a", b"theirs, at the last moment")),
        method="POST" if mine is LARGE else "PUT",
        path=f"/{site.name}/a$",
        query={"uploadId": ANY} if mine is LARGE else {},
        times=1,
    )
    with site.proxy.rule(last):
        report = await site.run()
        assert site.proxy.fired(last) == 1
    assert report.counts[Status.CHANGED]
    assert exit_code(report) in (EXIT_FAILED, EXIT_PARTIAL)
    assert (await site.remote())["a"] == b"theirs, at the last moment"
    assert reasons((await site.run()).plan) == {"a": "conflict"}
    assert not await site.lost() - {b"old"}


async def test_a_weak_server_is_looked_at_before_each_write_and_the_plan_says_what_that_cannot_do(
    weak: Bucketed,
) -> None:  # 3, 4
    await weak.agreed({"a": b"old", "b": b"old too", "gone": b"soon"})

    async def meanwhile(plan: Plan) -> bool:
        assert "cannot refuse a lost race" in " ".join(plan.observed[REMOTE].notices)
        await weak.put("a", b"theirs")
        await weak.put("gone", b"edited after all")
        return True

    weak.write("a", b"mine")
    weak.write("b", b"mine too")
    (weak.local / "gone").unlink()
    report = await weak.run(confirm=meanwhile)
    assert report.counts[Status.CHANGED]
    assert await weak.remote() == {"a": b"theirs", "b": b"mine too", "gone": b"edited after all"}
    assert not await weak.lost() - {b"old", b"soon"}


# -- 4: the destination is edited between listing and delete ---------------------------------------------------------


async def test_an_object_edited_right_before_its_deletion_is_not_deleted(site: Bucketed) -> None:  # 4
    await site.agreed({"a": b"old", "b": b"stays"})
    (site.local / "a").unlink()
    site.harm(Before(lambda _: site.place("a", b"theirs, at the last moment")), "DELETE", "a", times=1)
    report = await site.run()
    assert {outcome.status for outcome in report.outcomes} == {Status.CHANGED}
    assert await site.remote() == {"a": b"theirs, at the last moment", "b": b"stays"}
    await site.run()
    assert (await site.agree())["a"] == b"theirs, at the last moment"  # an edit beats a delete
    assert not await site.lost() - {b"old"}


async def test_a_local_file_edited_while_its_new_version_is_fetched_keeps_the_edit(site: Bucketed) -> None:  # 3
    await site.agreed({"a": b"old"})
    await site.put("a", b"theirs")
    site.harm(After(lambda _: site.write("a", b"mine, meanwhile")), "GET", "a", times=1)
    report = await site.run()
    assert report.counts[Status.CHANGED]
    assert site.live() == {"a": b"mine, meanwhile"}
    assert [item.key for item in (await site.run()).plan.conflicts] == ["a"]
    assert not await site.lost() - {b"old"}


# -- 5: the source changes while it is copied ------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", [b"theirs", LARGE], ids=["small", "in ranges"])
async def test_an_object_that_is_replaced_before_it_is_fetched_is_not_mixed(site: Bucketed, theirs: bytes) -> None:  # 5
    await site.agreed({"a": b"old"})
    await site.put("a", theirs)
    fetch = {"headers": {"range": ANY}, "nth": 2} if theirs is LARGE else {"times": 1}
    site.harm(Before(lambda _: site.place("a", b"theirs, again")), "GET", "a", **fetch)
    report = await site.run()
    assert report.counts[Status.CHANGED] or reasons(report.plan) == {"a": "unknown"}
    assert site.live() == {"a": b"old"}
    await site.run()
    assert await site.agree() == {"a": b"theirs, again"}


async def test_a_file_that_changes_while_it_is_sent_is_not_installed(site: Bucketed) -> None:  # 5
    await site.agreed({"a": b"old", "warm up": LARGE + b"x"})
    first, second = LARGE * 8, LARGE[::-1] * 8  # more parts than are under way at once
    edited = Event()

    def edit(_: object) -> None:
        site.write("a", second, age=60)
        edited.set()

    site.write("a", first)
    site.harm(Before(edit), "PUT", "a", query={"partNumber": ANY}, times=1)
    report = await site.run()
    assert report.counts[Status.CHANGED]
    assert (await site.remote())["a"] == b"old"
    assert await to_thread.run_sync(edited.wait, 30)
    await site.run()
    assert (await site.agree())["a"] == second


# -- 6 - 9: one key, both sides --------------------------------------------------------------------------------------


@pytest.mark.parametrize("deletes", EVERY_DELETES)
@pytest.mark.parametrize("edited", [LOCAL, REMOTE])
async def test_an_edit_beats_a_delete(site: Bucketed, deletes: Deletes, edited: Side) -> None:  # 6
    await site.agreed({"a": b"old", "b": b"stays"})
    if edited == LOCAL:
        site.write("a", b"edited")
        await site.delete("a")
    else:
        await site.put("a", b"edited")
        (site.local / "a").unlink()
    report = await site.run(policy=Policy(deletes=deletes))
    assert reasons(report.plan)["a"] == "edit_beats_delete"
    assert (await site.agree())["a"] == b"edited"


async def test_what_both_deleted_is_forgotten_and_not_missed(site: Bucketed) -> None:  # 7
    await site.agreed({"a": b"old", "b": b"stays"})
    (site.local / "a").unlink()
    await site.delete("a")
    assert not (await site.run()).plan.changes
    assert not (await site.plan()).items
    await site.put("a", b"old")
    assert reasons(await site.plan()) == {"a": "create"}


async def test_what_both_created_alike_is_adopted(site: Bucketed) -> None:  # 8
    site.write("d/a", b"same")
    site.write("d/large", LARGE)
    await site.put("d/a", b"same")
    await site.put("d/large", LARGE)
    report = await site.run()
    assert reasons(report.plan) == {"d/a": "adopt", "d/large": "adopt"}
    assert exit_code(report) == EXIT_OK
    assert not (await site.plan()).items


@pytest.mark.parametrize(("strategy", "local", "remote"), STRATEGIES, ids=lambda value: getattr(value, "value", None))
async def test_what_both_created_differently_is_settled_and_the_loser_is_kept(
    site: Bucketed, strategy: Conflict, local: bytes, remote: bytes
) -> None:  # 9
    site.write("a.txt", b"mine")
    site.write("other", b"goes on")
    await site.put("a.txt", b"theirs")
    policy = replace(PROPAGATE, conflict=strategy)
    report = await site.run(policy=policy)
    there = await site.remote()
    assert (site.live()["a.txt"], there["a.txt"]) == (local, remote)
    assert there["other"] == b"goes on"
    assert exit_code(report) == (EXIT_CONFLICTS if strategy is Conflict.MANUAL else EXIT_OK)
    assert not await site.lost()
    siblings = [name for name in there if ".conflict-" in name]
    assert len(siblings) == (strategy is Conflict.BACKUP_BOTH)
    assert all(site.live()[name] == there[name] == b"mine" for name in siblings)


# -- 10 - 12: a file becomes a directory -----------------------------------------------------------------------------


def tree(site: Bucketed, name: str) -> None:
    """A file makes room for a directory."""
    (site.local / name).unlink()
    site.write(f"{name}/inner", b"inner")
    site.write(f"{name}/deep/er", b"deeper")


@pytest.mark.parametrize("deletes", EVERY_DELETES)
@pytest.mark.parametrize("changed", [LOCAL, REMOTE])
async def test_a_file_becomes_a_directory_on_the_other_side_too(
    site: Bucketed, deletes: Deletes, changed: Side
) -> None:  # 10
    await site.agreed({"x": b"was a file", "y": b"stays"})
    if changed == LOCAL:
        tree(site, "x")
    else:
        await site.delete("x")
        await site.put("x/inner", b"inner")
        await site.put("x/deep/er", b"deeper")
    report = await site.run(policy=Policy(deletes=deletes))
    assert exit_code(report) == EXIT_OK, report.outcomes
    assert await site.agree() == {"x/deep/er": b"deeper", "x/inner": b"inner", "y": b"stays"}
    assert not await site.lost()


@pytest.mark.parametrize("changed", [LOCAL, REMOTE])
async def test_a_directory_becomes_a_file_on_the_other_side_too(site: Bucketed, changed: Side) -> None:  # 10
    await site.agreed({"x/inner": b"inner", "x/deep/er": b"deeper", "y": b"stays"})
    if changed == LOCAL:
        for name in ("x/inner", "x/deep/er"):
            (site.local / name).unlink()
        (site.local / "x/deep").rmdir()
        (site.local / "x").rmdir()
        site.write("x", b"a file")
    else:
        await site.delete("x/inner")
        await site.delete("x/deep/er")
        await site.put("x", b"a file")
    await site.run()
    assert await site.agree() == {"x": b"a file", "y": b"stays"}
    assert not await site.lost()


@pytest.mark.parametrize("strategy", [Conflict.MANUAL, Conflict.LOCAL_WINS, Conflict.REMOTE_WINS])
async def test_a_file_that_became_a_directory_against_an_edit_is_settled_whole(
    site: Bucketed, strategy: Conflict
) -> None:  # 11
    await site.agreed({"x": b"was a file", "y": b"stays"})
    tree(site, "x")
    await site.put("x", b"edited")
    before = site.live(), await site.remote()
    policy = replace(PROPAGATE, conflict=strategy)
    report = await site.run(policy=policy)
    assert not await site.lost() - {b"was a file"}
    if strategy is Conflict.MANUAL:
        assert reasons(report.plan)["x"] == "kind_conflict"
        assert (site.live(), await site.remote()) == before
        return
    live = await site.agree()
    assert ("x/inner" in live) == (strategy is Conflict.LOCAL_WINS)


async def test_a_bucket_that_holds_a_name_and_names_below_it_is_reported_and_costs_nothing(
    site: Bucketed,
) -> None:  # 12
    await site.agreed({"x/y": b"below", "z": b"stays"})
    site.harm(InjectedKeys(keys=(f"{site.name}/x",), data=b"the file"))  # our servers cannot hold both
    await site.put("x/y", b"below, edited")
    site.write("z", b"edited")
    for deletes in EVERY_DELETES:
        report = await site.run(policy=Policy(deletes=deletes))
        assert "x" in reasons(report.plan), "it is reported"
        assert exit_code(report) != EXIT_OK
    assert (site.local / "x").is_dir()
    there = await site.remote()
    assert there["x/y"] == b"below, edited"
    assert there["z"] == b"edited"
    assert not await site.lost() - {b"below", b"stays"}


async def test_a_name_and_names_below_it_are_reported_before_anything_was_agreed(site: Bucketed) -> None:  # 12
    await site.put("x/y", b"below")
    await site.put("z", b"other")
    site.harm(InjectedKeys(keys=(f"{site.name}/x",), data=b"the file"))
    report = await site.run()
    assert "x" in reasons(report.plan)
    assert exit_code(report) != EXIT_OK
    assert site.live()["z"] == b"other"
    assert await site.remote() == {"x/y": b"below", "z": b"other"}


# -- 13 - 15: names --------------------------------------------------------------------------------------------------


async def test_names_that_differ_in_case_both_exist(site: Bucketed) -> None:  # 13
    site.write("Readme", b"one")
    site.write("README", b"two")
    await site.put("readme", b"three")
    await site.run()
    assert await site.agree() == {"README": b"two", "Readme": b"one", "readme": b"three"}


async def test_composed_and_decomposed_spellings_stay_two_names(site: Bucketed) -> None:  # 14
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    site.write(composed, b"one")
    await site.put(decomposed, b"two")
    await site.run()
    assert await site.agree() == {decomposed: b"two", composed: b"one"}
    await site.delete(composed)
    await site.run()
    assert await site.agree() == {decomposed: b"two"}


OF_OTHERS = (
    "../e",
    "/lead",
    "a//b",
    "a/../b",
    "./c",
    "dir/",
    "dir//",
    "new\n",
    "bell\x07",
    "cr\r",
    "n" * 256,
    "m" * 900,
)


def outside(site: Bucketed) -> set[Path]:
    """What is beside the folder, and beside that; the state aside."""
    found = {*site.base.rglob("*"), *site.base.parent.iterdir(), *site.base.parent.parent.iterdir()}
    return {path for path in found if not {site.local, site.base / site.state} & {path, *path.parents}}


async def test_hostile_keys_of_others_are_reported_and_never_leave_the_root(site: Bucketed) -> None:  # 15
    await site.agreed({"a/b": b"real", "gone": b"soon"})
    site.harm(InjectedKeys(keys=tuple(f"{site.name}/{name}" for name in OF_OTHERS)))
    before = outside(site)
    await site.put("fresh", b"goes on")
    (site.local / "gone").unlink()
    report = await site.run()
    assert exit_code(report) == EXIT_PARTIAL
    assert {item.key for item in report.plan.items} >= {Key(name) for name in OF_OTHERS} - {Key("dir/")}
    assert site.live() == {"a/b": b"real", "fresh": b"goes on"}
    assert await site.remote() == {"a/b": b"real", "fresh": b"goes on"}
    assert outside(site) == before
    assert "1 objects whose names end in a slash" in " ".join(report.plan.observed[REMOTE].notices)


async def test_hostile_names_of_files_travel_or_are_reported(site: Bucketed) -> None:  # 15
    for n, name in enumerate(HOSTILE):
        site.write(f"d/{os.fsdecode(name)}", b"%d" % n)
    await site.run()
    report = await site.run()  # what the service can hold is known by now
    there = await site.remote()
    refused = {item.key for item in report.plan.items if not item.is_change}
    assert len(there) + len(refused) == len(HOSTILE)
    assert {name: data for name, data in site.live().items() if name not in refused} == there
    assert len(there) >= len(HOSTILE) - 7, refused
    await site.delete("d/--help")
    again = await site.run()
    assert {item.key for item in again.plan.items if not item.is_change} == refused
    assert "d/--help" not in site.live()


# -- 16: clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "local", "remote", "winner"), CLOCKS, ids=[case[0] for case in CLOCKS])
async def test_the_newest_wins_unless_the_clocks_cannot_tell(
    site: Bucketed, case: str, local: float, remote: float, winner: bytes | None
) -> None:  # 16
    site.write("a", b"mine", age=local)
    if case == "local has no time":
        os.utime(site.local / "a", ns=(0, 0))
    theirs = source_of(b"theirs", modified_ns=time.time_ns() - int(remote * 1e9))
    await site.store().write(Key("a"), theirs, expect=None, trash=None)
    report = await site.run(policy=NEWEST)
    there = await site.remote()
    if winner is None:
        assert reasons(report.plan) == {"a": "conflict"}
        assert (site.live(), there) == ({"a": b"mine"}, {"a": b"theirs"})
    else:
        assert site.live() == there == {"a": winner}
    assert not await site.lost()


@pytest.mark.parametrize("hours", [-48, 48])
async def test_a_service_whose_clock_is_wrong_changes_nothing(site: Bucketed, hours: int) -> None:  # 16
    then = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + hours * 3600))

    def shift(page: Any) -> None:
        page.contents = [
            re.sub("<LastModified>.*?</LastModified>", f"<LastModified>{then}</LastModified>", item)
            for item in page.contents
        ]

    site.harm(EditedListing(shift))
    await site.agreed({"a": b"one", "b": b"two"})
    assert not (await site.plan()).changes
    site.write("a", b"mine")
    await site.put("b", b"theirs")
    await site.run()
    assert await site.agree() == {"a": b"mine", "b": b"theirs"}


# -- 17, 18: a side that is not what it was --------------------------------------------------------------------------


@pytest.mark.parametrize("marker", [True, False], ids=["its marker left", "its marker gone too"])
async def test_an_emptied_bucket_is_refused(site: Bucketed, *, marker: bool) -> None:  # 17
    await site.agreed({f"f{n}": b"%d" % n for n in range(12)})
    for name in await to_thread.run_sync(site.plain.list):
        if not (marker and name == ".trueup/id"):
            await site.delete(name)
    with pytest.raises(PlanRefused) as refused:
        await site.run()
    assert refused.value.exit_code == 5
    assert len(site.live()) == 12


async def test_an_emptied_folder_is_refused(site: Bucketed) -> None:  # 17
    await site.agreed({f"f{n}": b"%d" % n for n in range(12)})
    for path in site.local.glob("f*"):
        path.unlink()
    with pytest.raises(PlanRefused):
        await site.run()
    assert len(await site.remote()) == 12


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "InternalError", "SlowDown"])
async def test_a_bucket_that_cannot_be_listed_is_no_empty_bucket(site: Bucketed, code: str) -> None:  # 17, 18
    await site.agreed({"a": b"one"})
    await site.put("b", b"two")
    (site.local / "a").unlink()
    rule = site.harm(s3_error(code), "GET", query={"list-type": ANY})
    try:
        report = await site.run()
        assert exit_code(report) == EXIT_FAILED
        assert not report.plan.complete
    except StoreError as error:
        assert error.exit_code == EXIT_FAILED  # noqa: PT017
    assert site.live() == {}
    assert await site.remote() == {"a": b"one", "b": b"two"}
    site.proxy.remove(rule)
    await site.run()
    assert await site.agree() == {"b": b"two"}


BREAKS: list[tuple[str, Action]] = [
    ("an error", TruncatedListing(at=0.5)),
    ("an error at once", TruncatedListing(at=0)),
    ("slow down", TruncatedListing(at=0.7, then=s3_error("SlowDown"))),
    ("the connection", TruncatedListing(at=0.7, then=DropRequest())),
    ("half a page", CutAnswer(at=0.6)),
]


@pytest.mark.parametrize(("how", "action"), BREAKS, ids=[how for how, _ in BREAKS])
async def test_nothing_is_deleted_or_taken_for_missing_after_a_broken_listing(
    site: Bucketed, how: str, action: Action
) -> None:  # 18
    await site.agreed({f"f{n}": b"%d" % n for n in range(10)})
    (site.local / "f0").unlink()
    await site.delete("f1")
    site.write("f9", b"edited here")
    await site.put("g", b"new there")
    before = await site.remote()
    broken = site.harm(action, "GET", query={"list-type": ANY, "prefix": f"{site.name}/"})
    for deletes in EVERY_DELETES:
        try:
            report = await site.run(policy=Policy(deletes=deletes))
        except StoreError:
            assert how in ("half a page", "an error at once")
            continue
        assert exit_code(report) == EXIT_FAILED, how
        assert not report.plan.complete
    assert "f1" in site.live()
    there = await site.remote()
    assert before.keys() <= there.keys()
    site.proxy.remove(broken)
    await site.run()
    assert not await site.lost()


async def test_a_stale_listing_loses_no_edit(site: Bucketed) -> None:  # 18, 3
    await site.agreed({"a": b"old", "b": b"old too", "c": b"stays"})
    site.harm(StaleListing(), "GET", query={"list-type": ANY})
    await site.plan()  # it remembers this
    await site.put("a", b"theirs, edited")
    await site.delete("b")
    await site.put("new", b"theirs, new")
    site.write("a", b"mine")
    site.write("new", b"mine, new")
    (site.local / "b").unlink()
    await site.run()
    there = await site.remote()
    assert (there["a"], there["new"]) == (b"theirs, edited", b"theirs, new")
    site.proxy.clear()
    assert {item.key for item in (await site.run()).plan.conflicts} == {"a", "new"}
    assert not await site.lost() - {b"old", b"old too"}


async def test_a_listing_in_another_order_changes_nothing(site: Bucketed) -> None:  # 18
    site.harm(UnorderedListing(seed=3), "GET", query={"list-type": ANY})
    await site.agreed({f"d{n % 3}/f{n}": b"%d" % n for n in range(30)})
    (site.local / "d0/f0").unlink()
    await site.put("d1/new", b"theirs")
    await site.run()
    live = await site.agree()
    assert "d0/f0" not in live
    assert live["d1/new"] == b"theirs"


# -- 19 - 21: the filter, and what is remembered ---------------------------------------------------------------------


@pytest.mark.parametrize("deletes", EVERY_DELETES)
async def test_what_a_new_filter_excludes_is_not_deleted(site: Bucketed, deletes: Deletes) -> None:  # 19
    await site.agreed({"a.txt": b"one", "logs/x.log": b"two", "b.log": b"three"})
    site.selection, site.policy = Selection(exclude=("*.log", "logs/")), Policy(deletes=deletes)
    await site.run()
    site.write("a.txt", b"edited")
    (site.local / "b.log").unlink()
    await site.run()
    assert await site.remote() == {"a.txt": b"edited", "b.log": b"three", "logs/x.log": b"two"}
    site.selection = Selection()
    await site.run()
    live = await site.agree()
    assert live == {"a.txt": b"edited", "b.log": b"three", "logs/x.log": b"two"}


async def test_a_lost_ancestor_means_a_union_in_which_nothing_is_deleted(site: Bucketed) -> None:  # 20
    await site.agreed({"same": b"same", "gone here": b"one", "gone there": b"two", "edited": b"old"})
    (site.local / "gone here").unlink()
    await site.delete("gone there")
    site.write("edited", b"new")
    site.state = "another"
    report = await site.run()
    assert reasons(report.plan) == {
        "same": "adopt",
        "gone here": "create",
        "gone there": "create",
        "edited": "conflict",
    }
    assert exit_code(report) == EXIT_CONFLICTS
    assert len(site.live()) == len(await site.remote()) == 4
    assert not await site.lost()


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_row_counts_as_no_ancestor(site: Bucketed, damage: str) -> None:  # 21
    await site.agreed({"a": b"old", "b": b"old too"})
    sql(Pair(site.base), damage + " WHERE key = ?", b"a")
    (site.local / "a").unlink()
    report = await site.run()
    assert report.plan.damaged_ancestors == ("a",)
    assert reasons(report.plan) == {"a": "create"}
    assert await site.agree() == {"a": b"old", "b": b"old too"}


@pytest.mark.parametrize("damage", [truncate, garble])
async def test_a_damaged_state_is_refused_and_kept_aside_when_allowed(
    site: Bucketed, damage: Callable[[Path], None]
) -> None:  # 21
    await site.agreed({f"f{n}": b"content %d" % n for n in range(30)})
    for extra in ("-wal", "-shm"):
        (site.base / f"state/state.db{extra}").unlink(missing_ok=True)
    damage(site.base / "state/state.db")
    (site.local / "f0").unlink()
    await site.put("f1", b"edited")
    before = site.live(), await site.remote()
    with pytest.raises(StateDamaged):
        await site.run()
    assert (site.live(), await site.remote()) == before
    report = await site.run(allow=[Guard.CORRUPT_STATE])
    assert reasons(report.plan)["f0"] == "create"
    assert reasons(report.plan)["f1"] == "conflict"
    assert not await site.lost()


# -- 22 - 24: killed, and two at once --------------------------------------------------------------------------------


async def drifted(site: Bucketed) -> None:
    """Drift of every sort that a bucket knows."""
    old = {"up": b"1", "down": b"2", "both": b"3", "gone/here": b"4", "gone there": b"5", "x": b"6", "y/in": b"7"}
    await site.agreed(old | {"moved": b"a name for another", "large": LARGE})
    site.write("up", b"1 up")
    await site.put("down", b"2 down")
    site.write("both", b"3 mine")
    await site.put("both", b"3 theirs")
    (site.local / "gone/here").unlink()
    await site.delete("gone there")
    tree(site, "x")
    await site.delete("y/in")
    await site.put("y", b"a file")
    site.write("new/dir/file", b"9")
    site.write("large", LARGE + b"more")
    (site.local / "moved").rename(site.local / "moved away")


def killed(site: Bucketed, moment: str, number: int) -> bool:
    """Run as a process that is killed right before or right after its n-th change of the bucket; whether it was."""
    environment = {
        "AWS_ENDPOINT_URL": site.server.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEYS.access_key,
        "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
    }
    arguments = [sys.executable, "-c", COUNTED, str(site.local), site.url, str(site.base / "state")]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    kill = (Before if moment == "before" else After)(lambda _: process.send_signal(signal.SIGKILL))
    rule = Rule(kill, method="PUT|POST|DELETE", path=f"^/{site.server.bucket}/{site.name}/(?!.trueup/)", nth=number)
    with site.proxy.rule(rule):
        process.wait()
        return site.proxy.fired(rule) > 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_that_is_killed_at_any_change_is_resumed_by_the_next(site: Bucketed, moment: str) -> None:  # 22
    policy = Policy(deletes=Deletes.PROPAGATE, conflict=Conflict.BACKUP_BOTH)
    endings = []
    for number in (0, 1, 4, 9):
        one = Bucketed(site.base / str(number), site.server, policy=policy, proxy=site.proxy, behind=site.behind)
        await drifted(one)
        if number:
            assert await to_thread.run_sync(killed, one, moment, number)
            assert not await one.lost() - {b"3"}  # which both had replaced themselves
        await one.run()
        endings.append(await one.agree())
        assert not await one.lost() - {b"3"}
    assert all(ending == endings[0] for ending in endings)


async def test_of_two_runs_on_one_machine_one_is_locked_out(site: Bucketed) -> None:  # 23
    site.write("a", b"one")
    locked: list[str] = []

    async def another(state: str) -> None:
        with pytest.raises(Locked):
            await site.run(state)
        locked.append(state)

    async def meanwhile(_: Plan) -> bool:
        await another("state")
        return True

    await site.run(confirm=meanwhile)
    site.write("b", b"two")
    async with site.store().hold("a run with another state"):
        await another("another state")
    assert locked == ["state", "another state"]
    await site.run()
    assert await site.agree() == {"a": b"one", "b": b"two"}


async def test_two_machines_and_one_bucket_come_to_agree_and_lose_nothing(
    site: Bucketed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # 24
    await two_machines(site, tmp_path / "its folder", monkeypatch)
    assert not await site.lost()


async def two_machines(site: Bucketed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both edit the same files and run at the same moment, without a lock."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def hold(_: ObjectStore, __: str) -> Any:
        yield

    policy = Policy(deletes=Deletes.PROPAGATE, conflict=Conflict.BACKUP_BOTH)
    folder.mkdir()
    await site.agreed({f"d/{n}": b"agreed on %d" % n for n in range(30)})
    await site.run("other", folder)
    monkeypatch.setattr(ObjectStore, "hold", hold)
    for n in range(20):
        site.write(f"d/{n}", b"one machine, %d" % n)
        (folder / f"d/{n + 10}").write_bytes(b"the other machine, %d" % n)
        site.ever.add(b"the other machine, %d" % n)
        site.write(f"new/{n}", b"one machine, new %d" % n)
        (folder / "new").mkdir(exist_ok=True)
        (folder / f"new/{n}").write_bytes(b"the other machine, new %d" % n)
        site.ever.add(b"the other machine, new %d" % n)
    changed = 0
    for _ in range(6):
        reports: list[Report] = []

        async def one(state: str, local: Path, reports: list[Report] = reports) -> None:
            reports.append(await site.run(state, local, policy=policy))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "state", site.local)
            tasks.start_soon(one, "other", folder)
        changed += sum(report.counts[Status.CHANGED] for report in reports)
        if not any(report.plan.changes for report in reports):
            break
    assert changed, "they never met"
    here = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {name: data for name, data in here.items() if ".trueup" not in name} == site.live() == await site.remote()
    site.ever -= {path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- 25, 26: answers that are cut, wrong or missing ------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "in ranges"])
@pytest.mark.parametrize("action", [CutAnswer(at=0.7), FlipAnswer(at=0.3)], ids=["cut", "one bit turned"])
async def test_a_download_that_is_harmed_is_not_installed(site: Bucketed, action: Action, size: str) -> None:  # 25
    theirs = LARGE if size == "in ranges" else b"theirs, new and whole" * 100
    await site.agreed({"a": b"old", "gone": b"soon"})
    await site.store().write(Key("a"), source_of(theirs), expect=await _token(site, "a"), trash=None)
    await site.delete("gone")
    harm = site.harm(action, "GET", "a")
    report = await site.run()
    assert report.counts[Status.FAILED]
    assert site.live() == {"a": b"old", "gone": b"soon"}, "and nothing is deleted after a failure"
    assert not [path for path in site.local.rglob(".trueup-tmp*") if path.is_file()]
    site.proxy.remove(harm)
    await site.run()
    assert await site.agree() == {"a": theirs}


async def _token(site: Bucketed, name: str) -> Any:
    entry = await site.store().stat(Key(name))
    assert entry is not None
    return entry.token


@pytest.mark.parametrize("mine", [b"mine, new and whole" * 100, LARGE], ids=["small", "in parts"])
async def test_an_upload_that_is_harmed_never_becomes_an_object(site: Bucketed, mine: bytes) -> None:  # 25
    await site.agreed({"a": b"old", "gone": b"soon"})
    site.write("a", mine)
    (site.local / "gone").unlink()
    harm = site.harm(FlipRequest(), "PUT", "a")
    report = await site.run()
    assert report.counts[Status.FAILED]
    assert await site.remote() == {"a": b"old", "gone": b"soon"}, "and nothing is deleted after a failure"
    site.proxy.remove(harm)
    await site.run()
    assert await site.agree() == {"a": mine}


async def test_a_bucket_without_room_keeps_what_it_has(site: Bucketed) -> None:  # 25
    await site.agreed({"a": b"old", "b": b"soon gone"})
    site.write("a", b"new")
    (site.local / "b").unlink()
    full = site.harm(s3_error("XMinioStorageFull", status=507), "PUT", "a")
    report = await site.run()
    assert {outcome.code for outcome in report.outcomes if outcome.status is Status.FAILED} == {"TU-NO-SPACE"}
    assert await site.remote() == {"a": b"old", "b": b"soon gone"}
    site.proxy.remove(full)
    await site.run()
    assert await site.agree() == {"a": b"new"}


FAULTS: list[tuple[str, Action]] = [
    ("429", s3_error("TooManyRequests", status=429)),
    ("503 SlowDown", s3_error("SlowDown")),
    ("500", s3_error("InternalError")),
    ("no answer", DropAnswer()),
    ("no request", DropRequest()),
]


@pytest.fixture(params=["strong", "weak"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucketed]:
    yield from bucketed(tmp_path, request.getfixturevalue(f"{request.param}_s3"))


@pytest.mark.parametrize(("how", "action"), FAULTS, ids=[how for how, _ in FAULTS])
async def test_every_effect_that_fails_or_seems_to_fail_once_changes_nothing_in_the_end(
    either: Bucketed, how: str, action: Action
) -> None:  # 26
    site = either
    await site.agreed({"up": b"1", "down": b"2", "gone": b"3", "both": b"4", "moved": b"name", "large": LARGE})
    site.policy = Policy(deletes=Deletes.PROPAGATE, conflict=Conflict.BACKUP_BOTH)
    site.write("up", b"1 up")
    site.write("both", b"4 mine")
    site.write("new", b"5")
    site.write("large", LARGE + b"more")
    (site.local / "gone").unlink()
    (site.local / "moved").rename(site.local / "moved away")
    await site.put("down", b"2 down")
    await site.put("both", b"4 theirs")
    for name in ("up", "both", "new", "large", "gone", "moved", "moved away", "down"):
        site.harm(action, "PUT|POST|DELETE", name, times=1)
    report = await site.run()
    assert exit_code(report) in (EXIT_OK, EXIT_PARTIAL), [o for o in report.outcomes if o.status is not Status.DONE]
    site.proxy.clear()
    await site.run()
    live = await site.agree()
    assert (live["up"], live["down"], live["both"], live["new"]) == (b"1 up", b"2 down", b"4 theirs", b"5")
    assert (live["large"], live["moved away"]) == (LARGE + b"more", b"name")
    assert not {"gone", "moved"} & live.keys()
    assert not await site.lost() - {b"4"}  # which both had replaced themselves


async def test_a_write_whose_answer_never_comes_is_known_again(site: Bucketed) -> None:  # 26
    await site.agreed({"a": b"old"})
    site.write("a", b"new")
    site.harm(Hang(committed=True), "PUT", "a", times=1)
    tuning = replace(site.spec().tuning, timeout_seconds=1.0)
    async with site.engine() as engine:
        with anyio.fail_after(20):
            report = await engine.run(replace(site.spec(), tuning=tuning))
    assert exit_code(report) == EXIT_OK, report.outcomes
    assert await site.agree() == {"a": b"new"}
    assert not await site.lost()


# -- 28: what is neither file nor name -------------------------------------------------------------------------------


async def test_empty_directories_stay_here_and_links_are_reported(site: Bucketed) -> None:  # 28
    (site.local / "empty/deep").mkdir(parents=True)
    (site.base / "outside").write_text("not ours")
    (site.local / "link").symlink_to(site.base / "outside")
    site.write("a", b"one")
    report = await site.run()
    assert reasons(report.plan) == {"a": "create", "link": "skipped"}
    assert await site.remote() == {"a": b"one"}
    await site.put("link", b"theirs")
    await site.run()
    assert (site.base / "outside").read_text() == "not ours"
    assert (site.local / "link").is_symlink()
    assert (site.local / "empty/deep").is_dir()


async def test_an_object_below_a_link_does_not_follow_it(site: Bucketed) -> None:  # 28
    outside = site.base / "outside"
    outside.mkdir()
    (site.local / "d").symlink_to(outside)
    await site.put("d/evil", b"theirs")
    report = await site.run()
    assert exit_code(report) == EXIT_PARTIAL
    assert list(outside.iterdir()) == []


async def test_permission_bits_and_times_come_back(site: Bucketed, tmp_path: Path) -> None:  # 28
    site.write("script", b"run me")
    (site.local / "script").chmod(0o755)
    await site.run()
    other = tmp_path / "other"
    other.mkdir()
    await site.run("other state", other)
    mine, theirs = (site.local / "script").stat(), (other / "script").stat()
    assert (mine.st_mode, mine.st_mtime_ns) == (theirs.st_mode, theirs.st_mtime_ns)


# -- the list --------------------------------------------------------------------------------------------------------

HERE = Path(__file__)
BY_THEMSELVES = {27: "tests/stores/object/test_million.py"}
"""Scenarios that have a file of their own."""


def numbers(path: Path) -> set[int]:
    """The scenarios that the tests of a file say they are of."""
    found = re.findall(r"^(?:async def|def|\)) .*?:  # (\d+(?:, \d+)*)", path.read_text(), re.MULTILINE)
    return {int(number) for text in found for number in text.split(", ")}


def test_all_twenty_eight_scenarios_are_tested_on_buckets() -> None:
    assert numbers(HERE) | BY_THEMSELVES.keys() == set(range(1, 29))
    assert all((HERE.parents[2] / path).is_file() for path in BY_THEMSELVES.values())


def test_all_scenarios_that_folders_know_are_tested_on_folders() -> None:
    assert set(range(1, 29)) - numbers(HERE.with_name("test_scenarios.py")) == {12, 27}
