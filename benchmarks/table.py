"""What a row says, and how the rows become a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from measure import Cost, floor_mib


class Verdict(StrEnum):
    MET = "met"
    MISSED = "**missed**"
    NONE = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was measured."""

    what: str
    cost: Cost
    wall_ratio: float | None = None
    """Ours by the peer's; on the peer's line."""
    cpu_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure with its target."""

    what: str
    figure: str
    target: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the benchmark."""

    name: str
    title: str
    how: str
    """What was done to what, so that anybody can do it again."""
    lines: Sequence[Line]
    goals: Sequence[Goal]
    notes: Sequence[str] = field(default_factory=tuple)


def against(ours: Cost, peers: dict[str, Cost]) -> list[Line]:
    """A line for ours and one for each peer, with the ratios."""
    lines = [Line("trueup", ours)]
    for name, cost in peers.items():
        lines.append(Line(name, cost, ours.wall_seconds / cost.wall_seconds, ours.cpu_seconds / cost.cpu_seconds))
    return lines


def at_most(what: str, figure: float, limit: float, unit: str) -> Goal:
    """A figure that must not exceed its limit."""
    verdict = Verdict.MET if figure <= limit else Verdict.MISSED
    return Goal(what, f"{figure:.3g}{unit}", f"<= {limit:g}{unit}", verdict)


def told(what: str, figure: str) -> Goal:
    """A figure without a target."""
    return Goal(what, figure, "-", Verdict.NONE)


def page(machine: Sequence[str], results: Sequence[Result]) -> str:
    """The whole as Markdown."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Medians of interleaved runs of whole processes; ratios are ours by theirs.",
        "",
    ]
    parts += [f"- {fact}" for fact in machine]
    parts += ["", "| row | figure | measured | target | |", "|---|---|---|---|---|"]
    for result in results:
        parts += [
            f"| {result.name} | {goal.what} | {goal.figure} | {goal.target} | {goal.verdict} |" for goal in result.goals
        ]
    for result in results:
        parts += ["", *section(result)]
    return "\n".join(parts) + "\n"


def replaced(text: str, result: Result, when: str) -> str:
    """A page with one row measured anew, in its place or after the others; what comes after a marker stays.

    Args:
        text: The page.
        result: The row.
        when: Under what circumstances it was measured, for people.
    """
    own, marker, others = text.partition("<!-- written by make ")
    lines = own.rstrip("\n").split("\n")
    begin, heads = f"| {result.name} |", [n for n, line in enumerate(lines) if line.startswith("## ")]
    rows = [n for n, line in enumerate(lines[: heads[0]]) if line.startswith("| ")]
    kept = [line for line in lines[: rows[-1] + 1] if not line.startswith(begin)]
    first = next((n for n in rows if lines[n].startswith(begin)), len(kept))
    goals = [f"{begin} {goal.what} | {goal.figure} | {goal.target} | {goal.verdict} |" for goal in result.goals]
    sections = [lines[n:m] for n, m in zip(heads, [*heads[1:], len(lines)], strict=True)]
    fresh = [*section(replace(result, notes=[*result.notes, when])), ""]
    place = next((n for n, part in enumerate(sections) if part[0].startswith(f"## {result.name}:")), len(sections))
    sections[place : place + 1] = [fresh]
    parts = [*kept[:first], *goals, *kept[first:], "", *(line for part in sections for line in [*_stripped(part), ""])]
    return "\n".join(parts) + (f"\n{marker}{others}" if marker else "")


def _stripped(part: Sequence[str]) -> list[str]:
    return "\n".join(part).strip("\n").split("\n")


def section(result: Result) -> list[str]:
    """One row in full."""
    parts = [f"## {result.name}: {result.title}", "", result.how, ""]
    if result.lines:
        parts += [
            "| | seconds | CPU seconds | peak MiB | ours / theirs, time | ours / theirs, CPU |",
            "|---|---|---|---|---|---|",
        ]
        parts += [_line(line) for line in result.lines]
    parts += ["", *(f"- {note}" for note in result.notes)] if result.notes else []
    return parts


def _line(line: Line) -> str:
    cost, floor = line.cost, floor_mib() * 1.05
    peak = f"< {floor:.0f}" if cost.peak_mib <= floor else f"{cost.peak_mib:.0f}"
    cells = [
        line.what,
        f"{cost.wall_seconds:.3f}",
        f"{cost.cpu_seconds:.3f}",
        peak,
        _ratio(line.wall_ratio),
        _ratio(line.cpu_ratio),
    ]
    return "| " + " | ".join(cells) + " |"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"
