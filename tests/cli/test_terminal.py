"""What a person at a terminal sees: questions, Ctrl-C, and the work that goes on."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from tests.cli.home import Home
from tests.cli.terminal import PATIENCE_SECONDS, talk


@pytest.mark.parametrize(
    ("reply", "code", "applied"),
    [
        (b"y\n", 0, True),
        (b"Yes\n", 0, True),
        (b"n\n", 3, False),
        (b"\n", 3, False),
        (b"\x04", 3, False),
        (b"\x03", 130, False),
        (signal.SIGTERM, 143, False),
    ],
)
def test_only_a_plain_yes_applies(home: Home, reply: bytes | signal.Signals, code: int, *, applied: bool) -> None:
    (home.site / "a").write_text("a")
    ended, output = talk(home, ["sync"], [("Apply 1 change? [y/N]", reply)])
    assert (ended, "share/a" in home.tree()) == (code, applied), output


def test_a_conflict_is_asked_about_until_there_is_an_answer(home: Home) -> None:
    home.differ()
    ended, output = talk(
        home, ["conflicts", "resolve", "site", "clash"], [("Keep which", b"mine\n"), ("Keep which", b"local\n")]
    )
    assert ended == 0, output
    assert "the local version replaces the remote one" in output
    assert home.tree()["share/clash"] == b"one\n"


def test_no_answer_to_a_conflict_decides_nothing(home: Home) -> None:
    home.differ()
    before = home.tree()
    assert talk(home, ["conflicts", "resolve", "site", "clash"], [("Keep which", b"\n")])[0] == 64
    assert home.tree() == before


def test_an_undo_asks(home: Home) -> None:
    (home.site / "a").write_text("a")
    home("sync", "--yes")
    assert talk(home, ["undo", "last"], [("[y/N]", b"n\n")])[0] == 3
    assert talk(home, ["undo", "last"], [("[y/N]", b"y\n")])[0] == 0
    assert "share/a" not in home.tree()


def test_two_runs_of_one_target_do_not_meet(home: Home) -> None:
    (home.site / "a").write_text("a")
    state = Path(home.env["TRUEUP_STATE"])
    home("sync", "--yes")
    (lock,) = state.glob("locks/*.lock")
    with FileLock(lock):
        result = home("sync", "--yes", code=6)
    assert "error[TU-LOCKED]" in result.stderr
    home("sync", "--yes")


def test_a_question_is_shown_with_the_plan_even_where_the_result_is_a_document(home: Home) -> None:
    (home.site / "a").write_text("a")
    ended, output = talk(home, ["sync", "--json"], [("Apply 1 change?", b"y\n")])
    assert ended == 0
    assert "new on local" in output
    assert '"format": "trueup.results"' in output


def test_quiet_asks_too_when_a_question_is_due(home: Home) -> None:
    (home.site / "a").write_text("a")
    assert talk(home, ["sync", "-q"], [("Apply 1 change?", b"y\n")])[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_drains_and_the_next_run_finishes(home: Home, number: signal.Signals, code: int) -> None:
    for n in range(3000):
        (home.site / f"f{n}").write_text(str(n))
    # Not `communicate`: it reads past what the iteration has read ahead.
    with home.process("sync", "--yes", "--output", "jsonl") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stdout:
            if json.loads(line)["event"] == "outcome":
                break
        running.send_signal(number)
        rest, told = list(running.stdout), running.stderr.read()
    assert running.returncode == code, told
    assert "finishing what is under way" in told
    report = next(event for event in map(json.loads, rest) if event["event"] == "report")["report"]["report"]
    assert report["ending"] == "interrupted"
    copied = len(list(home.share.glob("f*")))
    assert 0 < copied < 3000
    done = sum(outcome["status"] == "done" for outcome in report["outcomes"])
    assert done == copied, "what was done is what was recorded"
    home("sync", "--yes", "-q")
    assert len(list(home.share.glob("f*"))) == 3000


def test_watch_syncs_what_comes_and_ends_by_ctrl_c(home: Home) -> None:
    pytest.importorskip("watchfiles")
    watching = home.process("watch", "--debounce", "0.1")
    try:
        assert watching.stderr is not None
        assert "watching 1 target" in watching.stderr.readline()
        (home.site / "first").write_text("1")
        _soon(lambda: "share/first" in home.tree())
        (home.share / "second").write_text("2")
        _soon(lambda: "site/second" in home.tree())
        (home.site / "first").unlink()
        assert watching.stdout is not None
        for line in watching.stdout:
            if "deleted on local" in line:
                break
        assert "share/first" in home.tree(), "a deletion waits for a person"
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=PATIENCE_SECONDS)
    assert watching.returncode == 130


def test_watch_can_poll_and_delete(home: Home) -> None:
    home.differ()
    watching = home.process("watch", "--poll", "0.1", "--yes")
    try:
        _soon(lambda: "share/gone" not in home.tree())
        (home.site / "later").write_text("later")
        _soon(lambda: "share/later" in home.tree())
    finally:
        watching.terminate()
        watching.communicate(timeout=PATIENCE_SECONDS)
    assert watching.returncode == 143


def _soon(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
