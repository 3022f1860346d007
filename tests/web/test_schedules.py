"""Schedules and notices: a fake clock for when, a real server for that."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from tests.web.server import Served, Site

from trueup.config import load
from trueup.config.sections import Notify
from trueup.config.trust import trust
from trueup.engine.ambient import Ambient
from trueup.engine.schedules import Schedule, Schedules
from trueup.engine.served import ServedRun, Stage
from trueup.engine.state import State
from trueup.testing.clock import LogicalClock
from trueup.web.scheduler import Scheduler
from trueup.web.service import Service
from trueup.web.targets import Named
from trueup.web.telling import Teller

DAY_SECONDS = 24 * 3600


def scheduler(service: Service) -> Scheduler:
    async def find(target_id: str) -> Named:
        return Named(target_id, service.config.targets[target_id])

    return Scheduler(service.schedules, service.runs, find, service.ambient)


async def finish(service: Service, run: str) -> ServedRun:
    live = service.runs.live(run)
    if live is not None:
        await live.over.wait()
    found = await service.threads(service.ledger.find, run)
    assert found is not None
    return found


async def test_a_schedule_fires_when_it_is_due_and_not_before(service: Service, clock: LogicalClock) -> None:
    site = Site(service.config.state_dir.parent / "home", "site0")
    site.fill(a="1")
    await service.threads(
        service.schedules.add, Schedule("nightly", "site0", "0 3 * * *", apply=True, created_ns=clock.now_ns())
    )
    look = scheduler(service).look
    assert await look() == []
    clock.pause(DAY_SECONDS * 14 / 24)
    assert await look() == []
    clock.pause(DAY_SECONDS / 24)
    (run,) = await look()
    assert (await finish(service, run)).state is Stage.SUCCEEDED
    assert site.arrived == {"a": "1"}
    assert await look() == [], "once"


async def test_what_was_missed_is_done_once(service: Service, clock: LogicalClock) -> None:
    await service.threads(service.schedules.add, Schedule("hourly", "site0", "0 * * * *", created_ns=clock.now_ns()))
    clock.pause(10 * DAY_SECONDS)
    look = scheduler(service).look
    (run,) = await look()
    await finish(service, run)
    assert await look() == []


async def test_a_schedule_never_deletes(service: Service, clock: LogicalClock) -> None:
    site = Site(service.config.state_dir.parent / "home", "site0")
    site.fill(a="1", b="2")
    await service.threads(
        service.schedules.add, Schedule("hourly", "site0", "0 * * * *", apply=True, created_ns=clock.now_ns())
    )
    look = scheduler(service).look
    clock.pause(3600)
    await finish(service, (await look())[0])
    (site.local / "a").unlink()
    clock.pause(3600)
    assert (await finish(service, (await look())[0])).state is Stage.AWAITING_APPROVAL
    assert site.arrived == {"a": "1", "b": "2"}


async def test_a_run_that_is_under_way_is_not_overlapped(service: Service, clock: LogicalClock) -> None:
    for name in ("one", "two"):
        await service.threads(service.schedules.add, Schedule(name, "site0", "0 * * * *", created_ns=clock.now_ns()))
    clock.pause(3600)
    (run,) = await scheduler(service).look()
    await finish(service, run)
    one, two = await service.threads(service.schedules.listed)
    assert (one.last_run, one.skipped) == (run, None)
    assert (two.last_run, two.skipped) == (None, "a run of site0 is under way")


async def test_a_schedule_without_apply_only_plans(service: Service, clock: LogicalClock) -> None:
    site = Site(service.config.state_dir.parent / "home", "site0")
    site.fill(a="1")
    await service.threads(service.schedules.add, Schedule("hourly", "site0", "0 * * * *", created_ns=clock.now_ns()))
    clock.pause(3600)
    (run,) = await scheduler(service).look()
    assert (await finish(service, run)).state is Stage.AWAITING_APPROVAL
    assert site.arrived == {}


def test_a_real_server_does_what_was_missed(fresh: Served) -> None:
    Site(fresh.path, "site0").fill(a="1")
    fresh.trueup("schedule", "add", "nightly", "site0", "0 3 * * *", "--zone", "Europe/Berlin", "--apply")
    with sqlite3.connect(fresh.state / "state.db") as connection:
        connection.execute("UPDATE schedules SET created_ns = created_ns - ?", (3 * DAY_SECONDS * 10**9,))
    client = fresh.start().client()
    runs: list[Any] = []
    nothing = threading.Event()
    while not runs:
        runs = client.ask("GET", "/runs")["runs"]
        nothing.wait(0.05)
    assert client.until(runs[0]["id"])["who"] == "schedule nightly"
    assert Site(fresh.path, "site0").arrived == {"a": "1"}
    (listed,) = client.ask("GET", "/schedules")["schedules"]
    assert (listed["name"], listed["zone"], len(listed["next"])) == ("nightly", "Europe/Berlin", 3)
    assert client.ask("GET", "/targets/site0")["next"] == listed["next"][0]


def test_schedules_over_rest_and_on_the_command_line(fresh: Served) -> None:
    client = fresh.start().client()
    body = {"name": "often", "target": "site0", "cron": "*/15 * * * *", "apply": True}
    assert client.ask("POST", "/schedules", code=201, json=body)["name"] == "often"
    assert client.ask("POST", "/schedules", code=422, json=body)["code"] == "TU-USAGE"
    assert client.ask("POST", "/schedules", code=404, json=body | {"target": "nothing"})["code"] == "TU-NOT-FOUND"
    assert client.ask("POST", "/schedules", code=422, json=body | {"name": "x", "cron": "never"})
    assert fresh.client("read", "sync", "delete").ask("POST", "/schedules", code=403, json=body)["code"] == "TU-SCOPE"
    assert "often  applies site0  */15 * * * * UTC" in fresh.trueup("schedule", "ls")
    crontab = fresh.trueup("schedule", "export", "often", "--cron")
    assert crontab == f"CRON_TZ=UTC\n*/15 * * * * cd {fresh.path} && trueup sync site0 --yes --max-delete 0\n"
    units = fresh.trueup("schedule", "export", "often", "--systemd")
    assert "OnCalendar=*-*-* *:0/15:00 UTC\nPersistent=true\n" in units
    assert 'ExecStart=/usr/bin/env "trueup" "sync" "site0" "--yes" "--max-delete" "0"' in units
    client.ask("DELETE", "/schedules/often", code=204)
    assert client.ask("DELETE", "/schedules/often", code=404)["code"] == "TU-NOT-FOUND"


# -- notices -------------------------------------------------------------------------------------------------------


Hook = tuple[str, list[tuple[dict[str, str], bytes]]]


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook on loopback, and what it heard."""
    heard: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", heard
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Desk:
    """Tells places that a configuration names."""

    folder: Path
    clock: LogicalClock
    state: State

    async def teller(self, *lines: str, trusted: bool = True) -> Teller:
        """One for this configuration, approved or not."""
        found = await to_thread.run_sync(self._places, "\n".join([*lines, ""]), trusted)
        return Teller(found, Schedules(self.state), Ambient(clock=self.clock))

    def _places(self, text: str, trusted: bool) -> list[Notify]:
        path, state, none = self.folder / "trueup.toml", self.folder / "state", str(self.folder / "none")
        path.write_text(text)
        if trusted:
            trust(path, state)
        env = {"TRUEUP_STATE": str(state), "HOOK_KEY": "s3cret", "XDG_CONFIG_HOME": none, "XDG_CONFIG_DIRS": none}
        return list(load(self.folder, env=env).notify.values())


