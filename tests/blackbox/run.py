"""Play rounds until there were enough: ``python -m tests.blackbox.run [--rounds N] [--seed N] [--record]``.

A round that fails prints its seed; ``--seed SEED --rounds 1 --kind KIND`` plays its script again. The processes of a
round race each other, so the same seed makes the same edits and kills, but not the same moments.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.blackbox.record import lines, record  # only now can it be found
from tests.blackbox.rounds import KINDS, TURNS, Failed, Figures, play
from tests.results import RESULTS
from tests.services import Service

from trueup.testing.engines import rclone_s3, weed_mini


def main(argv: Sequence[str] | None = None) -> int:
    """Play, print a line for each round and the figures last; 1 if a round failed."""
    parser = argparse.ArgumentParser(description="Play rounds of edits, kills and faults.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20_261_121, help="of the first round; the next has the next")
    parser.add_argument("--kind", choices=KINDS, help="default: one after the other")
    parser.add_argument("--record", action="store_true", help=f"write the figures into {RESULTS.name}")
    parser.add_argument("--dir", type=Path, help="where to put the data; what failed stays there")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped
    began, failed = time.monotonic(), []
    turns = (options.kind,) if options.kind else TURNS
    figures = {kind: Figures() for kind in dict.fromkeys(turns)}
    folder = Path(tempfile.mkdtemp(prefix="trueup-blackbox-", dir=options.dir))
    with weed_mini(folder / "strong") as strong, rclone_s3(folder / "weak") as weak:
        servers = {"strong": Service(strong.endpoint), "weak": Service(weak.endpoint)}
        for number in range(options.rounds):
            seed, kind = options.seed + number, turns[number % len(turns)]
            base, start = folder / f"round-{seed}", time.monotonic()
            try:
                one = play(kind, seed, base, servers)
                print(
                    f"{number + 1:4} --seed {seed} --kind {kind}: {told(one)}; {time.monotonic() - start:.0f} s",
                    flush=True,
                )
                shutil.rmtree(base)
                figures[kind].add(one)
            except Failed as error:
                failed.append(seed)
                print(f"FAILED {error}\n(what is left: {base})", flush=True)
    if not failed:
        shutil.rmtree(folder)
    seconds = time.monotonic() - began
    text = lines(figures, failed=failed, seconds=seconds)
    if options.record and not failed:
        record(text)
    print("\n" + "\n".join(text))
    return 1 if failed else 0


def told(one: Figures) -> str:
    """A round in a line."""
    return (
        f"{one.runs} runs, {one.kills} killed, {one.faults} faults, {one.versions} versions, "
        f"{one.siblings} siblings, {one.announced} lost as announced, {one.lost} lost"
    )


if __name__ == "__main__":
    sys.exit(main())
