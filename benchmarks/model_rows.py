"""The row of model catalogues: ten providers on loopback that take their time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ground import Bench, job, run_trueup
from measure import Command, interleaved
from table import Line, Result, against, at_most, told

PROVIDERS = 10
SECONDS = 0.3
"""Until an answer comes."""


def models(bench: Bench) -> Result:
    """Ask ten providers for 2,000 models."""
    each, room = bench.size(2_000) // PROVIDERS, bench.room("models")
    playing = subprocess.Popen(
        job("providers", each, SECONDS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        port = (playing.stdout.readline() if playing.stdout else "").strip()
        costs = interleaved(_commands(room, port), bench.repeats)
    finally:
        if playing.stdin:
            playing.stdin.close()
        playing.wait()
    first, again, in_turn = (costs[name] for name in ("first sync", "nothing changed", "one after the other"))
    peer = in_turn.wall_seconds
    return Result(
        "models",
        f"{PROVIDERS} providers, {each * PROVIDERS:,} models, {SECONDS * 1000:.0f} ms for an answer",
        "Whole processes. `sync models` with an empty catalogue, and with one that agrees (`--force`); against a script"
        " that asks one provider after the other with urllib, counts, and keeps nothing.",
        [Line("first sync", first), *against(again, {"one after the other": in_turn})],
        [
            at_most("time when nothing changed", again.wall_seconds / peer, 0.2, "x"),
            at_most("the same in seconds", again.wall_seconds, 1.0, " s"),
            told("CPU when nothing changed", f"{again.cpu_seconds:.2f} s"),
            told("time of the first sync", f"{first.wall_seconds / peer:.2f}x"),
            told("CPU of the first sync", f"{first.cpu_seconds:.2f} s"),
        ],
        (),
    )


def _commands(room: Path, port: str) -> dict[str, Command]:
    tables = [f"[providers.p{n}]\nbase_url = 'http://127.0.0.1:{port}/{n}'\n" for n in range(PROVIDERS)]
    (room / "trueup.toml").write_text("".join(tables))
    fresh, kept = room / "fresh", room / "kept"
    whole = run_trueup("sync", "models", "--force", state=fresh, cwd=room)
    return {
        "first sync": replace(whole, before=lambda: shutil.rmtree(fresh, ignore_errors=True)),
        "nothing changed": run_trueup("sync", "models", "--force", state=kept, cwd=room),
        "one after the other": Command(job("in_turn", port, PROVIDERS)),
    }


ROWS: dict[str, Callable[[Bench], Result]] = {"models": models}
