"""The row of registries: what is recorded of policies and environments, against weights and images."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ground import Bench
from machine import trueup
from measure import Command, interleaved
from table import Goal, Result, against, at_most, told

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the engine of the tests, and MAPLE's own command as the tests run it

from tests.stores.docker.conftest import made_engine  # noqa: E402  # only now can it be found

from trueup.stores.registry.database import create  # noqa: E402

MISSING = 10
"""So many policies and so many images are not there."""


def registry(bench: Bench) -> Result:
    """Audit policies and environments."""
    many, images, room = bench.size(10_000), bench.size(500), bench.room("registry")
    _fill(room / ".maple", many, images)
    with made_engine() as engine:
        held = [_image(n) for n in range(images - MISSING)]
        engine.images = held
        engine.inspected = {str(one["Id"]): (200, one) for one in held}
        env = {"HOME": str(room), "DOCKER_HOST": engine.url, "TRUEUP_STATE": str(room / "state")}
        commands = {"trueup": Command([trueup(), "sync", "all", "--dry-run"], env, room)}
        if importlib.util.find_spec("maple") is not None:
            script = ROOT / "tests" / "original.py"
            commands["maple sync all"] = Command([sys.executable, str(script), "all", "--dry-run"], env, room)
        costs = interleaved(commands, bench.repeats)
    ours = costs.pop("trueup")
    goals: list[Goal] = []
    for name, theirs in costs.items():
        goals.append(at_most(f"time, against {name}", ours.wall_seconds / theirs.wall_seconds, 0.2, "x"))
        goals.append(told(f"CPU, against {name}", f"{ours.cpu_seconds / theirs.cpu_seconds:.2f}x"))
    return Result(
        "registry",
        f"audit {many:,} policies and {images:,} images",
        f"`trueup sync all --dry-run` and MAPLE's own, whole processes on the same registry, where {MISSING} policies"
        f" have no weights and {MISSING} environments no image. Ours looks at every file of the weights, whether they"
        " are whole; MAPLE asks whether the folder exists, and inspects the images one by one, once for each of its two"
        " sections. The engine is a made-up one that answers from memory. MAPLE"
        " runs without its own argument parser, which only saves it time.",
        against(ours, costs),
        goals,
        () if costs else ("maple-robotics is not installed: not compared",),
    )


def _fill(folder: Path, many: int, images: int) -> None:
    folder.mkdir()
    create(str(folder / "state.db"), "bench")
    rows = []
    for n in range(many):
        weights = folder / "models" / f"policy{n}" / "v1"
        rows.append((f"policy{n}", f"sim{n % (images - MISSING)}:latest", "v1", str(weights), "org/repo", 1.0))
        if n >= MISSING:
            weights.mkdir(parents=True)
            (weights / "config.json").write_text("{}")
            (weights / "model.bin").write_bytes(bytes(1024))
    with closing(sqlite3.connect(folder / "state.db")) as connection, connection:
        columns = "name, image, version, path, repo, pulled_at"
        connection.executemany(f"INSERT INTO policies ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
        envs = [(f"env{n}", f"sim{n}:latest", 1.0) for n in range(images)]
        connection.executemany("INSERT INTO envs (name, image, pulled_at) VALUES (?, ?, ?)", envs)


def _image(number: int) -> dict[str, object]:
    name = f"sim{number}:latest"
    return {"Id": f"sha256:{number:064x}", "RepoTags": [name], "RepoDigests": [], "Size": 10, "Labels": None}


ROWS: dict[str, Callable[[Bench], Result]] = {"registry": registry}
