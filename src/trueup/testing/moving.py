"""The contract of `Write.move`: another name, the same content, and nothing else changes."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

import anyio

from trueup.core.errors import PreconditionFailed
from trueup.core.model import DIRECTORY_TOKEN, OPAQUE_TOKEN, Key, Token
from trueup.core.table import Verb
from trueup.protocols import Store
from trueup.testing.expect import (
    Contract,
    create,
    equal,
    is_version,
    keys,
    look,
    read,
    refused,
    skip,
    source_of,
    true,
    unchanged,
)

OLD, NEW = Key("old"), Key("new")
ROUNDS = 8
"""How often a race is run."""


def moves_or_skip(store: Store) -> None:
    """Skip for a store that does not say that it can move."""
    if Verb.MOVE not in store.properties.verbs:
        skip("this store cannot give a file another name")


class MoveContract(Contract):
    """What `trueup.protocols.Write.move` says; skipped for a store that does not list the verb."""

    async def test_a_move_changes_the_name_and_neither_content_nor_time(self, store: Store) -> None:
        moves_or_skip(store)
        await store.write(OLD, source_of(b"text", modified_ns=1_600_000_000_000_000_000), expect=None, trash=None)
        before = await look(store, OLD)
        written = await store.move(OLD, NEW, expect=before.token)
        after = await look(store, NEW)
        equal(await store.stat(OLD), None, "nothing has the old name")
        equal(written.token, after.token, "a move returns the token that stat shows")
        true(is_version(after.token), "a file's token is no reserved one")
        equal(await read(store, NEW), b"text", "content")
        equal((after.modified_ns, after.mode), (before.modified_ns, before.mode), "time and permission bits")
        equal((written.kept, await store.kept()), (None, []), "the trash is empty")

    async def test_a_moved_file_is_listed_under_its_new_name_only(self, store: Store) -> None:
        moves_or_skip(store)
        token = await create(store, Key("d/old"), b"text")
        await store.move(Key("d/old"), Key("d/new"), expect=token)
        equal([key for key in await keys(store) if not key.endswith("/")], [Key("d/new")], "files")

    async def test_a_move_makes_the_directories_above_its_new_name(self, store: Store) -> None:
        moves_or_skip(store)
        token = await create(store, Key("d/old"), b"text")
        await store.move(Key("d/old"), Key("a/b/c/new"), expect=token)
        equal(await read(store, Key("a/b/c/new")), b"text", "content")

    async def test_a_move_of_another_version_is_refused_and_leaves_nothing_behind(self, store: Store) -> None:
        moves_or_skip(store)
        first = await create(store, OLD, b"one")
        await store.write(OLD, source_of(b"two"), expect=first, trash=None)
        async with unchanged(store):
            for expect in (first, Token("invented"), Token(""), OPAQUE_TOKEN, DIRECTORY_TOKEN):
                with refused(PreconditionFailed):
                    await store.move(OLD, Key("a/b/new"), expect=expect)
        equal(await read(store, OLD), b"two", "content")

    async def test_a_move_of_nothing_is_refused(self, store: Store) -> None:
        moves_or_skip(store)
        token = await create(store, OLD, b"one")
        await store.remove(OLD, expect=token, trash=None)
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.move(OLD, Key("a/b/new"), expect=token)

    async def test_a_move_never_replaces(self, store: Store) -> None:
        moves_or_skip(store)
        token = await create(store, OLD, b"mine")
        await create(store, NEW, b"theirs")
        await create(store, Key("same"), b"mine")
        async with unchanged(store):
            for taken in (NEW, Key("same")):
                with refused(PreconditionFailed):
                    await store.move(OLD, taken, expect=token)
        equal((await read(store, OLD), await read(store, NEW)), (b"mine", b"theirs"), "contents")

    async def test_a_move_to_the_name_of_a_directory_is_refused(self, store: Store) -> None:
        moves_or_skip(store)
        if not store.properties.directories:
            skip("this store has no directories")
        token = await create(store, OLD, b"mine")
        await store.make_directory(Key("new/"), expect=None, trash=None)
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.move(OLD, NEW, expect=token)

    async def test_a_moved_file_can_be_written_by_its_new_version(self, store: Store) -> None:
        moves_or_skip(store)
        token = await create(store, OLD, b"one")
        moved = await store.move(OLD, NEW, expect=token)
        await store.write(NEW, source_of(b"two"), expect=moved.token, trash=None)
        equal(await read(store, NEW), b"two", "content")

    async def test_of_two_moves_of_one_file_exactly_one_wins(self, store: Store) -> None:
        moves_or_skip(store)
        if not store.properties.refuses_lost_races:
            skip("this store cannot refuse a lost race")
        for n in range(ROUNDS):
            old, targets = Key(f"old{n}"), [Key(f"a{n}"), Key(f"b{n}")]
            token = await create(store, old, b"text")
            winners: list[Key] = []

            async def move(target: Key, old: Key = old, token: Token = token, winners: list[Key] = winners) -> None:
                try:
                    await store.move(old, target, expect=token)
                except PreconditionFailed:
                    return
                winners.append(target)

            async with anyio.create_task_group() as tasks:
                for target in targets:
                    tasks.start_soon(move, target)
            equal(len(winners), 1, "moves that won")
            there = [key for key in (old, *targets) if await store.stat(key) is not None]
            equal(there, winners, "the file has the winner's name")
