"""The contract of `Write.batch`: each effect is what its single call is, one after the other."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

from trueup.core.errors import PreconditionFailed, StoreError
from trueup.core.model import Key, Token
from trueup.protocols import Effect, Move, Put, Remove, Store, Trash, Written
from trueup.testing.expect import Contract, content, create, equal, fingerprint_of, look, read, source_of, true
from trueup.testing.moving import moves_or_skip


class BatchContract(Contract):
    """What `trueup.protocols.Write.batch` says."""

    async def test_a_batch_does_what_its_single_calls_do(self, store: Store) -> None:
        old, gone = await create(store, Key("old"), b"old"), await create(store, Key("gone"), b"gone")
        entry = await look(store, Key("old"))
        effects: list[Effect] = [
            Put(Key("d/new"), source_of(b"new"), None, None),
            Put(Key("old"), source_of(b"newer"), old, Trash("r1")),
            Remove(Key("gone"), gone, Trash("r1")),
        ]
        new, newer, removed = _written(await store.batch(effects))
        equal(await read(store, Key("d/new")), b"new", "a new file is there")
        equal(await read(store, Key("old")), b"newer", "a file is replaced")
        equal(await store.stat(Key("gone")), None, "a file is gone")
        equal(new.token, (await look(store, Key("d/new"))).token, "the token of what was written")
        equal((newer.fingerprint, new.fingerprint), (fingerprint_of(b"newer"), fingerprint_of(b"new")), "digests")
        equal(sorted(item.key for item in await store.kept()), [Key("gone"), Key("old")], "both are kept")
        equal(await content(store.kept_source(newer.kept or "", entry)), b"old", "by the handle that is told")
        true(removed.token is None and removed.kept, "a removal leaves no version, and keeps the old one")

    async def test_in_a_batch_an_error_stops_no_other(self, store: Store) -> None:
        await create(store, Key("taken"), b"theirs")
        effects: list[Effect] = [
            Put(Key("a"), source_of(b"a"), None, None),
            Put(Key("taken"), source_of(b"mine"), None, None),
            Remove(Key("nothing"), Token("v0"), None),
            Put(Key("b"), source_of(b"b"), None, None),
        ]
        answers = await store.batch(effects)
        equal([isinstance(answer, Written) for answer in answers], [True, False, False, True], "only two are refused")
        true(all(isinstance(answer, PreconditionFailed) for answer in answers[1:3]), "as lost races")
        equal(await read(store, Key("taken")), b"theirs", "what is refused changes nothing")
        equal(await read(store, Key("b")), b"b", "what comes after it is done")

    async def test_a_batch_is_carried_out_in_its_order(self, store: Store) -> None:
        moves_or_skip(store)
        token = await create(store, Key("one"), b"first")
        effects: list[Effect] = [
            Move(Key("one"), Key("two"), token),
            Put(Key("one"), source_of(b"second"), None, None),
        ]
        _written(await store.batch(effects))
        equal(await read(store, Key("two")), b"first", "moved away")
        equal(await read(store, Key("one")), b"second", "before its name was taken")

    async def test_an_empty_batch_does_nothing(self, store: Store) -> None:
        equal(await store.batch([]), [], "no effects, no answers")


def _written(answers: list[Written | StoreError]) -> list[Written]:
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return [answer for answer in answers if isinstance(answer, Written)]
