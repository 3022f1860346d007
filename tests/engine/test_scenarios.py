"""The scenarios of the specification that need no object store, on real folders through the real engine.

The numbers are those of the list "Twenty-eight scenarios every release must pass". Races are made to happen at one
exact moment: a wrapped store, or one function of the file store, lets somebody else work right before or after it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest
from tests.blackbox.people import EXCHANGE, renamed
from tests.engine.pair import PROPAGATE, Meddler, Pair, only, reasons

from trueup.core.check import Guard
from trueup.core.errors import Locked, PlanRefused, StateDamaged, StoreError, TimedOut, Unavailable
from trueup.core.model import LOCAL, REMOTE, Entry, Key, Row, Side, Token
from trueup.core.plan import Plan
from trueup.core.report import EXIT_CONFLICTS, EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, Status, exit_code
from trueup.core.strategy import Conflict, Deletes, Direction, Policy
from trueup.engine.ambient import Ambient
from trueup.engine.wrap import Wrapper
from trueup.protocols import Source, Store, Trash, Written
from trueup.stores.file import place, write
from trueup.targets.folders import Selection

T = TypeVar("T")

EVERY_DELETES = [Deletes.RESTORE, Deletes.PROPAGATE, Deletes.REPORT]


def meddle(monkeypatch: pytest.MonkeyPatch, where: object, name: str, act: Callable[[], None], *, before: bool) -> None:
    """Let somebody else work, once, right before or after a function of the file store."""
    real = getattr(where, name)
    waiting = [act]

    def meddled(*arguments: Any, **options: Any) -> Any:
        if before and waiting:
            waiting.pop()()
        result = real(*arguments, **options)
        if not before and waiting:
            waiting.pop()()
        return result

    monkeypatch.setattr(where, name, meddled)


async def agreed(pair: Pair, names: dict[str, str]) -> None:
    """Both sides hold these files and have agreed on them."""
    for name, text in names.items():
        pair.write(pair.local, name, text)
    await pair.settle()
    assert pair.agree()


# -- 1, 2: the same size, the same time ------------------------------------------------------------------------------


async def test_new_content_of_the_same_size_and_time_is_seen(pair: Pair) -> None:  # 1
    await agreed(pair, {"a": "one"})
    path = pair.local / "a"
    then = path.stat().st_mtime_ns
    path.write_text("two")
    pair.ever.add(b"two")
    os.utime(path, ns=(then, then))
    await pair.run()
    assert pair.live(pair.remote) == {"a": b"two"}
    assert not pair.lost()


class Frozen(Wrapper):
    """A store whose tokens do not change with an edit of the same size: an edit within its clock's granularity."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)

    async def scan(self) -> AsyncIterator[list[Row]]:
        async for batch in self.inner.scan():
            yield [(row[0], _coarse(row[1]), *row[2:]) for row in batch]

    async def fingerprint(self, key: Key, token: Token) -> Any:
        entry = await self.inner.stat(key)
        assert entry is not None
        return await self.inner.fingerprint(key, entry.token)

    def source(self, key: Key, entry: Entry) -> Source:
        path = Path(self.inner.properties.location) / key
        status = path.stat()
        token = place.token_of(status)
        return self.inner.source(key, replace(entry, token=token))


def _coarse(token: Token) -> Token:
    inode, _, rest = token.partition("-")
    return Token(f"{inode}-{rest.split('-')[0]}") if rest else token


async def test_an_edit_within_the_granularity_of_the_clock_is_seen(pair: Pair) -> None:  # 2
    pair.write(pair.local, "a", "one", age=0)
    pair.write(pair.remote, "a", "one", age=0)
    coarse = only(LOCAL, Frozen)
    await pair.run(wrap=coarse)
    (pair.local / "a").write_text("two")  # same inode, same size: the coarse token is the same
    pair.ever.add(b"two")
    plan = await pair.plan(wrap=coarse)
    assert reasons(plan) == {"a": "update"}


async def test_a_settled_file_is_not_read_again(pair: Pair) -> None:  # 2, the other half: trust is regained
    pair.both("a", "one")
    await pair.run()
    read: list[str] = []

    class Counting(Wrapper):
        async def fingerprint(self, key: Key, token: Token) -> Any:
            read.append(key)
            return await self.inner.fingerprint(key, token)

    await pair.run(wrap=lambda _, store: Counting(store))
    assert read == []


# -- 3: the destination is edited between listing and write ----------------------------------------------------------


def overwrite(pair: Pair, side: Path, name: str, text: str) -> Callable[[], None]:
    def act() -> None:
        pair.write(side, name, text)

    return act


def replace_file(pair: Pair, side: Path, name: str, text: str) -> Callable[[], None]:
    """As an editor saves: a new file renamed over the name."""

    def act() -> None:
        path = pair.write(side, name + ".new", text)
        path.rename(side / name)

    return act


MOMENTS: list[tuple[str, object, str, bool]] = [
    ("between listing and the first look", write.Folder, "write", True),
    ("while the temporary file is written", write, "_fill", False),
    ("right before the exchange", place, "exchange", True),
]


@pytest.mark.parametrize("edit", [overwrite, replace_file])
@pytest.mark.parametrize(("moment", "where", "name", "before"), MOMENTS, ids=[moment[0] for moment in MOMENTS])
async def test_a_destination_edited_before_the_write_keeps_the_edit(
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
    edit: Any,
    moment: str,
    where: object,
    name: str,
    before: bool,
) -> None:  # 3
    await agreed(pair, {"a": "old"})
    pair.write(pair.local, "a", "mine, longer")
    meddle(monkeypatch, where, name, edit(pair, pair.remote, "a", "theirs, still longer"), before=before)
    report = await pair.run()
    assert [outcome.status for outcome in report.outcomes if outcome.step] == [Status.CHANGED] * 2, moment
    assert exit_code(report) == EXIT_PARTIAL
    assert pair.live(pair.remote)["a"] == b"theirs, still longer"
    assert not pair.leftovers()
    again = await pair.run()
    assert reasons(again.plan) == {"a": "conflict"}
    assert not pair.lost() - {b"old"}


@pytest.mark.parametrize("edit", [overwrite, replace_file])
async def test_an_edit_right_after_the_exchange_survives(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, edit: Any
) -> None:  # 3
    await agreed(pair, {"a": "old"})
    pair.write(pair.local, "a", "mine, longer")
    meddle(monkeypatch, place, "exchange", edit(pair, pair.remote, "a", "theirs, still longer"), before=False)
    await pair.run()
    assert pair.live(pair.remote)["a"] == b"theirs, still longer"
    assert b"old" in pair.trashed(pair.remote)
    await pair.run()
    assert not pair.lost()
    assert pair.live(pair.local)["a"] == b"theirs, still longer"  # the edit came after the write: an update
    assert not pair.leftovers()


