"""Every guard: passes just below, refuses just above, says why, and is lifted by its own name only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.plans import adoption, altered, deletion, entry, plan, reported, seen, showing, upload

from trueup.core import check as module
from trueup.core.check import FEW, FREE_RESERVE_BYTES, Guard, Limits, check
from trueup.core.model import DIRECTORY_CONTENT, DIRECTORY_TOKEN, LOCAL, REMOTE, Ancestor, Entry, Unknown
from trueup.core.plan import Observed, Plan

LIMITS = Limits()
EMPTY = Observed("/there", items=0, unchanged=0)


def refusals(plan: Plan, limits: Limits = LIMITS, *allow: Guard) -> list[Guard]:
    return [refusal.guard for refusal in check(plan, limits, allow=allow)]


def many_deletes(count: int, ancestors: int = 100) -> Plan:
    return plan(*(deletion(f"f{n}") for n in range(count)), ancestors=ancestors)


def emptied(ancestors: int) -> Plan:
    return plan(upload("f"), local=EMPTY, ancestors=ancestors)


def all_changed(count: int) -> Plan:
    return plan(*(altered(f"f{n}") for n in range(count)), local=replace(seen(), unchanged=0), ancestors=100)


def other_root(marker: str | None) -> Plan:
    return plan(upload("f"), remote=replace(seen(), marker=marker))


def little_room(free: int) -> Plan:
    return plan(upload("f", size=1000), remote=replace(seen(), free_bytes=free))


BARELY = [
    (
        Guard.MAX_DELETE,
        many_deletes(20),
        many_deletes(21),
        "21 files (21% of 100) would be deleted on remote, the limit",
    ),
    (Guard.EMPTIED, emptied(FEW - 1), emptied(FEW), "local holds nothing, but 10 items were agreed: is it mounted?"),
    (Guard.ALL_CHANGED, all_changed(FEW - 1), all_changed(FEW), "all 10 known items on local changed at once"),
    (
        Guard.OTHER_ROOT,
        other_root("m"),
        other_root("n"),
        "is not the remote that was agreed with: its identity marker is another one",
    ),
    (
        Guard.FREE_SPACE,
        little_room(1000 + FREE_RESERVE_BYTES),
        little_room(999 + FREE_RESERVE_BYTES),
        "remote needs 1000 bytes and has 16778215 free",
    ),
]
IDS = [guard.value for guard, _, _, _ in BARELY]


@pytest.mark.parametrize(("guard", "passes", "refused", "why"), BARELY, ids=IDS)
def test_a_guard_passes_just_below_and_refuses_just_above(guard: Guard, passes: Plan, refused: Plan, why: str) -> None:
    assert refusals(passes) == []
    (refusal,) = check(refused, LIMITS)
    assert refusal.guard is guard
    assert why in refusal.why


@pytest.mark.parametrize(("guard", "passes", "refused", "why"), BARELY, ids=IDS)
def test_a_guard_is_lifted_by_its_own_name_only(guard: Guard, passes: Plan, refused: Plan, why: str) -> None:
    assert refusals(refused, LIMITS, guard) == []
    others = [other for other in Guard if other is not guard]
    assert refusals(refused, LIMITS, *others) == [guard]


def test_every_guard_over_plans_is_tried_here() -> None:
    assert {guard for guard, _, _, _ in BARELY} == set(module._GUARDS)
    assert set(Guard) - set(module._GUARDS) == {Guard.CORRUPT_STATE}  # judged before there is a plan


def test_refusals_come_in_a_fixed_order() -> None:
    worst = plan(
        *(altered(f"f{n}") for n in range(FEW)),
        *(deletion(f"g{n}") for n in range(21)),
        upload("h", size=1000),
        local=EMPTY,
        remote=replace(seen(), marker=None, free_bytes=0),
    )
    assert refusals(worst) == [
        Guard.OTHER_ROOT,
        Guard.EMPTIED,
        Guard.ALL_CHANGED,
        Guard.MAX_DELETE,
        Guard.FREE_SPACE,
    ]


def test_a_plan_that_does_nothing_is_refused_by_nothing() -> None:
    still = plan(reported("f"), local=EMPTY, remote=replace(seen(), marker=None))
    assert refusals(still) == []


def test_what_was_agreed_is_not_forgotten_because_both_sides_seem_empty() -> None:
    both = plan(*(adoption(f"f{n}") for n in range(FEW)), local=EMPTY, remote=EMPTY)
    assert refusals(both) == [Guard.EMPTIED]


def test_an_undo_may_delete_what_its_run_created_but_needs_its_roots_and_room() -> None:
    for refused in (many_deletes(50), emptied(50), all_changed(50)):
        assert refusals(replace(refused, undoes="run")) == []
    assert refusals(replace(other_root(None), undoes="run")) == [Guard.OTHER_ROOT]
    assert refusals(replace(little_room(0), undoes="run")) == [Guard.FREE_SPACE]


# -- deletions -------------------------------------------------------------------------------------------------------


def test_deletions_are_refused_above_a_share_and_a_count() -> None:
    assert refusals(many_deletes(FEW, ancestors=11)) == []
    assert refusals(many_deletes(FEW + 1, ancestors=11)) == [Guard.MAX_DELETE]
    assert refusals(many_deletes(200, ancestors=1000)) == []
    assert refusals(many_deletes(201, ancestors=1000)) == [Guard.MAX_DELETE]


def test_each_side_is_judged_by_itself() -> None:
    one = [deletion(f"a{n}") for n in range(11)]
    two = [deletion(f"b{n}", LOCAL) for n in range(11)]
    assert refusals(plan(*one, *two, ancestors=60)) == []
    (refusal,) = check(plan(*one, *two, deletion("b", LOCAL), ancestors=55), LIMITS)
    assert "on local" in refusal.why


def test_without_ancestors_there_is_no_share_to_name() -> None:
    (refusal,) = check(many_deletes(11, ancestors=0), LIMITS)
    assert refusal.why == "11 files would be deleted on remote, the limit is 20%"


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("0", Limits(0, None)),
        (" 25 ", Limits(25, None)),
        ("20%", Limits(FEW, 0.2)),
        ("0%", Limits(FEW, 0.0)),
        ("100%", Limits(FEW, 1.0)),
        ("2.5%", Limits(FEW, 0.025)),
    ],
)
def test_limits_are_a_count_or_a_share(text: str, limits: Limits) -> None:
    assert Limits.parse(text) == limits
    assert Limits.parse(str(limits)) == limits


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "101%", "-1%", "nan%", "inf%", "%", "x%"])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Limits.parse(text)


def test_a_count_alone_decides_where_there_is_no_share() -> None:
    assert refusals(many_deletes(3), Limits.parse("3")) == []
    assert refusals(many_deletes(4), Limits.parse("3")) == [Guard.MAX_DELETE]


@given(st.integers(0, 50), st.integers(0, 200), st.floats(0, 1))
def test_more_deletions_are_never_more_welcome(deletes: int, known: int, share: float) -> None:
    limits = Limits(FEW, share)
    assert limits.permit(deletes, known) or not limits.permit(deletes + 1, known)


# -- an emptied side -------------------------------------------------------------------------------------------------


def test_an_empty_listing_that_broke_off_is_incomplete_and_not_empty() -> None:
    assert refusals(plan(upload("f"), local=replace(EMPTY, complete=False))) == []


def test_a_side_with_one_item_left_is_not_empty() -> None:
    assert refusals(plan(upload("f"), local=replace(EMPTY, items=1))) == []


# -- everything changed ----------------------------------------------------------------------------------------------


def test_one_unchanged_file_lifts_the_suspicion() -> None:
    suspicious = all_changed(FEW)
    assert refusals(replace(suspicious, observed={LOCAL: seen(), REMOTE: seen()})) == []
    touched = altered("touched", now="a")
    assert refusals(replace(suspicious, items=(*suspicious.items, touched))) == []


def test_neither_a_directory_nor_what_is_gone_or_unknown_lifts_the_suspicion() -> None:
    suspicious = all_changed(FEW)
    known = Ancestor(DIRECTORY_TOKEN, DIRECTORY_TOKEN, DIRECTORY_CONTENT)
    directory = replace(showing(altered("d/"), local=Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT)), ancestor=known)
    gone = showing(altered("gone"), local=None)
    unknown = showing(altered("unknown"), local=Unknown("why"))
    new = upload("new")
    assert refusals(replace(suspicious, items=(*suspicious.items, directory, gone, unknown, new))) == [
        Guard.ALL_CHANGED
    ]


def test_a_change_that_both_sides_made_alike_is_only_remembered() -> None:
    both = tuple(showing(adoption(f"f{n}"), local=entry("b"), remote=entry("b")) for n in range(FEW))
    assert refusals(replace(all_changed(FEW), items=both)) == []


# -- roots and room --------------------------------------------------------------------------------------------------


def test_a_root_without_its_marker_is_another_one_but_a_first_run_expects_none() -> None:
    (refusal,) = check(other_root(None), LIMITS)
    assert refusal.why == "/there is not the remote that was agreed with: its identity marker is missing"
    first = replace(seen(), marker=None, expected_marker=None)
    assert refusals(plan(upload("f"), remote=first)) == []
    assert refusals(plan(upload("f"), remote=replace(first, marker="m"))) == []


def test_room_is_needed_where_bytes_are_written_and_known() -> None:
    assert refusals(little_room(0)) == [Guard.FREE_SPACE]
    assert refusals(plan(upload("f"), remote=replace(seen(), free_bytes=None))) == []
    assert refusals(plan(upload("f"), local=replace(seen(), free_bytes=0))) == []
    assert refusals(plan(upload("f", size=0), remote=replace(seen(), free_bytes=0))) == []
