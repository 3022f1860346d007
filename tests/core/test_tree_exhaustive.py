"""Every small world under every policy: against a second reading of the specification, and against its invariants.

``make trees`` looks at larger ones.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from tests.core import small
from tests.core.oracle import DELETES, DIRECTIONS, STRATEGIES, Options
from tests.core.oracle_tree import End, Place, World, above, end
from tests.core.small import Carried, Setting

from trueup.core.model import LOCAL, REMOTE
from trueup.core.plan import Item
from trueup.core.reconcile import Reason
from trueup.core.table import Verb

FOLDERS = Setting()
BUCKET = Setting(((LOCAL, Place()), (REMOTE, Place(directories=False))))
CASELESS = Setting(((LOCAL, Place(one=small.caseless)), (REMOTE, Place())))
COMPOSED = Setting(((LOCAL, Place(one=small.composed)), (REMOTE, Place())))
PICKY = Setting(((LOCAL, Place(refuses=lambda key: key == "x/y")), (REMOTE, Place())))
PICKIER = Setting(((LOCAL, Place(refuses=lambda key: key == "x/")), (REMOTE, Place())))
FLAT = Setting(((LOCAL, Place(refuses=lambda key: key == "x")), (REMOTE, Place())))
NFC, NFD = "\u00e9", "e\u0301"

CONFLICTS = (Reason.CONFLICT, Reason.KIND_CONFLICT)
OPTIONS = [Options(*choices, "tie") for choices in itertools.product(DIRECTIONS, STRATEGIES, DELETES)]
RUNS = 4
"""So many runs at most until nothing is left to do."""


@dataclass(frozen=True)
class Scope:
    """Small worlds of one sort."""

    keys: tuple[str, ...]
    setting: Setting = FOLDERS
    dark: bool = False
    """With one item that cannot be read."""
    runs: int = 1
    """After so many runs there is nothing left to do."""

    def worlds(self) -> Iterator[World]:
        """Each of them."""
        for world in small.worlds(self.keys, self.setting):
            yield from small.darkened(world) if self.dark else (world,)


SCOPES = {
    "a file, a directory, one file below": Scope(("x", "x/", "x/y")),
    "a directory in a directory": Scope(("x/", "x/y/", "x/y/z")),
    "a bucket with x and x/y": Scope(("x", "x/y"), BUCKET),
    "two names that differ in case": Scope(("X", "x"), CASELESS, runs=2),
    "two spellings of a letter": Scope((NFD, NFC), COMPOSED, runs=2),
    "a file and a directory that differ in case": Scope(("X/", "X/y", "x"), CASELESS, runs=2),
    "a name that cannot be held": Scope(("x", "x/", "x/y"), PICKY),
    "a directory that cannot be held": Scope(("x", "x/", "x/y"), PICKIER),
    "a file that cannot be held": Scope(("x", "x/", "x/y"), FLAT),
    "something that cannot be read": Scope(("x", "x/", "x/y"), dark=True),
    "the local listing breaks off": Scope(("x", "x/", "x/y"), FOLDERS._replace(broken_off=LOCAL)),
    "the remote listing breaks off": Scope(("x", "x/", "x/y"), FOLDERS._replace(broken_off=REMOTE)),
}
LARGE = {
    "two files below": Scope(("x", "x/", "x/y", "x/z")),
    "a file, a directory, a directory below": Scope(("x", "x/", "x/y", "x/y/", "x/y/z")),
    "a bucket with two files below": Scope(("x", "x/y", "x/z"), BUCKET),
    "a bucket with three names in each other": Scope(("x", "x/y", "x/y/z"), BUCKET),
    "directories that differ in case": Scope(("X/", "X/y", "x/", "x/y"), CASELESS, runs=2),
    "two files below, one cannot be read": Scope(("x", "x/", "x/y", "x/z"), dark=True),
    "two files below, one cannot be held": Scope(("x", "x/", "x/y", "x/z"), PICKY),
}
if os.environ.get("TRUEUP_TREES") == "large":
    SCOPES = LARGE


class Ran(NamedTuple):
    """What a run came to."""

    items: tuple[Item, ...]
    world: World
    kept: frozenset[tuple[str, str]]
    refused: tuple[str, ...]


class Runs:
    """Runs, remembered by what there was."""

    def __init__(self, options: Options, setting: Setting) -> None:
        self.setting = setting
        self.policy = small.policy(options)
        self._known: dict[object, Ran] = {}

    def run(self, world: World) -> Ran:
        """Plan and carry out."""
        state = tuple(frozenset(tree.items()) for tree in world)
        known = self._known.get(state)
        if known is None:
            items = small.plan(world, self.policy, self.setting)
            carried = Carried.of(world, self.setting)
            for _ in carried.moments(items):
                pass
            known = Ran(items, carried.world, frozenset(carried.kept), tuple(carried.refused))
            self._known[state] = known
        return known

    def rest(self, world: World) -> Ran:
        """Run until nothing is left to do."""
        ran = self.run(world)
        kept = ran.kept
        for _ in range(RUNS - 1):
            ran = self.run(ran.world)
            kept |= ran.kept
        return ran._replace(kept=kept)


def shown(world: World) -> World:
    """With the oracle's names for siblings."""
    return World(*({_plain(key): text for key, text in tree.items()} for tree in world))


