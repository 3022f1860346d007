"""Tables of what is remembered: runs, the trash, conflicts, findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Protocol

from trueup.core.model import Damaged, Entry, Key, Recorded, Shown, Side
from trueup.core.plan import Item, Plan
from trueup.render.names import count, duration, moment, place, printable, size
from trueup.render.plans import Words
from trueup.render.text import Line, line, table
from trueup.render.wording import CONFLICT, reason_text


class RunLike(Protocol):
    """One row of the history."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def target_name(self) -> str: ...  # noqa: D102
    @property
    def command(self) -> str: ...  # noqa: D102
    @property
    def started_ns(self) -> int: ...  # noqa: D102
    @property
    def finished_ns(self) -> int | None: ...  # noqa: D102
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def done(self) -> int: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102
    @property
    def undoes(self) -> str | None: ...  # noqa: D102


class DiscardedLike(Protocol):
    """One version in the trash."""

    @property
    def handle(self) -> str: ...  # noqa: D102
    @property
    def run(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> Key: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def discarded_ns(self) -> int: ...  # noqa: D102


class FindingLike(Protocol):
    """One thing that the doctor looked at."""

    @property
    def check(self) -> str: ...  # noqa: D102
    @property
    def ok(self) -> bool: ...  # noqa: D102
    @property
    def detail(self) -> str: ...  # noqa: D102
    @property
    def fix(self) -> str: ...  # noqa: D102


def history_lines(runs: Sequence[RunLike], *, zone: tzinfo | None = None) -> list[Line]:
    """The history, newest first as given."""
    if not runs:
        return [line("no runs yet")]
    rows = [
        (
            run.id,
            moment(run.started_ns, zone),
            printable(run.target_name),
            run.state,
            f"{run.done:,}",
            f"{run.failed:,}",
            _took(run),
            f"undo of {run.undoes}" if run.undoes else printable(run.command),
        )
        for run in runs
    ]
    return table(("run", "started", "target", "state", "done", "failed", "took", "what"), rows, right=(4, 5, 6))


def _took(run: RunLike) -> str:
    return "-" if run.finished_ns is None else duration(max(0, run.finished_ns - run.started_ns) / 1e9)


def trash_lines(items: Iterable[tuple[Side, DiscardedLike]], *, zone: tzinfo | None = None) -> list[Line]:
    """What the trash of each side holds."""
    pairs = list(items)
    if not pairs:
        return [line("the trash is empty")]
    rows = [
        (side, moment(item.discarded_ns, zone), size(item.size), printable(item.key), printable(item.handle), item.run)
        for side, item in pairs
    ]
    total = sum(item.size for _, item in pairs)
    return [
        *table(("side", "since", "size", "name", "handle", "run"), rows, right=(2,)),
        line(f"{count(len(pairs), 'version')}, {size(total)}", "dim"),
    ]


def conflict_lines(plan: Plan, words: Words, *, zone: tzinfo | None = None) -> list[Line]:
    """The conflicts of a plan, both versions of each, and how to settle one."""
    if not plan.conflicts:
        return [((printable(plan.target.name), "bold"), ("  no conflicts", "green"))]
    lines: list[Line] = [
        ((printable(plan.target.name), "bold"), (f"  {count(len(plan.conflicts), 'conflict')}", CONFLICT.style))
    ]
    for item in plan.conflicts:
        lines += conflict_block(item, plan, zone=zone)
    lines.append(line(f"  next: trueup conflicts resolve {words.target} KEY --keep local|remote|both{words.flags}"))
    return lines


def conflict_block(item: Item, plan: Plan, *, zone: tzinfo | None = None) -> list[Line]:
    """One conflict: why, and what each side and the ancestor hold."""
    lines: list[Line] = [
        ((f"  {CONFLICT} ", CONFLICT.style), (f"{printable(item.key)}  {reason_text(item, plan)}", ""))
    ]
    lines += [line(f"      {side:<9}{_version(item.side(side), zone)}") for side in item.seen]
    if item.ancestor is not None:
        content = item.ancestor.content
        lines.append(line(f"      {'agreed':<9}{size(content.size):>8}  {content.fingerprint or '-'}"))
    return lines


def _version(seen: Shown, zone: tzinfo | None) -> str:
    if seen is None:
        return "not there"
    if isinstance(seen, Recorded):
        return printable(seen.record.document)
    if not isinstance(seen, Entry):
        return f"{'damaged' if isinstance(seen, Damaged) else 'unknown'}: {printable(seen.why)}"
    content = seen.content
    mark = content.fingerprint or content.kind.value
    return f"{size(content.size):>8}  {moment(seen.modified_ns, zone)}  {mark}"


CONSEQUENCES: dict[str, str] = {
    "local": "the local version replaces the remote one, which goes to the trash",
    "remote": "the remote version replaces the local one, which goes to the trash",
    "both": "the name holds the remote version; the local one becomes a file beside it, on both sides",
}
"""What each answer to a conflict does; none is preselected."""


def finding_lines(findings: Sequence[FindingLike]) -> list[Line]:
    """What the doctor found; what is wrong comes with its remedy."""
    lines: list[Line] = []
    for finding in findings:
        sign, style = ("ok", "green") if finding.ok else ("x ", "red")
        lines.append(((f"  {sign} ", style), (f"{printable(finding.check)}: {place(finding.detail)}", "")))
        if not finding.ok and finding.fix:
            lines.append(line(f"       try: {printable(finding.fix)}"))
    bad = sum(not finding.ok for finding in findings)
    lines.append(
        line(f"{count(bad, 'problem')} found", "red") if bad else line("everything that was checked is well", "green")
    )
    return lines
