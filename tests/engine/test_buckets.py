"""A folder and a bucket, kept in agreement by the engine, on a server that refuses lost races."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from tests.engine.pair import MANY, PROPAGATE, QUICK
from tests.services import Service

from trueup.api import Engine
from trueup.config import Bucket, Config, Secret
from trueup.config.secret import Place
from trueup.core.errors import Locked
from trueup.core.model import REMOTE, Key
from trueup.core.plan import Plan
from trueup.core.reconcile import Reason
from trueup.core.report import Ending, Report, Status
from trueup.core.strategy import Conflict, Policy
from trueup.stores.object import ObjectStore, probe
from trueup.targets.folders import Folders
from trueup.testing.engines import KEYS
from trueup.testing.expect import content, source_of
from trueup.testing.proxy import FaultProxy

pytestmark = pytest.mark.engine

_numbers = count()


@dataclass
class Site:
    """A folder and a prefix of a bucket."""

    base: Path
    server: Service
    policy: Policy = PROPAGATE
    name: str = field(default_factory=lambda: f"site{next(_numbers)}")

    def __post_init__(self) -> None:
        self.local.mkdir(parents=True, exist_ok=True)
        self._store = self.server.store(self.name)

    @property
    def local(self) -> Path:
        return self.base / "local"

    @property
    def url(self) -> str:
        return f"s3://{self.server.bucket}/{self.name}"

    def engine(self, state: str = "state") -> Engine:
        place = Place(self.base, {"A": KEYS.access_key, "S": KEYS.secret_key}, self.base)
        bucket = Bucket(
            f"s3://{self.server.bucket}",
            self.server.endpoint,
            "us-east-1",
            Secret("env", "A", place),
            Secret("env", "S", place),
        )
        return Engine(Config(self.base / state, buckets={"tests": bucket}))

    def spec(self, local: Path | None = None, policy: Policy | None = None) -> Folders:
        return Folders(
            "site", (str(local or self.local),), self.url, policy=policy or self.policy, limits=MANY, tuning=QUICK
        )

    async def run(self, state: str = "state", local: Path | None = None, **settings: Any) -> Report:
        async with self.engine(state) as engine:
            return await engine.run(self.spec(local, settings.pop("policy", None)), **settings)

    async def plan(self, **settings: Any) -> Plan:
        async with self.engine() as engine:
            return await engine.plan(self.spec(), **settings)

    async def undo(self) -> Report:
        async with self.engine() as engine:
            return await engine.undo("last")

    def store(self) -> ObjectStore:
        return self._store

    async def remote(self) -> dict[str, bytes]:
        """Everything that lives in the bucket."""
        store, found = self.store(), {}
        async for batch in store.scan():
            for row in batch:
                key = Key(row[0].decode())
                entry = await store.stat(key)
                assert entry is not None
                found[str(key)] = await content(store.source(key, entry))
        return found

    async def put(self, name: str, data: bytes) -> None:
        """Somebody else writes an object."""
        await to_thread.run_sync(self.store()._bucket.put, name, data, {}, {})

    async def delete(self, name: str) -> None:
        await to_thread.run_sync(self.store()._bucket.delete, name)

    def write(self, name: str, data: bytes, *, age: float = 3600.0) -> None:
        path = self.local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        then = time.time_ns() - int(age * 1e9)
        os.utime(path, ns=(then, then))

    def live(self) -> dict[str, bytes]:
        found = {str(path.relative_to(self.local)): path for path in self.local.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in sorted(found.items()) if not name.startswith(".trueup")}

    async def agree(self) -> dict[str, bytes]:
        """Both sides hold the same, and a further run has nothing to do."""
        again = await self.run()
        assert again.ending is Ending.IN_SYNC, again.plan.items
        live = self.live()
        assert live == await self.remote()
        return live


@pytest.fixture
def site(tmp_path: Path, strong_s3: Service) -> Site:
    return Site(tmp_path, strong_s3)


async def test_a_folder_goes_to_a_bucket_and_comes_back(site: Site, tmp_path: Path) -> None:
    site.write("a!x", b"1")
    site.write("a/b", b"22")
    site.write("a/c/d.txt", b"333")
    site.write("big", bytes(range(256)) * 40_000)
    (site.local / "empty").mkdir()
    (site.local / "a/b").chmod(0o640)
    report = await site.run()
    assert all(outcome.status is Status.DONE for outcome in report.outcomes)
    assert len(await site.agree()) == 4

    other = tmp_path / "other"
    other.mkdir()
    await site.run("other-state", other)
    back = {str(path.relative_to(other)): path for path in other.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in back.items() if ".trueup" not in name} == site.live()
    mine, theirs = (site.local / "a/b").stat(), (other / "a/b").stat()
    assert (theirs.st_mtime_ns, theirs.st_mode) == (mine.st_mtime_ns, mine.st_mode)


async def test_edits_and_deletions_go_both_ways(site: Site) -> None:
    for n in range(6):
        site.write(f"d/{n}", b"old %d" % n)
    await site.run()
    site.write("d/0", b"mine")
    await site.put("d/1", b"theirs")
    (site.local / "d/2").unlink()
    await site.delete("d/3")
    site.write("d/new", b"created here")
    await site.put("e/new", b"created there")
    await site.run()
    assert await site.agree() == {
        "d/0": b"mine",
        "d/1": b"theirs",
        "d/4": b"old 4",
        "d/5": b"old 5",
        "d/new": b"created here",
        "e/new": b"created there",
    }


async def test_the_last_file_of_a_folder_leaves_the_folder(site: Site) -> None:
    site.write("d/only", b"1")
    site.write("other", b"2")
    await site.run()
    await site.delete("d/only")
    await site.run()
    assert (site.local / "d").is_dir()
    assert await site.agree() == {"other": b"2"}


async def test_what_others_brought_there_with_equal_bytes_is_adopted(site: Site) -> None:
    site.write("a", b"same")
    await site.put("a", b"same")
    report = await site.run()
    assert not report.plan.changes
    assert await site.agree() == {"a": b"same"}


async def test_both_changed_waits_for_a_person(site: Site) -> None:
    site.write("a", b"old")
    await site.run()
    site.write("a", b"mine")
    await site.put("a", b"theirs")
    report = await site.run()
    assert [item.key for item in report.plan.conflicts] == ["a"]
    assert site.live() == {"a": b"mine"}
    assert await site.remote() == {"a": b"theirs"}
    await site.run(resolve={Key("a"): Conflict.BACKUP_BOTH})
    assert sorted((await site.agree()).values()) == [b"mine", b"theirs"]


async def test_the_newest_wins_by_the_time_in_the_metadata(site: Site) -> None:
    site.write("a", b"old", age=9000)
    await site.run()
    site.write("a", b"mine, a little later", age=5000)
    store = site.store()
    entry = await store.stat(Key("a"))
    assert entry is not None
    theirs = source_of(b"theirs, later still", modified_ns=time.time_ns() - int(1000 * 1e9))
    await store.write(Key("a"), theirs, expect=entry.token, trash=None)
    await site.run(policy=Policy(conflict=Conflict.NEWEST_WINS))
    assert site.live() == {"a": b"theirs, later still"}


async def test_a_file_becomes_a_folder_and_back(site: Site) -> None:
    site.write("x", b"file")
    await site.run()
    (site.local / "x").unlink()
    site.write("x/y", b"below")
    await site.run()
    assert await site.agree() == {"x/y": b"below"}
    (site.local / "x/y").unlink()
    (site.local / "x").rmdir()
    site.write("x", b"file again")
    await site.run()
    assert await site.agree() == {"x": b"file again"}


async def test_a_run_can_be_undone_and_the_undo_too(site: Site) -> None:
    site.write("a", b"old")
    site.write("gone", b"to be deleted")
    await site.run()
    site.write("a", b"new")
    (site.local / "gone").unlink()
    site.write("fresh", b"1")
    await site.run()
    await site.undo()
    assert await site.remote() == {"a": b"old", "gone": b"to be deleted"}
    await site.undo()
    assert await site.remote() == {"a": b"new", "fresh": b"1"}


async def test_an_edit_between_plan_and_write_survives(site: Site) -> None:
    site.write("a", b"old")
    await site.run()
    site.write("a", b"mine")

    async def meanwhile(_: Plan) -> bool:
        await site.put("a", b"theirs")
        return True

    report = await site.run(confirm=meanwhile)
    assert [outcome.status for outcome in report.outcomes if outcome.key == "a"].count(Status.CHANGED)
    assert await site.remote() == {"a": b"theirs"}
    assert [item.key for item in (await site.run()).plan.conflicts] == ["a"]


async def test_looking_writes_nothing(site: Site) -> None:
    site.write("a", b"1")
    plan = await site.plan()
    assert len(plan.changes) == 1
    assert "not yet probed" in " ".join(plan.observed[REMOTE].notices)
    listed = await to_thread.run_sync(lambda: list(site.store()._bucket.operator.list(f"{site.name}/", recursive=True)))
    assert listed == []


async def test_what_was_probed_is_remembered_by_the_next_process(site: Site) -> None:
    site.write("a", b"1")
    await site.run()
    site.write("b", b"2")
    plan = await site.plan()
    assert plan.changes
    assert plan.observed[REMOTE].notices == ()  # it refuses every lost race, and that is known


async def test_a_probe_is_not_believed_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("a", b"1")
    await site.run()
    monkeypatch.setattr(probe, "BELIEVED_NS", 0)
    assert "not yet probed" in " ".join((await site.plan()).observed[REMOTE].notices)


async def test_verify_reads_the_bytes_and_not_the_metadata(site: Site) -> None:
    site.write("a", b"12345678")
    await site.run()
    plan = await site.plan(verify=True)
    assert not plan.changes


async def test_two_machines_with_one_bucket_lose_nothing(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for n in range(10):
        site.write(f"f{n}", b"first %d" % n)
    await site.run()
    await site.run("other-state", other)
    for n in range(9):
        (other / f"f{n}").write_bytes(b"from the other, %d" % n)
    (other / "theirs").write_bytes(b"new there")
    site.write("mine", b"new here")
    await site.run("other-state", other)
    await site.run()
    live = await site.agree()
    assert live["f3"] == b"from the other, 3"
    assert {"mine", "theirs"} <= live.keys()


async def test_one_run_at_a_time_holds_a_bucket(site: Site, tmp_path: Path) -> None:
    site.write("a", b"1")
    async with site.store().hold("a run elsewhere"):
        with pytest.raises(Locked, match="a run elsewhere"):
            await site.run()
    await site.run()


async def test_a_killed_run_is_finished_by_the_next(site: Site) -> None:
    data = {f"d{n % 7}/f{n}": b"%d " % n * 500 for n in range(400)}
    for name, text in data.items():
        site.write(name, text)
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from tests.engine.test_buckets import Site; from tests.services import Service\n"
        "asyncio.run(Site(Path(sys.argv[1]), Service(sys.argv[2]), name=sys.argv[3]).run())\n"
    )
    command = [sys.executable, "-c", program, str(site.base), site.server.endpoint, site.name]
    for seconds in (0.9, 1.2, 1.5):
        await to_thread.run_sync(_killed, command, seconds)
    await site.run()
    assert await site.agree() == data


def _killed(command: list[str], after_seconds: float) -> None:
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ}) as child:
        time.sleep(after_seconds)
        child.send_signal(signal.SIGKILL)


async def test_what_a_bucket_holds_already_is_recognised_without_a_request_for_each_object(
    site: Site, strong_s3: Service
) -> None:
    same = {f"d{n % 3}/f{n}": b"content %d" % n for n in range(40)}
    for name, data in same.items():
        site.write(name, data)
        await site.put(name, data)
    site.write("differs", b"mine  ")
    await site.put("differs", b"theirs")
    proxy = FaultProxy(strong_s3.endpoint)
    await to_thread.run_sync(proxy.__enter__)
    try:
        plan = await replace(site, server=Service(proxy.endpoint)).plan()
        asked = {one.request.key for one in proxy.log if one.request.method in ("HEAD", "GET") and one.request.key}
    finally:
        await to_thread.run_sync(proxy.__exit__, None, None, None)
    assert [item.key for item in plan.items if item.steps and item.is_change] == []
    assert [item.key for item in plan.conflicts] == ["differs"]
    assert sum(item.reason is Reason.ADOPT for item in plan.items) == 40
    assert {key.removeprefix(f"{site.name}/") for key in asked} <= {"differs", ".trueup/id"}
