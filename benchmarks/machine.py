"""What the figures were measured on, and with."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

BIN = Path(sys.executable).parent


@cache
def peer(name: str) -> str | None:
    """Path of a peer's command, beside this Python or on PATH; None if it is not installed."""
    ours = BIN / name
    if name == "s5cmd" and (packed := _packed()):
        return packed
    return str(ours) if ours.exists() else shutil.which(name)


def _packed() -> str | None:
    """The program of s5cmd: what its package puts on PATH is a Python that starts it, a tenth of a second later."""
    with suppress(PackageNotFoundError):
        for file in distribution("s5cmd").files or ():
            if file.match("s5cmd/bin/s5cmd*"):
                return str(file.locate())
    return None


def trueup() -> str:
    """Path of our own command."""
    return str(BIN / "trueup")


def describe(folder: Path) -> list[str]:
    """Processor, cores, memory, system, file system, versions. Nothing that names the machine."""
    found = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    processor = found[1] if found else platform.processor() or "unknown"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return [
        f"Processor: {processor}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, load {load:.1f} at the start",
        f"System: {platform.system()} {re.match(r'[0-9.]+', platform.release())[0]}, {_file_system(folder)}",  # type: ignore[index]
        f"Python {platform.python_version()}, {_first_line([trueup(), '--version'])}",
        f"Peers: {', '.join(_versions())}",
    ]


def _file_system(folder: Path) -> str:
    stat = shutil.which("stat")
    if stat is None:
        return "file system unknown"
    return (
        "file system "
        + subprocess.run([stat, "-f", "-c", "%T", folder], capture_output=True, text=True, check=False).stdout.strip()
    )


def _versions() -> list[str]:
    options = {
        "rclone": "version",
        "s5cmd": "version",
        "juicefs": "version",
        "aws": "--version",
        "find": "--version",
        "cp": "--version",
    }
    return [
        _named(name, _first_line([path, option])) if (path := peer(name)) else f"{name} is not installed"
        for name, option in options.items()
    ]


def _named(name: str, said: str) -> str:
    return said if name in said or name == "aws" else f"{name} {said}"


def _first_line(argv: list[str]) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    return next(iter((result.stdout or result.stderr).splitlines()), "unknown")
