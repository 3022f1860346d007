"""Time that passes only when somebody sleeps."""

from __future__ import annotations

import anyio.lowlevel


class LogicalClock:
    """A `trueup.protocols.Clock` without a machine's clock behind it: the same calls, the same times.

    Every look at the wall clock moves it on by `tick_ns`, so that no two events are simultaneous.

    Args:
        start_ns: Wall clock at the beginning, nanoseconds since the epoch.
        tick_ns: How far a look moves it.
    """

    def __init__(self, start_ns: int = 1_800_000_000_000_000_000, *, tick_ns: int = 1_000) -> None:
        self._start_ns = start_ns
        self._elapsed_ns = 0
        self._tick_ns = tick_ns

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the epoch."""
        self._elapsed_ns += self._tick_ns
        return self._start_ns + self._elapsed_ns

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._elapsed_ns / 1e9

    async def sleep(self, seconds: float) -> None:
        """Let others run once; then so much time has passed."""
        await anyio.lowlevel.checkpoint()
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """So much time has passed."""
        self._elapsed_ns += int(seconds * 1e9)
