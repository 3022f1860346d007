"""The contract of `Write`: compare-and-swap, all or nothing, and nothing that is replaced is lost."""
# ruff: noqa: D102  # the name of a test is its sentence

from __future__ import annotations

import anyio
import anyio.lowlevel

from trueup.core.errors import Corrupt, PreconditionFailed, Unavailable
from trueup.core.model import DIRECTORY_TOKEN, OPAQUE_TOKEN, Entry, Key, Kind, Token
from trueup.protocols import Source, Store, Trash
from trueup.testing.expect import (
    CHUNK,
    Contract,
    agree,
    content,
    create,
    equal,
    fingerprint_of,
    in_thread,
    is_version,
    keys,
    look,
    raising,
    read,
    refused,
    skip,
    source_of,
    true,
    unchanged,
)

A = Key("a")
TRASH = Trash("r1")
ROUNDS = 8
"""How often a race is run."""
LARGE = 8 * CHUNK


class WriteContract(Contract):
    """What `trueup.protocols.Write` says about files."""

    async def test_a_write_creates_where_nothing_is(self, store: Store) -> None:
        written = await store.write(
            A, source_of(b"one", modified_ns=1_600_000_000_000_000_000), expect=None, trash=TRASH
        )
        entry = await look(store, A)
        equal(written.token, entry.token, "a write returns the token that stat shows")
        true(is_version(entry.token), "a file's token is no reserved one")
        equal(written.fingerprint, fingerprint_of(b"one"), "a write returns the BLAKE3 of the bytes")
        equal(written.kept, None, "nothing was replaced")
        equal((entry.content.kind, entry.content.size), (Kind.FILE, 3), "a file of three bytes")
        equal(await read(store, A), b"one", "content")
        equal(await store.kept(), [], "the trash is empty")

    async def test_a_write_keeps_the_time_of_its_source(self, store: Store) -> None:
        await store.write(A, source_of(b"1", modified_ns=1_600_000_000_000_000_000), expect=None, trash=None)
        entry = await look(store, A)
        equal(entry.modified_ns // 10**9, 1_600_000_000, "modified time, in seconds")

    async def test_a_write_that_expects_nothing_never_replaces(self, store: Store) -> None:
        await create(store, A, b"one")
        async with unchanged(store):
            with refused(PreconditionFailed):
                await store.write(A, source_of(b"two"), expect=None, trash=TRASH)
            with refused(PreconditionFailed):
                await store.write(A, source_of(b"one"), expect=None, trash=TRASH)
        equal(await read(store, A), b"one", "content")

    async def test_a_write_replaces_the_version_that_it_expects(self, store: Store) -> None:
        token = await create(store, A, b"one")
        written = await store.write(A, source_of(b"twenty-two"), expect=token, trash=None)
        equal(await read(store, A), b"twenty-two", "content")
        equal((await look(store, A)).token, written.token, "a write returns the token that stat shows")

    async def test_a_write_that_expects_another_version_is_refused(self, store: Store) -> None:
        old = await create(store, A, b"one")
        await store.write(A, source_of(b"two"), expect=old, trash=None)
        other = await create(store, Key("other"), b"one")
        async with unchanged(store):
            for expect in (old, other, Token("invented"), Token(""), OPAQUE_TOKEN, DIRECTORY_TOKEN):
                with refused(PreconditionFailed):
                    await store.write(A, source_of(b"three"), expect=expect, trash=TRASH)
        equal(await read(store, A), b"two", "content")

    async def test_a_write_that_expects_a_version_where_nothing_is_is_refused(self, store: Store) -> None:
        old = await create(store, A, b"one")
        await store.remove(A, expect=old, trash=None)
        async with unchanged(store):
            for expect in (old, Token("invented"), DIRECTORY_TOKEN):
                with refused(PreconditionFailed):
                    await store.write(A, source_of(b"two"), expect=expect, trash=TRASH)

    async def test_every_write_changes_the_token(self, store: Store) -> None:
        tokens = [await create(store, A, b"same")]
        for _ in range(5):
            written = await store.write(A, source_of(b"same"), expect=tokens[-1], trash=None)
            tokens.append(written.token or Token(""))
        versions = 1 if store.properties.tokens_name_content else 6
        equal(len(set(tokens)), versions, "each write makes a version of its own, unless tokens name the content")

    async def test_a_replaced_version_is_kept(self, store: Store) -> None:
        token = await create(store, A, b"one")
        entry = await look(store, A)
        written = await store.write(A, source_of(b"two"), expect=token, trash=TRASH)
        true(written.kept, "the handle of the replaced version is returned")
        equal(await content(store.kept_source(written.kept or "", entry)), b"one", "content of the replaced version")

    async def test_without_a_trash_a_replaced_version_is_destroyed(self, store: Store) -> None:
        token = await create(store, A, b"one")
        written = await store.write(A, source_of(b"two"), expect=token, trash=None)
        removed = await store.remove(A, expect=written.token or Token(""), trash=None)
        equal((written.kept, removed.kept, await store.kept()), (None, None, []), "nothing is kept")

    async def test_a_source_that_breaks_its_promise_changes_nothing(self, store: Store) -> None:
        token = await create(store, A, b"one")
        liars = [
            source_of(b"four", size=5),
            source_of(b"four", size=3),
            source_of(b"", size=1),
            source_of(b"four", size=0),
            source_of(b"x" * LARGE, size=LARGE + 1),
            source_of(b"four", fingerprint=fingerprint_of(b"five")),
            source_of(b"x" * LARGE, fingerprint=fingerprint_of(b"y" * LARGE)),
        ]
        async with unchanged(store):
            for source in liars:
                with refused(Corrupt):
                    await store.write(A, source, expect=token, trash=TRASH)
                with refused(Corrupt):
                    await store.write(Key("new"), source, expect=None, trash=TRASH)
        equal(await read(store, A), b"one", "content")

    async def test_a_promised_fingerprint_that_holds_is_accepted(self, store: Store) -> None:
        written = await store.write(A, source_of(b"1", fingerprint=fingerprint_of(b"1")), expect=None, trash=None)
        equal(written.fingerprint, fingerprint_of(b"1"), "fingerprint")

    async def test_a_source_that_fails_changes_nothing(self, store: Store) -> None:
        token = await create(store, A, b"one")
        lost, down = PreconditionFailed("the source changed"), Unavailable("the source is down")
        async with unchanged(store):
            for error in (lost, down):
                failing = [
                    source_of(b"x" * LARGE, half_way=raising(error)),
                    source_of(b"x" * LARGE, at_the_end=raising(error)),
                    Source(raising(error), 1),  # type: ignore[arg-type]  # it never returns
                ]
                for source in failing:
                    with refused(type(error)):
                        await store.write(A, source, expect=token, trash=TRASH)
                    with refused(type(error)):
                        await store.write(Key("new"), source, expect=None, trash=TRASH)
        equal(await read(store, A), b"one", "content")

    async def test_a_source_whose_version_changes_underneath_is_not_copied(self, store: Store) -> None:
        await create(store, Key("from"), b"x" * LARGE)
        before = await look(store, Key("from"))
        honest = store.source(Key("from"), before)
        await self.edit(Key("from"), b"edited")
        with refused(PreconditionFailed):
            await store.write(Key("to"), honest, expect=None, trash=None)
        equal(await store.stat(Key("to")), None, "nothing was written")

    async def test_a_failed_write_leaves_no_directories_behind(self, store: Store) -> None:
        async with unchanged(store):
            with refused(Corrupt):
                await store.write(Key("new/deep/a"), source_of(b"1", size=2), expect=None, trash=None)
            with refused(PreconditionFailed):
                await store.write(Key("new/deep/a"), source_of(b"1"), expect=Token("invented"), trash=None)

    async def test_an_edit_during_a_write_is_not_overwritten(self, store: Store) -> None:
        _needs_refusal(store)
        token = await create(store, A, b"one")

        def edit() -> None:
            self.outside_write(A, b"theirs")

        with refused(PreconditionFailed):
            await store.write(A, source_of(b"x" * LARGE, half_way=edit), expect=token, trash=TRASH)
        equal(await read(store, A), b"theirs", "the edit is what is there")
        equal(await keys(store), [A], "nothing else is there")

    async def test_a_file_created_during_a_write_is_not_overwritten(self, store: Store) -> None:
        _needs_refusal(store)

        def edit() -> None:
            self.outside_write(A, b"theirs")

        with refused(PreconditionFailed):
            await store.write(A, source_of(b"x" * LARGE, at_the_end=edit), expect=None, trash=TRASH)
        equal(await read(store, A), b"theirs", "the edit is what is there")

    async def test_a_file_deleted_during_a_write_is_not_created_again(self, store: Store) -> None:
        _needs_refusal(store)
        token = await create(store, A, b"one")

        def edit() -> None:
            self.outside_delete(A)

        with refused(PreconditionFailed):
            await store.write(A, source_of(b"x" * LARGE, half_way=edit), expect=token, trash=TRASH)
        equal(await store.stat(A), None, "it is gone, as somebody wished")

    async def test_an_edit_right_after_a_write_is_not_taken_for_what_was_written(self, store: Store) -> None:
        token = await create(store, A, b"old")
        for n in range(ROUNDS):
            before = token

            async def edit(text: bytes = b"theirs" * (n + 2)) -> None:
                while (await look(store, A)).content.size != len(b"ours"):
                    await anyio.lowlevel.checkpoint()
                await self.edit(A, text)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(edit)
                written = await store.write(A, source_of(b"ours"), expect=before, trash=None)
            token = (await look(store, A)).token
            true(written.token != token, "a write returns the version that it wrote, not the one it sees afterwards")

    async def test_of_two_writers_with_one_expectation_exactly_one_wins(self, store: Store) -> None:
        _needs_refusal(store)
        expect: Token | None = None
        for n in range(ROUNDS):
            winners: list[tuple[Token | None, bytes]] = []
            texts = [f"{n}{who}".encode() * LARGE for who in "xy"]
            async with anyio.create_task_group() as tasks:
                for text in texts:
                    tasks.start_soon(_race, store, text, expect, winners)
            equal(len(winners), 1, "writers that won")
            true(await read(store, A) == winners[0][1], "the winner's content is there")
            # Looked up, not taken from the winner: a loser that tried and took it back may have changed the token.
            expect = (await look(store, A)).token
        equal(len(await store.kept()), ROUNDS - 1, "each replaced version is kept once, no loser's")

    async def test_of_a_writer_and_a_remover_exactly_one_wins(self, store: Store) -> None:
        _needs_refusal(store)
        for n in range(ROUNDS):
            key = Key(f"a{n}")
            token = await create(store, key, b"old")
            winners: list[str] = []

            async def write(key: Key = key, token: Token = token, winners: list[str] = winners) -> None:
                try:
                    await store.write(key, source_of(b"new"), expect=token, trash=TRASH)
                except PreconditionFailed:
                    return
                winners.append("writer")

            async def remove(key: Key = key, token: Token = token, winners: list[str] = winners) -> None:
                try:
                    await store.remove(key, expect=token, trash=TRASH)
                except PreconditionFailed:
                    return
                winners.append("remover")

            async with anyio.create_task_group() as tasks:
                for contender in (write, remove) if n % 2 else (remove, write):
                    tasks.start_soon(contender)
            equal(len(winners), 1, "contenders that won")
            equal(await store.stat(key) is None, winners == ["remover"], "the winner's will is done")

    async def test_writers_of_different_names_do_not_disturb_each_other(self, store: Store) -> None:
        names = [Key(f"new/{n % 3}/{n}") for n in range(24)]
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(create, store, name, name.encode())
        for name in names:
            equal(await read(store, name), name.encode(), f"content of {name}")

    async def test_a_reader_finds_the_old_version_or_the_new_one(self, store: Store) -> None:
        versions = [bytes([65 + n]) * LARGE for n in range(12)]
        token: Token | None = await create(store, A, versions[0])
        done = False
        torn: list[str] = []

        async def watch() -> None:
            while not done:
                torn.extend(await self._glimpse(store, versions))
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            tasks.start_soon(watch)
            for n, version in enumerate(versions[1:]):
                trash = TRASH if n % 2 else None
                token = (await store.write(A, source_of(version), expect=token, trash=trash)).token
            done = True
        equal(torn, [], "what readers in a loop found besides whole versions")

    async def _glimpse(self, store: Store, versions: list[bytes]) -> list[str]:
        """What is wrong with what a reader sees now."""
        try:
            seen = await in_thread(self.outside_read, A)
        except OSError as error:
            return [f"a name that is absent: {error}"]
        if seen is not None and seen not in versions:
            return [f"{len(seen)} bytes that nobody wrote"]
        entry = await store.stat(A)
        if entry is None:
            return ["a name that is absent"]
        try:
            seen = await content(store.source(A, entry))
        except PreconditionFailed:
            return []
        return [] if seen in versions else [f"{len(seen)} bytes that nobody wrote"]

    async def test_a_cancelled_write_has_happened_or_has_not(self, store: Store) -> None:
        _needs_refusal(store)  # an abandoned thread may come last
        for steps in range(12):
            key = Key(f"a{steps}")
            token = await create(store, key, b"old")

            async def write(key: Key = key, token: Token = token) -> None:
                await store.write(key, source_of(b"new" * LARGE), expect=token, trash=TRASH)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            true(await _settled(store, key) in (b"old", b"new" * LARGE), "the old version or the new one is there")
            await agree(store, key, b"newest")
            equal(await read(store, key), b"newest", "a fresh attempt converges")


def _needs_refusal(store: Store) -> None:
    if not store.properties.refuses_lost_races:
        skip("cannot refuse a lost race, and says so")


async def _race(store: Store, text: bytes, expect: Token | None, winners: list[tuple[Token | None, bytes]]) -> None:
    try:
        written = await store.write(A, source_of(text), expect=expect, trash=TRASH)
    except PreconditionFailed:
        return
    winners.append((written.token, text))


async def _settled(store: Store, key: Key) -> bytes:
    """The content once it can be read: a cancelled writer's thread may still be at work."""
    for _ in range(100):
        entry: Entry | None = await store.stat(key)
        true(entry is not None, "a version is there all the time")
        try:
            return await read(store, key)
        except PreconditionFailed:
            continue
    raise AssertionError(f"{key!r} does not come to rest")
