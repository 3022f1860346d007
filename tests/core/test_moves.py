"""Renames: followed where there is no doubt, decided per key where there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from tests.core.worlds import World, reasons

from trueup.core.check import Limits, check
from trueup.core.model import DIRECTORY_CONTENT, DIRECTORY_TOKEN, LOCAL, REMOTE, Entry, Key, Side
from trueup.core.moves import find
from trueup.core.plan import Item, Observed, Plan, Target
from trueup.core.reconcile import LookCloser, other
from trueup.core.strategy import Conflict, Deletes, Direction, Policy
from trueup.core.table import Verb
from trueup.core.tree import SIDES, Names

Tree = Mapping[str, str] | Iterable[str]
BOTH_WAYS = [Policy(deletes=deletes) for deletes in Deletes]
PROPAGATE = Policy(deletes=Deletes.PROPAGATE)
RESTORE = Policy(deletes=Deletes.RESTORE)
REPORT = Policy(deletes=Deletes.REPORT)


def moves(items: Iterable[Item]) -> dict[str, str]:
    """New names by old names."""
    return {
        step.value.key: step.key
        for item in items
        for step in item.steps
        if step.verb is Verb.MOVE and step.value is not None
    }


def run(world: World, policy: Policy) -> tuple[Item, ...]:
    """Carry out a plan to the last step, and see that nothing is left to do."""
    items, outcomes = world.run(policy)
    assert [outcome for outcome in outcomes if not outcome.done] == []
    assert [item for item in world.plan(policy) if item.steps] == []
    return items


def held(world: World, side: Side) -> dict[Key, str]:
    return world.places[side].texts()


def seen_from(side: Side, agreed: Tree, changed: Tree, unchanged: Tree | None = None) -> World:
    """The side holds what was changed."""
    there = agreed if unchanged is None else unchanged
    return World.of(agreed, *([changed, there] if side == LOCAL else [there, changed]))


def verbs(items: Iterable[Item]) -> set[Verb]:
    return {step.verb for item in items for step in item.steps}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "policy", [Policy(*choices) for choices in itertools.product(Direction, [Conflict.MANUAL], Deletes)], ids=str
)
def test_a_renamed_file_is_moved_wherever_the_direction_writes(policy: Policy, side: Side) -> None:
    world = seen_from(side, {"a": "text", "b": "other"}, {"c": "text", "b": "other"})
    items = run(world, policy)
    if policy.direction.writes(other(side)):
        assert moves(items) == {"a": "c"}
        assert verbs(items) == {Verb.MOVE}
        assert held(world, LOCAL) == held(world, REMOTE) == {"b": "other", "c": "text"}
        assert not world.places[LOCAL].trash + world.places[REMOTE].trash
    else:
        assert not moves(items)
        assert "text" in held(world, side).values()
        assert "text" in held(world, other(side)).values()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("policy", BOTH_WAYS, ids=str)
def test_a_renamed_folder_is_moved_and_leaves_no_empty_one(policy: Policy, side: Side) -> None:
    agreed = {"d/a": "1", "d/e/b": "2", "d/e/f/c": "3"}
    world = seen_from(side, agreed, {"n/w/a": "1", "n/w/e/b": "2", "n/w/e/f/c": "3"})
    items = run(world, policy)
    assert moves(items) == {"d/a": "n/w/a", "d/e/b": "n/w/e/b", "d/e/f/c": "n/w/e/f/c"}
    assert held(world, LOCAL) == held(world, REMOTE)
    assert not any(key.startswith("d/") for key in held(world, LOCAL))


def test_a_file_that_moves_out_of_a_folder_that_stays_leaves_it() -> None:
    for policy in BOTH_WAYS:
        world = World.of({"d/a": "1", "d/b": "2"}, {"a": "1", "d/b": "2"}, {"d/a": "1", "d/b": "2"})
        run(world, policy)
        assert held(world, REMOTE) == {"a": "1", "d/": "", "d/b": "2"}


def test_a_folder_out_of_which_something_is_moved_keeps_what_was_changed_there() -> None:
    for policy in BOTH_WAYS:
        world = World.of({"d/a": "1", "d/b": "2"}, {"a": "1"}, {"d/a": "1", "d/b": "changed"})
        items, _ = world.run(policy)
        assert moves(items) == {"d/a": "a"}
        assert held(world, LOCAL) == held(world, REMOTE) == {"a": "1", "d/": "", "d/b": "changed"}


def test_a_folder_out_of_which_something_is_moved_follows_its_own_rule_where_something_else_stays() -> None:
    agreed = {"d/a": "1", "d/b": "2"}
    for policy, there in ((REPORT, {"d/": "", "d/b": "2"}), (RESTORE, {"d/": "", "d/b": "2"}), (PROPAGATE, {})):
        world = World.of(agreed, {"a": "1"}, agreed)
        items = run(world, policy)
        assert moves(items) == {"d/a": "a"}
        assert held(world, REMOTE) == {"a": "1", **there}


@pytest.mark.parametrize("policy", BOTH_WAYS, ids=str)
@pytest.mark.parametrize("side", SIDES)
def test_a_rename_against_an_edit_of_the_same_item_is_no_move_and_loses_nothing(policy: Policy, side: Side) -> None:
    world = seen_from(side, {"a": "text"}, {"b": "text"}, {"a": "edited"})
    items = run(world, policy)
    assert not moves(items)
    assert held(world, LOCAL) == held(world, REMOTE) == {"a": "edited", "b": "text"}


@pytest.mark.parametrize(
    ("agreed", "changed"),
    [
        ({"a": "same"}, {"b": "same", "c": "same"}),
        ({"a": "same", "b": "same"}, {"c": "same"}),
        ({"a": "same", "b": "same"}, {"c": "same", "d": "same"}),
    ],
)
def test_several_candidates_are_no_move(agreed: dict[Key, str], changed: dict[Key, str]) -> None:
    for policy in BOTH_WAYS:
        world = World.of(agreed, changed, agreed)
        items = run(world, policy)
        assert not moves(items)
        assert held(world, LOCAL).items() >= changed.items()
        assert held(world, REMOTE).items() >= changed.items()


def test_a_name_that_is_taken_there_is_no_move() -> None:
    for policy in BOTH_WAYS:
        world = World.of({"a": "text"}, {"b": "text"}, {"a": "text", "b": "theirs"})
        items, _ = world.run(policy)
        assert not moves(items)
        texts = {*held(world, LOCAL).values(), *held(world, REMOTE).values()}
        assert {"text", "theirs"} <= texts


def test_empty_files_are_all_alike_and_never_moved() -> None:
    world = World.of({"a": ""}, {"b": ""}, {"a": ""})
    items = run(world, PROPAGATE)
    assert not moves(items)
    assert held(world, REMOTE) == {"b": ""}


def test_what_both_sides_renamed_alike_is_only_remembered() -> None:
    world = World.of({"a": "text"}, {"b": "text"}, {"b": "text"})
    items = run(world, RESTORE)
    assert verbs(items) == {Verb.ADOPT}
    assert set(world.ancestors) == {"b"}


def test_what_the_sides_renamed_differently_has_both_names() -> None:
    for policy in BOTH_WAYS:
        world = World.of({"a": "text"}, {"b": "text"}, {"c": "text"})
        items = run(world, policy)
        assert not moves(items)
        assert held(world, LOCAL) == held(world, REMOTE) == {"b": "text", "c": "text"}


def test_a_chain_of_renames_is_decided_per_key() -> None:
    agreed = {"a": "one", "b": "two"}
    world = World.of(agreed, {"b": "one", "c": "two"}, agreed)
    items = run(world, PROPAGATE)
    assert not moves(items)
    assert held(world, LOCAL) == held(world, REMOTE) == {"b": "one", "c": "two"}
    assert ("b", "two") in world.places[REMOTE].trash


def test_two_files_that_swapped_their_names_are_two_edits() -> None:
    agreed = {"a": "one", "b": "two"}
    for policy in BOTH_WAYS:
        world = World.of(agreed, {"a": "two", "b": "one"}, agreed)
        items = run(world, policy)
        assert not moves(items)
        assert held(world, REMOTE) == {"a": "two", "b": "one"}


@pytest.mark.parametrize(
    ("agreed", "changed"),
    [
        ({"x": "text"}, {"x/a": "text"}),
        ({"x/a": "text"}, {"x": "text"}),
        ({"x": "old", "a": "text"}, {"x/a": "text"}),
        ({"x/a": "text"}, {"x": "new", "a": "text"}),
    ],
)
def test_a_rename_into_or_out_of_a_change_of_kind_is_part_of_that(agreed: Tree, changed: Tree) -> None:
    for policy in BOTH_WAYS:
        world = World.of(agreed, changed, agreed)
        items, outcomes = world.run(policy)
        assert not [outcome for outcome in outcomes if not outcome.done]
        assert not moves(items)
        assert "text" in held(world, REMOTE).values()


def test_nothing_is_moved_into_the_place_of_a_directory_that_is_not_compared() -> None:
    world = World.of({"a": "text"}, {"a": "text"}, {"x": "text"})
    findings = [
        replace(finding, difference=world._look_closer(finding.difference, LookCloser((REMOTE,))))
        if finding.key == "x"
        else finding
        for finding in world.findings(PROPAGATE)
    ]
    assert [move.target.key for move in find(findings, [LOCAL])] == ["x"]
    directory = Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT)
    assert find([replace(finding, beneath=directory) for finding in findings], [LOCAL]) == []


def test_nothing_is_moved_after_an_incomplete_listing() -> None:
    agreed = {"a": "text", "z": "last"}
    world = World.of(agreed, {"b": "text", "z": "last"}, agreed)
    world.lost = {REMOTE: 1}
    items, _ = world.run(PROPAGATE)
    assert not moves(items)
    assert held(world, REMOTE) == agreed


def test_nothing_is_moved_on_a_side_that_cannot() -> None:
    world = World.of({"a": "text"}, {"b": "text"}, {"a": "text"})
    world.movable = (LOCAL,)
    items = run(world, PROPAGATE)
    assert not moves(items)
    assert held(world, REMOTE) == {"b": "text"}


@pytest.mark.parametrize("policy", BOTH_WAYS, ids=str)
def test_where_the_new_name_cannot_be_held_each_name_follows_its_own_rule(policy: Policy) -> None:
    agreed = {"d/a": "text", "d/b": "other"}
    world = World.of(agreed, {"n!/a": "text", "n/b": "other"}, agreed)
    world.places[REMOTE].names = Names(problem=lambda key: "a mark" if "!" in key else None)
    items, outcomes = world.run(policy)
    assert not [outcome for outcome in outcomes if not outcome.done]
    assert moves(items) == {"d/b": "n/b"}
    assert reasons(items)["n!/a"] == "blocked"
    assert held(world, LOCAL)[Key("n!/a")] == "text"
    again = world.plan(policy)
    assert not [item for item in again if item.steps]
    there = {"n/": "", "n/b": "other"}
    if policy.deletes is Deletes.PROPAGATE:
        assert held(world, REMOTE) == there
        assert ("d/a", "text") in world.places[REMOTE].trash
    else:
        assert held(world, REMOTE) == {"d/": "", "d/a": "text", **there}


def test_a_rename_in_case_only_is_no_move_where_both_names_are_one() -> None:
    world = World.of({"a": "text"}, {"A": "text"}, {"a": "text"})
    world.places[REMOTE].names = Names(fold_case=True)
    items, outcomes = world.run(PROPAGATE)
    assert not moves(items)
    assert not [outcome for outcome in outcomes if not outcome.done]
    run(world, PROPAGATE)
    assert held(world, REMOTE) == {"A": "text"}


def test_each_side_follows_what_the_other_has_renamed() -> None:
    agreed = {"a": "one", "b": "two"}
    world = World.of(agreed, {"n": "one", "b": "two"}, {"a": "one", "m": "two"})
    items = run(world, RESTORE)
    assert moves(items) == {"a": "n", "b": "m"}
    assert held(world, LOCAL) == held(world, REMOTE) == {"n": "one", "m": "two"}


def test_moves_count_for_no_guard_and_no_bytes() -> None:
    agreed = {f"d/{n}": f"text {n}" for n in range(50)}
    world = World.of(agreed, {key.replace("d/", "n/"): text for key, text in agreed.items()}, agreed)
    target = Target("id", "t", "folder", {LOCAL: "/l", REMOTE: "/r"})
    observed = {side: Observed(f"/{side}", items=51, free_bytes=0) for side in SIDES}
    plan = Plan(target, PROPAGATE, world.plan(PROPAGATE), observed, ancestors=51)
    assert len(moves(plan.items)) == 50
    assert (plan.deletes(REMOTE), plan.bytes_to(REMOTE), plan.destroys) == (0, 0, 0)
    assert check(plan, Limits(delete_count=0, delete_share=None)) == ()
