"""One run at a time; a dead one's lock is taken over, a living one's never."""

import json
import os
import subprocess
import sys
import threading

import anyio
import pytest
from anyio import to_thread
from tests.services import Service
from tests.stores.object.conftest import Opened

from trueup.core.errors import Locked
from trueup.stores.object import ObjectStore
from trueup.stores.object.lease import LOCK, Lease, _process

pytestmark = pytest.mark.engine


def lease(store: ObjectStore, holder: str, seconds: float = 120.0) -> Lease:
    return Lease(store._bucket, store._prober, store._unique, holder, seconds=seconds)


@pytest.fixture(params=["strong", "weak"])
def store(request: pytest.FixtureRequest, opened: Opened) -> ObjectStore:
    return opened(request.getfixturevalue(f"{request.param}_s3"))


async def test_the_message_names_the_holder_and_says_how_long_to_wait(store: ObjectStore) -> None:
    async with store.hold("the other run"):
        with pytest.raises(Locked, match="the other run") as caught:
            async with store.hold("me"):
                pass
    assert "if it was killed" in caught.value.attempt
    async with store.hold("me"):
        pass


async def test_a_lock_that_was_not_renewed_is_taken_over(store: ObjectStore) -> None:
    dead = lease(store, "a machine that went down", seconds=2.0)
    await to_thread.run_sync(dead.acquire)
    with pytest.raises(Locked):
        await to_thread.run_sync(lease(store, "me").acquire)
    await anyio.sleep(3.2)  # clocks of services tick in seconds
    mine = lease(store, "me")
    await to_thread.run_sync(mine.acquire)
    with pytest.raises(Locked, match="taken over"):
        await to_thread.run_sync(dead.renew)
    await to_thread.run_sync(dead.release)  # it is not its own any more
    with pytest.raises(Locked, match="me"):
        await to_thread.run_sync(lease(store, "a third").acquire)


async def test_the_lock_of_a_process_that_is_gone_is_taken_over_at_once(store: ObjectStore) -> None:
    process = await to_thread.run_sync(_gone)
    document = {"holder": "killed", "id": "x", "seconds": 120, "process": process}
    await to_thread.run_sync(store._bucket.put, LOCK, json.dumps(document).encode(), {}, {})
    async with store.hold("me"):
        pass


def _gone() -> dict[str, str | int]:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return {**_process(), "pid": child.pid}


async def test_a_lock_is_renewed_while_it_is_held(opened: Opened, strong_s3: Service) -> None:
    store = opened(strong_s3, lease_seconds=2.0)
    async with store.hold("a long run"):
        await anyio.sleep(3.5)
        with pytest.raises(Locked):
            await to_thread.run_sync(lease(store, "me").acquire)


async def test_a_run_whose_lock_was_taken_over_stops(opened: Opened, strong_s3: Service) -> None:
    store = opened(strong_s3, lease_seconds=1.0)

    async def run() -> None:
        async with store.hold("asleep too long"):
            await to_thread.run_sync(store._bucket.put, LOCK, b'{"holder": "another", "id": "y"}', {}, {})
            await anyio.sleep(5)
            raise AssertionError("it goes on")

    with pytest.raises(Locked, match="taken over"):
        await run()


async def test_a_service_that_hangs_when_it_is_let_go_holds_nobody_up(
    opened: Opened, strong_s3: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, hung = opened(strong_s3, lease_seconds=1.0), threading.Event()
    monkeypatch.setattr(Lease, "release", lambda _: hung.wait(120))
    try:
        with anyio.fail_after(60):
            async with store.hold("me"):
                pass
    finally:
        hung.set()


async def test_of_many_at_once_one_gets_it(opened: Opened, strong_s3: Service) -> None:
    store = opened(strong_s3)
    await store.probe()
    won: list[int] = []

    async def compete(n: int) -> None:
        try:
            await to_thread.run_sync(lease(store, f"run {n}").acquire)
        except Locked:
            return
        won.append(n)

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(compete, n)
    assert len(won) == 1


def test_a_process_that_took_the_number_of_another_is_not_that_one() -> None:
    from trueup.stores.object.lease import _is_dead

    mine = _process()
    assert not _is_dead(mine)
    assert _is_dead({**mine, "started": "1"})
    assert not _is_dead({**mine, "machine": "elsewhere", "pid": 2**22 - 1})
    assert not _is_dead(None)
    assert mine["pid"] == os.getpid()
