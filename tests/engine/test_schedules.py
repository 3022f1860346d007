"""When what is due: zones, jitter, what was missed; and the same in systemd's words."""

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from trueup.core.errors import UsageError
from trueup.engine.schedules import Schedule, Schedules
from trueup.engine.state import State
from trueup.engine.timers import calendar


def ns(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 10**9


def told(times: list[int]) -> list[str]:
    return [datetime.fromtimestamp(one / 1e9, UTC).strftime("%m-%d %H:%M") for one in times]


def test_a_line_means_the_clock_of_its_zone_in_summer_and_in_winter() -> None:
    schedule = Schedule("s", "t", "0 3 * * *", "Europe/Berlin")
    assert told(list(islice(schedule.times(ns(2026, 3, 27, 12)), 3))) == ["03-28 02:00", "03-29 01:00", "03-30 01:00"]
    assert told(list(islice(schedule.times(ns(2026, 10, 23, 12)), 3))) == ["10-24 01:00", "10-25 02:00", "10-26 02:00"]


def test_an_hour_that_the_clock_skips_is_not_left_out() -> None:
    schedule = Schedule("s", "t", "30 2 * * *", "Europe/Berlin")
    days = {moment[:5] for moment in told(list(islice(schedule.times(ns(2026, 3, 27, 12)), 3)))}
    assert days == {"03-28", "03-29", "03-30"}


def test_jitter_is_the_same_whenever_it_is_asked_for_and_within_its_bounds() -> None:
    schedule = Schedule("s", "t", "0 3 * * *", jitter_seconds=600, created_ns=ns(2026, 1, 1))
    due = next(schedule.times(schedule.created_ns))
    assert schedule.next_ns() == schedule.next_ns()
    assert due <= schedule.next_ns() <= due + 600 * 10**9
    drawn = {Schedule(f"s{n}", "t", "0 3 * * *", jitter_seconds=600).delayed(due) for n in range(50)}
    assert len(drawn) > 20, "not all at once"
    assert all(due <= one <= due + 600 * 10**9 for one in drawn)


def test_what_was_missed_is_due_once(tmp_path: Path) -> None:
    state = State(tmp_path)
    schedules = Schedules(state)
    schedules.add(Schedule("s", "t", "0 3 * * *", created_ns=ns(2026, 1, 1)))
    (found,) = schedules.listed()
    now = ns(2026, 1, 20, 12)
    assert found.next_ns() < now
    schedules.done("s", now, "r1", None)
    (found,) = schedules.listed()
    assert (found.last_run, told([found.next_ns()])) == ("r1", ["01-21 03:00"])
    schedules.done("s", ns(2026, 1, 21, 4), None, "busy")
    (found,) = schedules.listed()
    assert (found.last_run, found.skipped) == ("r1", "busy")
    assert schedules.remove("s")
    assert not schedules.remove("s")
    state.close()


@pytest.mark.parametrize(
    ("cron", "zone"),
    [("0 3 * *", "UTC"), ("61 * * * *", "UTC"), ("0 0 31 2 *", "UTC"), ("", "UTC"), ("0 3 * * *", "Mars/Olympus"),
     ("0 3 * * *", "../../etc/passwd"), ("0 3 * * *", "/etc/passwd"), ("0 3 * * *", "Europe")],
)  # fmt: skip
def test_wrong_lines_and_zones_are_refused(tmp_path: Path, cron: str, zone: str) -> None:
    state = State(tmp_path)
    with pytest.raises(UsageError):
        Schedules(state).add(Schedule("s", "t", cron, zone))
    assert Schedules(state).listed() == []
    state.close()


def test_a_name_is_there_once(tmp_path: Path) -> None:
    state = State(tmp_path)
    Schedules(state).add(Schedule("s", "t", "0 3 * * *"))
    with pytest.raises(UsageError, match="there is a schedule s"):
        Schedules(state).add(Schedule("s", "t", "0 4 * * *"))
    state.close()


@pytest.mark.parametrize(
    ("cron", "wanted"),
    [
        ("0 3 * * *", "*-*-* 3:0:00 UTC"),
        ("*/15 * * * *", "*-*-* *:0/15:00 UTC"),
        ("5,35 8-18 * * 1-5", "Mon..Fri *-*-* 8..18:5,35:00 UTC"),
        ("0 0 1 1 *", "*-1-1 0:0:00 UTC"),
        ("0 0 * jan,jul sun", "Sun *-1,7-* 0:0:00 UTC"),
        ("0 0 * * 7", "Sun *-*-* 0:0:00 UTC"),
        ("0 */6 */2 * *", "*-*-1/2 0/6:0:00 UTC"),
    ],
)
def test_the_same_in_systemds_words(cron: str, wanted: str) -> None:
    assert calendar(cron, "UTC") == wanted


@pytest.mark.parametrize("cron", ["0 0 1 * 1", "0 0 L * *", "0 0 * * 1#2", "0 3 * *", "0 0 * * mon%tue", "1/5 * * * *"])
def test_what_systemd_has_no_words_for(cron: str) -> None:
    with pytest.raises(UsageError, match="systemd has no words"):
        calendar(cron, "UTC")
