"""Direction and the one rule that compares two clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.core.model import LOCAL, REMOTE
from trueup.core.strategy import TIE_NS, Conflict, Deletes, Direction, Keep, Policy, newest

NOW = 10**18
THEN = NOW - 10**15


def test_pull_writes_local_only_and_push_remote_only() -> None:
    assert [Direction.PULL.writes(side) for side in (LOCAL, REMOTE)] == [True, False]
    assert [Direction.PUSH.writes(side) for side in (LOCAL, REMOTE)] == [False, True]
    assert [Direction.BIDIRECTIONAL.writes(side) for side in (LOCAL, REMOTE)] == [True, True]


def test_only_a_one_way_direction_has_a_destination() -> None:
    assert [direction.destination for direction in Direction] == [LOCAL, REMOTE, None]


def test_by_default_nothing_is_destroyed_and_a_person_decides() -> None:
    assert Policy() == Policy(Direction.BIDIRECTIONAL, Conflict.MANUAL, Deletes.RESTORE, Keep.ALL)


def test_the_later_side_wins_just_outside_of_the_tie_window() -> None:
    assert newest(THEN + TIE_NS + 1, THEN, NOW) == LOCAL
    assert newest(THEN, THEN + TIE_NS + 1, NOW) == REMOTE


@pytest.mark.parametrize("apart", [0, 1, TIE_NS])
def test_times_within_the_window_are_a_tie(apart: int) -> None:
    assert newest(THEN + apart, THEN, NOW) is None
    assert newest(THEN, THEN + apart, NOW) is None


@pytest.mark.parametrize("missing", [0, -1])
def test_a_missing_time_wins_nothing(missing: int) -> None:
    assert newest(missing, THEN, NOW) is None
    assert newest(THEN, missing, NOW) is None


def test_a_time_in_the_future_wins_nothing_but_clocks_may_differ_by_the_window() -> None:
    assert newest(NOW + TIE_NS, THEN, NOW) == LOCAL
    assert newest(NOW + TIE_NS + 1, THEN, NOW) is None
    assert newest(THEN, NOW + TIE_NS + 1, NOW) is None


@given(st.integers(), st.integers(), st.integers(min_value=1))
def test_swapped_times_swap_the_winner(local: int, remote: int, now: int) -> None:
    swap = {LOCAL: REMOTE, REMOTE: LOCAL, None: None}
    assert newest(remote, local, now) == swap[newest(local, remote, now)]
