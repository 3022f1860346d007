"""The crossing into threads: no call waits behind one that waits for it."""

import threading
from queue import SimpleQueue
from typing import Any

import anyio

from trueup.engine.threads import ThreadPool

SECONDS = 20
"""Far more than any of this takes; a call that starves fails the test then."""


class Gap(SimpleQueue[Any]):
    """A queue where a thread can be held up right after it took a call, before it counts as busy."""

    def __init__(self) -> None:
        self.open = False
        self.taken = threading.Event()
        self.release = threading.Event()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        call = super().get(block, timeout)
        if self.open:
            self.open = False
            self.taken.set()
            self.release.wait(SECONDS)
        return call


async def test_a_call_gets_a_thread_although_another_is_just_being_taken() -> None:
    pool, queue = ThreadPool(), Gap()
    pool._calls = queue
    await pool(int)  # one thread, idle from now on
    while not pool._idle:  # noqa: ASYNC110 - nobody tells when a thread has become idle
        await anyio.sleep(0.001)
    done = threading.Event()
    answers = []

    async def first() -> None:
        answers.append(await pool(done.wait, SECONDS))

    async with anyio.create_task_group() as tasks:
        queue.open = True
        tasks.start_soon(first)
        await anyio.to_thread.run_sync(queue.taken.wait, SECONDS)
        with anyio.move_on_after(SECONDS / 2):
            await pool(done.set)  # the thread that is idle by its own account has something else to do
        queue.release.set()
    assert answers == [True]
    assert done.is_set()


async def test_calls_that_wait_for_each_other_all_run() -> None:
    pool = ThreadPool()
    for _ in range(50):
        together = threading.Barrier(8, timeout=SECONDS)
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(pool, together.wait)
