"""The contract of `Keeps` and `Marked`: what was replaced can be had again, and a root is what it was."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

from trueup.core.errors import Locked, NotFound, PreconditionFailed
from trueup.core.model import Entry, Key, Token, key_bytes
from trueup.protocols import Store, Trash
from trueup.testing.expect import (
    Contract,
    content,
    create,
    equal,
    holdable,
    keys,
    look,
    read,
    refused,
    rows,
    snapshot,
    source_of,
    true,
    unchanged,
)
from trueup.testing.looking import HOSTILE

A = Key("a")


class KeepsContract(Contract):
    """What `trueup.protocols.Keeps` says."""

    async def test_the_trash_says_what_it_holds(self, store: Store) -> None:
        token = await create(store, Key("d/b"), b"four")
        written = await store.write(Key("d/b"), source_of(b"1"), expect=token, trash=Trash("r2"))
        token = await create(store, A, b"333")
        removed = await store.remove(A, expect=token, trash=Trash("r2"))
        token = await create(store, A, b"22")
        again = await store.remove(A, expect=token, trash=Trash("r1"))
        found = [(item.run, item.key, item.size, item.handle) for item in await store.kept()]
        expected = [
            ("r1", A, 2, again.kept),
            ("r2", A, 3, removed.kept),
            ("r2", Key("d/b"), 4, written.kept),
        ]
        equal(found, expected, "the trash, by run and key")
        equal(len({item[3] for item in found}), 3, "every handle names one version")

    async def test_a_key_replaced_often_in_one_run_keeps_every_version(self, store: Store) -> None:
        token: Token | None = None
        handles: list[tuple[str, Entry]] = []
        for n in range(5):
            before = await store.stat(A)
            written = await store.write(A, source_of(f"v{n}".encode()), expect=token, trash=Trash("r1"))
            token = written.token
            if before is not None:
                handles.append((written.kept or "", before))
        found = [await content(store.kept_source(handle, entry)) for handle, entry in handles]
        equal(found, [b"v0", b"v1", b"v2", b"v3"], "every version is kept")

    async def test_a_kept_version_says_what_it_was_when_it_was_live(self, store: Store) -> None:
        await create(store, A, b"old")
        entry = await look(store, A)
        removed = await store.remove(A, expect=entry.token, trash=Trash("r1"))
        source = store.kept_source(removed.kept or "", entry)
        equal((source.size, source.modified_ns, source.mode), (3, entry.modified_ns, entry.mode), "size, time, mode")

    async def test_a_kept_version_can_be_put_back(self, store: Store) -> None:
        token = await create(store, A, b"old")
        entry = await look(store, A)
        written = await store.write(A, source_of(b"newer"), expect=token, trash=Trash("r1"))
        source = store.kept_source(written.kept or "", entry)
        back = await store.write(A, source, expect=written.token, trash=Trash("r2"))
        equal(await read(store, A), b"old", "the old content is back")
        equal([item.run for item in await store.kept()], ["r1", "r2"], "both versions are kept")
        equal(await content(source), b"old", "a kept version can be read again and again")
        same = store.properties.tokens_name_content
        equal(back.token == token, same, "what is put back is a version of its own, unless tokens name the content")

    async def test_versions_of_any_name_can_be_kept(self, store: Store) -> None:
        names = holdable(store, HOSTILE)
        for name in names:
            token = await create(store, name, key_bytes(name))
            entry = await look(store, name)
            removed = await store.remove(name, expect=token, trash=Trash("r1"))
            kept = await content(store.kept_source(removed.kept or "", entry))
            equal(kept, key_bytes(name), f"content of what was {name!r}")
        found = [item.key for item in await store.kept()]
        equal(sorted(found, key=key_bytes), sorted(names, key=key_bytes), "keys in the trash")
        equal(found, sorted(found, key=key_bytes), "the trash is ordered by the bytes of the keys")

    async def test_a_file_and_what_was_below_its_name_are_kept_in_one_run(self, store: Store) -> None:
        token = await create(store, A, b"file")
        await store.remove(A, expect=token, trash=Trash("r1"))
        token = await create(store, Key("a/b"), b"below")
        await store.remove(Key("a/b"), expect=token, trash=Trash("r1"))
        equal([item.key for item in await store.kept()], [A, Key("a/b")], "keys in the trash")

    async def test_pruning_destroys_one_version_and_no_other(self, store: Store) -> None:
        token: Token | None = None
        handles = []
        for text in (b"v0", b"v1", b"v2"):
            written = await store.write(A, source_of(text), expect=token, trash=Trash("r1"))
            token = written.token
            handles.append(written.kept or "")
        entry = await look(store, A)
        await store.prune(handles[1])
        equal([item.handle for item in await store.kept()], [handles[2]], "what is left in the trash")
        with refused(PreconditionFailed, NotFound):
            await content(store.kept_source(handles[1], entry))
        equal(await content(store.kept_source(handles[2], entry)), b"v1", "the other version")
        equal(await read(store, A), b"v2", "the live version")

    async def test_what_is_not_in_the_trash_cannot_be_pruned(self, store: Store) -> None:
        token = await create(store, A, b"1")
        removed = await store.remove(A, expect=token, trash=Trash("r1"))
        await store.prune(removed.kept or "")
        with refused(NotFound):
            await store.prune(removed.kept or "")
        with refused(NotFound):
            await store.prune("r1/0/never")

    async def test_reading_the_trash_changes_nothing(self, store: Store) -> None:
        token = await create(store, A, b"1")
        entry = await look(store, A)
        removed = await store.remove(A, expect=token, trash=Trash("r1"))
        async with unchanged(store):
            await content(store.kept_source(removed.kept or "", entry))


class MarkedContract(Contract):
    """What `trueup.protocols.Marked` says."""

    async def test_an_identity_is_set_once(self, store: Store) -> None:
        equal(await store.marker(), None, "a new root has no identity")
        equal(await store.set_marker("first"), "first", "the identity that is there")
        equal(await store.set_marker("second"), "first", "an identity is never replaced")
        equal(await store.marker(), "first", "the identity that is there")
        equal(await rows(store), [], "an identity is not an item")

    async def test_a_root_is_held_by_one_run_at_a_time(self, store: Store) -> None:
        async with store.hold("one"):
            try:
                async with store.hold("two"):
                    raise AssertionError("a second run holds the root")
            except Locked as error:
                true("one" in str(error), f"the message names the holder: {error}")
        async with store.hold("three"):
            equal(await keys(store), [], "a lock is not an item")

    async def test_a_run_that_fails_lets_go(self, store: Store) -> None:
        with refused(ZeroDivisionError):
            async with store.hold("one"):
                raise ZeroDivisionError
        async with store.hold("two"):
            pass

    async def test_free_room_is_a_number_or_not_known(self, store: Store) -> None:
        free = await store.free_bytes()
        true(free is None or free >= 0, f"bytes: {free}")

    async def test_there_is_nothing_to_clean_after_writes_that_ended(self, store: Store) -> None:
        token = await create(store, Key("d/a"), b"1")
        await store.write(Key("d/a"), source_of(b"2"), expect=token, trash=Trash("r1"))
        with refused(PreconditionFailed):
            await store.write(Key("d/a"), source_of(b"3"), expect=token, trash=Trash("r1"))
        before = await snapshot(store)
        async with store.hold("one"):
            equal(await store.clean(), [], "what was half-done")
        equal(await snapshot(store), before, "cleaning changes nothing")
