"""A dataset whose remote is a real bucket: every row, killed runs, two at once, an outage, many keys, undo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from tests.actors import ID, NAME, WORDS, Actor, files, md5
from tests.engine.real_bucket import Plain
from tests.services import Service

from trueup.api import Engine
from trueup.api.datasets import done, planned
from trueup.config import Bucket, Config
from trueup.config.secret import Place, Secret
from trueup.core.errors import Locked
from trueup.core.plan import Plan
from trueup.core.report import Report
from trueup.core.strategy import Conflict
from trueup.engine import digests
from trueup.targets.datasets import Datasets
from trueup.testing.engines import KEYS
from trueup.testing.proxy import FaultProxy, Rule, s3_error

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("dataset bucket")]

NAMES = {f"pictures of {word}/ä {word}.png": word for word in WORDS}
PATIENCE_SECONDS = 100
_numbers = count()


class BucketActor(Actor):
    """An actor whose remote is a prefix of a bucket."""

    service: Service
    plain: Plain

    def reach(self, service: Service, endpoint: str = "") -> BucketActor:
        """Take a prefix that nobody else uses."""
        prefix = f"dataset {os.getpid()} {next(_numbers)}/training_data"
        self.service, self.plain = service, Plain(service, f"{prefix}/{NAME}/")
        self.layout = replace(self.layout, remote=f"s3://{service.bucket}/{prefix}/{{actor_name}}/")
        self.endpoint = endpoint or service.endpoint
        return self

    @property
    def config(self) -> Config:
        """How to get there."""
        place = Place(self.root, {"KEY": KEYS.access_key, "SECRET": KEYS.secret_key}, self.root)
        secrets = Secret("env", "KEY", place), Secret("env", "SECRET", place)
        bucket = Bucket(f"s3://{self.service.bucket}", self.endpoint, "us-east-1", *secrets)
        return Config(self.root / "state", datasets=self.layout, buckets={"test": bucket})

    def drift(self, words: dict[str, str]) -> None:
        """Make each image stand as its word says."""
        self.spell(words)
        for name, text in files(self.remote).items():
            self.plain.put(name, text.encode())

    @property
    def there(self) -> dict[str, str]:
        """What the bucket holds: names and MD5."""
        return {name: digest.hex() for name, digest in self.plain.live().items()}


@pytest.fixture
def actor(tmp_path: Path, strong_s3: Service) -> BucketActor:
    return BucketActor(tmp_path).reach(strong_s3)


def called(actor: BucketActor, *calls: Callable[[Engine], Awaitable[Any]]) -> list[Any]:
    """What an engine answers, call by call; not in an event loop, because the person at the bucket blocks."""

    async def main() -> list[Any]:
        async with Engine(actor.config) as engine:
            return [await call(engine) for call in calls]

    return anyio.run(main)


def run(actor: BucketActor, spec: Datasets | None = None) -> Report:
    return cast("Report", called(actor, lambda engine: engine.run(spec or actor.spec))[0])


def look(actor: BucketActor, **options: Any) -> Plan:
    return cast("Plan", called(actor, lambda engine: engine.plan(actor.spec, **options))[0])


def agrees(actor: BucketActor) -> bool:
    """Whether what is recorded, here and there is one."""
    local = {name: md5(text) for name, text in files(actor.local).items()}
    return local == actor.there == {name: entry["md5_hash"] for name, entry in actor.recorded().items()}


# -- the table -----------------------------------------------------------------------------------------------------


def test_one_drift_of_each_row_dry_run_sync_and_nothing_more(actor: BucketActor) -> None:
    actor.drift(NAMES)
    before = (files(actor.local), actor.there, actor.manifest.read_bytes())
    plan = look(actor)
    assert (files(actor.local), actor.there, actor.manifest.read_bytes()) == before
    report = run(actor)
    told = done(report).document
    assert told == planned(plan).document
    assert [told[name] for name in list(told)[:7]] == [4, 4, 3, 5, 1, 0, 0]
    assert len(done(report).errors) == 2
    manifest = actor.manifest.read_bytes()
    again = run(actor)
    assert not again.plan.changes
    assert len(again.plan.conflicts) == 2
    assert actor.manifest.read_bytes() == manifest
    run(actor, replace(actor.spec, conflict=Conflict.LOCAL_WINS))
    assert agrees(actor)


def test_no_object_is_read_whose_version_is_its_digest(actor: BucketActor, monkeypatch: pytest.MonkeyPatch) -> None:
    actor.drift(dict.fromkeys(("a.png", "b.png", "c.png"), "aaa") | {"d.png": "aab", "e.png": "--a"})
    read: list[str] = []
    original = digests.read

    async def counted(*given: Any, **options: Any) -> Any:
        read.append(given[2])
        return await original(*given, **options)

    monkeypatch.setattr(digests, "read", counted)
    run(actor)
    assert read == ["local"]
    assert agrees(actor)


def test_an_object_in_parts_is_told_by_its_metadata(actor: BucketActor) -> None:
    large = b"large " * 3_000_000
    (actor.local / "large.png").write_bytes(large)
    os.utime(actor.local / "large.png", (1, 1))
    run(actor)
    assert not run(actor).plan.changes
    assert not look(actor, verify=True).items
    (actor.local / "large.png").unlink()
    run(actor)
    assert (actor.local / "large.png").read_bytes() == large


def test_a_run_is_taken_back(actor: BucketActor) -> None:
    actor.drift({name: word for name, word in NAMES.items() if word not in ("abc", "-ab")})
    before = (files(actor.local), actor.there, actor.recorded())
    called(actor, lambda engine: engine.run(actor.spec), lambda engine: engine.undo("last"))
    assert (files(actor.local), actor.there, actor.recorded()) == before


def test_orphans_go_to_both_trashes(actor: BucketActor) -> None:
    actor.drift({"a.png": "aaa", "b.png": "-a-", "c.png": "--a", "d.png": "-ab"})
    report, pruned = called(actor, lambda engine: engine.run(actor.orphaning), lambda engine: engine.prune(actor.spec))
    told = done(report)
    assert (told.deleted_local, told.deleted_s3, told.errors) == (2, 2, [])
    assert (pruned.removed, len(pruned.refused)) == (0, 4)
    assert bytes.fromhex(md5("c.png a")) in actor.plain.kept()


def test_five_thousand_keys(actor: BucketActor) -> None:
    names = [f"{n:05} ü.png" for n in range(5000)]
    for name in names:
        actor.put(actor.local, name, name)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: actor.plain.put(name, name.encode()), names[:-10]))
    told = done(run(actor))
    assert (told.uploaded, told.downloaded, told.added_to_manifest, told.errors) == (10, 0, 5000, [])
    assert agrees(actor)
    assert not look(actor, glance=True).changes
    (actor.local / names[7]).unlink()
    assert done(run(actor)).document["downloaded"] == 1
    assert agrees(actor)


# -- harm ----------------------------------------------------------------------------------------------------------


def test_an_outage_in_the_middle_loses_nothing_and_the_next_run_ends_it(tmp_path: Path, strong_s3: Service) -> None:
    with FaultProxy(strong_s3.endpoint.removeprefix("http://")) as proxy:
        actor = BucketActor(tmp_path).reach(strong_s3, proxy.endpoint)
        actor.drift({f"{n:02}.png": "-a-" for n in range(20)} | {f"x{n:02}.png": "--a" for n in range(20)})
        with proxy.rule(Rule(s3_error("AccessDenied"), method="PUT", path=r"/1\d\.png$")):
            report = run(actor)
        told = done(report)
        assert (told.uploaded, told.downloaded, len(told.errors)) == (10, 20, 10)
        assert set(actor.recorded()) == set(files(actor.local)) - {f"{n:02}.png" for n in range(10, 20)}
        with proxy.rule(Rule(s3_error("AccessDenied"), method="GET", query={"list-type": "2"})):
            blind = run(actor, actor.orphaning)
        assert not blind.plan.complete
        assert not blind.plan.changes
        assert done(blind).errors[0].startswith("remote: ")
        assert done(run(actor)).document["uploaded"] == 10
        assert agrees(actor)


RUNS = """
import sys
import anyio
from pathlib import Path
from trueup.config import load
from trueup.api import Engine
from trueup.core.errors import Locked

