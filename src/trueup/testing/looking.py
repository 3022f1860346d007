"""The contract of `Observe` and `Read`: nothing is missed, nothing is mixed up, nothing is torn."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

import random

from trueup.core.errors import NotFound, PreconditionFailed, Unaddressable
from trueup.core.model import (
    DIRECTORY_TOKEN,
    OPAQUE_KINDS,
    Key,
    Kind,
    Token,
    entry_from_row,
    key_bytes,
    key_from_bytes,
    parents,
)
from trueup.protocols import Store, Trash
from trueup.testing.expect import (
    CHUNK,
    Contract,
    content,
    create,
    equal,
    fingerprint_of,
    holdable,
    in_order,
    in_thread,
    is_version,
    keys,
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

PLAIN = ["0", "a!x", "a.txt", "a/b", "a/c/d", "a0", "b", "Q/e"]
"""Names that every store holds. ``a!x`` < ``a.txt`` < ``a/`` < ``a/b`` < ``a0`` in bytes."""

HOSTILE = [
    *PLAIN,
    "new\nline",
    "tab\t",
    "\x01control\x7f",
    " leading",
    "trailing ",
    "dot.",
    "...",
    "..x",
    "a..b",
    "-rf",
    "*?[!a]{b,c}",
    "back\\slash",
    "%2e%2e%2fe",
    "quote\"'`$(x)",
    "con",
    "c:stream",
    "n" * 255,
    "d/" + "\u00e9" * 127,
    "caf\u00e9",
    "cafe\u0301",
    "\uffee",
    "\U0001f600",
    "bytes-\udcff\udc80",
    "\udce9t\udce9",
    "\u00e9-after-the-next",
    "\udc80-before-the-last",
    "\udcff-after-all",
    "x/.trueup/y",
    ".trueupx",
]

UNADDRESSABLE = [
    "",
    ".",
    "..",
    "../e",
    "a/../../e",
    "/lead",
    "a//b",
    "x/..",
    "./x",
    "a/./b",
    "nul\0",
    "n" * 256,
    "d/" + "\u00e9" * 128 + "/f",
    ".trueup",
    ".trueup/x",
    "\ud800",
]
"""Names that no store may touch: they lead out of the root, are reserved, or fit no file system."""


class ObserveContract(Contract):
    """What `trueup.protocols.Observe` says."""

    def test_a_store_says_where_it_is(self, store: Store) -> None:
        true(store.properties.location, "a location is for people: it is not empty")
        equal(store.properties.location, store.properties.location, "a location is canonical: it stays the same")

    async def test_an_empty_store_is_listed_as_empty(self, store: Store) -> None:
        equal(await rows(store), [], "nothing is there")

    async def test_what_is_not_there_is_none(self, store: Store) -> None:
        for name in ("a", "a/b/c", "d/"):
            equal(await store.stat(Key(name)), None, f"{name} is not there")

    async def test_a_file_is_not_a_directory_and_holds_nothing(self, store: Store) -> None:
        await create(store, Key("f"), b"1")
        equal(await store.stat(Key("f/")), None, "a file is not there as a directory")
        equal(await store.stat(Key("f/below")), None, "nothing is below a file")

    async def test_a_directory_is_there_by_its_own_key_only(self, store: Store) -> None:
        if not store.properties.directories:
            skip("has no directories")
        await make(store, Key("d/"))
        entry = await look(store, Key("d/"))
        equal((entry.token, entry.content.kind), (DIRECTORY_TOKEN, Kind.DIRECTORY), "a directory is one")
        equal(await store.stat(Key("d")), None, "a directory is not there as a file")

    async def test_the_names_that_everybody_uses_can_be_held(self, store: Store) -> None:
        for name in PLAIN:
            equal(store.properties.names.problem(Key(name)), None, f"{name!r} can be held")

    async def test_a_scan_shows_hostile_names_in_the_order_of_their_bytes(self, store: Store) -> None:
        names = holdable(store, HOSTILE)
        shuffled = random.Random(0).sample(names, len(names))  # noqa: S311  # an order, not a secret
        for name in shuffled:
            await create(store, name, key_bytes(name))
        found = await rows(store)
        in_order(found)
        expected = {key_bytes(name) for name in names}
        if store.properties.directories:
            expected |= {key_bytes(directory) for name in names for directory in parents(name)}
        equal({row[0] for row in found}, expected, "a scan shows each item under its own name, and no others")
        for name in names:
            equal(await read(store, name), key_bytes(name), f"{name!r} holds its own bytes")

    async def test_a_file_and_a_tree_of_one_name_are_apart_in_order_or_exclude_each_other(self, store: Store) -> None:
        await create(store, Key("a/b"), b"1")
        await create(store, Key("a!x"), b"2")
        if store.properties.directories:
            async with unchanged(store):
                with refused(PreconditionFailed):
                    await create(store, Key("a"), b"3")
            expected = [b"a!x", b"a/", b"a/b"]
        else:
            await create(store, Key("a"), b"3")
            expected = [b"a", b"a!x", b"a/b"]
        equal([row[0] for row in await rows(store)], expected, "order of keys")

    async def test_directories_are_rows_only_where_they_exist_by_themselves(self, store: Store) -> None:
        await create(store, Key("a/b/c"), b"1")
        found = [(row[0], row[1]) for row in await rows(store) if row[2] is Kind.DIRECTORY]
        expected = [(b"a/", DIRECTORY_TOKEN), (b"a/b/", DIRECTORY_TOKEN)] if store.properties.directories else []
        equal(found, expected, "directories")

    async def test_a_row_says_what_stat_says(self, store: Store) -> None:
        await create(store, Key("empty"), b"")
        await create(store, Key("d/x"), b"12345")
        for row in await rows(store):
            key = key_from_bytes(row[0])
            shown, entry = entry_from_row(row), await look(store, key)
            equal(shown.token, entry.token, f"token of {key}")
            equal((shown.content.kind, shown.content.size), (entry.content.kind, entry.content.size), f"{key}")
            if store.properties.complete_rows:
                equal((shown.modified_ns, shown.mode), (entry.modified_ns, entry.mode), f"time and mode of {key}")
            if shown.content.fingerprint is not None and shown.content.fingerprint.algorithm == "blake3":
                equal(shown.content.fingerprint, fingerprint_of(await read(store, key)), f"fingerprint of {key}")

    async def test_a_scan_sees_what_others_do(self, store: Store) -> None:
        await self.edit(Key("d/new"), b"1")
        await self.edit(Key("edited"), b"1")
        await self.edit(Key("gone"), b"1")
        before = {row[0]: row[1] for row in await rows(store)}
        await self.edit(Key("edited"), b"twenty-two")
        await in_thread(self.outside_delete, Key("gone"))
        after = {row[0]: row[1] for row in await rows(store) if row[2] is Kind.FILE}
        equal(sorted(after), [b"d/new", b"edited"], "a scan shows what is there now")
        equal(after[b"d/new"], before[b"d/new"], "what nobody touched keeps its token")
        true(after[b"edited"] != before[b"edited"], "an edit changes the token")
        equal(await store.stat(Key("gone")), None, "what somebody deleted is not there")
        equal(await read(store, Key("edited")), b"twenty-two", "content is what somebody wrote")

    async def test_a_large_listing_is_whole_and_in_order(self, store: Store) -> None:
        names = {f"{n % 7}/{n % 11}!/{n}" for n in range(self.many)}
        for name in names:
            await self.edit(Key(name), b"x")
        found = await rows(store)
        in_order(found)
        equal({row[0].decode() for row in found if row[2] is Kind.FILE}, names, "every item is listed once")
        true(not any(row[2] in OPAQUE_KINDS for row in found), "nothing is unknown")

    async def test_a_scan_can_be_left_and_begun_again(self, store: Store) -> None:
        for name in PLAIN:
            await create(store, Key(name), b"x")
        scan = store.scan()
        async for _ in scan:
            break
        if (close := getattr(scan, "aclose", None)) is not None:
            await close()
        equal(
            sorted(await keys(store), key=key_bytes), sorted(map(Key, PLAIN), key=key_bytes), "a second scan is whole"
        )

    async def test_reserved_names_are_left_out(self, store: Store) -> None:
        token = await create(store, Key("a"), b"1")
        await store.write(Key("a"), source_of(b"22"), expect=token, trash=Trash("r1"))
        await store.set_marker("me")
        async with store.hold("somebody"):
            equal([row[0] for row in await rows(store)], [b"a"], "trash, marker and lock are not items")

    async def test_unaddressable_names_are_reported_and_refused(self, store: Store) -> None:
        await create(store, Key("x"), b"1")
        async with unchanged(store):
            for name in UNADDRESSABLE:
                true(store.properties.names.problem(Key(name)), f"the names of the store have a problem with {name!r}")
                with refused(Unaddressable):
                    await store.write(Key(name), source_of(b"evil"), expect=None, trash=None)
                with refused(Unaddressable):
                    await store.make_directory(Key(name + "/"), expect=None, trash=None)
                with refused(Unaddressable, PreconditionFailed):
                    await store.remove(Key(name), expect=Token("evil"), trash=None)

    async def test_an_unaddressable_name_is_never_there(self, store: Store) -> None:
        await create(store, Key("x"), b"1")
        for name in UNADDRESSABLE:
            try:
                found = await store.stat(Key(name))
            except Unaddressable:
                continue
            equal(found, None, f"{name!r} is not there")

    async def test_names_that_fold_to_the_same_are_one_item_and_others_are_two(self, store: Store) -> None:
        names = store.properties.names
        for one, other in ((Key("case"), Key("CASE")), (Key("caf\u00e9"), Key("cafe\u0301"))):
            await create(store, one, b"one")
            if names.folded(one) == names.folded(other):
                async with unchanged(store):
                    with refused(PreconditionFailed):
                        await create(store, other, b"other")
                equal(await read(store, other), b"one", "both spellings name the same item")
            else:
                await create(store, other, b"other")
                equal(await read(store, one), b"one", "each spelling names its own item")


class ReadContract(Contract):
    """What `trueup.protocols.Read` says."""

    async def test_content_comes_back_as_it_was_written(self, store: Store) -> None:
        for size in (0, 1, CHUNK, 3_000_001):
            data = random.Random(size).randbytes(size)  # noqa: S311  # content, not a secret
            await create(store, Key(f"s{size}"), data)
            entry = await look(store, Key(f"s{size}"))
            equal(entry.content.size, size, "size in bytes")
            source = store.source(Key(f"s{size}"), entry)
            equal(source.size, size, "a source says its size")
            equal((source.modified_ns, source.mode), (entry.modified_ns, entry.mode), "a source says time and mode")
            true(await content(source) == data, f"{size} bytes come back")
            true(await content(source) == data, "every opening reads afresh")

    async def test_a_source_is_opened_lazily(self, store: Store) -> None:
        await create(store, Key("a"), b"1")
        entry = await look(store, Key("a"))
        source = store.source(Key("a"), entry)
        await store.remove(Key("a"), expect=entry.token, trash=None)
        with refused(PreconditionFailed):
            await content(source)

    async def test_a_source_is_one_version(self, store: Store) -> None:
        await create(store, Key("a"), b"old")
        source = store.source(Key("a"), await look(store, Key("a")))
        await self.edit(Key("a"), b"newer")
        with refused(PreconditionFailed):
            await content(source)

    async def test_a_source_whose_version_is_replaced_while_it_is_read_says_so(self, store: Store) -> None:
        old = b"old" * CHUNK
        token = await create(store, Key("a"), old)
        source = store.source(Key("a"), await look(store, Key("a")))

        def read_and_edit() -> list[bytes]:
            with source.open() as chunks:
                first = next(chunks)
                self.outside_write(Key("a"), b"newer")
                return [first, *chunks]

        if store.properties.whole_reads:
            true(b"".join(await in_thread(read_and_edit)) == old, "the version that was opened is read to its end")
        else:
            with refused(PreconditionFailed):
                await in_thread(read_and_edit)
        true((await look(store, Key("a"))).token != token, "the edit is there")

    async def test_an_in_thread_the_same_size_is_another_version(self, store: Store) -> None:
        token = await create(store, Key("a"), b"one")
        source = store.source(Key("a"), await look(store, Key("a")))
        await self.tick(store)
        await self.edit(Key("a"), b"two")
        true((await look(store, Key("a"))).token != token, "an edit a tick later changes the token")
        with refused(PreconditionFailed):
            await content(source)
        with refused(PreconditionFailed):
            await store.write(Key("a"), source_of(b"six"), expect=token, trash=None)
        equal(await read(store, Key("a")), b"two", "the edit is kept")

    async def test_looking_changes_no_token(self, store: Store) -> None:
        token = await create(store, Key("a"), b"1")
        await read(store, Key("a"))
        await store.fingerprint(Key("a"), token)
        await rows(store)
        await store.flush()
        equal((await look(store, Key("a"))).token, token, "the token of what nobody wrote")
        true(is_version(token), "a file's token is no reserved one")

    async def test_a_fingerprint_is_the_blake3_of_the_bytes(self, store: Store) -> None:
        data = bytes(range(256)) * 5_000
        written = await store.write(Key("a"), source_of(data), expect=None, trash=None)
        equal(written.fingerprint, fingerprint_of(data), "fingerprint of the bytes that went through")
        equal(await store.fingerprint(Key("a"), written.token or Token("")), fingerprint_of(data), "fingerprint")

    async def test_a_fingerprint_is_of_one_version(self, store: Store) -> None:
        token = await create(store, Key("a"), b"old")
        await self.edit(Key("a"), b"newer")
        with refused(PreconditionFailed):
            await store.fingerprint(Key("a"), token)

    async def test_what_is_not_there_has_no_fingerprint(self, store: Store) -> None:
        for name in ("a", "no/such/name"):
            with refused(NotFound):
                await store.fingerprint(Key(name), Token("v1"))
