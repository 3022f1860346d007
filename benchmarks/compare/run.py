"""Play the scenarios with every tool and write ``docs/comparison.md``: run.py [NAME...] [--times N] [--no-page].

`make compare` plays all; what does not end well is played three times. It starts an S3 server and proxies on
loopback and stops them. What cannot be installed is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.compare.page import Result, figures, page
from benchmarks.compare.play import MISSED, play
from benchmarks.compare.scenario import Outcome, Scenario, Verdict, is_good
from benchmarks.compare.table import RACES, TABLE
from benchmarks.compare.tools import TOOLS, Tool
from tests.services import Service  # only now can it be found

from trueup.testing.engines import weed_mini

ROOT = Path(__file__).resolve().parents[2]
TRIES = 10
"""So often a moment may be missed, where only a watcher tells when it is there."""
PAGE = ROOT / "docs" / "comparison.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Play, write, print the figures last; 1 if ours did not end as it should."""
    parser = argparse.ArgumentParser(description="Play the scenarios with every tool.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios or tools; default: all")
    parser.add_argument("--times", type=int, default=3, help="how often what ends badly is played; default 3")
    parser.add_argument("--no-page", action="store_true", help="print, and leave the page as it is")
    options = parser.parse_args(argv)
    wanted = set(options.names)
    scenarios = [
        one for one in (*TABLE, *RACES) if one.name in wanted or not wanted & {s.name for s in (*TABLE, *RACES)}
    ]
    tools = [tool for tool in TOOLS if tool.name in wanted or not wanted & {tool.name for tool in TOOLS}]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    results, began = [], time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="trueup-compare-"))
    with weed_mini(folder / "server") as server:
        for scenario in scenarios:
            for tool in tools:
                verdicts = list(_verdicts(tool, scenario, options.times, folder / "stages", Service(server.endpoint)))
                results.append(Result(tool.name, scenario, tuple(verdicts)))
                print(f"{scenario.name:28} {tool.name:16} {_told(verdicts)}", flush=True)
    shutil.rmtree(folder)
    if not wanted and not options.no_page:
        PAGE.write_text(page(tools, results), "utf-8")
        print(f"\nwritten to {PAGE.relative_to(ROOT)}")
    text, good = figures(tools, results)
    print("\n" + "\n".join(text) + f"\n{time.monotonic() - began:.0f} seconds")
    return 0 if good else 1


def _verdicts(tool: Tool, scenario: Scenario, times: int, folder: Path, server: Service) -> Iterator[Verdict]:
    """One; what ends badly is played again as often as it takes to be sure."""
    if tool.path is None or not tool.plays(scenario):
        yield Verdict(Outcome.ABSENT, "not installed" if tool.path is None else "it has nothing like it")
        return
    missed = 0
    while times:
        times -= 1
        base = folder / f"{scenario.name}-{tool.name.replace(' ', '-').replace(',', '')}"
        try:
            verdict = play(tool, scenario, base, server)
        except AssertionError as error:
            verdict = Verdict(Outcome.DIFFERS, str(error))
        shutil.rmtree(base)
        if verdict.evidence == MISSED and missed < TRIES:
            missed, times = missed + 1, times + 1
            continue
        yield verdict
        if is_good(scenario, verdict):
            return


def _told(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(f"{verdict.outcome} ({verdict.evidence})" for verdict in dict.fromkeys(verdicts))


if __name__ == "__main__":
    sys.exit(main())
