"""The contract of `Write` for trees: directories, changes of kind, and removing."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

from trueup.core.errors import PreconditionFailed
from trueup.core.model import DIRECTORY_TOKEN, OPAQUE_TOKEN, Key, Token, parents
from trueup.protocols import Store, Trash
from trueup.testing.expect import (
    Contract,
    content,
    create,
    equal,
    holdable,
    look,
    make,
    read,
    refused,
    rows,
    skip,
    source_of,
    true,
    unchanged,
)

A = Key("a")
TRASH = Trash("r1")


class DirectoryContract(Contract):
    """What `trueup.protocols.Write` says about directories, and about removing."""

    async def test_directories_above_are_made_on_demand(self, store: Store) -> None:
        for name in holdable(store, ["one/two/three/f", "one/two/other/g"]):
            await create(store, name, b"1")
            if store.properties.directories:
                for directory in parents(name):
                    equal((await look(store, directory)).token, DIRECTORY_TOKEN, f"{directory} is there")

    async def test_a_file_in_the_place_of_a_directory_is_not_replaced_on_demand(self, store: Store) -> None:
        _needs_directories(store)
        await create(store, Key("a"), b"1")
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.write(Key("a/b"), source_of(b"2"), expect=None, trash=TRASH)
            with refused(PreconditionFailed):
                await store.make_directory(Key("a/b/"), expect=None, trash=TRASH)

    async def test_a_store_without_directories_says_so(self, store: Store) -> None:
        if store.properties.directories:
            skip("has directories")
        true(store.properties.names.problem(Key("d/")), "the names have a problem with a directory's")

    async def test_a_directory_is_made_once_and_then_left_as_it_is(self, store: Store) -> None:
        _needs_directories(store)
        written = await store.make_directory(Key("d/e/"), expect=None, trash=TRASH)
        equal((written.token, written.kept), (DIRECTORY_TOKEN, None), "what making a directory returns")
        await create(store, Key("d/e/f"), b"1")
        async with unchanged(store):
            for expect in (None, DIRECTORY_TOKEN):
                again = await store.make_directory(Key("d/e/"), expect=expect, trash=TRASH)
                equal((again.token, again.kept), (DIRECTORY_TOKEN, None), "what making it again returns")
        equal([row[0] for row in await rows(store)], [b"d/", b"d/e/", b"d/e/f"], "the tree")

    async def test_a_directory_takes_the_place_of_a_file_only_if_that_is_expected(self, store: Store) -> None:
        _needs_directories(store)
        token = await create(store, Key("a"), b"one")
        entry = await look(store, Key("a"))
        async with unchanged(store):
            for expect in (None, DIRECTORY_TOKEN, Token("invented")):
                with refused(PreconditionFailed):
                    await store.make_directory(Key("a/"), expect=expect, trash=TRASH)
        written = await store.make_directory(Key("a/"), expect=token, trash=TRASH)
        equal(written.token, DIRECTORY_TOKEN, "a directory's token")
        equal([row[0] for row in await rows(store)], [b"a/"], "the directory is there instead")
        equal(await content(store.kept_source(written.kept or "", entry)), b"one", "the file is kept")
        equal([item.key for item in await store.kept()], [Key("a")], "under its own key")

    async def test_a_directory_is_not_made_in_place_of_a_file_that_is_gone(self, store: Store) -> None:
        _needs_directories(store)
        token = await create(store, Key("a"), b"one")
        await store.remove(Key("a"), expect=token, trash=None)
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.make_directory(Key("a/"), expect=token, trash=TRASH)

    async def test_a_file_takes_the_place_of_an_empty_directory_only_if_that_is_expected(self, store: Store) -> None:
        _needs_directories(store)
        await make(store, Key("d/"))
        async with unchanged(store):
            for expect in (None, Token("invented")):
                with refused(PreconditionFailed):
                    await store.write(Key("d"), source_of(b"1"), expect=expect, trash=TRASH)
        written = await store.write(Key("d"), source_of(b"1"), expect=DIRECTORY_TOKEN, trash=TRASH)
        equal([row[0] for row in await rows(store)], [b"d"], "the file is there instead")
        equal((await look(store, Key("d"))).token, written.token, "a write returns the token that stat shows")
        equal(written.kept, None, "an empty directory has nothing to keep")

    async def test_a_file_never_takes_the_place_of_a_directory_that_holds_something(self, store: Store) -> None:
        _needs_directories(store)
        await create(store, Key("d/x"), b"1")
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.write(Key("d"), source_of(b"1"), expect=DIRECTORY_TOKEN, trash=TRASH)

    async def test_a_directory_that_fills_during_a_write_is_not_replaced(self, store: Store) -> None:
        _needs_directories(store)
        await make(store, Key("d/"))

        def edit() -> None:
            self.outside_write(Key("d/x"), b"theirs")

        with refused(PreconditionFailed):
            await store.write(Key("d"), source_of(b"1", half_way=edit), expect=DIRECTORY_TOKEN, trash=TRASH)
        equal(await read(store, Key("d/x")), b"theirs", "what somebody put there is there")

    async def test_a_file_is_removed_into_the_trash(self, store: Store) -> None:
        token = await create(store, Key("d/a"), b"one")
        entry = await look(store, Key("d/a"))
        removed = await store.remove(Key("d/a"), expect=token, trash=TRASH)
        equal((removed.token, removed.fingerprint), (None, None), "what removing returns")
        equal(await store.stat(Key("d/a")), None, "it is gone")
        equal(await content(store.kept_source(removed.kept or "", entry)), b"one", "content of the removed version")
        if store.properties.directories:
            equal([row[0] for row in await rows(store)], [b"d/"], "the directory above stays")

    async def test_only_the_expected_version_is_removed(self, store: Store) -> None:
        old = await create(store, A, b"one")
        await store.write(A, source_of(b"two"), expect=old, trash=None)
        async with unchanged(store):
            for expect in (old, Token("invented"), Token(""), OPAQUE_TOKEN, DIRECTORY_TOKEN):
                with refused(PreconditionFailed):
                    await store.remove(A, expect=expect, trash=TRASH)
        equal(await read(store, A), b"two", "content")

    async def test_an_edit_before_a_removal_is_kept(self, store: Store) -> None:
        token = await create(store, A, b"one")
        await self.edit(A, b"theirs")
        with refused(PreconditionFailed):
            await store.remove(A, expect=token, trash=TRASH)
        equal(await read(store, A), b"theirs", "the edit is what is there")

    async def test_a_file_that_is_gone_cannot_be_removed(self, store: Store) -> None:
        for key in (A, Key("no/such/name")):
            token = await create(store, key, b"one")
            await store.remove(key, expect=token, trash=None)
            async with unchanged(store):
                with refused(PreconditionFailed):
                    await store.remove(key, expect=token, trash=TRASH)
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.remove(Key("never/was"), expect=Token("invented"), trash=TRASH)

    async def test_only_an_empty_directory_is_removed(self, store: Store) -> None:
        _needs_directories(store)
        token = await create(store, Key("d/e/x"), b"1")
        await make(store, Key("d/f/"))
        async with unchanged(store):
            for name in ("d/e/", "d/"):
                with refused(PreconditionFailed):
                    await store.remove(Key(name), expect=DIRECTORY_TOKEN, trash=TRASH)
        await store.remove(Key("d/e/x"), expect=token, trash=None)
        for name in ("d/e/", "d/f/", "d/"):
            removed = await store.remove(Key(name), expect=DIRECTORY_TOKEN, trash=TRASH)
            equal((removed.token, removed.kept), (None, None), "what removing a directory returns")
        equal(await rows(store), [], "everything is gone")

    async def test_a_directory_that_is_gone_is_removed_without_an_error(self, store: Store) -> None:
        _needs_directories(store)
        for name in ("d/", "no/such/name/"):
            await store.remove(Key(name), expect=DIRECTORY_TOKEN, trash=TRASH)
        equal(await rows(store), [], "nothing is there")


def _needs_directories(store: Store) -> None:
    if not store.properties.directories:
        skip("has no directories")
