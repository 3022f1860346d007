"""The ways in which an application is told to read its settings again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from trueup import BlockingEngine, Engine, Folders, Policy, Progress
from trueup.core.report import EXIT_FAILED, Ending, Report, exit_code
from trueup.targets import Reload, Settings
from trueup.targets.settings import Signal


@dataclass
class Application:
    """Answers POST."""

    url: str
    answer: int = 204
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def application() -> Iterator[Application]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.asked.append(self.path)
            self.send_response(found.answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Application(f"http://127.0.0.1:{server.server_port}/reload")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    local, remote = tmp_path / "local", tmp_path / "remote"
    local.mkdir()
    remote.mkdir()
    (remote / "cache.yml").write_text("size: 1\n")
    return local, remote


def ran(sides: tuple[Path, Path], reload: Reload) -> Report:
    local, remote = sides
    target = Folders("config", (str(local),), str(remote), Policy(), nature=Settings(reload=reload))
    with BlockingEngine(state_dir=local.parent / "state") as engine:
        planned = engine.plan(target)
        assert planned.items[-1].why.startswith("the settings are read again: ")
        return engine.run(target)


def test_a_url_is_asked(sides: tuple[Path, Path], application: Application) -> None:
    assert ran(sides, Reload(url=application.url)).ok
    assert application.asked == ["/reload"]


def test_an_answer_that_is_no_yes_puts_the_settings_back(sides: tuple[Path, Path], application: Application) -> None:
    application.answer = 500
    report = ran(sides, Reload(url=application.url))
    assert report.rolled_back is not None
    assert application.asked == ["/reload", "/reload"], "it is told of the previous ones, too"
    assert not (sides[0] / "cache.yml").exists()
    assert (sides[1] / "cache.yml").read_text() == "size: 1\n"
    (why,) = [outcome.why for outcome in report.outcomes if outcome.why]
    assert why == f"the settings were not read again - {application.url} answered 500"


def test_nobody_at_the_url_puts_the_settings_back(sides: tuple[Path, Path], application: Application) -> None:
    gone = application.url.replace("http://", "http://127.0.0.1:1@")  # refused, whoever listens where
    assert ran(sides, Reload(url=gone.replace("127.0.0.1:1@", "[::1]:1/"))).rolled_back is not None


def test_a_process_is_told_by_a_signal(sides: tuple[Path, Path], tmp_path: Path) -> None:
    heard = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.set())
    try:
        (tmp_path / "pid").write_text(f"{os.getpid()}\n")
        assert ran(sides, Reload(Signal.USR1, str(tmp_path / "pid"))).ok
        assert heard.wait(10)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("text", ["", "0", "-1", "1", "nonsense", "9" * 30])
def test_a_number_that_is_no_process_of_an_application_is_refused(
    sides: tuple[Path, Path], tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    kill = os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: kill(pid, number) if number == 0 else killed.append(pid))
    if text != "9" * 30:
        (tmp_path / "pid").write_text(text)
    assert ran(sides, Reload(Signal.HUP, str(tmp_path / "pid"))).rolled_back is not None
    assert killed == []


async def test_an_owed_reload_that_fails_takes_nothing_back(sides: tuple[Path, Path], application: Application) -> None:
    """There is nothing to take back: the run before, which was stopped, has written the settings."""
    local, remote = sides
    target = Folders(
        "config", (str(local),), str(remote), Policy(), nature=Settings(reload=Reload(url=application.url))
    )

    def stop(event: Progress) -> None:
        if event.current == "cache.yml" and event.outcome is not None:
            engine.drain()

    async with Engine(state_dir=local.parent / "state", on_progress=stop) as engine:
        assert (await engine.run(target)).ending is Ending.INTERRUPTED
    assert application.asked == []
    application.answer = 500
    async with Engine(state_dir=local.parent / "state") as engine:
        report = await engine.run(target)
    assert (exit_code(report), report.rolled_back, application.asked) == (EXIT_FAILED, None, ["/reload"])
    assert (local / "cache.yml").read_text() == "size: 1\n"


def test_no_signal_that_ends_processes_can_be_chosen() -> None:
    assert {member.value for member in Signal} == {"HUP", "USR1", "USR2"}
