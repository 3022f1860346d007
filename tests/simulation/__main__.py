"""``python -m tests.simulation``: as many seeds as you like, or the story of one."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests import results
from tests.simulation import record, seeds
from tests.simulation.story import write

CHUNK = 250


def main(arguments: list[str] | None = None) -> int:
    """Tell stories; 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--record", action="store_true", help=f"write the figures into {results.RESULTS.name}")
    parser.add_argument("--seed", type=int, help="tell the story of this one")
    parser.add_argument("--until-broken", action="store_true", help="end at the first failure, and do not shrink it")
    parser.add_argument("--traces", action="store_true", help="print every event of every story")
    parser.add_argument("--trace", action="store_true", help="of --seed: every event")
    given = parser.parse_args(arguments)
    if given.traces:
        return _traces(range(given.first, given.first + given.seeds))
    if given.until_broken:
        return _until_broken(range(given.first, given.first + given.seeds))
    if given.seed is not None:
        return _one(given.seed, trace=given.trace)
    began = time.monotonic()
    total = seeds.Result()
    last = given.first + given.seeds
    chunks = [(n, min(n + CHUNK, last)) for n in range(given.first, last, CHUNK)]
    with ProcessPoolExecutor(given.jobs) as pool:
        for (start, end), result in zip(chunks, pool.map(_chunk, chunks), strict=True):
            total.add(result)
            for seed, broken in result.broken:
                _say(f"seed {seed}: {broken}")
            if end % 10_000 == 0 or start == given.first:
                _say(f"... {total.seeds} seeds, {len(total.broken)} failures, {time.monotonic() - began:.0f} s")
    for seed, _ in total.broken[:3]:
        _shortest(seed)
    seconds = time.monotonic() - began
    if given.record:
        results.record("simulate", record.stories(total, first=given.first, seconds=seconds))
    _say("\n".join(f"{total.figures[name]:>12,} {title}" for title, name in record.ROWS))
    f = total.figures
    _say(
        f"{total.seeds} seeds, {f['turns']} steps, {f['faults']} faults injected, {f['kills']} crashes survived, "
        f"{f['versions']} versions followed, {len(total.broken)} failures, {seconds:.0f} s"
    )
    return 1 if total.broken else 0


def _chunk(bounds: tuple[int, int]) -> seeds.Result:
    with seeds.quiet_process() as template:
        return seeds.run(range(*bounds), template)


def _traces(wanted: range) -> int:
    with seeds.quiet_process() as template:
        for seed in wanted:
            told = seeds.judge(write(seed), template)
            _say("\n".join((f"seed {seed}", *told.trace, *told.broken, str(sorted(told.figures.items())))))
    return 0


def _until_broken(wanted: range) -> int:
    with seeds.quiet_process() as template:
        result = seeds.run(wanted, template, stop_at=1)
    for seed, broken in result.broken:
        _say(f"seed {seed}: {broken}")
    return 1 if result.broken else 0


def _one(seed: int, *, trace: bool) -> int:
    with seeds.quiet_process() as template:
        told = seeds.judge(write(seed), template)
    if trace:
        _say("\n".join(told.trace))
    for broken in told.broken:
        _say(broken)
    if told.broken:
        _shortest(seed)
    return 1 if told.broken else 0


def _shortest(seed: int) -> None:
    with seeds.quiet_process() as template:
        told = seeds.shortest(seed, template)
    _say(f"\nThe shortest story that fails as seed {seed} does:\n{told.story.text()}")
    _say("\n".join(f"  {line}" for line in told.trace[-60:]))
    _say(f"  {told.broken[0] if told.broken else 'nothing'}\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
