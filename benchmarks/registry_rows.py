"""The row of registries: an audit of many policies and images, against the tool whose registry it is."""

from __future__ import annotations

import importlib.util
import io
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from ground import Bench, run_trueup
from measure import Command, interleaved
from table import Line, Result, at_most, told

from trueup.stores.registry.schema import CREATE
from trueup.testing.engines import DockerEngine, docker_engine

ORIGINAL = Path(__file__).resolve().parents[1] / "tests" / "original.py"


def audit(bench: Bench) -> Result:
    """A registry of which everything is there: nothing to show, all to look at."""
    policies, images, room = bench.size(10_000), bench.size(500), bench.room("registry")
    maple = room / ".maple"
    # A socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="trueup-bench-") as short, docker_engine(Path(short)) as engine:
        _images(engine, images)
        _registry(maple, policies, images)
        env = {"HOME": str(room), "DOCKER_HOST": engine.endpoint, "TRUEUP_STATE": str(room / "state")}
        commands = {"trueup sync all --dry-run": Command(run_trueup("sync", "all", "--dry-run", state=room).argv, env)}
        if importlib.util.find_spec("maple"):
            commands["maple sync all --dry-run"] = Command([sys.executable, str(ORIGINAL), "all", "--dry-run"], env)
        costs = interleaved(commands, min(bench.repeats, 3))
    ours, theirs = costs["trueup sync all --dry-run"], costs.get("maple sync all --dry-run")
    claims = [told("policies per second", f"{policies / ours.wall_seconds:,.0f}")]
    if theirs is not None:
        claims.insert(0, at_most("time, against maple", ours.wall_seconds / theirs.wall_seconds, 0.2, "x"))
    return Result(
        "registry",
        f"{policies:,} policies and {images} images, all of them there: an audit of both",
        "Each policy is a folder with a file of weights and an image of its own or another's. MAPLE looks whether the"
        " folder exists, and lists images by its engine's client, which inspects each; ours lists them once, and looks"
        " at the weights' files. MAPLE runs without its own argument parser, which only saves it time.",
        [Line(name, cost) for name, cost in costs.items()],
        claims,
        () if theirs is not None else ("maple-robotics is not installed: not compared",),
    )


def _images(engine: DockerEngine, images: int) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    for n in range(images):
        query = urlencode({"fromSrc": "-", "repo": f"env{n}", "tag": "latest", "changes": f"ENV NAME={n}"})
        engine.call("POST", f"/images/create?{query}", raw.getvalue(), kind="application/x-tar")


def _registry(maple: Path, policies: int, images: int) -> None:
    maple.mkdir()
    connection = sqlite3.connect(maple / "state.db")
    connection.executescript(CREATE)
    for n in range(policies):
        weights = maple / "models" / f"policy{n}" / "v1"
        weights.mkdir(parents=True)
        (weights / "model.bin").write_bytes(b"weights")
        row = (f"policy{n}", f"env{n % images}:latest", "v1", str(weights))
        connection.execute(
            "INSERT INTO policies (name, image, version, path, repo, pulled_at) VALUES (?, ?, ?, ?, NULL, 1.0)", row
        )
    for n in range(images):
        connection.execute("INSERT INTO envs (name, image, pulled_at) VALUES (?, ?, 1.0)", (f"e{n}", f"env{n}:latest"))
    connection.commit()
    connection.close()


ROWS: dict[str, Callable[[Bench], Result]] = {"registry": audit}