def _plain(key: str) -> str:
    return re.sub(r"\.conflict-(?:local|remote)-(\w)\1{7}", r"~\1", key)


def versions(world: World) -> set[tuple[str, str]]:
    """Keys and texts of all files; a sibling holds its name's."""
    return {(_plain(key).partition("~")[0], text) for tree in world[:2] for key, text in tree.items() if text}


def is_mixed(world: World) -> bool:
    """Whether a side holds a file and something below its name, as a bucket can: a folder can show only one of them.

    Which one may depend on where a run was stopped.
    """
    return any(directory[:-1] in tree for tree in world[:2] for key in tree for directory in above(key))


def writes(items: tuple[Item, ...]) -> set[str]:
    return {step.side for item in items for step in item.steps if step.verb is not Verb.ADOPT}


@pytest.mark.parametrize("options", OPTIONS, ids="-".join)
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_every_small_world_comes_to_the_specified_end(scope: Scope, options: Options) -> None:
    runs, count = Runs(options, scope.setting), 0
    mirror = Runs(options.mirrored(), scope.setting.mirrored())
    for world in scope.worlds():
        count += 1
        wanted = end(world, options, small.newest, dict(scope.setting.places), broken_off=scope.setting.broken_off)
        about = f"{options} {world}"
        _comes_to_its_end(world, runs.run(world), wanted, scope.setting, about)
        _stays_within_its_rights(world, runs, options, about)
        _comes_to_rest(runs, world, scope, about)
        if options.strategy != "backup_both":
            swapped = small.mirrored(mirror.run(small.mirrored(world)).world)
            assert swapped == runs.run(world).world, about
        _survives_every_crash(world, runs, about)
    assert count > 20


def _comes_to_its_end(world: World, ran: Ran, wanted: End, setting: Setting, about: str) -> None:
    if ran.refused:
        assert all(_is_taken(key, world, setting) for key in ran.refused), about
        return
    done = shown(ran.world)
    assert (dict(done.local), dict(done.remote)) == (wanted.local, wanted.remote), about
    assert wanted.left <= {item.key for item in ran.items if not item.steps}, about


def _is_taken(key: str, world: World, setting: Setting) -> bool:
    """Whether the name is that of something which the plan does not see, so that only the store can refuse it.

    A plan holds what differs. It sees neither what agrees nor what a broken listing did not come to.
    """
    for side, place in setting.places:
        for there in world.sides[side]:
            agreed = not setting.sees_agreed and all(
                tree.get(there) == world.ancestor.get(there) for tree in world.sides.values()
            )
            unlisted = setting.broken_off is not None and there not in world.sides[setting.broken_off]
            one, two = (place.one(name.rstrip("/")) + "/" for name in (key, there))
            excludes = one == two or (place.directories and (one.startswith(two) or two.startswith(one)))
            if (agreed or unlisted) and there != key and excludes:
                return True
    return False


def _stays_within_its_rights(world: World, runs: Runs, options: Options, about: str) -> None:
    items = runs.run(world).items
    assert {"pull": {LOCAL}, "push": {REMOTE}}.get(options.direction, {LOCAL, REMOTE}) >= writes(items), about
    if runs.setting.broken_off is not None:
        assert not any(step.verb is Verb.DELETE for item in items for step in item.steps), about


def _comes_to_rest(runs: Runs, world: World, scope: Scope, about: str) -> None:
    first = runs.run(world)
    last = first
    for _ in range(scope.runs):
        last = runs.run(last.world)
    if last.refused:
        assert all(_is_taken(key, last.world, runs.setting) for key in last.refused), about
    else:
        assert writes(last.items) == set(), about
    assert last.world == runs.run(last.world).world, about
    if scope.runs == 1 and not is_mixed(world):
        assert _reported(first) <= _reported(last), about
        assert _reported(first, CONFLICTS) == _reported(last, CONFLICTS), about


def _reported(ran: Ran, reasons: Container[str] = frozenset(Reason)) -> set[tuple[str, str]]:
    return {(item.key, item.reason) for item in ran.items if not item.steps and item.reason in reasons}


def _survives_every_crash(world: World, runs: Runs, about: str) -> None:
    """After any step, and whatever was written down of it; in any order."""
    items, before, quiet = runs.run(world).items, versions(world), runs.rest(world)
    if not writes(items):
        return
    for backwards in (False, True):
        carried = Carried.of(world, runs.setting)
        agreed = dict(carried.ancestor)
        for n, _ in enumerate(carried.moments(items, backwards=backwards)):
            now = carried.world
            for key, text in carried.ancestor.items():  # invariant 8
                if agreed.get(key) != text:
                    assert carried.held[LOCAL].get(key) == carried.held[REMOTE].get(key) == text, about
            agreed = dict(carried.ancestor)
            assert before <= versions(now) | carried.kept, about
            for ancestor in (now.ancestor, carried.agreed_before):
                again = runs.rest(now._replace(ancestor=ancestor))
                assert before <= versions(again.world) | again.kept | carried.kept, (about, n)
                assert is_mixed(world) or again.world[:2] == quiet.world[:2], (about, n)
        assert is_mixed(world) or runs.rest(carried.world).world[:2] == quiet.world[:2], about
