"""The real clock, threads and names. The only place of the engine that touches them; a simulation brings its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import anyio

from trueup.engine.threads import ThreadPool

if TYPE_CHECKING:
    from trueup.protocols import Clock, Threads


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        await anyio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Hold up the calling thread for so long."""
        time.sleep(seconds)


def random_name() -> str:
    """Eight characters that nobody else uses."""
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class Ambient:
    """Time, threads, names and randomness, injected into everything that needs them."""

    clock: Clock = field(default_factory=SystemClock)
    threads: Threads = field(default_factory=ThreadPool)
    unique: Callable[[], str] = random_name
    random: Random = field(default_factory=Random)

    def run_id(self) -> str:
        """Sortable by time, unique on a machine: ``20261121T034512-1f2e3d4c``."""
        seconds = self.clock.now_ns() // 1_000_000_000
        return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds)) + "-" + self.unique()
