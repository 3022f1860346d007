"""The whole contract of a store, and how it holds when calls fail."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

from dataclasses import replace
from random import Random

from trueup.core.errors import Corrupt, PreconditionFailed, Unavailable
from trueup.core.model import Key
from trueup.protocols import Store, Trash
from trueup.testing.batching import BatchContract
from trueup.testing.clock import LogicalClock
from trueup.testing.expect import (
    Contract,
    agree,
    content,
    create,
    equal,
    fingerprint_of,
    look,
    read,
    source_of,
    true,
)
from trueup.testing.faulty import Faulty, Seeded
from trueup.testing.keeping import KeepsContract, MarkedContract
from trueup.testing.looking import ObserveContract, ReadContract
from trueup.testing.moving import MoveContract, moves_or_skip
from trueup.testing.trees import DirectoryContract
from trueup.testing.writing import WriteContract

PASSING = (PreconditionFailed, Unavailable, Corrupt)
"""What a faulty store raises and a fresh attempt can mend."""


class FaultContract(Contract):
    """After an error either nothing or everything has happened, and a fresh attempt converges."""

    seeds = 25
    """How many random courses are run."""

    async def test_after_an_error_a_write_has_happened_or_has_not(self, store: Store) -> None:
        for seed in range(self.seeds):
            key, old, new = Key(f"d/{seed}"), b"old" * 70_000, b"new" * 70_000
            token = await create(store, key, old)
            entry = await look(store, key)
            faulty = _faulty(store, seed)
            promised = source_of(new, fingerprint=fingerprint_of(new))
            try:
                await faulty.write(key, promised, expect=token, trash=Trash(f"r{seed}"))
            except PASSING as error:
                true(faulty.injected, f"nothing fails by itself: {error!r}")
            happened = await read(store, key) == new
            true(happened or (await look(store, key)).token == token, "the old version is there or the new content")
            kept = [item.handle for item in await store.kept() if item.run == f"r{seed}"]
            equal(len(kept), happened, "the old version is in the trash if, and only if, it was replaced")
            for handle in kept:
                true(await content(store.kept_source(handle, entry)) == old, "and it is whole")
            await agree(faulty, key, b"newest")
            equal(await read(store, key), b"newest", "fresh attempts converge")

    async def test_after_an_error_a_removal_has_happened_or_has_not(self, store: Store) -> None:
        for seed in range(self.seeds):
            key = Key(f"d/{seed}")
            token = await create(store, key, b"old")
            faulty = _faulty(store, seed)
            try:
                await faulty.remove(key, expect=token, trash=Trash(f"r{seed}"))
            except PASSING as error:
                true(faulty.injected, f"nothing fails by itself: {error!r}")
            gone = await store.stat(key) is None
            kept = [item for item in await store.kept() if item.run == f"r{seed}"]
            equal(len(kept), gone, "the version is in the trash if, and only if, it was removed")
            await agree(faulty, key, b"newest")
            equal(await read(store, key), b"newest", "fresh attempts converge")

    async def test_after_an_error_a_move_has_happened_or_has_not(self, store: Store) -> None:
        moves_or_skip(store)
        for seed in range(self.seeds):
            old, new = Key(f"d/{seed}"), Key(f"e/{seed}/new")
            token = await create(store, old, b"text")
            faulty = _faulty(store, seed)
            try:
                await faulty.move(old, new, expect=token)
            except PASSING as error:
                true(faulty.injected, f"nothing fails by itself: {error!r}")
            there = [key for key in (old, new) if await store.stat(key) is not None]
            equal(len(there), 1, "the file has one name, the old or the new")
            equal(await read(store, there[0]), b"text", "content")

    async def test_a_copy_between_failing_stores_converges_to_the_same_bytes(self, store: Store) -> None:
        data = Random(0).randbytes(200_000)  # noqa: S311  # content, not a secret
        await create(store, Key("from"), data)
        for seed in range(self.seeds):
            faulty = _faulty(store, seed)
            for _ in range(100):
                try:
                    entry = await faulty.stat(Key("from"))
                    there = await faulty.stat(Key("to"))
                    if entry is None:
                        raise AssertionError("the source is there")
                    known = replace(entry, content=replace(entry.content, fingerprint=fingerprint_of(data)))
                    expect = there.token if there else None
                    await faulty.write(Key("to"), faulty.source(Key("from"), known), expect=expect, trash=None)
                except PASSING:
                    now = await store.stat(Key("to"))
                    true(now is None or await read(store, Key("to")) == data, "a harmed copy is never there")
                    continue
                break
            true(await read(store, Key("to")) == data, "fresh attempts converge")


class StoreContract(
    ObserveContract,
    ReadContract,
    WriteContract,
    BatchContract,
    MoveContract,
    DirectoryContract,
    KeepsContract,
    MarkedContract,
    FaultContract,
):
    """Every sentence of `trueup.protocols.Store` as a test; see `trueup.testing` for how to join."""


def _faulty(store: Store, seed: int) -> Faulty:
    return Faulty(store, decide=Seeded(Random(seed), rate=0.5), clock=LogicalClock())  # noqa: S311  # drawn, not hidden
