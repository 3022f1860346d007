"""The exit code says the worst, in a fixed order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from tests.core.plans import plan, reported, seen, upload

from trueup.core.model import Key
from trueup.core.plan import Plan
from trueup.core.reconcile import Reason
from trueup.core.report import (
    EXIT_CONFIG,
    EXIT_CONFLICTS,
    EXIT_DRIFT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LOCKED,
    EXIT_OK,
    EXIT_PARTIAL,
    EXIT_REFUSED,
    EXIT_TERMINATED,
    EXIT_USAGE,
    Ending,
    Outcome,
    Report,
    Status,
    combine,
    exit_code,
    plan_exit_code,
)

CHANGES = plan(upload("f"))
CONFLICTS = plan(upload("f"), reported("c"))
UNKNOWN = plan(upload("f"), reported("u", Reason.UNKNOWN), reported("c"))
INCOMPLETE = plan(upload("f"), reported("u", Reason.BLOCKED), local=replace(seen(), complete=False))


def report(*statuses: Status, of: Plan = CHANGES, ending: Ending = Ending.APPLIED) -> Report:
    outcomes = tuple(Outcome(f"s{n}", Key("f"), status) for n, status in enumerate(statuses))
    return Report(of, ending, outcomes=outcomes)


def test_all_done_is_zero() -> None:
    assert exit_code(report(Status.DONE, Status.DONE)) == EXIT_OK
    assert report(Status.DONE).ok
    assert not report(Status.DONE).partial
    assert exit_code(report(ending=Ending.IN_SYNC, of=plan())) == EXIT_OK


@pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED])
def test_something_not_done_is_partial_and_nothing_done_is_failed(status: Status) -> None:
    assert exit_code(report(Status.DONE, status)) == EXIT_PARTIAL
    assert report(Status.DONE, status).partial
    assert exit_code(report(status)) == EXIT_FAILED
    assert not report(status).partial
    assert not report(status).ok


def test_what_somebody_else_has_changed_is_partial_and_no_failure() -> None:
    assert exit_code(report(Status.CHANGED)) == EXIT_PARTIAL
    assert exit_code(report(Status.CHANGED, Status.SKIPPED)) == EXIT_PARTIAL
    assert exit_code(report(Status.DONE, Status.CHANGED)) == EXIT_PARTIAL
    assert exit_code(report(Status.CHANGED, Status.FAILED)) == EXIT_FAILED
    assert not report(Status.CHANGED).ok


def test_what_a_plan_leaves_open_shows_in_the_exit_code() -> None:
    assert [plan_exit_code(which, drift=False) for which in (CHANGES, CONFLICTS, UNKNOWN, INCOMPLETE)] == [
        EXIT_OK,
        EXIT_CONFLICTS,
        EXIT_PARTIAL,
        EXIT_FAILED,
    ]
    assert exit_code(report(Status.DONE, of=CONFLICTS)) == EXIT_CONFLICTS
    assert exit_code(report(Status.FAILED, of=CONFLICTS)) == EXIT_FAILED
    assert exit_code(report(Status.DONE, Status.FAILED, of=CONFLICTS)) == EXIT_PARTIAL


def test_changes_that_wait_are_drift_only_where_that_was_asked() -> None:
    assert plan_exit_code(CHANGES, drift=True) == EXIT_DRIFT
    assert plan_exit_code(CONFLICTS, drift=True) == EXIT_CONFLICTS
    assert plan_exit_code(plan(reported("s", Reason.SKIPPED)), drift=True) == EXIT_OK
    assert exit_code(report(ending=Ending.DECLINED)) == EXIT_DRIFT


def test_an_interrupted_run_says_so_whatever_was_done() -> None:
    assert exit_code(report(Status.DONE, Status.SKIPPED, of=CONFLICTS, ending=Ending.INTERRUPTED)) == EXIT_INTERRUPTED


ORDER = [
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_LOCKED,
    EXIT_USAGE,
    EXIT_CONFIG,
    EXIT_REFUSED,
    EXIT_FAILED,
    EXIT_PARTIAL,
    EXIT_CONFLICTS,
    EXIT_DRIFT,
    EXIT_OK,
]


def test_of_several_exit_codes_the_first_in_the_order_counts() -> None:
    for first, second in itertools.combinations(ORDER, 2):
        assert combine([first, second]) == combine([second, first]) == first
    assert combine(ORDER) == EXIT_INTERRUPTED
    assert combine([]) == EXIT_OK


def test_outcomes_are_counted_by_status() -> None:
    counts = report(Status.DONE, Status.DONE, Status.FAILED).counts
    assert (counts[Status.DONE], counts[Status.FAILED], counts[Status.CHANGED]) == (2, 1, 0)