async def test_an_edit_between_a_lost_exchange_and_the_exchange_back_survives(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:  # 3, twice in a row
    await agreed(pair, {"a": "old"})
    pair.write(pair.local, "a", "mine, longer")
    real = place.exchange
    calls: list[int] = []

    def exchange(*arguments: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            pair.write(pair.remote, "a", "first edit of theirs")
        if len(calls) == 2:
            pair.write(pair.remote, "a", "second edit of theirs, of our file in place")
        return real(*arguments)

    monkeypatch.setattr(place, "exchange", exchange)
    await pair.run()
    assert len(calls) == 2
    assert pair.lost() <= {b"old"}
    await pair.run()
    assert pair.lost() <= {b"old"}
    assert not pair.leftovers()


async def test_a_name_taken_right_before_the_write_is_left_alone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:  # 3, for a new name
    pair.write(pair.local, "a", "mine")
    meddle(monkeypatch, place, "rename_new", overwrite(pair, pair.remote, "a", "theirs"), before=True)
    report = await pair.run()
    assert report.outcomes[-1].status is Status.CHANGED
    assert pair.live(pair.remote) == {"a": b"theirs"}
    assert not pair.lost()
    assert not pair.leftovers()


# -- 4: the destination is edited between listing and delete ---------------------------------------------------------

DELETE_MOMENTS: list[tuple[str, object, str, bool]] = [
    ("between listing and the first look", write.Folder, "remove", True),
    ("between the look and the rename", write.Folder, "_take_out", True),
]


@pytest.mark.parametrize("edit", [overwrite, replace_file])
@pytest.mark.parametrize(("moment", "where", "name", "before"), DELETE_MOMENTS, ids=[m[0] for m in DELETE_MOMENTS])
async def test_what_was_edited_before_its_deletion_is_not_deleted(
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
    edit: Any,
    moment: str,
    where: object,
    name: str,
    before: bool,
) -> None:  # 4
    await agreed(pair, {"a": "old", "b": "stays"})
    (pair.local / "a").unlink()
    meddle(monkeypatch, where, name, edit(pair, pair.remote, "a", "theirs, longer"), before=before)
    report = await pair.run()
    assert {outcome.status for outcome in report.outcomes} == {Status.CHANGED}, moment
    assert pair.live(pair.remote)["a"] == b"theirs, longer"
    await pair.run()
    assert pair.live(pair.local)["a"] == b"theirs, longer"  # an edit beats a delete
    assert not pair.lost() - {b"old"}
    assert not pair.leftovers()


async def test_a_new_file_in_a_directory_keeps_the_directory(pair: Pair) -> None:  # 4, for directories
    await agreed(pair, {"d/a": "old", "b": "stays"})
    (pair.local / "d/a").unlink()
    (pair.local / "d").rmdir()
    meddler = Meddler(before={("remove", "d/"): overwrite(pair, pair.remote, "d/new", "just made")})
    await pair.run(wrap=meddler.on(REMOTE))
    assert pair.live(pair.remote)["d/new"] == b"just made"
    await pair.settle()
    assert pair.live(pair.local)["d/new"] == b"just made"
    assert not pair.lost()


# -- 5: the source changes while it is copied ------------------------------------------------------------------------


async def test_a_source_that_changes_during_the_copy_is_not_copied(pair: Pair) -> None:  # 5
    await agreed(pair, {"a": "old"})
    first = "x" * (3 << 20)
    pair.write(pair.local, "a", first)
    meddler = Meddler(after={("read", "a"): overwrite(pair, pair.local, "a", "y" * (3 << 20))})
    report = await pair.run(wrap=meddler.on(LOCAL))
    assert report.counts[Status.CHANGED] == 2
    assert pair.live(pair.remote) == {"a": b"old"}
    assert not pair.leftovers()
    await pair.run()
    assert pair.live(pair.remote) == {"a": b"y" * (3 << 20)}
    assert pair.lost() == {first.encode()}  # its owner overwrote it; nobody else


async def test_a_source_that_is_replaced_between_listing_and_copy_is_not_copied(pair: Pair) -> None:  # 5
    await agreed(pair, {"a": "old"})
    pair.write(pair.local, "a", "newer")
    meddler = Meddler(before={("write", "a"): replace_file(pair, pair.local, "a", "newest")})
    report = await pair.run(wrap=meddler.on(REMOTE))
    assert report.counts[Status.CHANGED] == 2
    assert pair.live(pair.remote) == {"a": b"old"}
    await pair.settle()
    assert pair.live(pair.remote) == {"a": b"newest"}


async def test_a_file_that_changes_while_it_is_hashed_is_unknown(pair: Pair) -> None:  # 5, in the observation
    pair.write(pair.local, "a", "one")
    pair.write(pair.remote, "a", "two")
    meddler = Meddler(before={("fingerprint", "a"): overwrite(pair, pair.local, "a", "three")})
    plan = await pair.plan(wrap=meddler.on(LOCAL))
    assert reasons(plan) == {"a": "unknown"}
    assert not plan.changes


# -- 6 - 9: one key, both sides --------------------------------------------------------------------------------------


@pytest.mark.parametrize("deletes", EVERY_DELETES)
@pytest.mark.parametrize("edited", [LOCAL, REMOTE])
async def test_an_edit_beats_a_delete(pair: Pair, deletes: Deletes, edited: Side) -> None:  # 6
    await agreed(pair, {"a": "old", "b": "stays"})
    winner, loser = pair.sides if edited == LOCAL else pair.sides[::-1]
    pair.write(winner, "a", "edited")
    (loser / "a").unlink()
    report = await pair.run(policy=Policy(deletes=deletes))
    assert reasons(report.plan)["a"] == "edit_beats_delete"
    assert pair.live(loser)["a"] == b"edited"
    assert pair.agree()


async def test_what_both_deleted_is_forgotten_and_not_missed(pair: Pair) -> None:  # 7
    await agreed(pair, {"a": "old", "b": "stays"})
    for side in pair.sides:
        (side / "a").unlink()
    report = await pair.run()
    assert not report.plan.changes
    assert not (await pair.plan()).items
    pair.write(pair.local, "a", "old")  # no deletion on the other side is remembered
    assert reasons(await pair.plan()) == {"a": "create"}


async def test_what_both_created_alike_is_adopted(pair: Pair) -> None:  # 8
    pair.both("d/a", "same")
    report = await pair.run()
    assert reasons(report.plan) == {"d/": "adopt", "d/a": "adopt"}
    assert exit_code(report) == EXIT_OK
    assert not any(pair.trashed(side) for side in pair.sides)
    assert not (await pair.plan()).items


STRATEGIES: list[tuple[Conflict, bytes, bytes]] = [
    (Conflict.MANUAL, b"mine", b"theirs"),
    (Conflict.LOCAL_WINS, b"mine", b"mine"),
    (Conflict.REMOTE_WINS, b"theirs", b"theirs"),
    (Conflict.BACKUP_BOTH, b"theirs", b"theirs"),
]


@pytest.mark.parametrize(("strategy", "local", "remote"), STRATEGIES, ids=lambda value: getattr(value, "value", None))
async def test_what_both_created_differently_is_settled_and_the_loser_is_kept(
    pair: Pair, strategy: Conflict, local: bytes, remote: bytes
) -> None:  # 9
    pair.write(pair.local, "a.txt", "mine")
    pair.write(pair.remote, "a.txt", "theirs")
    pair.write(pair.local, "other", "goes on")
    policy = replace(PROPAGATE, conflict=strategy)
    report = await pair.run(policy=policy)
    assert (pair.live(pair.local)["a.txt"], pair.live(pair.remote)["a.txt"]) == (local, remote)
    assert pair.live(pair.remote)["other"] == b"goes on"
    assert exit_code(report) == (EXIT_CONFLICTS if strategy is Conflict.MANUAL else EXIT_OK)
    assert not pair.lost()
    assert not (await pair.plan(policy=policy)).changes
    siblings = [name for name in pair.live(pair.local) if "conflict" in name]
    assert len(siblings) == (strategy is Conflict.BACKUP_BOTH)
    if siblings:
        assert pair.live(pair.local)[siblings[0]] == pair.live(pair.remote)[siblings[0]] == b"mine"


# -- 10, 11: a file becomes a directory ------------------------------------------------------------------------------


def tree(pair: Pair, side: Path, name: str) -> None:
    """A file makes room for a directory with another in it."""
    (side / name).unlink()
    pair.write(side, f"{name}/inner", "inner")
    pair.write(side, f"{name}/deep/er", "deeper")


def flatten(pair: Pair, side: Path, name: str) -> None:
    """A directory makes room for a file."""
    for path in sorted((side / name).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (side / name).rmdir()
    pair.write(side, name, "a file")


@pytest.mark.parametrize("deletes", EVERY_DELETES)
@pytest.mark.parametrize("changed", [LOCAL, REMOTE])
async def test_a_file_becomes_a_directory_on_the_other_side_too(
    pair: Pair, deletes: Deletes, changed: Side
) -> None:  # 10
    await agreed(pair, {"x": "was a file", "y": "stays"})
    tree(pair, *((pair.local, "x") if changed == LOCAL else (pair.remote, "x")))
    policy = Policy(deletes=deletes)
    report = await pair.run(policy=policy)
    assert exit_code(report) == EXIT_OK, report.outcomes
    assert pair.agree()
    assert pair.live(pair.remote)["x/deep/er"] == b"deeper"
    assert not pair.lost()
    assert not (await pair.plan(policy=policy)).items


@pytest.mark.parametrize("deletes", EVERY_DELETES)
@pytest.mark.parametrize("changed", [LOCAL, REMOTE])
async def test_a_directory_becomes_a_file_on_the_other_side_too(
    pair: Pair, deletes: Deletes, changed: Side
) -> None:  # 10
    await agreed(pair, {"x/inner": "inner", "x/deep/er": "deeper", "y": "stays"})
    flatten(pair, pair.local if changed == LOCAL else pair.remote, "x")
    policy = Policy(deletes=deletes)
    report = await pair.run(policy=policy)
    assert exit_code(report) == EXIT_OK, report.outcomes
    assert pair.agree()
    assert pair.live(pair.remote)["x"] == b"a file"
    assert not pair.lost()
    assert not (await pair.plan(policy=policy)).items


@pytest.mark.parametrize("strategy", [Conflict.MANUAL, Conflict.LOCAL_WINS, Conflict.REMOTE_WINS])
async def test_a_file_that_became_a_directory_against_an_edit_is_settled_whole(
    pair: Pair, strategy: Conflict
) -> None:  # 11
    await agreed(pair, {"x": "was a file", "y": "stays"})
    tree(pair, pair.local, "x")
    pair.write(pair.remote, "x", "edited")
    before = pair.live(pair.local), pair.live(pair.remote)
    policy = replace(PROPAGATE, conflict=strategy)
    report = await pair.run(policy=policy)
    assert not pair.lost() - {b"was a file"}
    if strategy is Conflict.MANUAL:
        assert reasons(report.plan)["x"] == "kind_conflict"
        assert (pair.live(pair.local), pair.live(pair.remote)) == before
        return
    assert pair.agree()
    assert ("x/inner" in pair.live(pair.remote)) == (strategy is Conflict.LOCAL_WINS)
    assert not (await pair.plan(policy=policy)).items


async def test_a_directory_that_became_a_file_against_an_edit_below_waits_for_a_person(pair: Pair) -> None:  # 11
    await agreed(pair, {"x/inner": "inner", "x/deep/er": "deeper", "y": "stays"})
    flatten(pair, pair.local, "x")
    pair.write(pair.remote, "x/inner", "edited")
    before = pair.live(pair.local), pair.live(pair.remote)
    report = await pair.run()
    assert exit_code(report) == EXIT_CONFLICTS
    assert (pair.live(pair.local), pair.live(pair.remote)) == before


async def test_a_file_made_in_a_directory_that_makes_room_for_a_file_is_kept(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:  # 10, with somebody at work at the last moment
    await agreed(pair, {"x/inner": "inner", "y": "stays"})
    flatten(pair, pair.local, "x")
    meddle(monkeypatch, place, "exchange", overwrite(pair, pair.remote, "x/new", "just made"), before=True)
    report = await pair.run()
    assert report.counts[Status.CHANGED]
    assert pair.live(pair.remote)["x/new"] == b"just made"
    assert not pair.lost()
    assert not pair.leftovers()


async def test_a_file_edited_when_it_makes_room_for_a_directory_is_kept(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:  # 11, at the last moment
    await agreed(pair, {"x": "was a file", "y": "stays"})
    tree(pair, pair.local, "x")
    meddle(monkeypatch, place, "exchange", overwrite(pair, pair.remote, "x", "edited just now"), before=True)
    report = await pair.run()
    assert report.counts[Status.CHANGED]
    assert pair.live(pair.remote)["x"] == b"edited just now"
    assert not pair.lost() - {b"was a file"}
    assert not pair.leftovers()


# -- 13 - 15: names --------------------------------------------------------------------------------------------------


async def test_names_that_differ_in_case_both_exist_where_the_disk_holds_both(pair: Pair) -> None:  # 13
    await agreed(pair, {"Readme": "one", "README": "two", "readme": "three"})
    assert len(pair.live(pair.remote)) == 3


async def test_composed_and_decomposed_spellings_stay_two_names(pair: Pair) -> None:  # 14
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    await agreed(pair, {composed: "one", decomposed: "two"})
    assert pair.live(pair.remote) == {composed: b"one", decomposed: b"two"}
    (pair.local / composed).unlink()
    await pair.settle()
    assert pair.live(pair.remote) == {decomposed: b"two"}


HOSTILE: list[bytes] = [
    b"two\nlines",
    b"tab\tbell\x07escape\x1b[31m",
    b"not utf-8 \xff\xfe",
    b"caf\xe9",
    b"\xed\xa0\x80 a surrogate in bytes",
    b"n" * 255,
    ("\u00e9" * 127).encode(),
    b"trailing blank ",
    b" leading blank",
    b"trailing dot.",
    b"-rf",
    b"--help",
    b"back\\slash",
    b"quote'\"`$(reboot)",
    b"glob*?[x]",
    b"C:",
    b"con",
    b"%2e%2e",
    b"...",
    b"a=b",
    b"#comment",
    b"!bang",
    b".hidden",
    b".trueup-not-ours",
    b"file.conflict-local-0123abcd.txt",
]


async def test_hostile_names_travel_both_ways_and_are_deleted_again(pair: Pair) -> None:  # 15
    for n, name in enumerate(HOSTILE):
        pair.write(pair.local, b"l/" + name, f"local {n}")
        pair.write(pair.remote, b"r/" + name + b"/" + name, f"remote {n}")
    report = await pair.run()
    assert exit_code(report) == EXIT_OK, [o for o in report.outcomes if o.status is not Status.DONE]
    assert pair.agree()
    assert len(pair.live(pair.local)) == 2 + 3 * len(HOSTILE)
    assert not (await pair.plan()).items
    for name in HOSTILE:
        (pair.local / "r" / os.fsdecode(name) / os.fsdecode(name)).unlink()
        (pair.remote / "l" / os.fsdecode(name)).unlink()
    await pair.run()
    assert pair.agree()
    assert not pair.lost()
    undone = await pair.undo()
    assert exit_code(undone) == EXIT_OK
    assert len(pair.live(pair.local)) == 2 + 2 * len(HOSTILE)


async def test_roots_with_hostile_names_can_be_synced(tmp_path: Path) -> None:  # 15, for the roots themselves
    base = tmp_path / os.fsdecode(b"a=b\nc \xff")
    pair = Pair(base, state=tmp_path / "state")
    await agreed(pair, {"a": "one"})
    async with pair.engine() as engine:
        spec = pair.spec(name=os.fsdecode(b"caf\xe9"))
        pair.write(pair.local, "a", "two")
        plan = await engine.plan(spec)
        await engine.apply(plan, command=os.fsdecode(b"trueup sync caf\xe9"))
        assert pair.live(pair.remote) == {"a": b"two"}
        await engine.undo("last")
    assert pair.live(pair.remote) == {"a": b"one"}


async def test_reserved_names_are_neither_listed_nor_written(pair: Pair) -> None:  # 15
    pair.write(pair.local, ".trueup/mine", "not to be copied")
    pair.write(pair.local, "d/.trueup/theirs", "the trash, say, of a target that lies in this one")
    await pair.run()
    assert set(pair.live(pair.remote)) == {"d/"}
    await pair.run(selection=Selection(defaults=False))
    assert set(pair.live(pair.remote)) == {"d/", "d/.trueup/", "d/.trueup/theirs"}


async def test_a_tree_deeper_than_the_longest_path_is_synced_and_undone(pair: Pair) -> None:  # 15
    fd = os.open(pair.local, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open("deep", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
    os.write(file, b"deep down")
    os.close(file)
    os.close(fd)
    pair.write(pair.local, "a", "stays")
    report = await pair.run()
    assert exit_code(report) == EXIT_OK
    assert not (await pair.plan()).changes
    shutil.rmtree(pair.local / ("d" * 200))
    await pair.run()
    assert not list(pair.remote.glob("d*"))
    undone = await pair.undo()
    assert exit_code(undone) == EXIT_OK, [o for o in undone.outcomes if o.status is not Status.DONE]
    assert list(pair.remote.glob("d*"))
    for side in pair.sides:
        shutil.rmtree(side)


# -- 16: clocks ------------------------------------------------------------------------------------------------------

NEWEST = replace(PROPAGATE, conflict=Conflict.NEWEST_WINS)
CLOCKS = [
    ("local is newer", 100.0, 200.0, b"mine"),
    ("remote is newer", 200.0, 100.0, b"theirs"),
    ("a tie", 100.0, 101.0, None),
    ("local is in the future", -3600.0, 100.0, None),
    ("remote is in the future", 100.0, -3600.0, None),
    ("local has no time", time.time(), 100.0, None),
]


@pytest.mark.parametrize(("case", "local", "remote", "winner"), CLOCKS, ids=[case[0] for case in CLOCKS])
async def test_the_newest_wins_unless_the_clocks_cannot_tell(
    pair: Pair, case: str, local: float, remote: float, winner: bytes | None
) -> None:  # 16
    pair.write(pair.local, "a", "mine", age=local)
    pair.write(pair.remote, "a", "theirs", age=remote)
    if case == "local has no time":
        os.utime(pair.local / "a", ns=(0, 0))
    report = await pair.run(policy=NEWEST)
    if winner is None:
        assert reasons(report.plan) == {"a": "conflict"}
        assert pair.live(pair.local) != pair.live(pair.remote)
    else:
        assert pair.live(pair.local) == pair.live(pair.remote) == {"a": winner}
    assert not pair.lost()


async def test_a_file_dated_in_the_future_is_watched_and_not_lost(pair: Pair) -> None:  # 16
    pair.write(pair.local, "a", "one", age=-86400)
    await pair.run()
    assert not (await pair.run()).plan.items
    pair.write(pair.remote, "a", "two", age=-86400)
    await pair.run()
    assert pair.live(pair.local) == {"a": b"two"}
    assert not pair.lost()


# -- 17, 18: a side that is not what it was --------------------------------------------------------------------------


@pytest.mark.parametrize("emptied", [LOCAL, REMOTE])
async def test_an_emptied_side_is_refused(pair: Pair, emptied: Side) -> None:  # 17
    await agreed(pair, {f"f{n}": str(n) for n in range(12)})
    side = pair.local if emptied == LOCAL else pair.remote
    for path in side.glob("f*"):
        path.unlink()
    with pytest.raises(PlanRefused) as refused:
        await pair.run()
    assert refused.value.exit_code == 5
    other = pair.remote if emptied == LOCAL else pair.local
    assert len(pair.live(other)) == 12
    assert not pair.lost()


async def test_an_unmounted_side_is_refused(pair: Pair) -> None:  # 17: an empty directory where the disk was
    await agreed(pair, {f"f{n}": str(n) for n in range(3)})
    pair.remote.rename(pair.base / "the disk")
    pair.remote.mkdir()
    with pytest.raises(PlanRefused) as refused:
        await pair.run()
    assert "other-root" in refused.value.attempt
    assert len(pair.live(pair.local)) == 3


async def test_a_missing_side_is_an_error_and_nothing_else(pair: Pair) -> None:  # 17
    await agreed(pair, {"a": "one"})
    pair.remote.rename(pair.base / "gone")
    with pytest.raises(StoreError) as error:
        await pair.run()
    assert error.value.exit_code == 1
    assert pair.live(pair.local) == {"a": b"one"}
    assert not pair.remote.exists()


class Broken(Wrapper):
    """A listing that breaks off after some batches."""

    def __init__(self, inner: Store, keep: int) -> None:
        super().__init__(inner)
        self.keep = keep

    async def scan(self) -> AsyncIterator[list[Row]]:
        left = self.keep
        async for batch in self.inner.scan():
            for row in batch:
                if left == 0:
                    raise Unavailable("the listing broke off")
                left -= 1
                yield [row]


@pytest.mark.parametrize("keep", [0, 1, 5, 8])
@pytest.mark.parametrize("broken", [LOCAL, REMOTE])
async def test_nothing_is_deleted_or_taken_for_missing_after_a_broken_listing(
    pair: Pair, keep: int, broken: Side
) -> None:  # 18
    await agreed(pair, {f"f{n}": str(n) for n in range(10)})
    (pair.local / "f0").unlink()
    (pair.remote / "f1").unlink()
    pair.write(pair.local, "f9", "edited on local")
    pair.write(pair.remote, "g", "new on remote")
    before = pair.everything()
    for deletes in EVERY_DELETES:
        report = await pair.run(
            wrap=only(broken, lambda store: Broken(store, keep)), policy=Policy(deletes=deletes), confirm=no
        )
        assert exit_code(report) == EXIT_FAILED
        assert not report.plan.complete
        for item in report.plan.changes:
            assert all(step.value is not None for step in item.steps if step.verb.value != "save")
            assert item.side(broken) is not None  # what the broken side did not list is not touched
    assert pair.everything() == before
    await pair.settle()
    assert pair.agree()
    assert not pair.lost()


async def no(_: Plan) -> bool:
    return False


async def test_a_run_with_a_broken_listing_copies_what_it_knows_and_deletes_nothing(pair: Pair) -> None:  # 18
    await agreed(pair, {f"f{n}": str(n) for n in range(10)})
    (pair.local / "f0").unlink()
    pair.write(pair.local, "f1", "edited")
    report = await pair.run(wrap=only(REMOTE, lambda store: Broken(store, 5)))
    assert exit_code(report) == EXIT_FAILED
    assert pair.live(pair.remote)["f0"] == b"0"
    assert pair.live(pair.remote)["f1"] == b"edited"
    assert len(pair.live(pair.local)) == 9
    await pair.settle()
    assert "f0" not in pair.live(pair.remote)


@pytest.mark.parametrize("deletes", EVERY_DELETES)
@pytest.mark.parametrize("blind", [LOCAL, REMOTE])
async def test_an_unreadable_directory_is_unknown_and_not_missing(
    open_pair: Pair, nobody: None, deletes: Deletes, blind: Side
) -> None:  # 18
    pair = open_pair
    await agreed(pair, {"d/a": "one", "d/e/b": "two", "c": "three"})
    side = pair.local if blind == LOCAL else pair.remote
    other = pair.remote if blind == LOCAL else pair.local
    pair.write(other, "d/a", "edited on the other side")
    (side / "d").chmod(0)
    try:
        report = await pair.run(policy=Policy(deletes=deletes))
        assert exit_code(report) == EXIT_PARTIAL
        assert reasons(report.plan) == {"d/": "unknown"}
        assert not report.plan.changes
    finally:
        (side / "d").chmod(0o755)
    await pair.settle()
    assert pair.agree()
    assert pair.live(pair.local)["d/a"] == b"edited on the other side"


async def test_an_unreadable_file_is_reported_and_the_rest_goes_on(open_pair: Pair, nobody: None) -> None:  # 18
    pair = open_pair
    pair.write(pair.local, "secret", "cannot be read")
    (pair.local / "secret").chmod(0)
    pair.write(pair.local, "plain", "can be read")
    report = await pair.run()
    (pair.local / "secret").chmod(0o600)
    assert exit_code(report) == EXIT_PARTIAL
    assert pair.live(pair.remote) == {"plain": b"can be read"}
    await pair.settle()
    assert pair.agree()


# -- 19: the filter changed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deletes", EVERY_DELETES)
async def test_what_a_new_filter_excludes_is_not_deleted(pair: Pair, deletes: Deletes) -> None:  # 19
    await agreed(pair, {"a.txt": "one", "logs/x.log": "two", "b.log": "three"})
    narrow = {"selection": Selection(exclude=("*.log", "logs/")), "policy": Policy(deletes=deletes)}
    await pair.settle(**narrow)
    assert len(pair.live(pair.local)) == len(pair.live(pair.remote)) == 4
    pair.write(pair.local, "a.txt", "edited")
    await pair.settle(**narrow)
    assert pair.live(pair.remote)["a.txt"] == b"edited"
    (pair.local / "b.log").unlink()  # nobody's business meanwhile
    await pair.settle(**narrow)
    assert "b.log" in pair.live(pair.remote)
    await pair.settle(policy=Policy(deletes=deletes))  # the filter goes away again: adopted, not acted on
    assert pair.live(pair.remote)["b.log"] == b"three"
    assert pair.live(pair.remote)["logs/x.log"] == b"two"


async def test_a_directory_with_excluded_files_outlives_its_deletion(pair: Pair) -> None:  # 19
    await agreed(pair, {"d/a.txt": "one", "b": "two"})
    pair.write(pair.remote, "d/x.log", "theirs alone")
    (pair.local / "d/a.txt").unlink()
    (pair.local / "d").rmdir()
    await pair.run(selection=Selection(exclude=("*.log",)))
    assert pair.live(pair.remote) == {"b": b"two", "d/": None, "d/x.log": b"theirs alone"}


async def test_a_file_excluded_by_size_is_not_absent(pair: Pair) -> None:  # 19
    await agreed(pair, {"a": "small", "b": "small too"})
    pair.write(pair.local, "a", "large " * 100)
    report = await pair.run(selection=Selection(max_size=100))
    assert reasons(report.plan) == {"a": "skipped"}
    assert pair.live(pair.remote)["a"] == b"small"
    assert exit_code(report) == EXIT_OK


# -- 20, 21: what was remembered is lost, or damaged -----------------------------------------------------------------


async def test_a_lost_ancestor_means_a_union_in_which_nothing_is_deleted(pair: Pair) -> None:  # 20
    await agreed(pair, {"same": "same", "gone here": "one", "gone there": "two", "edited": "old"})
    (pair.local / "gone here").unlink()
    (pair.remote / "gone there").unlink()
    pair.write(pair.local, "edited", "new")
    pair.state = pair.base / "another state"
    report = await pair.run()
    assert reasons(report.plan) == {
        "same": "adopt",
        "gone here": "create",
        "gone there": "create",
        "edited": "conflict",
    }
    assert exit_code(report) == EXIT_CONFLICTS
    assert len(pair.live(pair.local)) == len(pair.live(pair.remote)) == 4
    assert not pair.lost()


def sql(pair: Pair, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(pair.state / "state.db")
    try:
        with connection:
            return connection.execute(statement, arguments).fetchall()
    finally:
        connection.close()


DAMAGE = [
    "UPDATE ancestors SET content = 'file 3 blake3:00'",
    "UPDATE ancestors SET content = 'nonsense'",
    "UPDATE ancestors SET content = x'00ff'",
    "UPDATE ancestors SET content = CAST(x'66ff' AS TEXT)",
    "UPDATE ancestors SET checksum = checksum + 1",
    "UPDATE ancestors SET local = remote, remote = local, checksum = checksum + 1",
    "UPDATE ancestors SET local = x'00ff'",
]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_row_counts_as_no_ancestor_and_is_kept_aside(pair: Pair, damage: str) -> None:  # 21
    await agreed(pair, {"a": "old", "b": "old too"})
    sql(pair, damage + " WHERE key = ?", b"a")
    (pair.local / "a").unlink()  # with an ancestor this would be a deletion on the other side
    report = await pair.run()
    assert report.plan.damaged_ancestors == ("a",)
    assert reasons(report.plan) == {"a": "create"}
    assert pair.live(pair.local)["a"] == b"old"
    assert [row[0] for row in sql(pair, "SELECT key FROM damaged_ancestors")] == [b"a"]
    assert not (await pair.plan()).items


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def garble(path: Path) -> None:
    path.write_bytes(b"this was a database once\n" * 500)


def scribble(path: Path) -> None:
    """Somebody overwrote everything but the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


@pytest.mark.parametrize("damage", [truncate, garble, scribble])
async def test_a_damaged_state_is_refused_and_kept_aside_when_allowed(
    pair: Pair, damage: Callable[[Path], None]
) -> None:  # 21
    await agreed(pair, {f"f{n}": f"content {n}" for n in range(30)})
    for extra in ("-wal", "-shm"):
        (pair.state / f"state.db{extra}").unlink(missing_ok=True)
    damage(pair.state / "state.db")
    (pair.local / "f0").unlink()
    pair.write(pair.remote, "f1", "edited")
    before = pair.everything()
    with pytest.raises(StateDamaged) as error:
        await pair.run()
    assert error.value.exit_code == 5
    assert "--allow corrupt-state" in error.value.attempt
    assert pair.everything() == before
    report = await pair.run(allow=[Guard.CORRUPT_STATE])
    assert reasons(report.plan)["f0"] == "create"  # a union, nothing deleted
    assert pair.live(pair.local)["f0"] == b"content 0"
    assert reasons(report.plan)["f1"] == "conflict"
    assert len(list(pair.state.glob("state.db.damaged-*"))) >= 1
    assert reasons((await pair.run()).plan) == {"f1": "conflict"}
    assert not pair.lost()


# -- 22: the process dies after any call -----------------------------------------------------------------------------


class Died(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Dying(Wrapper):
    """Dies at the n-th call of all effects, before it takes effect or after."""

    def __init__(self, inner: Store, countdown: list[int], after: bool) -> None:
        super().__init__(inner)
        self.countdown = countdown
        self.after = after

    def _tick(self) -> bool:
        self.countdown[0] -= 1
        if self.countdown[0] == 0 and not self.after:
            raise Died
        return self.countdown[0] == 0

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        dies = self._tick()
        written = await self.inner.write(key, source, expect=expect, trash=trash)
        if dies:
            raise Died
        return written

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        dies = self._tick()
        written = await self.inner.make_directory(key, expect=expect, trash=trash)
        if dies:
            raise Died
        return written

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        dies = self._tick()
        written = await self.inner.remove(key, expect=expect, trash=trash)
        if dies:
            raise Died
        return written

    async def flush(self) -> None:
        dies = self._tick()
        await self.inner.flush()
        if dies:
            raise Died

    async def set_marker(self, identity: str) -> str:
        dies = self._tick()
        marker = await self.inner.set_marker(identity)
        if dies:
            raise Died
        return marker


async def finishing(function: Callable[..., T], /, *arguments: object) -> T:
    """Threads that end before their caller does: what died is not at work any more when the next run begins."""
    return await anyio.to_thread.run_sync(function, *arguments)


BOTH = Policy(deletes=Deletes.PROPAGATE, conflict=Conflict.BACKUP_BOTH)


async def drifted(base: Path) -> Pair:
    """Drift of every sort."""
    pair = Pair(base, policy=BOTH, ambient=Ambient(threads=finishing))
    await agreed(
        pair,
        {"up": "1", "down": "2", "both": "3", "gone/here": "4", "gone there": "5", "x": "6", "y/in": "7", "y/e/p": "8"},
    )
    pair.write(pair.local, "up", "1 up")
    pair.write(pair.remote, "down", "2 down")
    pair.write(pair.local, "both", "3 mine")
    pair.write(pair.remote, "both", "3 theirs")
    (pair.local / "gone/here").unlink()
    (pair.local / "gone").rmdir()
    (pair.remote / "gone there").unlink()
    tree(pair, pair.local, "x")
    flatten(pair, pair.remote, "y")
    pair.write(pair.local, "new/dir/file", "9")
    pair.witness()
    return pair


async def test_a_run_that_dies_after_any_call_is_resumed_by_the_next(tmp_path: Path) -> None:  # 22
    undisturbed = await drifted(tmp_path / "undisturbed")
    await undisturbed.run()
    expected = undisturbed.live(undisturbed.local)
    assert undisturbed.agree()
    deaths = 0
    for n in range(1, 200):
        countdown = [n]

        def wrap(_: Side, store: Store, countdown: list[int] = countdown, n: int = n) -> Store:
            return Dying(store, countdown, after=n % 4 != 0)  # before a call is after the one before it, but for order

        pair = await drifted(tmp_path / str(n))
        try:
            await pair.run(wrap=wrap)
            assert countdown[0] > 0
            break
        except BaseException as error:
            if not _died(error):
                raise
        deaths += 1
        assert not pair.lost(), n
        await pair.run()
        assert pair.live(pair.local) == pair.live(pair.remote) == expected, n
        assert not pair.lost(), n
        assert not (await pair.plan()).items, n
        async with pair.engine() as engine:
            assert [run.state.value for run in await engine.history(limit=2)][1] in {"killed", "applied"}
    assert deaths > 15


def _died(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_died(part) for part in error.exceptions)
    return isinstance(error, Died)


# -- 23, 24: two at once ---------------------------------------------------------------------------------------------


async def test_of_two_runs_on_one_state_one_is_locked_out(pair: Pair) -> None:  # 23
    pair.write(pair.local, "a", "one")
    entered, leave = anyio.Event(), anyio.Event()

    async def wait(_: Plan) -> bool:
        entered.set()
        await leave.wait()
        return True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: pair.run(confirm=wait))
        await entered.wait()
        with pytest.raises(Locked) as locked:
            await pair.run()
        assert locked.value.exit_code == 6
        assert str(os.getpid()) in locked.value.why
        leave.set()
    assert pair.agree()
    assert not (await pair.run()).plan.items  # the lock is free again


@pytest.mark.parametrize("direction", [Direction.BIDIRECTIONAL, Direction.PUSH])
async def test_of_two_runs_with_two_states_that_write_one_folder_one_is_locked_out(
    pair: Pair, direction: Direction
) -> None:  # 23
    pair.write(pair.local, "a", "one")
    other = Pair(pair.base, state=pair.base / "other state")
    entered, leave = anyio.Event(), anyio.Event()
    policy = replace(PROPAGATE, direction=direction)

    class Waiting(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            entered.set()
            await leave.wait()
            return await self.inner.write(key, source, expect=expect, trash=trash)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: pair.run(wrap=only(REMOTE, Waiting), policy=policy))
        await entered.wait()
        with pytest.raises(Locked):
            await other.run(policy=policy)
        leave.set()
    assert pair.agree()
    assert exit_code(await other.run()) == EXIT_OK


async def test_a_run_with_another_state_while_a_person_is_asked_costs_nobody_anything(pair: Pair) -> None:  # 23
    await agreed(pair, {"a": "old", "b": "old"})
    pair.write(pair.local, "a", "mine")
    other = Pair(pair.base, state=pair.base / "other state")

    async def meanwhile(_: Plan) -> bool:
        await anyio.to_thread.run_sync(pair.write, pair.local, "a", "mine, again")
        await other.run(policy=replace(PROPAGATE, conflict=Conflict.LOCAL_WINS))
        return True

    report = await pair.run(confirm=meanwhile)
    assert report.counts[Status.CHANGED]
    assert pair.live(pair.remote)["a"] == b"mine, again"
    await pair.settle()
    assert pair.agree()


async def test_two_first_runs_at_once_share_a_new_state(tmp_path: Path) -> None:  # 23
    state = tmp_path / "state"
    pairs = [Pair(tmp_path / str(n), state=state) for n in range(4)]
    for pair in pairs:
        pair.write(pair.local, "a", "one")
    async with anyio.create_task_group() as tasks:
        for pair in pairs:
            tasks.start_soon(pair.run)
    assert all(pair.agree() for pair in pairs)


async def test_a_lock_of_a_dead_process_is_taken_over(pair: Pair) -> None:  # 23
    pair.write(pair.local, "a", "one")
    await pair.run()
    locks = pair.state / "locks"
    for path in [*locks.glob("*.lock"), pair.local / ".trueup/lock", pair.remote / ".trueup/lock"]:
        path.write_text('{"pid": 999999}')
    assert exit_code(await pair.run()) == EXIT_OK


class Machines:
    """Two machines, each with a folder and a state of its own, and one share."""

    def __init__(self, base: Path, policy: Policy) -> None:
        self.share = base / "share"
        self.share.mkdir()
        self.pairs = [Pair(base / name, policy=policy) for name in ("one", "two")]

    async def run(self, n: int, **options: Any) -> Any:
        return await self.pairs[n].run(remote=str(self.share), **options)

    async def rest(self) -> None:
        for _ in range(3):
            for n in (0, 1):
                await self.run(n)

    def contents(self) -> set[bytes]:
        roots = [self.share, *(pair.local for pair in self.pairs)]
        return {path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


async def test_two_machines_and_one_share_come_to_agree(tmp_path: Path) -> None:  # 24
    machines = Machines(tmp_path, BOTH)
    one, two = machines.pairs
    for n in range(4):
        one.write(one.local, f"d/{n}", f"one {n}")
        two.write(two.local, f"d/{n + 2}", f"two {n + 2}")
    await machines.run(0)
    await machines.run(1)
    one.write(one.local, "d/0", "one, second")
    two.write(two.local, "d/0", "two, second")
    (two.local / "d/1").unlink()
    await machines.run(1)
    one.write(one.local, "d/5", "one, late")
    await machines.rest()
    assert one.live(one.local) == two.live(two.local) == one.live(machines.share)
    assert {b"one, second", b"two, second", b"one, late"} <= machines.contents()
    assert (one.ever | two.ever) - machines.contents() == set()


async def test_a_machine_that_writes_the_share_during_the_other_ones_run_loses_nothing(tmp_path: Path) -> None:  # 24
    machines = Machines(tmp_path, BOTH)
    one, two = machines.pairs
    for n in range(3):
        one.write(one.local, str(n), f"old {n}")
    await machines.rest()
    for n in range(3):
        one.write(one.local, str(n), f"one, new {n}")
    # A machine whose lock the other cannot see (another kind of mount) writes in the middle of the run.
    meddler = Meddler(before={("write", "1"): overwrite(two, machines.share, "1", "two, right in between")})
    await machines.run(0, wrap=meddler.on(REMOTE))
    await machines.rest()
    assert one.live(one.local) == two.live(two.local) == one.live(machines.share)
    assert (one.ever | two.ever) - machines.contents() == set()


# -- 25: cut short, or full ------------------------------------------------------------------------------------------


class Cut(Wrapper):
    """A source that ends early, without an error."""

    def source(self, key: Key, entry: Entry) -> Source:
        source = self.inner.source(key, entry)

        @contextmanager
        def opened() -> Iterator[Iterator[bytes]]:
            with source.open() as chunks:
                yield iter([next(chunks)[:-1]])

        return replace(source, open=opened)


async def test_a_download_that_is_cut_short_is_not_installed(pair: Pair) -> None:  # 25
    await agreed(pair, {"a": "old", "b": "gone soon"})
    pair.write(pair.remote, "a", "new and whole")
    (pair.remote / "b").unlink()
    report = await pair.run(wrap=only(REMOTE, Cut))
    assert report.counts[Status.FAILED] == 2
    assert {outcome.code for outcome in report.outcomes if outcome.status is Status.FAILED} == {"TU-CORRUPT"}
    assert pair.live(pair.local) == {"a": b"old", "b": b"gone soon"}  # and nothing is deleted after a failure
    assert not pair.leftovers()
    await pair.settle()
    assert pair.live(pair.local) == {"a": b"new and whole"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("no permission to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_stops_what_needs_room_and_nothing_else(small: Path, tmp_path: Path) -> None:  # 25
    pair = Pair(tmp_path)
    spec: dict[str, Any] = {"remote": str(small)}
    pair.write(pair.local, "a", "old")
    pair.write(pair.local, "gone", "soon")
    await pair.run(allow=[Guard.FREE_SPACE], **spec)
    pair.write(pair.local, "a", "x" * (2 << 20))
    pair.write(pair.local, "b", "y" * (2 << 20))
    pair.write(small, "c", "from there")
    (pair.local / "gone").unlink()
    report = await pair.run(allow=[Guard.FREE_SPACE], **spec)
    assert exit_code(report) == EXIT_PARTIAL
    assert pair.live(pair.local)["c"] == b"from there"
    assert pair.live(small) == {"a": b"old", "c": b"from there", "gone": b"soon"}
    assert not list(small.glob(".trueup-tmp*"))
    pair.write(pair.local, "a", "small again")
    (pair.local / "b").unlink()
    assert exit_code(await pair.run(allow=[Guard.FREE_SPACE], **spec)) == EXIT_OK
    assert pair.live(small) == {"a": b"small again", "c": b"from there"}


async def test_a_disk_without_a_free_byte_gives_an_error_of_ours(small: Path, tmp_path: Path) -> None:  # 25
    pair = Pair(tmp_path)
    pair.write(pair.local, "a", "content")
    with (small / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    before = pair.live(pair.local)
    try:
        report = await pair.run(remote=str(small), allow=[Guard.FREE_SPACE])
        assert exit_code(report) in (EXIT_FAILED, EXIT_PARTIAL)
    except StoreError as error:
        assert error.code == "TU-NO-SPACE"  # noqa: PT017
    assert pair.live(pair.local).keys() >= before.keys()


# -- 26: answers that do not come ------------------------------------------------------------------------------------


class Flaky(Wrapper):
    """Every effect fails the first time: before it happened, or after, when only the answer is lost."""

    def __init__(self, inner: Store, error: type[StoreError], *, after: bool) -> None:
        super().__init__(inner)
        self.error = error
        self.after = after
        self.failed: set[tuple[str, Key]] = set()

    def _first(self, what: str, key: Key) -> bool:
        if (what, key) in self.failed:
            return False
        self.failed.add((what, key))
        if not self.after:
            raise self.error("no answer")
        return True

    async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
        lost = self._first("write", key)
        written = await self.inner.write(key, source, expect=expect, trash=trash)
        if lost:
            raise self.error("no answer")
        return written

    async def make_directory(self, key: Key, *, expect: Token | None, trash: Trash | None) -> Written:
        lost = self._first("make", key)
        written = await self.inner.make_directory(key, expect=expect, trash=trash)
        if lost:
            raise self.error("no answer")
        return written

    async def remove(self, key: Key, *, expect: Token, trash: Trash | None) -> Written:
        lost = self._first("remove", key)
        written = await self.inner.remove(key, expect=expect, trash=trash)
        if lost:
            raise self.error("no answer")
        return written

    async def fingerprint(self, key: Key, token: Token) -> Any:
        return await self.inner.fingerprint(key, token)


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("error", [Unavailable, TimedOut])
async def test_answers_that_do_not_come_change_nothing_in_the_end(
    tmp_path: Path, error: type[StoreError], *, after: bool
) -> None:  # 26
    undisturbed = await drifted(tmp_path / "undisturbed")
    await undisturbed.run()
    pair = await drifted(tmp_path / "flaky")
    report = await pair.run(wrap=lambda _, store: Flaky(store, error, after=after))
    assert exit_code(report) == EXIT_OK, [o for o in report.outcomes if o.status is not Status.DONE]
    assert pair.live(pair.local) == pair.live(pair.remote) == undisturbed.live(undisturbed.local)
    assert not pair.lost()
    assert not (await pair.plan()).items
    undone = await pair.undo()
    assert exit_code(undone) == EXIT_OK, [o for o in undone.outcomes if o.status is not Status.DONE]


async def test_a_store_that_never_answers_fails_the_item_and_ends_the_run(pair: Pair) -> None:  # 26
    await agreed(pair, {"a": "old", "b": "gone soon"})
    pair.write(pair.local, "a", "new")
    (pair.local / "b").unlink()

    class Down(Wrapper):
        async def write(self, key: Key, source: Source, *, expect: Token | None, trash: Trash | None) -> Written:
            raise Unavailable("down")

    report = await pair.run(wrap=only(REMOTE, Down))
    assert exit_code(report) == EXIT_FAILED
    assert pair.live(pair.remote) == {"a": b"old", "b": b"gone soon"}
    await pair.settle()
    assert pair.agree()


# -- 28: what is neither file nor name -------------------------------------------------------------------------------


async def test_empty_directories_are_made_and_removed(pair: Pair) -> None:  # 28
    (pair.local / "empty/deep").mkdir(parents=True)
    pair.write(pair.local, "a", "one")
    await pair.settle()
    assert pair.live(pair.remote) == {"a": b"one", "empty/": None, "empty/deep/": None}
    (pair.remote / "empty/deep").rmdir()
    await pair.settle()
    assert pair.live(pair.local) == {"a": b"one", "empty/": None}


async def test_links_pipes_and_sockets_are_reported_and_left_alone(pair: Pair) -> None:  # 28
    outside = pair.base / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not ours")
    (pair.local / "to a file").symlink_to(outside / "secret")
    (pair.local / "to a folder").symlink_to(outside)
    (pair.local / "dangling").symlink_to("nowhere")
    os.mkfifo(pair.local / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(pair.local)  # the path of a socket must be short
    try:
        server.bind("socket")
    finally:
        os.chdir(here)
        server.close()
    pair.write(pair.local, "a", "one")
    report = await pair.run()
    assert exit_code(report) == EXIT_OK
    assert reasons(report.plan) == {
        "a": "create",
        **dict.fromkeys(["dangling", "pipe", "socket", "to a file", "to a folder"], "skipped"),
    }
    assert pair.live(pair.remote) == {"a": b"one"}
    assert (outside / "secret").read_text() == "not ours"


@pytest.mark.parametrize("deletes", EVERY_DELETES)
async def test_a_link_in_the_place_of_a_known_directory_hides_it_and_deletes_nothing(
    pair: Pair, deletes: Deletes
) -> None:  # 28
    await agreed(pair, {"d/a": "one", "b": "two"})
    (pair.local / "d").rename(pair.base / "elsewhere")
    (pair.local / "d").symlink_to(pair.base / "elsewhere")
    pair.write(pair.remote, "d/a", "edited")
    report = await pair.run(policy=Policy(deletes=deletes))
    assert exit_code(report) == EXIT_PARTIAL
    assert (pair.base / "elsewhere/a").read_text() == "one"
    assert pair.live(pair.remote)["d/a"] == b"edited"


async def test_a_link_swapped_in_for_a_directory_during_a_run_leads_nowhere(pair: Pair) -> None:  # 28
    await agreed(pair, {"d/a": "old", "d/gone": "soon", "b": "two"})
    outside = pair.base / "outside"
    outside.mkdir()
    for name in ("a", "gone"):
        (outside / name).write_text("not ours")
    pair.write(pair.local, "d/a", "new")
    pair.write(pair.local, "d/fresh", "fresh")
    (pair.local / "d/gone").unlink()

    def swap() -> None:
        # A rename changes no name that the run could use in between: another write is on its way
        # into the same directory, and would make it again between the removal and the link.
        (pair.base / "link").symlink_to(outside)
        renamed(pair.base / "link", pair.remote / "d", EXCHANGE)

    meddler = Meddler(before={("write", "*"): swap})
    report = await pair.run(wrap=meddler.on(REMOTE))
    assert exit_code(report) in (EXIT_FAILED, EXIT_PARTIAL)
    assert sorted(path.name for path in outside.iterdir()) == ["a", "gone"]
    assert {path.read_text() for path in outside.iterdir()} == {"not ours"}


async def test_a_link_swapped_in_for_a_source_is_not_followed(pair: Pair) -> None:  # 28
    pair.write(pair.local, "a", "mine")
    outside = pair.base / "secret"
    outside.write_text("keys")

    def swap() -> None:
        (pair.local / "a").unlink()
        (pair.local / "a").symlink_to(outside)

    report = await pair.run(wrap=Meddler(before={("write", "a"): swap}).on(REMOTE))
    assert exit_code(report) == EXIT_PARTIAL
    assert pair.live(pair.remote) == {}


async def test_a_pipe_swapped_in_for_a_source_does_not_hang_the_run(pair: Pair) -> None:  # 28
    pair.write(pair.local, "a", "mine")

    def swap() -> None:
        (pair.local / "a").unlink()
        os.mkfifo(pair.local / "a")

    with anyio.fail_after(10):
        report = await pair.run(wrap=Meddler(before={("write", "a"): swap}).on(REMOTE))
    assert exit_code(report) == EXIT_PARTIAL


async def test_permission_bits_come_with_a_new_file_and_stay_with_an_old_one(pair: Pair) -> None:  # 28
    pair.write(pair.local, "script", "run me").chmod(0o755)
    pair.write(pair.local, "private", "for me").chmod(0o600)
    await pair.run()
    assert (pair.remote / "script").stat().st_mode & 0o7777 == 0o755
    assert (pair.remote / "private").stat().st_mode & 0o7777 == 0o600
    (pair.remote / "private").chmod(0o640)
    pair.write(pair.local, "private", "for me, edited")
    (pair.local / "private").chmod(0o600)
    await pair.run()
    assert (pair.remote / "private").read_text() == "for me, edited"
    assert (pair.remote / "private").stat().st_mode & 0o7777 == 0o640


async def test_modification_times_come_with_the_content(pair: Pair) -> None:
    path = pair.write(pair.local, "a", "one", age=12345)
    await pair.run()
    assert (pair.remote / "a").stat().st_mtime_ns == path.stat().st_mtime_ns
