"""A report as text: what was done, what was not, and how to take it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from trueup.core.model import Kind
from trueup.core.plan import Plan, Step
from trueup.core.reconcile import Reason
from trueup.core.report import Ending, Outcome, Report, Status
from trueup.core.table import Verb
from trueup.render.moves import folders_counted, moved_folders
from trueup.render.names import count, duration, printable, size
from trueup.render.plans import SHOWN, Words, forgotten_items, same_items, steps_of
from trueup.render.text import Line, line
from trueup.render.wording import ADOPT, DOWNLOAD, MARKS, MOVE, STATUSES, UPLOAD, Mark, counted, forgets, step_mark

_UNCOUNTED = frozenset({Verb.SAVE, Verb.ADOPT})
"""Done with the step that needs them; counting them would count an item twice."""


def report_lines(report: Report, words: Words, *, verbose: int = 0) -> list[Line]:
    """What became of a run.

    Args:
        report: The report.
        words: How commands for its target are typed.
        verbose: 1 shows every line, and what was done too.
    """
    name = printable(report.plan.target.name)
    lines = [((name, "bold"), ("  ", ""), *_ending(report))]
    lines += _outcomes(report, verbose)
    lines += _open(report.plan, words)
    lines += [line(f"  note: {printable(note)}", "dim") for note in report.notes]
    if report.rolled_back is not None:
        lines.append(line(f"  taken back by run {report.rolled_back}: what was there before is there again", "yellow"))
    elif report.run is not None and can_be_undone(report.plan, report.outcomes):
        lines.append(line(f"  run {report.run}   undo: trueup undo {report.run}", "dim"))
    return lines


def can_be_undone(plan: Plan, outcomes: Iterable[Outcome]) -> bool:
    """Whether a side was changed: what else a run did, such as emptying a cache, nothing takes back."""
    done = {outcome.step for outcome in outcomes if outcome.status is Status.DONE}
    return any(step.id in done and step.verb is not Verb.ACT for item in plan.changes for step in item.steps)


def _ending(report: Report) -> Line:
    match report.ending:
        case Ending.IN_SYNC:
            return (_in_sync(report.plan),)
        case Ending.DECLINED:
            return (("nothing was done", "yellow"),)
        case Ending.INTERRUPTED:
            return (("interrupted; what was done is recorded  ", "yellow"), *_done(report))
        case Ending.APPLIED:
            return (*_applied(report), *_done(report))
        case _:
            assert_never(report.ending)


def _in_sync(plan: Plan) -> tuple[str, str]:
    if not plan.complete or plan.unknown or plan.conflicts or plan.damaged:
        return "nothing could be done", "yellow"
    news = any(item.reason == Reason.ADOPT and not forgets(item) for item in plan.items)
    remembered = ", which is now remembered" if news else ""
    forgotten = f"; {forgotten_items(plan):,} on neither side, now forgotten" if forgotten_items(plan) else ""
    return f"in sync: {count(same_items(plan), 'item')} the same{remembered}{forgotten}", "green"


def _applied(report: Report) -> Line:
    counts = report.counts
    bad = counts[Status.FAILED] + counts[Status.CHANGED] + counts[Status.SKIPPED]
    items = _items_done(report)
    chosen = len(report.plan.changes) if report.selected is None else report.selected
    if not items and not bad:
        return (_in_sync(report.plan),)
    style = "green" if not bad else "yellow" if counts[Status.DONE] else "red"
    selection = "" if report.selected is None else " chosen"
    return ((f"applied {items:,} of {count(chosen, 'change')}{selection} in {duration(report.seconds)}  ", style),)


def _items_done(report: Report) -> int:
    """Changes of which every step was carried out."""
    done = {outcome.step for outcome in report.outcomes if outcome.status is Status.DONE}
    return sum(all(step.id in done for step in item.steps) for item in report.plan.changes)


def _done(report: Report) -> Line:
    """Counts of the steps that were carried out, bytes each way."""
    steps = steps_by_id(report.plan)
    counts: Counter[Mark] = Counter()
    moved: Counter[Mark] = Counter()
    for outcome in report.outcomes:
        step = steps.get(outcome.step)
        if outcome.status is Status.DONE and step is not None and step.verb not in _UNCOUNTED:
            mark = step_mark(step)
            counts[mark] += 1
            if step.value is not None and step.value.content.kind is Kind.FILE:
                moved[mark] += step.value.content.size
    done = {outcome.step for outcome in report.outcomes if outcome.status is Status.DONE}
    folders = [folder for folder in moved_folders(report.plan.changes) if folder.covered <= done]
    for step in steps_of(report.plan, folders):
        counts[step_mark(step)] -= 1
    spans = [(folders_counted(folders) + "  ", MOVE.style)] if folders else []
    for mark in MARKS:
        if counts[mark] and mark is not ADOPT:
            amount = f" {size(moved[mark])}" if mark in (UPLOAD, DOWNLOAD) else ""
            spans.append((f"{counted(mark, counts[mark])}{amount}  ", mark.style))
    return tuple(spans)


def steps_by_id(plan: Plan) -> Mapping[str, Step]:
    """The steps of a plan by their ids, which outcomes name."""
    return {step.id: step for item in plan.items for step in item.steps}


def _outcomes(report: Report, verbose: int) -> Iterator[Line]:
    steps = steps_by_id(report.plan)
    wanted = report.outcomes if verbose else _undone(report)
    for outcome in wanted if verbose else wanted[:SHOWN]:
        yield outcome_line(outcome, steps.get(outcome.step))
    if len(wanted) > SHOWN and not verbose:
        yield line(f"    ... and {len(wanted) - SHOWN:,} more (-v shows all)", "dim")


_WORST = (Status.SKIPPED, Status.CHANGED, Status.FAILED)
"""Of several steps of an item that were not done: a later one here says more than an earlier one."""


def _undone(report: Report) -> Sequence[Outcome]:
    """What was not done, one outcome for each item: the one that says most about why.

    Saves share the fate of the write that they protect.
    """
    items = {step.id: n for n, item in enumerate(report.plan.items) for step in item.steps}
    saves = {step.id for step in steps_by_id(report.plan).values() if step.verb is Verb.SAVE}
    worst: dict[int | str, Outcome] = {}
    for outcome in report.outcomes:
        if outcome.status is not Status.DONE and outcome.step not in saves:
            item = items.get(outcome.step, outcome.step)
            before = worst.setdefault(item, outcome)
            if _WORST.index(outcome.status) > _WORST.index(before.status):
                worst[item] = outcome
    return tuple(worst.values())


def outcome_line(outcome: Outcome, step: Step | None) -> Line:
    """One step, what became of it, and why."""
    status = STATUSES[outcome.status]
    verb = f"{step_mark(step).word} on {step.side}" if step else ""
    code = f" [{outcome.code}]" if outcome.code else ""
    why = f": {printable(outcome.why)}{code}" if outcome.why or code else ""
    return ((f"  {status.sign:<2} {status.word:<8}", status.style), (f"  {printable(outcome.key)}  {verb}{why}", ""))


def _open(plan: Plan, words: Words) -> Iterator[Line]:
    """What the run leaves for a person."""
    if plan.conflicts:
        number = len(plan.conflicts)
        waiting = f"{count(number, 'conflict')} {'waits' if number == 1 else 'wait'} for a person"
        yield line(f"  ! {waiting}: trueup conflicts ls {words.target}{words.flags}", "magenta")
    if plan.damaged:
        number = len(plan.damaged)
        stays = "is not valid and stays" if number == 1 else "are not valid and stay"
        yield line(f"  x {count(number, 'item')} {stays} where {'it is' if number == 1 else 'they are'}", "red")
    if plan.unknown or not plan.complete:
        what = count(len(plan.unknown), "item") if plan.complete else "a whole side"
        yield line(f"  ? {what} could not be judged: trueup plan {words.target}{words.flags}", "magenta")
