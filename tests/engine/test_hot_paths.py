"""Short cuts on the way of a million rows: each must say the same as the long way."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trueup.core import merge
from trueup.core.errors import StateDamaged
from trueup.core.merge import Merge
from trueup.core.model import LOCAL, REMOTE, Ancestor, AncestorRow, Content, Key, Kind, Row, Token
from trueup.core.plan import Target
from trueup.engine.filter import DEFAULT_EXCLUDES, PatternFilter
from trueup.engine.state import State
from trueup.engine.streams import in_step
from trueup.stores.file.scan import Scan

TARGET = Target("id", "name", "folder", {LOCAL: "/a", REMOTE: "/b"})


def rows(keys: list[bytes], *, changed: set[bytes]) -> list[Row]:
    return [(key, Token("new" if key in changed else "old"), Kind.FILE, 1, 1, None, "") for key in keys]


@pytest.mark.parametrize("seed", range(8))
def test_halving_finds_what_a_look_at_every_row_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(seed)
    keys = [b"%05d" % n for n in range(2_000)]

    def some(share: float) -> set[bytes]:
        return {key for key in keys if rng.random() < share}

    missing = [some(0.002 * seed) for _ in range(3)]
    local = rows([key for key in keys if key not in missing[0]], changed=some(0.005))
    remote = rows([key for key in keys if key not in missing[1]], changed=some(0.005))
    ancestors: list[AncestorRow] = [(key, Token("old"), Token("old")) for key in keys if key not in missing[2]]
    found = []
    for narrow in (1, 64, 1_000_000):
        monkeypatch.setattr(merge, "NARROW", narrow)
        halved = Merge()
        found.append((halved.feed(local, remote, ancestors), halved.agreed, halved.tallies))
    assert found[0] == found[1] == found[2]
    assert 0 < len(found[0][0]) < 200


NAMES = ["a.txt", "b.pyc", "x~", ".git", "__pycache__", ".y.swp", "Thumbs.db", "c.tmp", "t", "q.part", "[a]", "n\n.tmp"]


@pytest.mark.parametrize(
    "patterns", [DEFAULT_EXCLUDES, ("t",), ("*~", "?.txt"), ("*.p*",), (), ("#t",), ("[ab]*",), ("a/b",), ("!t", "t")]
)
def test_a_whole_folder_is_cleared_only_if_each_of_its_names_is(patterns: tuple[str, ...]) -> None:
    chosen = PatternFilter(exclude=patterns)
    rng = Random(1)
    for _ in range(300):
        names = rng.sample(NAMES, 3)
        excluded = any(chosen.excludes(name, directory=directory) for name in names for directory in (False, True))
        cleared = chosen.excludes_none("\0" + "\0".join(names) + "\0")
        assert not (cleared and excluded), names
    assert chosen.excludes_none("\0plain\0") or any(set(pattern) & set("[/!") for pattern in patterns)
    assert not PatternFilter(include=["*.txt"]).excludes_none("\0plain\0")


def test_sizes_are_asked_about_only_where_they_matter() -> None:
    assert not PatternFilter(exclude=DEFAULT_EXCLUDES).sized
    assert PatternFilter(min_size=1).sized
    assert PatternFilter(max_size=1).sized


def test_a_listing_is_in_the_order_of_key_bytes_whatever_the_names(tmp_path: Path) -> None:
    names = [
        b"a",
        b"a-",
        b"a0",
        b"\xff",
        b"\xc3\xa9",
        b"e\xcc\x81",
        b"\xf0\x9f\x98\x80",
        b"\xef\xbf\xbd",
        b"line\nbreak",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name + b"-file")).touch()
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / "below").touch()
    keys = [row[0] for batch in Scan(str(tmp_path)).batches() for row in batch]
    expected = [entry for name in names for entry in (name + b"-file", name + b"/", name + b"/below")]
    assert keys == sorted(expected)


@pytest.mark.parametrize("odd", ["nothing", "key", "token"])
def test_ancestors_come_back_in_order_over_many_batches(tmp_path: Path, odd: str) -> None:
    state = State(tmp_path / "state")
    number = state.remember_target(TARGET)
    kept = {
        Key(f"{n:05d}" + ("\0" if odd == "key" and n == 7 else "")): Ancestor(
            Token(f"l{n}" + ("\0" if odd == "token" and n == 3_000 else "")), Token(f"r{n}"), Content(Kind.FILE, n)
        )
        for n in range(5_000)
    }
    with state.transaction() as connection:
        state.commit_ancestors(connection, number, kept.items())
    found = [row for batch in state.scan_ancestors(number) for row in batch]
    state.close()
    assert found == [(key.encode(), ancestor.local, ancestor.remote) for key, ancestor in kept.items()]


async def test_a_walk_that_is_broken_off_tells_the_cause() -> None:
    async def listing() -> AsyncIterator[list[Any]]:
        for n in range(10):
            yield [(b"%d" % n,)]

    async def walk() -> None:
        async with aclosing(in_step({"x": listing()})) as chunks:  # type: ignore[type-var]  # a generator
            async for _ in chunks:
                raise StateDamaged("the cause")

    with pytest.raises(StateDamaged, match="the cause"):
        await walk()


async def test_the_collector_runs_as_before_once_the_last_walk_is_over() -> None:
    async def listing() -> AsyncIterator[list[Any]]:
        yield [(b"a",)]
        yield [(b"b",)]

    before = gc.get_threshold()
    async with aclosing(in_step({"x": listing()})) as first:  # type: ignore[type-var]  # a generator
        await anext(first)
        async with aclosing(in_step({"x": listing()})) as second:  # type: ignore[type-var]
            await anext(second)
            assert gc.get_threshold()[0] >= 100_000
        assert gc.get_threshold()[0] >= 100_000
    assert gc.get_threshold() == before
