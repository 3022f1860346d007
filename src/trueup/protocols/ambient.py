"""What surrounds a store: threads, time, and the filter of a target. Injected, so that a simulation can drive it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Threads(Protocol):
    """The one crossing into threads. Injected, so that a simulation can run everything in one."""

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        """Call a blocking function without blocking the event loop; its result or its exception comes back."""
        ...


class Clock(Protocol):
    """Time. Injected, so that a simulation can drive it."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        ...

    def pause(self, seconds: float) -> None:
        """Hold up the calling thread for so long."""
        ...


class Filter(Protocol):
    """Which items belong to a target."""

    def excludes(self, path: str, *, directory: bool) -> bool:
        """Whether the item does not belong; nothing below an excluded directory does either."""
        ...

    def excludes_none(self, names: str) -> bool:
        """Whether certainly all items of a folder belong, so that nobody needs to ask for each; False: ask.

        Args:
            names: Their names, a NUL before and after each.
        """
        ...

    @property
    def sized(self) -> bool:
        """Whether `excludes_size` is ever True."""
        ...

    def excludes_size(self, size: int) -> bool:
        """Whether a file of so many bytes is out of bounds. Such a file is not absent, it is nobody's business."""
        ...
