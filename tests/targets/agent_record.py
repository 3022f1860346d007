"""Many random rounds of agents, counted, and the same by the sync engine alone: ``make agents``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path

from tests import results
from tests.agents import tursodb
from tests.targets.agent_rounds import Game
from tests.targets.agent_server import KINDS, place_of

ROUNDS_OF_A_GAME = 4
REPLICAS = (2, 3, 5)
HOW = """\
`make agents` plays games of four rounds. In each round two, three or five agents write, replace and delete files
offline, under few names, so that they meet; then each is synced. Half of the syncs are to be killed with `kill -9`
before or after one of their transactions, and our server at any step of a push. Then all sync until nothing is left to
do. At the end every version that a database held when a sync of it began must be live, in a sibling or in a trash, all
databases must be equal, and `PRAGMA integrity_check` must find nothing."""
RAW = """\
The same games by the sync engine alone: the SDK writes into replicas, which pull and push through `tursodb
--sync-server`. Nothing is killed. Only versions are followed that nobody deleted or replaced who had seen them."""


@dataclass
class Figures:
    """Of several games."""

    games: int = 0
    rounds: int = 0
    syncs: int = 0
    client_kills: int = 0
    server_kills: int = 0
    broken: int = 0
    versions: int = 0
    siblings: int = 0
    lost: int = 0

    def add(self, other: Figures) -> None:
        """Add the figures of other games."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


ROWS = (
    ("games of four rounds", "games"),
    ("rounds", "rounds"),
    ("syncs", "syncs"),
    ("kills of a sync", "client_kills"),
    ("kills of the server", "server_kills"),
    ("syncs that ended because the server died", "broken"),
    ("versions followed", "versions"),
    ("conflicts that became siblings", "siblings"),
    ("**lost**", "lost"),
)
"""Lost is what a game that was counted has lost: one that loses anything fails, and is named."""
NAMES = {"file": "`file://`", "served": "our server", "reference": "tursodb"}
RAW_ROWS = (
    ("versions followed", "versions"),
    ("**lost**", "lost"),
    ("files with bytes that nobody wrote", "mixed"),
    ("games that did not end alike", "unequal"),
    ("operations that failed", "errors"),
    ("games in which the engine ended its process", "crashed"),
)


def kind_of(seed: int) -> str:
    """Which remote a game has."""
    return KINDS[seed // len(REPLICAS) % len(KINDS)]


def played(kind: str, seed: int) -> Figures:
    """One game; it raises if anything is lost."""
    replicas = REPLICAS[seed % len(REPLICAS)]
    with tempfile.TemporaryDirectory() as name, place_of(kind, Path(name)) as place:
        game = Game(Path(name) / "game", place, replicas=replicas, seed=seed)
        for _ in range(ROUNDS_OF_A_GAME):
            game.round()
        game.end()
        return Figures(
            games=1,
            rounds=ROUNDS_OF_A_GAME,
            syncs=game.syncs,
            client_kills=game.killed,
            server_kills=place.kills,
            broken=game.broken,
            versions=len(game.precious),
            siblings=game.siblings,
        )


def raw(seed: int) -> Mapping[str, int]:
    """The same game by the engine alone."""
    replicas = REPLICAS[seed % len(REPLICAS)]
    with tempfile.TemporaryDirectory() as name, tursodb(Path(name) / "server" / "raw.db") as url:
        words = [name, url, str(replicas), str(ROUNDS_OF_A_GAME), str(seed)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.targets.agent_raw", *words],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode < 0:
        return {"crashed": 1}
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    return {name: found[name] for _, name in RAW_ROWS if name in found}


def lines(
    ours: Mapping[str, Figures], theirs: Sequence[Mapping[str, int]], *, failed: Sequence[int], seconds: float
) -> list[str]:
    """Both tables."""
    total = Figures()
    for each in ours.values():
        total.add(each)
    text = ["| | " + " | ".join(NAMES[kind] for kind in ours) + " | all |", "|---|" + "---|" * (len(ours) + 1)]
    for title, name in ROWS:
        cells = [getattr(each, name) for each in (*ours.values(), total)]
        text.append(f"| {title} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    verdict = f"{len(failed)} games failed: --first {failed}" if failed else "No game failed"
    text += ["", f"{verdict}; {seconds / 60:.0f} minutes.", "", RAW, "", f"| | {len(theirs)} games |", "|---|---|"]
    return text + [f"| {title} | {sum(one.get(name, 0) for one in theirs):,} |" for title, name in RAW_ROWS]


def main() -> None:
    """Play, print, and keep the figures if that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--jobs", type=int, default=1, help="games at once")
    parser.add_argument("--record", action="store_true", help="write benchmarks/RESULTS.md")
    wanted = parser.parse_args()
    begun, load = time.monotonic(), os.getloadavg()[0]
    seeds = range(wanted.first, wanted.first + -(-wanted.rounds // ROUNDS_OF_A_GAME))
    ours: dict[str, Figures] = {}
    failed: list[int] = []
    with ProcessPoolExecutor(wanted.jobs) as pool:
        games = {pool.submit(played, kind_of(seed), seed): seed for seed in seeds}
        for done in as_completed(games):
            seed, kind = games[done], kind_of(games[done])
            if error := done.exception():
                failed.append(seed)
                print(f"seed {seed}, {kind}: {error!r}", flush=True)  # noqa: T201
                continue
            game = done.result()
            ours.setdefault(kind, Figures()).add(game)
            kills = game.client_kills + game.server_kills
            print(f"seed {seed}, {kind}: {game.versions} versions, {kills} kills", flush=True)  # noqa: T201
        seconds = time.monotonic() - begun
        theirs = list(pool.map(raw, seeds))
    text = lines(ours, theirs, failed=failed, seconds=seconds)
    print("\n".join(text))  # noqa: T201
    if wanted.record:
        on = f"{results.machine()}, load {load:.1f} at the start."
        results.record("agents", ["## Agents lose nothing", "", HOW, "", *text, "", on])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
