"""Where rows are measured: folders, trees, and commands without anybody's configuration."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from machine import peer, trueup
from measure import Command, environment

JOBS = Path(__file__).parent / "jobs"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how large."""

    folder: Path
    quick: bool
    repeats: int

    def size(self, full: int) -> int:
        """The number of items; a twentieth for a try."""
        return full // 20 if self.quick else full

    def room(self, name: str) -> Path:
        """An empty folder for one row."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


def job(name: str, *arguments: object) -> list[str]:
    """A script of ours as a process."""
    return [sys.executable, str(JOBS / f"{name}.py"), *map(str, arguments)]


def make_tree(root: Path, files: int, size: int) -> None:
    """In a process of its own: what this one has grown to shows in what it starts."""
    subprocess.run(job("tree", root, files, size), check=True)


def missing(*names: str) -> tuple[str, ...]:
    """A note for each peer that is not there."""
    return tuple(f"{name} is not installed: not compared" for name in names if peer(name) is None)


def run_trueup(*words: object, state: Path, cwd: Path | None = None) -> Command:
    """Our command, whole."""
    return Command([trueup(), *map(str, words)], {"TRUEUP_STATE": str(state)}, cwd)


def rclone(*words: object) -> Command:
    """The peer's, without a configuration and without asking for one."""
    return Command([str(peer("rclone")), *map(str, words)], {"RCLONE_CONFIG": "/dev/null"})


def run(command: Command) -> None:
    """Run a command that is not measured.

    Raises:
        RuntimeError: If it fails.
    """
    argv = command.argv() if callable(command.argv) else command.argv
    result = subprocess.run(argv, env=environment(command), cwd=command.cwd, capture_output=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {result.returncode}: {result.stderr.decode(errors='replace')[-800:]}")
