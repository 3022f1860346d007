"""The figures of many stories, and of the mutants, as parts of ``benchmarks/RESULTS.md``."""

from __future__ import annotations

from tests import results
from tests.simulation.seeds import Result

ROWS = (
    ("runs of the engine", "runs"),
    ("steps of the event loop", "turns"),
    ("faults injected", "faults"),
    ("crashes survived", "kills"),
    ("edits by others", "acts"),
    ("effects of the engine", "effects"),
    ("versions followed", "versions"),
    ("stories told in a mirror, too", "mirrors"),
    ("files that became folders, or back", "change kind"),
    ("names that a bucket holds twice, as file and as folder", "clash"),
    ("names that changed in case only", "rename case"),
    ("changes of the filter", "filter changes"),
    ("runs beside another one on the same machine", "processes beside"),
    ("runs that another one kept out", "locked out"),
    ("kept versions pruned", "pruned"),
    ("last copies that a prune left alone", "last copies kept"),
)
"""Each of these has to happen, or the stories do not tell what they are there for."""

STORIES = """\
`make simulate` tells stories that a seed makes up. In each, one machine or two run the engine on stores in memory, in
an event loop that draws whose turn it is; listings fail, lie and lag, writes fail before or after they happened, runs
die at any turn, people edit at any moment, clocks jump. After every effect a witness checks the invariants, then the
machines run until nothing is left to do. Every version that anybody wrote must be live or in the trash."""
MUTANTS = """\
`make mutants` puts faults into a copy of the engine, one after the other, and tells stories until one fails."""


def stories(result: Result, *, first: int, seconds: float) -> list[str]:
    """Lines of Markdown."""
    rows = [f"| {title} | {result.figures[name]:,} |" for title, name in ROWS]
    failed = ", ".join(str(seed) for seed, _ in result.broken)
    verdict = f"{len(result.broken)} stories failed: seeds {failed}" if failed else "No story failed"
    told = [f"| stories, from seed {first:,} | {result.seeds:,} |", *rows, f"| **failed** | {len(result.broken)} |"]
    end = f"{verdict}; {seconds / 60:.0f} minutes. {results.machine()}."
    return ["## Stories", "", STORIES, "", "| | |", "|---|---|", *told, "", end]


def mutants(caught: int, missed: list[str], *, seconds: float) -> list[str]:
    """Lines of Markdown."""
    verdict = f"Missed: {'; '.join(missed)}." if missed else "None was missed."
    told = ["| | |", "|---|---|", f"| mutants | {caught + len(missed)} |", f"| **caught** | {caught} |"]
    return ["## Mutants", "", MUTANTS, "", *told, "", f"{verdict} {seconds / 60:.0f} minutes. {results.machine()}."]
