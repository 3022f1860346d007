"""Large objects: in parts, conditional to the last request, in bounded memory, checked on both ways."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from anyio import to_thread
from tests.services import Service
from tests.stores.object.conftest import Opened

from trueup.core.errors import Corrupt, PreconditionFailed
from trueup.core.model import Key, Token
from trueup.protocols import Trash
from trueup.stores.object import ObjectStore
from trueup.stores.object.transfer import MIB, SMALL_BYTES, Tally, _verified, part_bytes
from trueup.testing.engines import KEYS
from trueup.testing.expect import content, fingerprint_of, look, raising, source_of
from trueup.testing.proxy import FaultProxy, FlipAnswer, Rule
from trueup.testing.sigv4 import call

A = Key("a")
LARGE = bytes(range(256)) * (80 * 1024)  # 20 MiB


def test_parts_are_as_small_as_their_number_allows() -> None:
    assert part_bytes(SMALL_BYTES + 1) == SMALL_BYTES
    assert part_bytes(10_000 * SMALL_BYTES) == SMALL_BYTES
    assert part_bytes(10_000 * SMALL_BYTES + 1) == 9 * MIB


def test_the_token_of_parts_is_predicted() -> None:
    source = source_of(LARGE)
    tally = Tally("a", source, SMALL_BYTES)
    for start in range(0, len(LARGE), 1_000_003):
        tally.add(LARGE[start : start + 1_000_003])
    parts = [hashlib.md5(LARGE[n : n + SMALL_BYTES]).digest() for n in range(0, len(LARGE), SMALL_BYTES)]  # noqa: S324
    assert tally.result().token == hashlib.md5(b"".join(parts)).hexdigest() + "-3"  # noqa: S324


@pytest.fixture(params=["strong", "weak"])
def store(request: pytest.FixtureRequest, opened: Opened) -> ObjectStore:
    return opened(request.getfixturevalue(f"{request.param}_s3"))


@pytest.mark.engine
async def test_a_large_object_goes_and_comes_back(store: ObjectStore) -> None:
    written = await store.write(A, source_of(LARGE), expect=None, trash=None)
    entry = await look(store, A)
    assert written.token == entry.token
    assert entry.content.fingerprint == written.fingerprint == fingerprint_of(LARGE)
    assert await content(store.source(A, entry)) == LARGE
    again = await store.write(A, source_of(LARGE + b"x"), expect=entry.token, trash=Trash("r1"))
    assert await content(store.kept_source(again.kept or "", entry)) == LARGE


@pytest.mark.engine
async def test_a_write_by_somebody_else_before_the_completion_wins(strong_s3: Service, opened: Opened) -> None:
    store = opened(strong_s3)

    def edit() -> None:
        store._bucket.put(A, b"theirs", {}, {})

    def edit_again() -> None:
        store._bucket.put(A, b"theirs again", {}, {})

    known = fingerprint_of(LARGE)
    with pytest.raises(PreconditionFailed):
        await store.write(A, source_of(LARGE, fingerprint=known, at_the_end=edit), expect=None, trash=None)
    token = (await look(store, A)).token
    with pytest.raises(PreconditionFailed):
        await store.write(A, source_of(LARGE, fingerprint=known, half_way=edit_again), expect=token, trash=Trash("r"))
    assert await content(store.source(A, await look(store, A))) == b"theirs again"
    assert await store.kept() == []


@pytest.mark.engine
async def test_a_large_source_that_breaks_its_promise_changes_nothing(store: ObjectStore) -> None:
    known = fingerprint_of(LARGE)
    liars = [
        source_of(LARGE, size=len(LARGE) + 1, fingerprint=known),
        source_of(LARGE, size=len(LARGE) - 1, fingerprint=known),
        source_of(LARGE[:-1] + b"?", fingerprint=known),
    ]
    for liar in liars:
        with pytest.raises(Corrupt):
            await store.write(A, liar, expect=None, trash=None)
    failing = source_of(LARGE, fingerprint=known, at_the_end=raising(PreconditionFailed("the source changed")))
    with pytest.raises(PreconditionFailed):
        await store.write(A, failing, expect=None, trash=None)
    assert await store.stat(A) is None


def told_twice(first: bytes, *others: bytes, token: str) -> bytes:
    """What a reader gets whose fetches bring these."""
    answers = iter([first, *others])
    return b"".join(_verified(lambda: iter([next(answers)]), "a", Token(token), times=1 + len(others)))


def test_content_that_is_not_what_its_etag_names_has_to_come_twice_in_the_same_way() -> None:
    right, wrong = b"plain object", b"plain objdct"
    md5 = hashlib.md5(right, usedforsecurity=False).hexdigest()
    assert told_twice(right, b"not asked for", token=md5) == right
    for others in [(right,), (b"harmed again",), (wrong, right)]:
        with pytest.raises(Corrupt):
            told_twice(wrong, *others, token=md5)
    assert told_twice(right, right, token="0" * 32) == right, "encrypted by a key service"
    assert told_twice(right, b"not asked for", token=f"{md5}-2") == right, "put together from parts"


@pytest.mark.engine
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("size", [1_000, len(LARGE)])
async def test_a_turned_bit_in_what_another_tool_has_written_is_noticed(
    strong_s3: Service, opened: Opened, size: int, times: int
) -> None:
    def plain() -> None:
        with FaultProxy(strong_s3.endpoint) as proxy:
            store = opened(Service(proxy.endpoint, strong_s3.bucket))
            path, body = f"/{strong_s3.bucket}/{store.place.prefix}a", LARGE[:size]
            assert call(strong_s3.endpoint, KEYS, "PUT", path, body=body).status == 200
            entry = store._stat(A)
            assert entry is not None
            source = store.source(A, entry)
            with source.open() as chunks:
                assert b"".join(chunks) == body
            harm = Rule(FlipAnswer(), method="GET", path=f"^{path}$", times=times)  # the same bit each time
            with proxy.rule(harm), pytest.raises(Corrupt), source.open() as chunks:
                b"".join(chunks)

    await to_thread.run_sync(plain)  # everything in it blocks


@pytest.mark.engine
async def test_a_version_that_is_replaced_while_its_ranges_are_fetched_is_not_mixed(
    strong_s3: Service, opened: Opened
) -> None:
    store = opened(strong_s3)
    await store.write(A, source_of(LARGE * 5), expect=None, trash=None)
    source = store.source(A, await look(store, A))

    def read_and_edit() -> bytes:
        with source.open() as chunks:
            first = next(chunks)
            store._bucket.put(A, b"theirs", {}, {})
            return first + b"".join(chunks)

    with pytest.raises(PreconditionFailed):
        await to_thread.run_sync(read_and_edit)


PROGRAM = """
import resource, sys
from contextlib import contextmanager
import anyio
from tests.services import Service
from trueup.core.model import Key, Token
from trueup.protocols import Source