def told(progress):
    sys.stdout.write("x" if progress.phase == "execute" else ".")
    sys.stdout.flush()

async def main(folder, actor_id, actor_name, state):
    config = load(Path(folder), env={"TRUEUP_STATE": state, "HOME": folder})
    async with Engine(config, on_progress=told) as engine:
        try:
            await engine.run(engine.dataset(actor_id, actor_name))
        except Locked as error:
            return error.exit_code
    return 0

sys.exit(anyio.run(main, *sys.argv[1:]))
"""


def begin(actor: BucketActor, state: str = "state") -> subprocess.Popen[bytes]:
    """A run in a process of its own, which writes an x for every item that is done."""
    actor.configure()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": actor.endpoint,
        "AWS_ACCESS_KEY_ID": KEYS.access_key,
        "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    arguments = [sys.executable, "-c", RUNS, str(actor.root), ID, NAME, str(actor.root / state)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment)


def ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code, once it has come to its end."""
    assert process.stdout is not None
    process.stdout.read()
    process.stdout.close()
    return process.wait(timeout=PATIENCE_SECONDS)


def kill_after(process: subprocess.Popen[bytes], items: int) -> None:
    """Kill it once it has told of so many items."""
    assert process.stdout is not None
    seen = 0
    while seen < items:
        told = os.read(process.stdout.fileno(), 1)
        assert told, f"it ended with {process.wait()} before it could be killed"
        seen += told == b"x"
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


def test_a_run_that_was_killed_half_way_is_finished_by_the_next(actor: BucketActor) -> None:
    actor.drift({f"u{n:03}.png": "-a-" for n in range(150)} | {f"d{n:03}.png": "--a" for n in range(150)})
    for items in (1, 60, 60):
        kill_after(begin(actor), items)
        json.loads(actor.manifest.read_text())  # whole, whatever happened
        assert set(actor.recorded()) <= set(actor.there) & set(files(actor.local))
    assert ended(begin(actor)) == 0
    assert agrees(actor)
    assert len(actor.there) == 300


def test_runs_at_once_are_one_after_the_other(actor: BucketActor) -> None:
    actor.drift({f"{n:03}.png": "-a-" for n in range(50)})
    codes = sorted(map(ended, [begin(actor), begin(actor), begin(actor, "another state")]))
    assert codes[0] == 0
    assert set(codes) <= {0, Locked.exit_code}
    assert ended(begin(actor)) == 0
    assert agrees(actor)
