"""What a plan says: steps in order, what they need and expect, and what ceases to exist."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.core.plans import adoption, altered, deletion, entry, plan, reported, seen, showing, upload
from tests.core.worlds import World

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
    Token,
    Unknown,
)
from trueup.core.plan import Item, Phase, Ref, Step, build_items
from trueup.core.reconcile import Reason
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Act, Rule, Verb
from trueup.core.tree import Finding

PROPAGATE = Policy(deletes=Deletes.PROPAGATE)


def shape(item: Item) -> list[tuple[str, str, str | None]]:
    """Verb, side and expectation of each step."""
    return [(step.verb.value, step.side, step.expect) for step in item.steps]


def planned(world: World, policy: Policy | None = None) -> dict[str, Item]:
    return {item.key: item for item in world.plan(policy or Policy())}


# -- steps -----------------------------------------------------------------------------------------------------------


def test_a_new_file_is_put_where_nothing_is() -> None:
    world = World.of((), {"f": "new"}, ())
    item = planned(world)["f"]
    assert shape(item) == [("put", REMOTE, None)]
    assert (item.phase, item.reason, item.is_change) == (Phase.WRITE, Reason.CREATE, True)
    held = world.places[LOCAL].items[Key("f")]
    assert item.steps[0].value == Ref(LOCAL, Key("f"), held.token, Content(Kind.FILE, 3), held.modified_ns)


def test_a_replaced_version_is_kept_before_it_is_replaced_and_both_expect_it() -> None:
    world = World.of({"f": "old"}, {"f": "new!"}, {"f": "old"})
    item = planned(world)["f"]
    old = world.places[REMOTE].items[Key("f")].token
    assert shape(item) == [("save", REMOTE, old), ("put", REMOTE, old)]
    assert item.steps[1].needs == (item.steps[0].id,)


def test_a_deletion_runs_last_and_keeps_what_it_deletes() -> None:
    world = World.of(["d/f"], ["d/f"], ())
    items = planned(world, PROPAGATE)
    token = world.places[LOCAL].items[Key("d/f")].token
    assert shape(items["d/f"]) == [("save", LOCAL, token), ("delete", LOCAL, token)]
    assert shape(items["d/"]) == [("delete", LOCAL, DIRECTORY_TOKEN)]
    assert {item.phase for item in items.values()} == {Phase.DELETE}


def test_an_agreement_is_only_remembered() -> None:
    items = planned(World.of(["gone"], ["new"], ["new"]))
    assert {item.phase for item in items.values()} == {Phase.AGREE}
    assert [shape(items[key])[0][0] for key in ("gone", "new")] == ["adopt", "adopt"]
    assert not any(item.is_change for item in items.values())


def test_the_loser_s_siblings_come_before_its_name_is_taken() -> None:
    world = World.of((), {"f.txt": "mine"}, {"f.txt": "theirs"})
    item = planned(world, Policy(conflict=Conflict.BACKUP_BOTH, keep=Keep.NONE))["f.txt"]
    old = world.places[LOCAL].items[Key("f.txt")].token
    assert shape(item) == [("sibling", LOCAL, None), ("sibling", REMOTE, None), ("put", LOCAL, old)]
    assert item.steps[2].needs == (item.steps[0].id, item.steps[1].id)
    assert item.steps[0].key == item.steps[1].key
    assert item.steps[0].key.startswith("f.conflict-local-")
    assert item.steps[0].value == item.steps[1].value
    assert item.destroys == 0


def test_a_sibling_that_is_there_already_is_expected() -> None:
    backup = Policy(Direction.PULL, Conflict.BACKUP_BOTH, keep=Keep.NONE)
    (name,) = {
        step.key for step in planned(World.of((), {"f": "mine"}, {"f": "theirs"}), backup)["f"].steps if step.key != "f"
    }
    for text, expected in (("mine", True), ("MINE", False)):
        world = World.of((), {"f": "mine", name: text}, {"f": "theirs"})
        token = world.places[LOCAL].items[Key(name)].token
        (sibling, _) = planned(world, backup)["f"].steps
        assert (sibling.key == name, sibling.expect) == (expected, token if expected else None)


def test_what_is_kept_besides_a_sibling_is_needed_too() -> None:
    world = World.of((), {"f": "mine"}, {"f": "theirs"})
    item = planned(world, Policy(Direction.PULL, Conflict.BACKUP_BOTH))["f"]
    assert [step.verb for step in item.steps] == [Verb.SIBLING, Verb.SAVE, Verb.PUT]
    assert item.steps[2].needs == (item.steps[0].id, item.steps[1].id)


def test_step_ids_are_unique_and_the_same_for_the_same_input() -> None:
    world = World.of(["a", "d/b", "e/x"], {"a": "1", "e": "file", "n": "new"}, ["d/b", "e/x"])
    items = world.plan(PROPAGATE)
    ids = [step.id for item in items for step in item.steps]
    assert len(ids) == len(set(ids))
    assert world.plan(PROPAGATE) == items


def test_a_report_has_no_steps_and_keeps_what_was_seen() -> None:
    world = World.of({"f": "old"}, {"f": "mine"}, {"f": "theirs"})
    item = planned(world)["f"]
    assert (item.steps, item.reason, item.is_change) == ((), Reason.CONFLICT, False)
    assert item.ancestor == world.ancestors[Key("f")]
    assert item.side(LOCAL) is item.seen[LOCAL]
    assert item.side(REMOTE) is item.seen[REMOTE]


def test_a_step_without_content_to_copy_is_a_mistake() -> None:
    finding = Finding(Difference(Key("f"), None, None, None), Rule(Reason.CREATE, (Act(Verb.PUT, LOCAL, REMOTE),)))
    with pytest.raises(TypeError, match="'f' has no content on remote"):
        build_items([finding], Policy())


# -- what is kept ----------------------------------------------------------------------------------------------------


def saves(policy: Policy, world: World, key: str = "f") -> tuple[bool, int]:
    item = planned(world, policy)[key]
    return any(step.verb is Verb.SAVE for step in item.steps), item.destroys


UPDATED = World.of({"f": "old"}, {"f": "new!"}, {"f": "old"})
DISPUTED = World.of((), {"f": "mine"}, {"f": "theirs"})
DELETED = World.of({"f": "old"}, {"f": "old"}, ())


@pytest.mark.parametrize(
    ("keep", "updated", "disputed", "deleted"),
    [
        (Keep.ALL, (True, 0), (True, 0), (True, 0)),
        (Keep.CONFLICTS, (False, 1), (True, 0), (False, 1)),
        (Keep.UNCONTESTED, (True, 0), (False, 1), (True, 0)),
        (Keep.NONE, (False, 1), (False, 1), (False, 1)),
    ],
)
def test_the_plan_says_what_it_destroys(
    keep: Keep, updated: tuple[bool, int], disputed: tuple[bool, int], deleted: tuple[bool, int]
) -> None:
    policy = Policy(conflict=Conflict.LOCAL_WINS, deletes=Deletes.PROPAGATE, keep=keep)
    assert saves(policy, UPDATED) == updated
    assert saves(policy, DISPUTED) == disputed
    assert saves(policy, DELETED) == deleted
    assert plan(*UPDATED.plan(policy), *DELETED.plan(policy)).destroys == updated[1] + deleted[1]


@pytest.mark.parametrize("keep", Keep)
def test_creating_and_removing_directories_destroys_nothing(keep: Keep) -> None:
    policy = Policy(deletes=Deletes.PROPAGATE, keep=keep)
    assert plan(*World.of((), ["f", "d/"], ()).plan(policy)).destroys == 0
    assert plan(*World.of(["d/"], ["d/"], ()).plan(policy)).destroys == 0


@pytest.mark.parametrize(("keep", "destroyed"), [(Keep.ALL, 0), (Keep.CONFLICTS, 0), (Keep.NONE, 1)])
def test_a_change_of_kind_destroys_the_files_that_are_not_kept_and_no_directory(keep: Keep, destroyed: int) -> None:
    policy = Policy(keep=keep)
    for before, after in ((["x"], ["x/a"]), (["x/a"], ["x"])):
        assert plan(*World.of(before, after, before).plan(policy)).destroys == destroyed


# -- composites ------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_by_a_directory_before_anything_is_put_below() -> None:
    world = World.of(["x"], ["x/a", "x/d/b"], ["x"])
    items = planned(world)
    token = world.places[REMOTE].items[Key("x")].token
    assert shape(items["x"]) == [("save", REMOTE, token), ("replace_kind", REMOTE, token)]
    assert items["x"].phase is Phase.REPLACE
    replaced = items["x"].steps[1]
    assert replaced.value is None
    for key in ("x/", "x/a", "x/d/", "x/d/b"):
        assert items[key].steps[0].needs == (replaced.id,)
        assert items[key].phase is Phase.WRITE


def test_a_directory_is_cleared_before_a_file_takes_its_place() -> None:
    world = World.of(["x/a", "x/d/b"], ["x"], ["x/a", "x/d/b"])
    items = planned(world)
    deletes = [items[key].steps[-1] for key in ("x/a", "x/d/", "x/d/b")]
    assert {step.verb for step in deletes} == {Verb.DELETE}
    assert {items[key].phase for key in ("x/a", "x/d/", "x/d/b")} == {Phase.CLEAR}
    (replacing,) = items["x"].steps
    assert (replacing.verb, replacing.expect, items["x"].phase) == (Verb.REPLACE_KIND, DIRECTORY_TOKEN, Phase.REPLACE)
    assert sorted(replacing.needs) == sorted(step.id for step in deletes)
    assert items["x/"].phase is Phase.DELETE


def test_an_empty_directory_gives_way_without_further_ado() -> None:
    items = planned(World.of(["x/"], ["x"], ["x/"]))
    assert (items["x"].steps[0].verb, items["x"].steps[0].needs) == (Verb.REPLACE_KIND, ())


def test_a_directory_that_is_not_compared_gives_way_too() -> None:
    directory = Entry(DIRECTORY_TOKEN, Content(Kind.DIRECTORY, 0))
    put = Rule(Reason.CREATE, (Act(Verb.PUT, LOCAL, REMOTE),))
    (item,) = build_items([Finding(Difference(Key("x"), None, entry("a"), None), put, beneath=directory)], Policy())
    assert shape(item) == [("replace_kind", LOCAL, DIRECTORY_TOKEN)]
    assert item.steps[0].needs == ()
    assert item.phase is Phase.REPLACE


def test_what_is_agreed_is_an_item_only_if_there_is_something_to_remember() -> None:
    difference = Difference(Key("x"), entry("a"), entry("a"), Ancestor(Token("a"), Token("b"), entry("a").content))
    assert build_items([Finding(difference, Rule(Reason.AGREE))], Policy()) == ()
    adopt = Rule(Reason.AGREE, (Act(Verb.ADOPT, LOCAL),))
    assert [item.key for item in build_items([Finding(difference, adopt)], Policy())] == ["x"]


def test_deletions_elsewhere_do_not_wait_for_a_change_of_kind() -> None:
    world = World.of(["x/a", "y/a", "xy/a"], ["x"], ["x/a", "y/a", "xy/a"])
    items = planned(world, PROPAGATE)
    assert {key: item.phase for key, item in items.items() if item.phase is Phase.CLEAR} == {"x/a": Phase.CLEAR}


def test_what_a_bucket_holds_beside_the_file_stays_agreed() -> None:
    world = World.of(["x/a"], {"x/a": "edited"}, {"x": "file", "x/a": "x/a"})
    items = world.plan(Policy(conflict=Conflict.LOCAL_WINS))
    assert [step.verb for item in items if item.key == "x/a" for step in item.steps] == [Verb.SAVE, Verb.PUT]
    assert all(item.side(REMOTE) is None for item in items if item.phase is Phase.AGREE)


def test_what_comes_back_below_a_new_directory_is_forgotten_first() -> None:
    world = World.of(["x/a", "x/b"], {"x/a": "edited", "x/b": "x/b"}, {"x": "file"})
    items = world.plan(Policy(conflict=Conflict.LOCAL_WINS))
    forgotten = [item for item in items if item.phase is Phase.AGREE]
    assert [item.key for item in forgotten] == ["x/", "x/a", "x/b"]
    for item in forgotten:
        (step,) = item.steps
        assert (step.verb, item.reason) == (Verb.ADOPT, Reason.ADOPT)
        there = item.side(LOCAL)
        assert isinstance(there, Entry)
        assert step.expect == there.token
        assert item.side(REMOTE) is None
    mirror = World.of(["x/a"], {"x": "file"}, {"x/a": "edited"}).plan(Policy(conflict=Conflict.REMOTE_WINS))
    assert [shape(item) for item in mirror if item.phase is Phase.AGREE] == [[("adopt", LOCAL, None)]] * 2


def test_a_stopped_change_of_kind_is_not_taken_for_a_deletion_by_the_next_run() -> None:
    policy = Policy(conflict=Conflict.LOCAL_WINS, deletes=Deletes.PROPAGATE)
    world = World.of(["x/a", "x/b"], {"x/a": "edited", "x/b": "x/b"}, {"x": "file"})
    for crash_at in range(9):
        crashed = world.copy()
        crashed.run(policy, crash_at=crash_at)
        crashed.run(policy)
        assert {key: text for key, text in crashed.places[REMOTE].texts().items() if text} == {
            "x/a": "edited",
            "x/b": "x/b",
        }


# -- the plan as a whole ---------------------------------------------------------------------------------------------


def test_changes_are_what_writes_a_side() -> None:
    whole = plan(reported("a"), adoption("b"), upload("c"), deletion("d"))
    assert [item.key for item in whole.changes] == ["c", "d"]
    assert whole.needs_apply
    assert plan(adoption("b")).needs_apply
    assert not plan(reported("a")).needs_apply


def test_what_waits_for_a_person_and_what_nobody_knows_is_listed() -> None:
    whole = plan(*(reported(reason.value, reason) for reason in Reason))
    assert [item.key for item in whole.conflicts] == ["conflict", "kind_conflict"]
    assert [item.key for item in whole.unknown] == ["unknown", "blocked"]


def test_deletions_are_counted_in_files_by_side() -> None:
    whole = plan(deletion("a"), deletion("d/"), deletion("d/b"), deletion("c", LOCAL), upload("e"))
    assert (whole.deletes(REMOTE), whole.deletes(LOCAL)) == (2, 1)


def test_bytes_are_counted_where_they_are_written() -> None:
    step = Step(
        "s9", Key("d/"), REMOTE, Verb.PUT, None, Ref(LOCAL, Key("d/"), DIRECTORY_TOKEN, Content(Kind.DIRECTORY, 9))
    )
    directory = replace(upload("d/"), steps=(step,))
    whole = plan(upload("a", size=5), upload("b", size=7), upload("c", size=11, side=LOCAL), directory, deletion("e"))
    assert (whole.bytes_to(REMOTE), whole.bytes_to(LOCAL)) == (12, 11)


def test_a_plan_is_complete_if_every_side_was_listed_to_its_end() -> None:
    assert plan().complete
    assert not plan(remote=replace(seen(), complete=False)).complete


def test_an_item_is_altered_only_if_it_is_known_to_differ_from_what_was_agreed() -> None:
    assert altered("a").altered(LOCAL)
    assert not altered("a").altered(REMOTE)
    assert not upload("a").altered(LOCAL)
    assert not showing(altered("a"), local=Unknown("why")).altered(LOCAL)
    unprinted = Entry(Token("t"), Content(Kind.FILE, 1))
    assert not showing(altered("a"), local=unprinted).altered(LOCAL)
    assert not showing(altered("d/"), local=Entry(DIRECTORY_TOKEN, DIRECTORY_CONTENT)).altered(REMOTE)
    assert entry("b").content != entry("a").content
