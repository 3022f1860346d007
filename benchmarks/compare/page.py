"""What was found, as a page and as figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.compare.scenario import Outcome, Race, Scenario, Verdict, is_good
from benchmarks.compare.table import RACES, TABLE
from benchmarks.compare.tools import Tool

HEAD = """\
# Comparison

What becomes of the data, in quiet worlds and in ones that change meanwhile. `make compare` has written this page: it
plays every scenario with the real program of each tool and judges by what is where at the end, never by what the tool
says. The scenarios, with inputs and expected ends, are in `benchmarks/compare/table.py`; the tests play them with
trueup. Tools differ in what they are for: one that mirrors a side over the other is not meant to know who changed what,
so it plays only what it is meant for. That it empties the target when the source is empty (`emptied`) is its job.

- **kept**: the end that a careful person expects.
- **refused**: nothing was done, nothing was lost, and the exit code says so.
- **kept, another end**: nothing was lost, but it ended otherwise; look below.
- **lost**: a version is on neither side and in no trash or backup of the tool, or a file was written outside the root.
- **n/a**: not what the tool is for, or it has no such setting.

All play against SeaweedFS on loopback behind a fault proxy, Unison between two folders. What does not end
well is played again; the cell tells the worst, and how often it came. What the proof found in trueup itself, and how it
was mended, is the last table of `benchmarks/RESULTS.md`.
"""
_WORST = (Outcome.LOST, Outcome.DIFFERS, Outcome.REFUSED, Outcome.KEPT, Outcome.ABSENT)


@dataclass(frozen=True)
class Result:
    """What one tool made of one scenario, once or more often."""

    tool: str
    scenario: Scenario
    verdicts: tuple[Verdict, ...]

    @property
    def worst(self) -> Verdict:
        """The worst of them."""
        return min(self.verdicts, key=lambda verdict: _WORST.index(verdict.outcome))

    @property
    def often(self) -> str:
        """How often the worst came, if it was not always."""
        count = sum(verdict.outcome is self.worst.outcome for verdict in self.verdicts)
        return "" if len(self.verdicts) == 1 else f" {count}/{len(self.verdicts)}"

    @property
    def good(self) -> bool:
        """Whether all ended as they should."""
        return all(is_good(self.scenario, verdict) for verdict in self.verdicts)


def page(tools: Sequence[Tool], results: Sequence[Result]) -> str:
    """The whole page."""
    parts = [HEAD, "## The tools", "", "| tool | version | settings |", "|---|---|---|"]
    for tool in tools:
        version = tool.version() if tool.path else "not installed here"
        parts.append(f"| {tool.name} | {version} | {tool.told} |")
    text, _ = figures(tools, results)
    parts += ["", *text, "", "## Quiet worlds", ""]
    parts += ["What the tests of `rclone bisync` are about. Sides are edited, then the tool runs.", ""]
    parts += list(_matrix(tools, [result for result in results if result.scenario in TABLE]))
    parts += ["", "## Worlds that change meanwhile", ""]
    parts += ["The edit comes at the worst moment: a hook of the proxy makes it, or a watcher of the folder.", ""]
    parts += list(_matrix(tools, [result for result in results if result.scenario in RACES]))
    parts += ["", "## What was not kept", "", "| scenario | tool | outcome | evidence |", "|---|---|---|---|"]
    for result in results:
        if result.worst.outcome not in (Outcome.KEPT, Outcome.ABSENT):
            outcome = f"{result.worst.outcome}{result.often}"
            parts.append(f"| {result.scenario.name} | {result.tool} | {outcome} | {result.worst.evidence} |")
    return "\n".join(parts) + "\n"


def _matrix(tools: Sequence[Tool], results: Sequence[Result]) -> Iterator[str]:
    yield "| scenario | | " + " | ".join(tool.name for tool in tools) + " |"
    yield "|---|---|" + "---|" * len(tools)
    scenarios = dict.fromkeys(result.scenario.name for result in results)
    for name in scenarios:
        row = {result.tool: result for result in results if result.scenario.name == name}
        scenario = next(iter(row.values())).scenario
        about = scenario.about if scenario.race is Race.NONE else f"{scenario.about}; {scenario.race}"
        about = str(scenario.race) if scenario.about == "nothing else" else about
        cells = [f"{row[tool.name].worst.outcome}{row[tool.name].often}" for tool in tools]
        yield f"| {name} | {about} | " + " | ".join(cells) + " |"


def figures(tools: Sequence[Tool], results: Sequence[Result]) -> tuple[list[str], bool]:
    """How often each tool came to which outcome; whether ours always ended as it should."""
    text = ["| tool | played | kept | refused | kept, another end | **lost** |", "|---|---|---|---|---|---|"]
    for tool in tools:
        mine = [result for result in results if result.tool == tool.name]
        count = Counter(result.worst.outcome for result in mine)
        cells = [count[each] for each in (Outcome.KEPT, Outcome.REFUSED, Outcome.DIFFERS, Outcome.LOST)]
        played = len(mine) - count[Outcome.ABSENT]
        text.append(f"| {tool.name} | {played} | " + " | ".join(map(str, cells)) + " |")
    # A listing that lies is beyond anybody's sight; what ours then deletes is in its trash, and the page says so.
    good = all(result.good for result in results if result.tool == "trueup" and result.scenario.name != "listing_lies")
    return text, good
