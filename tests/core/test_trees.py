"""The invariants of the specification, over trees that two sides have changed at will."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from tests.core.worlds import Held, World, printed

from trueup.core.model import DIRECTORY_TOKEN, LOCAL, REMOTE, Key, Kind, Side, is_directory, parents
from trueup.core.plan import Item
from trueup.core.reconcile import STANDINGS, Reason, is_sibling
from trueup.core.strategy import TIE_NS, Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Standing, Verb
from trueup.core.tree import SIDES, Names

NFC, NFD = "\u00e9", "e\u0301"
NAMES = ["a", "b", "a!b", "A", NFC, NFD, "x.tar.gz", ".hidden", "\udcff"]
HOSTILE = "no\nway"

OPEN = [Reason.UNKNOWN, Reason.SKIPPED, Reason.BLOCKED, Reason.HELD, *STANDINGS]
"""Reasons for which the sides may go on to differ."""


SPOILT = [Kind.DIRECTORY, Kind.UNREADABLE, Kind.SKIPPED, Kind.FILTERED]


def cannot_hold(key: Key) -> str | None:
    """The local side takes no newline in a name."""
    return "a newline" if "\n" in key else None


@dataclass(frozen=True)
class Op:
    """One thing that somebody does to a side."""

    path: tuple[str, ...]
    text: str | None
    """None: remove what is there; empty: make a directory; else write a file."""
    later: int = 0
    origin: int | None = None
    """Rename what comes so far in the side's order, a file or a directory, to the path if that is free."""

    def apply(self, world: World, side: Side) -> None:
        """Do it, as `rm -r`, `mkdir -p` and a save would."""
        if self.origin is not None:
            self._rename(world, side)
            return
        items = world.places[side].items
        key = Key("/".join(self.path))
        own = {there for there in items if there == key or there.startswith(key + "/")}
        if self.text is None or (self.text and Key(key + "/") in items) or (self.text == "" and key in items):
            for gone in own:
                del items[gone]
        if self.text is None:
            return
        for directory in parents(key):
            items.pop(Key(directory[:-1]), None)
            if directory not in items:
                world.put(side, directory, "")
        key = Key(key + "/") if self.text == "" else key
        if key not in items or items[key].text != self.text:
            world.put(side, key, self.text, modified_ns=1 + self.later * (TIE_NS + 1))

    def _rename(self, world: World, side: Side) -> None:
        items = world.places[side].items
        if not items or self.origin is None:
            return
        old = sorted(items)[self.origin % len(items)].rstrip("/")
        new = Key("/".join(self.path))
        occupied = {new, Key(new + "/"), *(Key(directory[:-1]) for directory in parents(new))} & items.keys()
        if occupied or f"{new}/".startswith(f"{old}/"):
            return
        for there in [there for there in items if there == old or there.startswith(f"{old}/")]:
            for directory in parents(Key(new + there[len(old) :])):
                items.setdefault(directory, Held("", DIRECTORY_TOKEN, kind=Kind.DIRECTORY))
            items[Key(new + there[len(old) :])] = items.pop(there)


def ops(names: list[str], most: int) -> st.SearchStrategy[list[Op]]:
    """Some edits below few names, so that they meet."""
    paths = st.sampled_from([1, 1, 2, 2, 3]).flatmap(lambda depth: st.tuples(*[st.sampled_from(names)] * depth))
    texts = st.one_of(st.none(), st.just(""), st.sampled_from(["1", "2", "three"]), st.sampled_from("123456789"))
    return st.lists(st.builds(Op, paths, texts, st.integers(0, 2)), max_size=most)


@st.composite
def moved_worlds(draw: st.DrawFn) -> World:
    """Two trees made from one, mostly by renaming."""
    world = World()
    world.places[LOCAL].names = Names(problem=cannot_hold)
    paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(tuple)
    for n, path in enumerate(draw(st.lists(paths, min_size=1, max_size=5))):
        text = draw(st.sampled_from([f"text {n}", f"text {n}", "same"]))
        for side in SIDES:
            Op(path, text).apply(world, side)
    world.agree()
    targets = st.lists(st.sampled_from(["a", "b", "c", "new", "newer", HOSTILE]), min_size=1, max_size=2).map(tuple)
    renames = st.builds(Op, targets, st.just("moved"), st.just(0), st.integers(0, 9))
    texts = st.one_of(st.none(), st.just(""), st.sampled_from(["text 0", "edited"]))
    writes = st.builds(Op, paths, texts, st.integers(0, 2))
    for op in draw(st.lists(st.one_of(renames, renames, writes), min_size=1, max_size=3)):
        op.apply(world, LOCAL)
    for op in draw(st.lists(st.one_of(renames, writes), max_size=2)):
        op.apply(world, REMOTE)
    world.movable = draw(st.sampled_from([SIDES, SIDES, SIDES, (LOCAL,), (REMOTE,)]))
    return world.swapped() if draw(st.booleans()) else world


