"""Run whole processes in turn and take the medians of what they cost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """One process to measure."""

    argv: Sequence[str] | Callable[[], Sequence[str]]
    """Called after `before`, where every run has its own."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Beside the environment of this process."""
    cwd: Path | None = None
    before: Callable[[], object] = lambda: None
    """Prepares the ground; not measured."""
    after: Callable[[], object] = lambda: None
    """Checks the end state; not measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process cost; of several, the median of each figure."""

    wall_seconds: float
    cpu_seconds: float
    """User and system, all threads, waited-for children included."""
    peak_mib: float
    """Largest resident set. The system hands this process's own over to what it starts: not below `floor_mib`."""
    every_cpu: tuple[float, ...] = ()
    """CPU seconds of each run, in turn."""


def environment(command: Command) -> dict[str, str]:
    """What a process gets. It may keep compiled modules, as a program that is installed does."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | dict(command.env)


def floor_mib() -> float:
    """The smallest peak that can be told."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def once(command: Command) -> Cost:
    """Run a process to its end.

    Raises:
        RuntimeError: If it fails.
    """
    command.before()
    argv = command.argv() if callable(command.argv) else command.argv
    begun = time.monotonic()
    process = subprocess.Popen(
        argv,
        env=environment(command),
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {errors.decode(errors='replace')[-800:]}")
    command.after()
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def together_mib(command: Command) -> float:
    """The largest sum of the memory of a process and all its descendants, looked at every 20 ms; not timed.

    Of memory that several share, each has its part (`Pss`).

    Raises:
        RuntimeError: If the process fails.
    """
    command.before()
    argv = command.argv() if callable(command.argv) else command.argv
    process = subprocess.Popen(
        argv, env=environment(command), cwd=command.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    largest = 0.0
    while process.poll() is None:
        largest = max(largest, sum(_share_mib(pid) for pid in _family(process.pid)))
        time.sleep(0.02)
    if process.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {process.returncode}")
    command.after()
    return largest


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in path.read_text().split():
                found += _family(int(child))
    return found


def _share_mib(pid: int) -> float:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


def interleaved(commands: Mapping[str, Command], repeats: int) -> dict[str, Cost]:
    """The medians of every command, run in turn, so that a busy moment of the machine hits all alike.

    The first round warms the caches and does not count.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            cost = once(command)
            if turn:
                costs[name].append(cost)
        sys.stderr.write(".")
        sys.stderr.flush()
    sys.stderr.write("\n")
    return {name: middle(found) for name, found in costs.items()}


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        median(cost.wall_seconds for cost in costs),
        median(cost.cpu_seconds for cost in costs),
        median(cost.peak_mib for cost in costs),
        tuple(cost.cpu_seconds for cost in costs),
    )


def beyond(cost: Cost, base: Cost) -> float:
    """CPU seconds of one beyond another: the median over the turns, each of which had the machine in one mood."""
    return median(more - less for more, less in zip(cost.every_cpu, base.every_cpu, strict=True))