@pytest.fixture
def desk(tmp_path: Path, clock: LogicalClock) -> Iterator[Desk]:
    state = State(tmp_path / "state")
    yield Desk(tmp_path, clock, state)
    state.close()


async def told(teller: Teller, *stages: Stage) -> None:
    for stage in stages:
        await teller.ended(ServedRun("r1", "site0", stage, "somebody", {}, 1, 1))


async def test_each_change_is_told_once_and_signed(desk: Desk, hook: Hook) -> None:
    address, heard = hook
    teller = await desk.teller(
        "[notify.team]", f'deliver = {{ webhook = "{address}" }}', 'secret = { env = "HOOK_KEY" }'
    )
    await told(teller, Stage.SUCCEEDED, Stage.FAILED, Stage.FAILED, Stage.CANCELLED, Stage.SUCCEEDED, Stage.SUCCEEDED)
    assert [json.loads(body)["standing"] for _, body in heard] == ["failing", "good"]
    headers, body = heard[0]
    seconds, _, signed = headers["trueup-signature"].partition(",v1=")
    wanted = hmac.new(b"s3cret", seconds.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signed == wanted
    assert json.loads(body)["text"] == "site0 could not be synced"


async def test_a_file_that_nobody_has_approved_tells_nothing(desk: Desk, hook: Hook) -> None:
    address, heard = hook
    lines = (
        *("[notify.team]", f'deliver = {{ webhook = "{address}" }}'),
        *("[notify.run]", 'deliver = { command = "touch ran" }'),
    )
    await told(await desk.teller(*lines, trusted=False), Stage.FAILED)
    assert heard == []
    assert not (desk.folder / "ran").exists()
    await told(await desk.teller(*lines), Stage.FAILED)
    assert len(heard) == 1, "what could not be told is told the next time"
    assert (desk.folder / "ran").exists()


async def test_a_place_hears_of_its_targets_only(desk: Desk, hook: Hook) -> None:
    address, heard = hook
    teller = await desk.teller("[notify.team]", f'deliver = {{ webhook = "{address}" }}', 'targets = ["other"]')
    await told(teller, Stage.FAILED)
    assert heard == []
