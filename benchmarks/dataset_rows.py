"""The row of datasets: the status of many images after one edit, against hashing them all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from ground import Bench, job, run, run_trueup
from measure import Command, interleaved
from table import Line, Result, at_most, told

IMAGE_BYTES = 1024 * 1024
WHO = ("dataset", "0042", "0042_bench")


def status(bench: Bench) -> Result:
    """Many images, one of them edited."""
    images, room = bench.size(100_000), bench.room("dataset")
    local, state = room / "local/0042_bench", room / "state"
    for side in (local, room / "remote/0042_bench"):
        _sparse(side, images)
    lines = [f'{name} = "{name}/{{actor_name}}"' for name in ("local", "remote")]
    (room / "trueup.toml").write_text("\n".join(["[datasets]", *lines, 'manifest = "{actor_id}.json"', ""]))
    run(run_trueup("sync", *WHO, "--yes", "--quiet", state=state, cwd=room))

    def edited() -> None:
        with (local / "00000.png").open("r+b") as file:
            file.write(os.urandom(16))

    def sees() -> None:
        assert json.loads((room / "0042.json").read_text())["training_data"]

    costs = interleaved(
        {
            "trueup status dataset": Command(
                run_trueup("status", *WHO, "--json", state=state, cwd=room).argv,
                {"TRUEUP_STATE": str(state)},
                room,
                before=edited,
                after=sees,
            ),
            "MD5 of every image": Command(job("hashed", local)),
        },
        min(bench.repeats, 3),
    )
    ours, theirs = costs["trueup status dataset"], costs["MD5 of every image"]
    return Result(
        "dataset",
        f"{images:,} images of 1 MiB, one edited: their status",
        "`trueup status dataset ID NAME` lists the folder and the second copy, a folder here, and reads the manifest;"
        " what it has read before it knows by its version. The other is one process that reads every local image and"
        " hashes it. Images are holes on disk: nothing but the processor is measured.",
        [Line(name, cost) for name, cost in costs.items()],
        [
            at_most("time, against hashing them all", ours.wall_seconds / theirs.wall_seconds, 0.05, "x"),
            told("images per second", f"{images / ours.wall_seconds:,.0f}"),
        ],
        (),
    )


def _sparse(folder: Path, images: int) -> None:
    folder.mkdir(parents=True)
    for n in range(images):
        path = folder / f"{n:05}.png"
        with path.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        os.utime(path, (1, 1))


ROWS: dict[str, Callable[[Bench], Result]] = {"dataset": status}