CHUNK, TIMES = bytes(range(256)) * 4096, 256

@contextmanager
def reading():
    yield (CHUNK for _ in range(TIMES))

async def main():
    store = Service(sys.argv[1]).store("memory")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.write(Key("big"), Source(reading, len(CHUNK) * TIMES), expect=None, trash=None)
    entry = await store.stat(Key("big"))
    assert await store.fingerprint(Key("big"), entry.token) == entry.content.fingerprint
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)

anyio.run(main)
"""


@pytest.mark.engine
def test_256_mib_go_and_come_in_bounded_memory(strong_s3: Service) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, strong_s3.endpoint],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(done.stdout) < 250, f"{done.stdout!r} MiB more than before"


@pytest.mark.engine
async def test_metadata_that_came_along_with_other_bytes_are_not_believed(strong_s3: Service, opened: Opened) -> None:
    store = opened(strong_s3)
    await store.write(A, source_of(b"old bytes"), expect=None, trash=None)
    lie = {"trueup-blake3": fingerprint_of(b"old bytes").digest, "trueup-size": "9", "trueup-write": "somebody"}
    await to_thread.run_sync(store._bucket.put, A, b"new bytes", lie, {})
    entry = await look(store, A)
    assert entry.content.fingerprint is None
    assert await store.fingerprint(A, entry.token) == fingerprint_of(b"new bytes")
