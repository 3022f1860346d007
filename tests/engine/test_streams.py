"""Listings walked in step: the same ranges of keys, checked order, breaks and disorder."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

import pytest

from trueup.core.errors import Unavailable
from trueup.core.model import Kind, Row, Token
from trueup.engine.ambient import Ambient
from trueup.engine.spool import spooled
from trueup.engine.streams import Batch, Chunk, OutOfOrder, in_step


async def stream(keys: Sequence[int], size: int, *, error: Exception | None = None) -> AsyncIterator[Batch]:
    rows = [(b"%06d" % key,) for key in keys]
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
    if error is not None:
        raise error


async def collect(sources: Mapping[str, AsyncIterator[Batch]]) -> list[Chunk]:
    async with aclosing(in_step(sources)) as chunks:  # type: ignore[type-var]  # a generator
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize("seed", range(20))
async def test_chunks_cover_the_same_ranges_and_every_row_once(seed: int) -> None:
    rng = random.Random(seed)
    keys = {name: sorted(rng.sample(range(20_000), rng.randrange(1, 9000))) for name in ("a", "b", "c")}
    chunks = await collect({name: stream(k, rng.randrange(1, 3000)) for name, k in keys.items()})
    for name in keys:
        assert [int(row[0]) for chunk in chunks for row in chunk.rows[name]] == keys[name]
    last = b""
    for chunk in chunks:
        inside = [row[0] for rows in chunk.rows.values() for row in rows]
        if inside:
            assert min(inside) > last
            last = max(inside)


async def test_nothing_at_all_is_one_empty_chunk() -> None:
    chunks = await collect({"a": stream([], 1), "b": stream([], 1)})
    assert [dict(chunk.rows) for chunk in chunks] in ([{"a": [], "b": []}], [])


async def test_a_stream_that_breaks_off_is_named_and_what_it_said_counts() -> None:
    broken = Unavailable("broken")
    chunks = await collect({"a": stream(range(10), 3, error=broken), "b": stream(range(20), 4)})
    assert [int(row[0]) for chunk in chunks for row in chunk.rows["a"]] == list(range(10))
    assert [int(row[0]) for chunk in chunks for row in chunk.rows["b"]] == list(range(20))
    assert chunks[-1].lost == {"a": broken}


@pytest.mark.parametrize("keys", [[1, 3, 2], [1, 1], [5, 6, 7, 1]])
@pytest.mark.parametrize("size", [1, 2, 10])
async def test_a_stream_out_of_order_is_noticed(keys: list[int], size: int) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await collect({"a": stream(range(10), 3), "b": stream(keys, size)})
    assert caught.group_contains(OutOfOrder, match="b")


def row(key: bytes, note: str = "") -> Row:
    return (key, Token("t"), Kind.FILE, 3, 2**62, 0o644, note)


async def listing(batches: Sequence[list[Row]]) -> AsyncIterator[list[Row]]:
    for batch in batches:
        yield batch


async def test_what_arrives_out_of_order_is_put_in_order_on_disk() -> None:
    keys = [b"a/b", b"a!x", b"\xff", b"a", b"two\nlines", b"\x00odd"]
    keys += [b"%05d" % n for n in random.Random(1).sample(range(9000), 5000)]
    rows = [row(key) for key in keys]
    batches = [rows[n : n + 100] for n in range(0, len(rows), 100)]
    sorted_ = [row async for batch in spooled(listing(batches), Ambient().threads) for row in batch]
    assert sorted_ == sorted(rows)
    assert all(isinstance(row[2], Kind) for row in sorted_)


async def test_a_key_that_is_listed_twice_counts_as_it_was_listed_last() -> None:
    rows = [[row(b"a", "first"), row(b"b")], [row(b"a", "last")]]
    sorted_ = [row async for batch in spooled(listing(rows), Ambient().threads) for row in batch]
    assert sorted_ == [row(b"a", "last"), row(b"b")]
