"""The figures of many rounds, as a part of ``benchmarks/RESULTS.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests import results
from tests.blackbox.rounds import Figures

HOW = """\
`make blackbox` plays rounds with the installed command. In each, one machine or two share a remote side, a person at
every side creates, replaces, writes into, deletes and renames files all the time, one to three runs go on at once, more
than half of them are to be killed with `kill -9` at a random moment, a proxy harms a few percent of the requests (429,
500, 503, 507, dropped and cut answers, turned bits, listings that break off), and in some rounds the disk of a machine
is full now and then. Then the machines run until nothing is left to do. At the end all sides must be equal, and every
version that anybody wrote must be live, in a sibling or in the trash, unless a person destroyed it who had seen it."""

ROWS = (
    ("rounds", "rounds"),
    ("of these with two machines", "two_machines"),
    ("of these with a full disk", "full"),
    ("runs", "runs"),
    ("runs that another one kept out", "locked"),
    ("kills survived", "kills"),
    ("faults injected", "faults"),
    ("versions followed", "versions"),
    ("of these destroyed by people themselves", "own"),
    ("conflicts that became siblings", "siblings"),
    ("conflicts that a person was asked about", "asked"),
    ("lost in the window that the plan announces", "announced"),
    ("**lost**", "lost"),
)
NAMES = {"strong": "S3 that refuses lost races", "weak": "S3 that cannot", "file://": "`file://`"}


def lines(figures: Mapping[str, Figures], *, failed: Sequence[int], seconds: float) -> list[str]:
    """A table, a column for each kind of remote side."""
    total = Figures()
    for each in figures.values():
        total.add(each)
    text = [
        "| | " + " | ".join(NAMES[kind] for kind in figures) + " | all |",
        "|---|" + "---|" * (len(figures) + 1),
    ]
    for title, name in ROWS:
        cells = [getattr(each, name) for each in (*figures.values(), total)]
        text.append(f"| {title} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    verdict = f"{len(failed)} rounds failed: --seed {failed}" if failed else "No round failed"
    return [*text, "", f"{verdict}; {seconds / 60:.0f} minutes."]


def record(text: Sequence[str]) -> None:
    """Put it into the page, in the place of what was there."""
    results.record("blackbox", ["## Nothing is lost", "", HOW, "", *text, "", f"{results.machine()}."])
