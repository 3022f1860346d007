"""Progress: nothing for short work, a line now and then off a terminal, bars on one."""

import json

import pytest

from trueup.api import Progress
from trueup.cli import progress
from trueup.cli.common import Output, Session
from trueup.cli.progress import Display
from trueup.core.model import LOCAL, Key
from trueup.core.report import Outcome, Status


class Clock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


SEEN = Progress("observe", LOCAL, done=12_000, current="a\x1b")
FAILED = Progress(
    "execute", None, 3, 10, 1_000_000, 4_000_000, "b", Outcome("s1", Key("b"), Status.FAILED, "full", "TU-NO-SPACE")
)


def test_off_a_terminal_there_is_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Session())
    for _ in range(9):
        clock.now += 1
        display.update(SEEN)
    assert capsys.readouterr().err == ""
    clock.now += 1
    display.update(SEEN)
    display.update(FAILED)
    clock.now += 10
    display.update(FAILED)
    assert capsys.readouterr().err.splitlines() == [
        "observe local: 12,000 items: a\\x1b",
        "execute: 3/10 items, 1.0 MB of 4.0 MB: b (failed)",
    ]


def test_quiet_shows_none(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Session(quiet=True))
    clock.now += 100
    display.update(SEEN)
    assert capsys.readouterr().err == ""


def test_bars_come_after_a_second_and_go_when_something_is_written(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_lively", lambda: True)
    display = Display(Session())
    display.update(SEEN)
    assert display._bars is None
    clock.now += 1
    display.update(SEEN)
    assert display._bars is not None
    display.update(FAILED)
    assert display._bars is None, "another phase, another second"
    clock.now += 1
    display.update(FAILED)
    assert display._bars is not None
    display.close()
    assert display._bars is None
    assert "\x1b[31m" not in capsys.readouterr().err


def test_events_tell_every_outcome_and_of_progress_one_a_second(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display(Session(output=Output.JSONL))
    display.update(SEEN)
    display.update(FAILED)
    clock.now += 1
    display.update(SEEN)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["outcome", "progress"]
    assert events[0]["outcome"]["status"] == "failed"
    assert events[1]["done"] == 12_000


def test_long_names_keep_their_end() -> None:
    assert progress._shortened("x" * 100 + ".jpg").endswith("x.jpg")
    assert len(progress._shortened("x" * 100)) == 40
