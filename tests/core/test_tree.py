"""Decisions about single keys, made to fit one tree on each side."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from tests.core.worlds import World, printed, reasons

from trueup.core.model import (
    DIRECTORY_CONTENT,
    DIRECTORY_TOKEN,
    LOCAL,
    REMOTE,
    Ancestor,
    Content,
    Difference,
    Entry,
    Key,
    Kind,
    Side,
    Token,
    Unknown,
)
from trueup.core.reconcile import SIBLING_DIGITS, Reason, decide, sibling_key
from trueup.core.strategy import Conflict, Deletes, Direction, Policy
from trueup.core.table import Act, Rule, Verb
from trueup.core.tree import SIDES, Finding, Names, settle

Tree = Mapping[str, str] | Iterable[str]
EVERYTHING = {LOCAL: Names(), REMOTE: Names()}
FILE: Tree = {"x": "old"}
DIRECTORY: Tree = {"x/a": "new"}
MISSING = {"missing_local", "missing_remote", "only_local", "only_remote"}
"""Reports that stay what they are while the name waits for a person."""


def run(world: World, policy: Policy) -> dict[str, str]:
    """Carry out a plan to the last step; the reasons in it."""
    items, outcomes = world.run(policy)
    assert [outcome for outcome in outcomes if not outcome.done] == []
    return reasons(items)


def files(world: World, side: Side) -> dict[str, str]:
    return {key: text for key, text in world.places[side].texts().items() if not key.endswith("/")}


def held(world: World, side: Side) -> set[str]:
    return set(world.places[side].items)


POLICIES = [Policy(*choices) for choices in itertools.product(Direction, Conflict, Deletes)]


# -- a change of kind, alone -----------------------------------------------------------------------------------------


def _who_decides(policy: Policy, changed: Side) -> Side | None:
    """Whose kind holds if one side changed it: the only change is followed, but for the destination of one way."""
    if policy.direction.destination != changed:
        return changed
    return {Conflict.LOCAL_WINS: LOCAL, Conflict.REMOTE_WINS: REMOTE}.get(policy.conflict)


@pytest.mark.parametrize("changed", SIDES)
@pytest.mark.parametrize(("before", "after"), [(FILE, DIRECTORY), (DIRECTORY, FILE)], ids=["to directory", "to file"])
def test_a_change_of_kind_is_followed_under_every_setting(before: Tree, after: Tree, changed: Side) -> None:
    for policy in POLICIES:
        world = World.of(before, *([after, before] if changed == LOCAL else [before, after]))
        was, now = (dict(World.of((), tree).places[LOCAL].texts()) for tree in (before, after))
        found = run(world, policy)
        unchanged = REMOTE if changed == LOCAL else LOCAL
        winner = _who_decides(policy, changed)
        both = {side: world.places[side].texts() for side in SIDES}
        if winner == changed and policy.direction.writes(unchanged):
            assert both == {LOCAL: now, REMOTE: now}, policy
            assert set(world.places[unchanged].trash) == {(key, text) for key, text in was.items() if text}, policy
        elif winner == unchanged and policy.direction.writes(changed):
            assert both == {LOCAL: was, REMOTE: was}, policy
        else:
            assert both == {changed: now, unchanged: was}, policy
            assert set(found.values()) <= {"kind_conflict", "held", "kept_local", "kept_remote"} | MISSING, policy
            assert found["x"] in ("kind_conflict", "kept_local", "kept_remote"), policy


def test_a_directory_of_directories_becomes_a_file() -> None:
    world = World.of({"x/a": "1", "x/d/b": "2"}, {"x": "file"}, {"x/a": "1", "x/d/b": "2"})
    run(world, Policy())
    assert world.places[REMOTE].texts() == {"x": "file"}
    assert sorted(world.places[REMOTE].trash) == [("x/a", "1"), ("x/d/b", "2")]


def test_an_empty_directory_becomes_a_file_and_back() -> None:
    world = World.of(["x/"], {"x": "file"}, ["x/"])
    run(world, Policy())
    assert world.places[REMOTE].texts() == {"x": "file"}
    world.become(REMOTE, {Key("x/"): ""})
    run(world, Policy())
    assert world.places[LOCAL].texts() == {"x/": ""}


# -- a change of kind, against an edit -------------------------------------------------------------------------------


@pytest.mark.parametrize("conflict", [Conflict.MANUAL, Conflict.NEWEST_WINS, Conflict.BACKUP_BOTH])
def test_a_directory_against_an_edit_waits_for_a_person(conflict: Conflict) -> None:
    for direction, deletes in itertools.product(Direction, Deletes):
        world = World.of(FILE, DIRECTORY, {"x": "edited"})
        found = run(world, Policy(direction, conflict, deletes))
        assert (files(world, LOCAL), files(world, REMOTE)) == ({"x/a": "new"}, {"x": "edited"})
        assert found == {"x": "kind_conflict", "x/": "held", "x/a": "held"} or direction is not Direction.BIDIRECTIONAL


@pytest.mark.parametrize("deletes", Deletes)
def test_the_winner_s_kind_replaces_a_loser_that_is_kept(deletes: Deletes) -> None:
    for conflict, winner, loser in ((Conflict.LOCAL_WINS, LOCAL, REMOTE), (Conflict.REMOTE_WINS, REMOTE, LOCAL)):
        world = World.of(FILE, DIRECTORY, {"x": "edited"})
        lost = files(world, loser)
        kept = world.places[winner].texts()
        found = run(world, Policy(conflict=conflict, deletes=deletes))
        assert world.places[loser].texts() == kept
        assert dict(world.places[loser].trash) == lost
        assert set(found.values()) == {conflict.value}


def test_one_way_a_winner_at_the_destination_is_kept_and_reported() -> None:
    world = World.of(FILE, DIRECTORY, {"x": "edited"})
    assert run(world, Policy(Direction.PULL, Conflict.LOCAL_WINS)) == dict.fromkeys(["x", "x/", "x/a"], "kept_remote")
    assert run(world, Policy(Direction.PUSH, Conflict.REMOTE_WINS)) == dict.fromkeys(["x", "x/", "x/a"], "kept_local")


def test_a_new_file_against_a_new_directory_is_a_conflict_of_kinds() -> None:
    world = World.of((), {"x": "mine"}, {"x/a": "theirs"})
    assert run(world, Policy()) == {"x": "kind_conflict", "x/": "held", "x/a": "held"}


def test_an_edit_below_a_directory_that_became_a_file_is_a_conflict() -> None:
    world = World.of({"x/a": "1", "x/b": "1"}, {"x": "file"}, {"x/a": "2", "x/b": "1"})
    found = run(world, Policy(deletes=Deletes.PROPAGATE))
    assert found == {"x": "kind_conflict", "x/": "held", "x/a": "held", "x/b": "held"}


def test_a_deletion_below_a_directory_that_became_a_file_is_no_dispute() -> None:
    world = World.of({"x/a": "1", "x/b": "1"}, {"x": "file"}, {"x/b": "1"})
    run(world, Policy())
    assert world.places[REMOTE].texts() == {"x": "file"}


def test_a_person_s_choice_settles_one_name_only() -> None:
    world = World.of((), {"x": "mine", "y": "mine"}, {"x/a": "theirs", "y/a": "theirs"})
    settled = settle(
        world.findings(Policy()), Policy(), EVERYTHING, complete=True, resolve={Key("x"): Conflict.REMOTE_WINS}
    )
    found = {finding.key: finding.rule.reason for finding in settled}
    assert found == {
        "x": "remote_wins",
        "x/": "remote_wins",
        "x/a": "remote_wins",
        "y": "kind_conflict",
        "y/": "held",
        "y/a": "held",
    }


def test_what_is_agreed_anew_below_a_conflict_of_kinds_is_not_held() -> None:
    seen = Entry(Token("1"), Content(Kind.FILE, 1, printed("same")))
    adopt = Rule(Reason.AGREE, (Act(Verb.ADOPT, LOCAL),))
    inside = Finding(Difference(Key("x/a"), seen, seen, Ancestor(Token("1"), Token("0"), seen.content)), adopt)
    file = Finding(Difference(Key("x"), None, seen, None), Rule(Reason.CREATE, (Act(Verb.PUT, LOCAL, REMOTE),)))
    found = settle([file, inside], Policy(), EVERYTHING, complete=True)
    assert [finding.rule.reason for finding in found] == [Reason.KIND_CONFLICT, Reason.AGREE]


def test_a_change_of_kind_both_made_alike_is_only_remembered() -> None:
    world = World.of(FILE, DIRECTORY, DIRECTORY)
    assert set(run(world, Policy()).values()) == {"adopt"}
    assert world.plan(Policy()) == ()


# -- a change of kind that cannot be carried out whole ---------------------------------------------------------------


def test_a_directory_with_excluded_items_is_not_cleared_for_a_file() -> None:
    for deletes in Deletes:
        world = World.of({"x/a": "1"}, {"x/a": "1"}, {"x": "file"})
        world.spoil(LOCAL, Key("x/"), Kind.DIRECTORY)
        assert run(world, Policy(deletes=deletes)) == {"x": "kind_conflict", "x/": "held", "x/a": "held"}
        assert files(world, LOCAL) == {"x/a": "1"}


@pytest.mark.parametrize("kind", [Kind.UNREADABLE, Kind.SKIPPED, Kind.FILTERED])
def test_a_directory_with_something_unknown_is_not_cleared_for_a_file(kind: Kind) -> None:
    for deletes in Deletes:
        world = World.of({"x/a": "1", "x/b": "1"}, {"x/a": "1", "x/b": "1"}, {"x": "file"})
        world.spoil(LOCAL, Key("x/b"), kind)
        found = run(world, Policy(deletes=deletes))
        assert found["x"] == "kind_conflict"
        assert held(world, LOCAL) == {"x/", "x/a", "x/b"}


@pytest.mark.parametrize("deletes", Deletes)
def test_a_file_is_not_removed_for_a_directory_that_nobody_can_read(deletes: Deletes) -> None:
    for policy in (Policy(deletes=deletes), Policy(Direction.PUSH, deletes=deletes)):
        world = World.of(FILE, ["x/"], FILE)
        world.spoil(LOCAL, Key("x/"), Kind.UNREADABLE)
        run(world, policy)
        assert files(world, REMOTE) == {"x": "old"}


def test_a_link_where_the_other_side_has_a_directory_changes_nothing() -> None:
    link = Finding(Difference(Key("x"), Unknown("link", Kind.SKIPPED), None, None), Rule(Reason.UNKNOWN))
    entry = Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT)
    create = Rule(Reason.CREATE, (Act(Verb.PUT, LOCAL, REMOTE),))
    below = Finding(Difference(Key("x/"), None, entry, None), create)
    settled = settle([link, below], Policy(), EVERYTHING, complete=True)
    assert [finding.rule for finding in settled] == [Rule(Reason.UNKNOWN), Rule(Reason.HELD)]


@pytest.mark.parametrize("deletes", Deletes)
def test_after_an_incomplete_listing_no_half_of_a_change_of_kind_is_done(deletes: Deletes) -> None:
    for before, after in ((FILE, DIRECTORY), (DIRECTORY, FILE)):
        for changed in SIDES:
            world = World.of(before, *([after, before] if changed == LOCAL else [before, after]))
            findings = world.findings(Policy(deletes=deletes))
            settled = settle(findings, Policy(deletes=deletes), EVERYTHING, complete=False)
            assert not any(finding.rule.acts for finding in settled)
            assert {finding.rule.reason for finding in settled} <= {"held", "missing_local", "missing_remote"}


@pytest.mark.parametrize("blocked", ["x", "x/", "x/a"])
def test_where_one_kind_is_blocked_the_other_stays(blocked: str) -> None:
    for deletes in Deletes:
        before, after = (DIRECTORY, FILE) if blocked == "x" else (FILE, DIRECTORY)
        world = World.of(before, before, after)
        world.places[LOCAL].names = Names(problem=lambda key: "no" if key.startswith(blocked) else None)
        found = run(world, Policy(deletes=deletes))
        assert found[blocked] == "blocked"
        assert "kind_conflict" not in found.values()
        if blocked == "x/a":  # the directory itself can be made
            assert held(world, LOCAL) == {"x/"}
        else:
            assert world.places[LOCAL].texts() == World.of((), before).places[LOCAL].texts()


# A bucket may hold `x` and `x/y`; a folder cannot.


def test_a_file_and_what_is_below_its_name_are_not_both_put_on_one_side() -> None:
    world = World()
    world.put(REMOTE, Key("x"), "file")
    world.put(REMOTE, Key("x/y"), "below")
    for policy in POLICIES:
        mixed = world.copy()
        found = run(mixed, policy)
        assert files(mixed, LOCAL) == {}
        assert found["x"] in ("kind_conflict", "only_remote")


def test_equal_items_of_such_a_bucket_are_left_as_they_are() -> None:
    world = World()
    for side in SIDES:
        world.put(side, Key("x"), "file")
        world.put(side, Key("x/y"), "below")
        world.put(side, Key("x/z"), side)
    before = {side: world.places[side].texts() for side in SIDES}
    for policy in POLICIES:
        copy = world.copy()
        copy.execute(copy.plan(policy))
        for side in SIDES:
            assert files(copy, side).keys() == files(world, side).keys()
            assert copy.places[side].texts() == before[side] or policy.conflict is not Conflict.MANUAL


def held_by_both(key: str, *, rule: Rule | None = None) -> Finding:
    """What is as it was agreed."""
    content = Content(Kind.FILE, 1, printed(key))
    entry = Entry(Token("1"), content)
    ancestor = Ancestor(Token("1"), Token("1"), content)
    return Finding(Difference(Key(key), entry, entry, ancestor), rule or Rule(Reason.AGREE))


def created(key: str, *, beneath: int | None = None) -> Finding:
    """A file that is new in the bucket; and how many filtered items are in the local directory of its name."""
    entry = Entry(Token("2"), Content(Kind.FILE, 1, printed("new")))
    directory = None if beneath is None else Entry(DIRECTORY_TOKEN, Content(Kind.DIRECTORY, beneath))
    rule = Rule(Reason.CREATE, (Act(Verb.PUT, LOCAL, REMOTE),))
    return Finding(Difference(Key(key), None, entry, None), rule, beneath=directory)


def settled_reasons(findings: list[Finding], policy: Policy) -> dict[str, str]:
    return {f.key: f.rule.reason for f in settle(findings, policy, EVERYTHING, complete=True)}


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy.direction is not Direction.PUSH], ids=str)
def test_what_is_new_beside_what_is_agreed_is_a_conflict_whatever_the_policy(policy: Policy) -> None:
    below = [held_by_both("x"), created("x/y")]
    assert settled_reasons(below, policy) == {"x": "kind_conflict", "x/y": "held"}
    above = [created("x"), held_by_both("x/y")]
    assert settled_reasons(above, policy) == {"x": "kind_conflict", "x/y": "agree"}


def test_what_is_agreed_takes_no_part_in_a_dispute_about_what_is_beside_it() -> None:
    content = Content(Kind.FILE, 1, printed("edited"))
    agreed = held_by_both("x/y").difference
    edited = replace(agreed, local=Entry(Token("3"), content))
    update = Rule(Reason.UPDATE, (Act(Verb.PUT, REMOTE, LOCAL),))
    # Without a fingerprint nobody can say that it is unchanged.
    unprinted = Content(Kind.FILE, 1)
    entry, ancestor = Entry(Token("1"), unprinted), Ancestor(Token("1"), Token("1"), unprinted)
    beside = Finding(Difference(Key("x/z"), entry, entry, ancestor), Rule(Reason.AGREE))
    for policy in (Policy(conflict=Conflict.LOCAL_WINS), Policy(conflict=Conflict.MANUAL)):
        found = settle([created("x"), Finding(edited, update), beside], policy, EVERYTHING, complete=True)
        assert found[-1] == beside
    gone = Finding(replace(agreed, remote=None), Rule(Reason.DELETE, (Act(Verb.DELETE, LOCAL),)))
    found = settle([created("x"), gone, beside], Policy(), EVERYTHING, complete=True)
    assert [finding.rule.reason for finding in found] == ["kind_conflict", "held", "agree"]


@pytest.mark.parametrize("filtered", [0, 2])
def test_a_directory_that_is_not_compared_makes_way_unless_something_in_it_is_filtered(filtered: int) -> None:
    found = settled_reasons([created("x", beneath=filtered)], Policy())
    assert found == {"x": "kind_conflict" if filtered else "create"}
    gone = Finding(
        replace(held_by_both("x").difference, local=None),
        Rule(Reason.DELETE, (Act(Verb.DELETE, REMOTE),)),
        beneath=created("x", beneath=filtered).beneath,
    )
    assert settled_reasons([gone], Policy()) == {"x": "delete"}
    here = replace(created("x", beneath=filtered), difference=held_by_both("x").difference)
    assert settled_reasons([here], Policy()) == {"x": "create"}


# -- directories -----------------------------------------------------------------------------------------------------

PROPAGATE = Policy(deletes=Deletes.PROPAGATE)


def test_a_deleted_directory_is_deleted_with_all_that_is_below() -> None:
    tree = ["d/a", "d/e/b", "keep"]
    world = World.of(tree, tree, ["keep"])
    assert set(run(world, PROPAGATE).values()) == {"delete"}
    assert held(world, LOCAL) == {"keep"}
    assert {key for key, _ in world.places[LOCAL].trash} == {"d/a", "d/e/b"}


@pytest.mark.parametrize("deletes", [Deletes.RESTORE, Deletes.REPORT])
def test_a_deleted_directory_is_restored_or_reported(deletes: Deletes) -> None:
    world = World.of(["d/a"], ["d/a"], ())
    run(world, Policy(deletes=deletes))
    assert held(world, LOCAL) == {"d/", "d/a"}
    assert held(world, REMOTE) == ({"d/", "d/a"} if deletes is Deletes.RESTORE else set())


@pytest.mark.parametrize("survivor", [{"d/e/new": "new"}, {"d/e/b": "edited"}], ids=["new", "edited"])
def test_a_deleted_directory_comes_back_with_what_was_added_or_edited_below(survivor: dict[str, str]) -> None:
    tree = {"d/a": "1", "d/e/b": "1"}
    world = World.of(tree, tree | survivor, ())
    found = run(world, PROPAGATE)
    assert held(world, LOCAL) == held(world, REMOTE) == {"d/", "d/e/", *survivor}
    assert found["d/"] == found["d/e/"] == "edit_beats_delete"


def test_a_directory_comes_back_for_an_edit_even_where_deletions_are_only_reported() -> None:
    world = World.of({"d/a": "1", "d/b": "1"}, {"d/a": "2", "d/b": "1"}, ())
    found = run(world, Policy(deletes=Deletes.REPORT))
    assert found == {"d/": "edit_beats_delete", "d/a": "edit_beats_delete", "d/b": "missing_remote"}
    assert world.places[REMOTE].implied == []


def test_a_directory_stays_for_what_one_way_leaves_there() -> None:
    world = World.of({"d/a": "1"}, {"d/a": "1", "d/mine": "1"}, ())
    found = run(world, Policy(Direction.PULL, deletes=Deletes.PROPAGATE))
    assert found == {"d/": "held", "d/a": "delete", "d/mine": "only_local"}
    assert held(world, LOCAL) == {"d/", "d/mine"}


def test_a_directory_stays_for_what_is_unknown_below() -> None:
    tree = {"d/a": "1", "d/e/b": "1"}
    world = World.of(tree, tree, ())
    world.spoil(LOCAL, Key("d/e/b"), Kind.UNREADABLE)
    assert run(world, PROPAGATE) == {"d/": "held", "d/a": "delete", "d/e/": "held", "d/e/b": "unknown"}


def test_a_directory_stays_for_excluded_items() -> None:
    world = World.of({"d/a": "1"}, {"d/a": "1"}, ())
    world.spoil(LOCAL, Key("d/"), Kind.DIRECTORY)
    assert run(world, PROPAGATE) == {"d/": "held", "d/a": "delete"}


def test_nothing_is_deleted_when_a_listing_was_incomplete() -> None:
    world = World.of(["a", "d/b"], ["a", "d/b", "new"], ())
    settled = settle(world.findings(PROPAGATE), PROPAGATE, EVERYTHING, complete=False)
    assert {finding.key: finding.rule.reason for finding in settled} == {
        "a": "held",
        "d/": "held",
        "d/b": "held",
        "new": "create",
    }


# -- names -----------------------------------------------------------------------------------------------------------


def blocked(world: World, policy: Policy | None = None) -> set[str]:
    return {key for key, reason in run(world, policy or Policy()).items() if reason == "blocked"}


def test_a_name_that_a_side_cannot_hold_is_blocked_there_only() -> None:
    world = World.of((), ["bad1"], ["bad2", "good"])
    world.places[LOCAL].names = Names(problem=lambda key: "bad" if "bad" in key else None)
    assert blocked(world) == {"bad2"}
    assert held(world, LOCAL) == {"bad1", "good"}
    assert held(world, REMOTE) == {"bad1", "bad2", "good"}


def test_an_empty_explanation_is_a_problem_too() -> None:
    world = World.of((), (), ["bad"])
    world.places[LOCAL].names = Names(problem=lambda _: "")
    assert blocked(world) == {"bad"}


def test_what_is_below_a_blocked_directory_is_blocked() -> None:
    world = World.of((), (), ["d/e/f", "g"])
    world.places[LOCAL].names = Names(problem=lambda key: "no" if key == "d/" else None)
    assert blocked(world) == {"d/", "d/e/", "d/e/f"}
    assert held(world, LOCAL) == {"g"}


def test_a_sibling_whose_name_is_too_long_blocks_the_conflict() -> None:
    world = World.of((), {"f": "mine"}, {"f": "theirs"})
    world.places[REMOTE].names = Names(problem=lambda key: "too long" if len(key) > 10 else None)
    assert blocked(world, Policy(conflict=Conflict.BACKUP_BOTH)) == {"f"}
    assert (files(world, LOCAL), files(world, REMOTE)) == ({"f": "mine"}, {"f": "theirs"})


FOLDED = [
    (Names(fold_case=True), "Stra\u00dfe", "STRASSE"),
    (Names(fold_unicode=True), "\u00e9", "e\u0301"),
    (Names(fold_case=True, fold_unicode=True), "\u00c9", "e\u0301"),
]


@pytest.mark.parametrize(("names", "one", "two"), FOLDED)
def test_of_two_names_that_are_one_on_a_side_neither_is_put_there(names: Names, one: str, two: str) -> None:
    world = World.of((), (), [one, two, "other"])
    world.places[LOCAL].names = names
    assert blocked(world) == {one, two}
    assert held(world, LOCAL) == {"other"}
    world.places[LOCAL].names = Names()
    assert blocked(world) == set()


@pytest.mark.parametrize(("names", "one", "two"), FOLDED)
def test_a_name_does_not_overwrite_one_that_is_the_same_there(names: Names, one: str, two: str) -> None:
    for first, second in ((one, two), (two, one)):
        world = World.of((), {first: "mine"}, {second: "theirs"})
        world.places[LOCAL].names = names
        assert blocked(world) == {second}
        assert held(world, LOCAL) == {first}


def test_directories_that_are_one_name_there_are_not_mingled() -> None:
    world = World.of((), ["d/a"], ["D/b", "D/e/c"])
    world.places[LOCAL].names = Names(fold_case=True)
    assert blocked(world) == {"D/", "D/b", "D/e/", "D/e/c"}
    assert held(world, LOCAL) == {"d/", "d/a"}


def test_a_file_and_a_directory_can_be_one_name_too() -> None:
    world = World.of((), ["x"], ["X/a"])
    world.places[LOCAL].names = Names(fold_case=True)
    assert blocked(world) == {"X/", "X/a"}


def test_nothing_is_put_below_a_directory_that_is_there_in_another_spelling() -> None:
    folding = EVERYTHING | {REMOTE: Names(fold_case=True)}
    file = Entry(Token("1"), Content(Kind.FILE, 1, printed("some")))
    agreed = Finding(
        Difference(Key("d/a"), file, file, Ancestor(Token("1"), Token("1"), file.content)), Rule(Reason.AGREE)
    )
    put = Rule(Reason.CREATE, (Act(Verb.PUT, REMOTE, LOCAL),))
    new = [Finding(Difference(Key(key), file, None, None), put) for key in ("D/b", "d/c")]
    found = settle([new[0], agreed, new[1]], Policy(), folding, complete=True)
    assert [finding.rule.reason for finding in found] == [Reason.BLOCKED, Reason.AGREE, Reason.CREATE]


def test_a_change_of_kind_is_no_collision_with_itself() -> None:
    world = World.of(FILE, FILE, DIRECTORY)
    world.places[LOCAL].names = Names(fold_case=True)
    assert blocked(world) == set()
    assert files(world, LOCAL) == {"x/a": "new"}


def test_a_change_of_case_takes_two_runs_where_case_does_not_count() -> None:
    world = World.of({"readme": "text"}, {"README": "text"}, {"readme": "text"})
    world.places[REMOTE].names = Names(fold_case=True)
    assert run(world, PROPAGATE) == {"README": "blocked", "readme": "delete"}
    assert run(world, PROPAGATE) == {"README": "create"}
    assert held(world, LOCAL) == held(world, REMOTE) == {"README"}


def test_a_blocked_name_does_not_block_its_twin() -> None:
    world = World.of((), (), ["bad", "BAD"])
    world.places[LOCAL].names = Names(problem=lambda key: "no" if key == "bad" else None, fold_case=True)
    assert blocked(world) == {"bad"}
    assert held(world, LOCAL) == {"BAD"}


# -- findings --------------------------------------------------------------------------------------------------------


def test_a_side_has_changed_if_it_is_not_known_to_be_as_it_was() -> None:
    content = Content(Kind.FILE, 1, printed("a"))
    ancestor = Ancestor(Token("t"), Token("t"), content)
    rule = Rule(Reason.CONFLICT)

    def changed(local: Entry | Unknown | None, before: Ancestor | None) -> bool:
        return Finding(Difference(Key("f"), local, None, before), rule).changed(LOCAL)

    assert not changed(Entry(Token("t"), content), ancestor)
    assert changed(Entry(Token("t"), Content(Kind.FILE, 2)), ancestor)
    assert changed(Entry(Token("t"), Content(Kind.FILE, 1)), ancestor)
    assert changed(Entry(Token("t"), content), None)
    assert changed(None, ancestor)
    assert not changed(None, None)
    assert changed(Unknown("why"), ancestor)
    assert changed(Unknown("why"), None)


def test_a_sibling_needs_a_fingerprint() -> None:
    unprinted = Entry(Token("t"), Content(Kind.FILE, 1))
    act = Act(Verb.SIBLING, LOCAL, LOCAL)
    for seen in (unprinted, None):
        with pytest.raises(ValueError, match="planned without a fingerprint"):
            Finding(Difference(Key("f"), seen, unprinted, None), Rule(Reason.KEEP_BOTH, (act,))).sibling(act)


BOTH = Policy(conflict=Conflict.BACKUP_BOTH)


def test_a_sibling_that_was_edited_before_the_run_went_on_is_a_version_like_any_other() -> None:
    for side in SIDES:
        world = World.of({"f": "old"}, {"f": "mine"}, {"f": "theirs"})
        first = sibling_key(Key("f"), LOCAL, printed("mine"))
        world.put(side, first, "edited by somebody")
        run(world, BOTH)
        second = sibling_key(Key("f"), LOCAL, printed("mine"), 16)
        for place in world.places.values():
            assert place.texts() == {"f": "theirs", first: "edited by somebody", second: "mine"}
        assert world.plan(BOTH) == ()


def conflicting() -> Finding:
    """One that asks for siblings on both sides."""
    local, remote = (Entry(Token(text), Content(Kind.FILE, 1, printed(text))) for text in ("mine", "theirs"))
    rule = decide("-ab", BOTH, None)
    return Finding(Difference(Key("f"), local, remote, None), rule)


def test_only_what_is_known_to_be_another_version_takes_a_sibling_s_name() -> None:
    kept = conflicting()
    first, second = (sibling_key(Key("f"), LOCAL, printed("mine"), digits) for digits in (8, 16))
    for text, content in (("mine", Content(Kind.FILE, 1, printed("mine"))), ("nobody knows", Content(Kind.FILE, 1))):
        same = Finding(Difference(first, Entry(Token(text), content), None, None), Rule(Reason.CREATE))
        assert settle([kept, same], BOTH, EVERYTHING, complete=True) == [kept, same]
    opaque = Finding(Difference(first, Unknown("why"), None, None), Rule(Reason.UNKNOWN))
    assert settle([kept, opaque], BOTH, EVERYTHING, complete=True) == [kept, opaque]
    found = settle([kept, held_by_both(first)], BOTH, EVERYTHING, complete=True)
    assert found[0].writes(LOCAL) == [second, "f"]
    assert found[0].writes(REMOTE) == [second]


def test_where_every_name_of_a_sibling_is_taken_a_person_decides() -> None:
    names = [name for _, name in conflicting().siblings()]
    assert len(names) == len(SIBLING_DIGITS)
    found = settle([conflicting(), *map(held_by_both, names)], BOTH, EVERYTHING, complete=True)
    assert found[0].rule == Rule(Reason.CONFLICT)
    found = settle([conflicting(), *map(held_by_both, names[:-1])], BOTH, EVERYTHING, complete=True)
    assert names[-1] in found[0].writes(REMOTE)


def test_hostile_keys_of_a_bucket_are_no_groups() -> None:
    world = World()
    for key in ("a//b", "a/", "//", "/lead", "../e"):
        world.put(REMOTE, Key(key), "" if key.endswith("/") else "bytes")
    world.places[LOCAL].names = Names(problem=lambda key: None if key == "a/" else "hostile")
    found = run(world.copy(), Policy())
    assert found == {"../e": "blocked", "/lead": "blocked", "//": "blocked", "a/": "create", "a//b": "blocked"}
    del world.places[REMOTE].items[Key("a/")]
    world.put(LOCAL, Key("a/"), "")
    assert run(world, Policy()) == found
