"""Runs that are stopped, cut short, and taken up again; servers that end well and badly."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from tests.web.server import Served, Site

from trueup.engine.served import Stage
from trueup.web.service import Options
from trueup.web.serving import bind

SLOW = """
import time
from pathlib import Path
from trueup.stores.file.write import Folder
from trueup.cli import main

plain = Folder.write

def slow(self, key, *arguments, **options):
    if key.startswith("slow"):
        Path("reached").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    return plain(self, key, *arguments, **options)

Folder.write = slow
main()
"""
"""A server whose writes of some names wait until a file is there: no test has to be faster than a write."""


@pytest.fixture
def slow(fresh: Served) -> Served:
    fresh.program = ("-c", SLOW)
    return fresh


@pytest.fixture
def one(fresh: Served) -> Site:
    return Site(fresh.path, "site0")


def begin_slowly(slow: Served, one: Site) -> str:
    """A run that writes, and cannot end yet."""
    one.fill(a="1", slow="2")
    client = slow.client()
    run = client.ask("POST", "/targets/site0/sync", code=202, json={})["id"]
    for _, kind, data in client.events(run):
        if kind == "progress" and data["phase"] == "execute":
            break
    return str(run)


def test_a_plan_that_waits_survives_a_restart(fresh: Served, one: Site) -> None:
    one.fill(a="1", b="2")
    client = fresh.start().client()
    plan = client.plan("site0")
    client.ask("PUT", f"/plans/{plan['id']}/selection", json={"base": "all", "exceptions": [0]})
    assert fresh.stop() == 0
    client = fresh.start().client()
    (run,) = client.ask("GET", "/runs")["runs"]
    assert run["state"] == "awaiting_approval"
    assert client.apply(client.ask("GET", f"/plans/{run['plan']}"))["state"] == "succeeded"
    assert one.arrived == {"b": "2"}


def test_a_run_of_a_server_that_was_killed_is_interrupted_and_resumed(slow: Served, one: Site) -> None:
    slow.start()
    run = begin_slowly(slow, one)
    slow.kill()
    slow.stop()
    (slow.path / "go").touch()
    client = slow.start().client()
    found = client.ask("GET", f"/runs/{run}")
    assert found["state"] == "interrupted"
    assert one.arrived == {"a": "1"}
    done = client.run(f"/runs/{run}/resume")
    assert (done["id"], done["state"]) == (run, "succeeded")
    assert one.arrived == {"a": "1", "slow": "2"}
    states = [data["state"] for _, kind, data in client.events(run) if kind == "state"]
    assert states.index("applying") < states.index("interrupted") < states.index("succeeded")
    history = [told["state"] for told in client.ask("GET", "/history")["runs"]]
    assert history == ["applied", "killed"]
    assert client.ask("POST", f"/runs/{run}/resume", code=409)["code"] == "TU-STAGE"


def test_an_approved_selection_is_resumed_and_nothing_else(slow: Served, one: Site) -> None:
    one.fill(a="1", b="2", slow="3")
    client = slow.start().client()
    plan = client.plan("site0")
    selection = {"base": "all", "exceptions": [1]}
    body = {"digest": plan["digest"], "selection": selection}
    run = client.ask("POST", f"/plans/{plan['id']}/apply", code=202, json=body)["id"]
    for _, kind, data in client.events(run):
        if kind == "progress" and data["phase"] == "execute":
            break
    slow.kill()
    slow.stop()
    (slow.path / "go").touch()
    client = slow.start().client()
    assert client.run(f"/runs/{run}/resume")["state"] == "succeeded"
    assert one.arrived == {"a": "1", "slow": "3"}


def test_resuming_does_nothing_that_was_not_approved(slow: Served, one: Site) -> None:
    one.fill(a="1", slow="3")
    client = slow.start().client()
    plan = client.plan("site0")
    run = client.ask("POST", f"/plans/{plan['id']}/apply", code=202, json={"digest": plan["digest"]})["id"]
    for _, kind, data in client.events(run):
        if kind == "progress" and data["phase"] == "execute":
            break
    slow.kill()
    slow.stop()
    (slow.path / "go").touch()
    (one.remote / "slow").write_text("somebody else's, since")
    client = slow.start().client()
    done = client.run(f"/runs/{run}/resume")
    assert done["state"] == "partial", "it is a conflict by now, which nobody has approved"
    assert (one.remote / "slow").read_text() == "somebody else's, since"


def test_a_run_is_cancelled_and_what_is_under_way_is_finished(slow: Served, one: Site) -> None:
    one.fill(**{f"slow{n:02}": "x" for n in range(20)})
    client = slow.start().client()
    run = client.ask("POST", "/targets/site0/sync", code=202, json={})["id"]
    nothing = threading.Event()
    while not (slow.path / "reached").exists():
        nothing.wait(0.01)
    client.ask("POST", f"/runs/{run}/cancel", code=202)
    (slow.path / "go").touch()
    done = client.until(run)
    assert (done["state"], done["history"] is not None) == ("cancelled", True)
    assert 0 < len(one.arrived) < 20, "no more was begun"
    assert client.ask("POST", f"/runs/{run}/cancel", code=409)["code"] == "TU-STAGE"


def test_a_run_that_is_cancelled_twice_stops_at_once(slow: Served, one: Site) -> None:
    slow.start()
    run = begin_slowly(slow, one)
    client = slow.client()
    client.ask("POST", f"/runs/{run}/cancel", code=202)
    client.ask("POST", f"/runs/{run}/cancel", code=202)
    assert client.until(run)["state"] == "cancelled"
    assert one.arrived == {"a": "1"}


def test_a_target_has_one_run_at_a_time(slow: Served, one: Site) -> None:
    slow.start()
    run = begin_slowly(slow, one)
    problem = slow.client().ask("POST", "/targets/site0/plans", code=409, json={})
    assert (problem["who"], problem["detail"]) == (
        f"this machine {slow.port}",
        f"this machine {slow.port} began it: sync",
    )
    assert (problem["code"], problem["run"]) == ("TU-BUSY", run)
    (slow.path / "go").touch()
    slow.client().until(run)


def test_a_run_of_the_command_line_holds_the_target_too(slow: Served, one: Site) -> None:
    slow.start()
    one.fill(slow="1")
    command = [sys.executable, "-c", SLOW, "sync", "site0", "--yes"]
    with subprocess.Popen(command, cwd=slow.path, env=slow.environment, stdout=subprocess.DEVNULL) as process:
        reached = threading.Event()
        while not (slow.path / "reached").exists():
            assert process.poll() is None
            reached.wait(0.01)
        failed = slow.client().run("/targets/site0/sync")
        assert (failed["state"], failed["error"]["code"]) == ("failed", "TU-LOCKED")
        assert json.loads(failed["error"]["detail"])["pid"] == process.pid, "by whom"
        (slow.path / "go").touch()
        assert process.wait(60) == 0


def test_a_server_that_stops_lets_runs_finish_what_is_under_way(slow: Served, one: Site) -> None:
    slow.start()
    run = begin_slowly(slow, one)
    assert slow.process is not None
    slow.process.terminate()
    (slow.path / "go").touch()
    assert slow.stop() == 0
    assert one.arrived == {"a": "1", "slow": "2"}
    client = slow.start().client()
    assert client.ask("GET", f"/runs/{run}")["state"] in ("succeeded", "interrupted")
    assert [told["state"] for told in client.ask("GET", "/history")["runs"]] != ["killed"]


def test_the_servers_token_goes_with_it(fresh: Served) -> None:
    fresh.start()
    left = fresh.state / "serve" / f"{fresh.port}.json"
    secret = json.loads(left.read_text())["token"]
    assert fresh.stop() == 0
    assert not left.exists()
    assert fresh.start().bare({"authorization": f"Bearer {secret}"}).get("/api/v1/me").status_code == 401


def test_one_server_uses_a_state(fresh: Served) -> None:
    fresh.start()
    command = [sys.executable, "-m", "trueup", "serve", "--port", "0"]
    second = subprocess.run(command, cwd=fresh.path, env=fresh.environment, capture_output=True, text=True)
    assert second.returncode == 6
    assert "another server uses this state" in second.stderr


def test_a_port_that_is_taken(fresh: Served) -> None:
    fresh.start()
    environment = fresh.environment | {"TRUEUP_STATE": str(fresh.path / "other")}
    command = [sys.executable, "-m", "trueup", "serve", "--port", str(fresh.port)]
    second = subprocess.run(command, cwd=fresh.path, env=environment, capture_output=True, text=True)
    assert second.returncode == 1
    assert "cannot be used" in second.stderr


def test_every_state_is_the_specifications(fresh: Served) -> None:
    wanted = (
        "queued observing planned awaiting_approval applying succeeded partial failed cancelled refused interrupted"
    )
    assert [stage.value for stage in Stage] == wanted.split()
    fresh.start().stop()
    with sqlite3.connect(fresh.state / "state.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with closing(bind(Options(port=0))) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