@st.composite
def edited_worlds(draw: st.DrawFn) -> World:
    """Two trees made from one, each by somebody else."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    world = World()
    world.places[LOCAL].names = Names(problem=cannot_hold)
    for op in draw(ops(names, 8)):
        for side in SIDES:
            op.apply(world, side)
    world.agree()
    for key in draw(st.lists(st.sampled_from(sorted(world.ancestors)), max_size=2)) if world.ancestors else ():
        world.ancestors.pop(key, None)  # remembered no more
    for op in draw(ops(names, 5)):
        op.apply(world, LOCAL)
    for op in draw(ops([*names, HOSTILE], 5)):
        op.apply(world, REMOTE)
    for side, kind in draw(st.lists(st.tuples(st.sampled_from(SIDES), st.sampled_from(SPOILT)), max_size=2)):
        keys = [key for key in world.places[side].items if is_directory(key) or kind is not Kind.DIRECTORY]
        if keys:
            world.spoil(side, draw(st.sampled_from(keys)), kind)
    return world


def worlds() -> st.SearchStrategy[World]:
    """Two trees that have drifted apart."""
    return st.one_of(edited_worlds(), moved_worlds())


policies = st.builds(
    Policy,
    st.sampled_from(Direction),
    st.sampled_from(Conflict),
    st.sampled_from(Deletes),
    st.sampled_from([Keep.ALL, Keep.CONFLICTS]),
)
seeds = st.integers(0, 3)


def versions(world: World) -> Counter[tuple[Key, str]]:
    """All files that exist anywhere: on a side, kept, or in a sibling; by the key that they belong to."""
    found: Counter[tuple[Key, str]] = Counter()
    for place in world.places.values():
        for key, held in place.items.items():
            if held.kind is Kind.FILE:
                found[key, held.text] += 1
                if is_sibling(key):
                    stem, _, rest = key.partition(".conflict-")
                    extension = (
                        rest[len("remote-12345678") :] if rest.startswith("remote") else rest[len("local-12345678") :]
                    )
                    found[Key(stem + extension), held.text] += 1
        found.update(place.trash)
    return found


def lost(before: World, after: World) -> set[tuple[Key, str]]:
    """Versions that exist no more, but those that both sides once agreed on."""
    agreed = {
        (key, before.places[side].items[key].text)
        for key in before.ancestors
        for side in SIDES
        if _unchanged(before, side, key)
    }
    return set(versions(before)) - set(versions(after)) - agreed


def _unchanged(world: World, side: Side, key: Key) -> bool:
    held = world.places[side].items.get(key)
    if held is None or held.kind is not Kind.FILE:
        return False
    agreed = world.ancestors[key].content.fingerprint
    return agreed == printed(held.text)


def renamed(world: World) -> bool:
    """Whether a side misses something that was agreed, and holds its content under a new name."""
    for place in world.places.values():
        gone = {world.ancestors[key].content.fingerprint for key in world.ancestors.keys() - place.items.keys()}
        new = {printed(place.items[key].text) for key in place.items.keys() - world.ancestors.keys()}
        if gone & new:
            return True
    return False


def texts(world: World) -> dict[Side, dict[Key, str]]:
    return {side: world.places[side].texts() for side in SIDES}


def wrote(items: tuple[Item, ...]) -> set[Side]:
    return {step.side for item in items for step in item.steps if step.verb is not Verb.ADOPT}


@given(worlds(), policies, seeds)
def test_a_quiet_run_is_carried_out_to_the_last_step_and_loses_nothing(world: World, policy: Policy, seed: int) -> None:
    before = world.copy()
    items, outcomes = world.run(policy, seed=seed)
    assert [outcome for outcome in outcomes if not outcome.done] == []
    assert lost(before, world) == set()
    planned = {(step.side, key) for item in items for step in item.steps for key in (step.key, Key(step.key + "/"))}
    for side in SIDES:
        assert {key for key in world.places[side].implied if (side, key) not in planned} == set()
    _is_a_tree(world)


def _is_a_tree(world: World) -> None:
    for place in world.places.values():
        for key in place.items:
            assert not is_directory(key) or key[:-1] not in place.items, key
            for directory in parents(key):
                assert directory in place.items, key
                assert directory[:-1] not in place.items, key


@given(worlds(), policies)
def test_only_permitted_sides_are_written(world: World, policy: Policy) -> None:
    before = texts(world)
    items, _ = world.run(policy)
    assert {side for side in wrote(items) if not policy.direction.writes(side)} == set()
    for side in SIDES:
        assert policy.direction.writes(side) or world.places[side].texts() == before[side]


@given(worlds(), policies)
def test_a_second_run_is_a_no_op_with_the_same_conflicts(world: World, policy: Policy) -> None:
    first, _ = world.run(policy)
    again = world.plan(policy)
    assert [item for item in again if item.steps] == []
    open_ = {item.key: item.reason for item in first if not item.steps and item.reason is not Reason.MOVED}
    assert {item.key: item.reason for item in again if item.key in open_} == open_
    assert {item.key for item in again if item.standing is Standing.CONFLICT} == {
        item.key for item in first if item.standing is Standing.CONFLICT
    }


@given(worlds(), policies)
def test_both_sides_are_equal_where_nothing_is_left_open(world: World, policy: Policy) -> None:
    items, _ = world.run(policy)
    if policy.direction is not Direction.BIDIRECTIONAL or policy.deletes is Deletes.REPORT:
        return
    if not any(item.reason in OPEN for item in items):
        assert world.places[LOCAL].texts() == world.places[REMOTE].texts()


def mirrored(policy: Policy) -> Policy:
    direction = {Direction.PULL: Direction.PUSH, Direction.PUSH: Direction.PULL}.get(policy.direction, policy.direction)
    conflict = {Conflict.LOCAL_WINS: Conflict.REMOTE_WINS, Conflict.REMOTE_WINS: Conflict.LOCAL_WINS}.get(
        policy.conflict, policy.conflict
    )
    return Policy(direction, conflict, policy.deletes, policy.keep)


@given(worlds(), policies.filter(lambda policy: policy.conflict is not Conflict.BACKUP_BOTH))
def test_swapped_sides_mirror_the_result(world: World, policy: Policy) -> None:
    mirror = world.swapped()
    world.run(policy)
    mirror.run(mirrored(policy))
    assert texts(mirror) == {LOCAL: texts(world)[REMOTE], REMOTE: texts(world)[LOCAL]}


@given(worlds(), policies, seeds)
def test_order_does_not_change_the_end(world: World, policy: Policy, seed: int) -> None:
    shuffled = world.copy()
    world.run(policy)
    shuffled.run(policy, seed=seed + 1)
    assert texts(world) == texts(shuffled)


@given(worlds(), policies, st.data())
def test_a_crash_loses_nothing_and_another_run_comes_to_the_same_end(
    world: World, policy: Policy, data: st.DataObject
) -> None:
    before, crashed = world.copy(), world.copy()
    _, outcomes = world.run(policy)
    at = data.draw(st.integers(0, len(outcomes)))
    crashed.run(policy, crash_at=at)
    assert lost(before, crashed) == set()
    crashed.run(policy)
    crashed.run(policy)
    assert lost(before, crashed) == set()
    if policy.deletes is Deletes.PROPAGATE or not renamed(before):
        assert texts(crashed) == texts(world)
    # Deletions are not followed, so a directory that moves have emptied cannot be told from one that was deleted, and
    # one of several candidates may be the only one after the crash: names may differ then, contents do not.
    for side in SIDES:
        assert set(texts(crashed)[side].values()) == set(texts(world)[side].values())


@given(worlds(), policies, st.data())
def test_an_edit_during_the_run_survives_it_and_the_next(world: World, policy: Policy, data: st.DataObject) -> None:
    before = world.copy()
    items = world.plan(policy)
    keys = sorted(
        {item.key for item in items if not is_directory(item.key)} | {Key(item.key + "new") for item in items}
    )
    if not keys:
        return
    key = data.draw(st.sampled_from(keys))
    side = data.draw(st.sampled_from(SIDES))
    steps = sum(len(item.steps) for item in items)
    world.execute(items, edit=(data.draw(st.integers(0, steps)), side, key, "theirs"))
    written = "theirs" in world.places[side].texts().values()
    assert written or "theirs" not in {text for _, text in versions(world)}
    for _ in range(2):
        if written:
            assert "theirs" in {text for _, text in versions(world)}
        assert {version for version in lost(before, world) if version[0] != key} == set()
        world.run(policy)


@given(worlds(), policies, st.sampled_from(SIDES), st.integers(0, 5))
def test_nothing_is_deleted_after_a_listing_that_broke_off(world: World, policy: Policy, side: Side, rows: int) -> None:
    before = world.copy()
    world.lost = {side: rows}
    items, _ = world.run(policy)  # what would not fit what was not listed is refused by the store
    assert not any(step.verb is Verb.DELETE for item in items for step in item.steps)
    for there in SIDES:
        assert before.places[there].items.keys() <= world.places[there].items.keys()
    assert lost(before, world) == set()
    _is_a_tree(world)
