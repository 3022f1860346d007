"""Measure trueup against its peers: run.py [ROW...] [--quick] [--dir FOLDER] [--repeats N]; `make bench` runs all.

Rows of folders are in `rows`, those of buckets (`s3-...`) in `bucket_rows`: these start a server of their own on
loopback, and stop it; so do those of `model_rows`, `cache_rows`, `agent_rows` and `server_rows`.
A full run of all rows takes about a quarter of an hour and writes RESULTS.md beside this file; `--record` writes single
rows into it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import agent_rows
import bucket_rows
import cache_rows
import dataset_rows
import model_rows
import registry_rows
import rows
import server_rows
from ground import Bench
from machine import describe
from table import page, replaced, section

ROWS = (
    rows.ROWS
    | bucket_rows.ROWS
    | cache_rows.ROWS
    | dataset_rows.ROWS
    | model_rows.ROWS
    | registry_rows.ROWS
    | agent_rows.ROWS
    | server_rows.ROWS
)
RESULTS = Path(__file__).parent / "RESULTS.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 also where a target is missed: a busy machine is no defect."""
    parser = argparse.ArgumentParser(description="Measure trueup against its peers.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size, to try things out")
    parser.add_argument("--dir", type=Path, help="where to put the data; it is removed afterwards")
    parser.add_argument("--repeats", type=int, help="runs that count, of each command; default 5, with --quick 3")
    parser.add_argument("--record", action="store_true", help="put the rows into RESULTS.md, each in its place")
    options = parser.parse_args(argv)
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    repeats = options.repeats or (3 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="trueup-bench-", dir=options.dir) as folder:
        bench = Bench(Path(folder), options.quick, repeats)
        machine = describe(bench.folder)
        print("\n".join(machine))
        results = []
        for name in options.rows or ROWS:
            sys.stderr.write(f"{name} ")
            results.append(ROWS[name](bench))
            for room in bench.folder.iterdir():
                shutil.rmtree(room)
            if options.record and not options.quick:
                nice = f", nice {os.nice(0)}" if os.nice(0) else ""
                when = f"Measured by `run.py {name} --repeats {repeats}`: {machine[0].partition(': ')[2]}{nice}."
                RESULTS.write_text(replaced(RESULTS.read_text(), results[-1], when))
            print("\n" + "\n".join([*section(results[-1]), "", *_goals(results[-1].goals)]), flush=True)
    if not options.rows and not options.quick:
        _, marker, others = RESULTS.read_text().partition("<!-- written by make ")  # by other targets than this
        RESULTS.write_text(page(machine, results) + ("\n" + marker + others if marker else ""))
        print(f"\nwritten to {RESULTS}")
    return 0


def _goals(goals: Sequence[object]) -> list[str]:
    return [f"{goal.what}: {goal.figure} (target {goal.target}) {goal.verdict}" for goal in goals]  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
