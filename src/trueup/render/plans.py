"""A plan as text: what would be done, why, and what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trueup.core.audit import RECORDING
from trueup.core.check import Guard, Refusal
from trueup.core.codec import digest
from trueup.core.model import LOCAL, REMOTE, Kind
from trueup.core.plan import Item, Plan, Step
from trueup.core.reconcile import Reason
from trueup.core.strategy import Keep
from trueup.core.table import Standing, Verb
from trueup.render.moves import Folder, folders_counted, moved_folders
from trueup.render.names import count, pad, place, printable, size, width
from trueup.render.text import Line, columns, line
from trueup.render.wording import (
    CONFLICT,
    CREATE,
    DAMAGED,
    DELETE,
    DOWNLOAD,
    FORGET,
    MARKS,
    MOVE,
    SAME,
    SAVE,
    SIBLING,
    UNKNOWN,
    UPDATE,
    UPLOAD,
    Mark,
    counted,
    forgets,
    idle_mark,
    principals,
    reason_text,
    step_mark,
)

SHOWN = 200
"""Lines of each group before "... and N more"."""

WITHIN = frozenset({CREATE, UPDATE, DELETE, MOVE})
"""Marks that do not say which side they write; the line does."""


@dataclass(frozen=True, slots=True)
class Words:
    """How the commands of this plan are typed."""

    target: str
    """``photos``, or ``folder ~/photos /mnt/photos``; quoted for a shell."""
    flags: str = ""
    """Settings that were given as flags and have to be given again, with a leading blank."""
    next: str | None = ""
    """The next command; empty leaves that to the plan, as a refusal does; None says none."""


def plan_lines(plan: Plan, words: Words, *, verbose: int = 0, refusals: Sequence[Refusal] = ()) -> list[Line]:
    """The whole plan.

    Args:
        plan: The plan.
        words: How its commands are typed.
        verbose: 1 shows every line and the items that are only remembered or skipped, 2 the steps and versions too.
        refusals: Guards that would stop it.
    """
    lines = [*headline(plan), *_notices(plan)]
    lines += _item_lines(plan, verbose)
    lines += [line(), *footer(plan, words, refusals)]
    return lines


def headline(plan: Plan) -> list[Line]:
    """The target, where its sides are, and what could not be seen."""
    seen = plan.observed
    places = " <> ".join(place(side.location) for side in seen.values())
    direction = plan.policy.direction.value if set(seen) == {LOCAL, REMOTE} else ""
    undoing = f"  undoes {printable(plan.undoes)}" if plan.undoes else ""
    return [((printable(plan.target.name), "bold"), (f"  {places}  {direction}{undoing}", "dim"))]


def _notices(plan: Plan) -> Iterator[Line]:
    for side, seen in plan.observed.items():
        if not seen.complete:
            hidden = f"; {count(seen.hidden, 'known item')} not seen" if seen.hidden else ""
            why = printable(seen.why or "the listing broke off")
            yield (
                (f"  {UNKNOWN} ", UNKNOWN.style),
                (f"{side} as a whole: {why}{hidden}. Nothing is deleted; what was not seen stays as it is", ""),
            )
        for notice in seen.notices:
            yield line(f"  note: {side}: {printable(notice)}", "dim")
    if plan.damaged_ancestors:
        some = ", ".join(printable(key) for key in plan.damaged_ancestors[:3])
        more = ", ..." if len(plan.damaged_ancestors) > 3 else ""
        yield line(
            f"  note: {count(len(plan.damaged_ancestors), 'record')} of the last agreement cannot be believed "
            f"({some}{more}); decided as if there were none",
            "yellow",
        )


def _groups(plan: Plan, verbose: int) -> Iterator[list[Item]]:
    """Changes, what stays as it is, what is unknown, what waits for a person."""
    quiet = frozenset() if verbose else frozenset({Reason.ADOPT, Reason.AGREE, Reason.MOVED, Reason.SKIPPED})
    groups: tuple[list[Item], ...] = ([], [], [], [])
    for item in plan.items:
        if item.is_change:
            groups[0].append(item)
        elif item.standing is Standing.CONFLICT:
            groups[3].append(item)
        elif item.standing is Standing.UNKNOWN:
            groups[2].append(item)
        elif item.reason not in quiet:
            groups[1].append(item)
    yield from (group for group in groups if group)


def _item_lines(plan: Plan, verbose: int) -> Iterator[Line]:
    """Group after group, in the same columns."""
    folders = {} if verbose else {folder.created: folder for folder in moved_folders(plan.changes)}
    hidden = frozenset().union(*(folder.covered for folder in folders.values())) - folders.keys()
    groups = []
    for group in _groups(plan, verbose):
        seen = [item for item in group if not _hidden(item, hidden)]
        shown = seen if verbose else seen[:SHOWN]
        rows = [_row(item, step, plan, folders) for item in shown for step in principals(item) or (None,)]
        groups.append((rows, len(seen) - len(shown)))
    widths = columns([(row.key, row.amount) for rows, _ in groups for row in rows])
    for rows, more in groups:
        previous: Item | None = None
        for row in rows:
            flushed = " " * max(0, widths[1] - width(row.amount)) + row.amount
            yield (
                (f"  {mark_text(row.mark)}", row.mark.style),
                (f"  {pad(row.key, widths[0])}  {flushed}  {row.why}", ""),
            )
            if verbose > 1 and row.item is not previous:
                yield from _detail_lines(row.item)
            previous = row.item
        if more:
            yield line(f"    ... and {more:,} more (-v shows all)", "dim")


@dataclass(frozen=True, slots=True)
class _Row:
    """The line of one item, or of one of its steps."""

    item: Item
    mark: Mark
    key: str
    amount: str
    why: str

    @classmethod
    def of(cls, item: Item, step: Step | None, plan: Plan) -> _Row:
        mark = item_mark(item, step)
        why = reason_text(item, plan, step)
        if step is not None and mark in WITHIN:
            why = f"on {step.side}: {why}"
        if item.destroys:
            why += "; destroys the version there"
        return cls(item, mark, printable(step.key if step else item.key), _amount(item, step), why)


def _hidden(item: Item, hidden: Collection[str]) -> bool:
    """Whether the line of a moved folder says it all."""
    steps = principals(item)
    return bool(hidden and steps) and all(step.id in hidden for step in steps)


def _row(item: Item, step: Step | None, plan: Plan, folders: Mapping[str, Folder]) -> _Row:
    """The line of a step, or of the whole folder that it makes for what is moved there."""
    folder = folders.get(step.id) if step is not None else None
    if folder is None:
        return _Row.of(item, step, plan)
    was = f"on {folder.side}: was {printable(folder.old)} ({count(folder.files, 'file')})"
    return _Row(item, MOVE, printable(folder.new), "", was)


def mark_text(mark: Mark) -> str:
    """Sign and word in columns."""
    return f"{mark.sign:<2} {mark.word:<8}"


def item_mark(item: Item, step: Step | None) -> Mark:
    """The mark of an item's line."""
    if item.reason == Reason.AGREE:
        return SAME  # even where a version has to be remembered anew
    if forgets(item):
        return FORGET
    return step_mark(step) if step else idle_mark(item)


def _amount(item: Item, step: Step | None) -> str:
    if step is not None and step.verb in RECORDING:
        return ""  # a record speaks of content, and is none
    if step is not None and step.value is not None:
        return size(step.value.content.size) if step.value.content.kind is Kind.FILE else ""
    if step is None or step.verb is Verb.ADOPT:
        return ""
    seen = item.side(step.side)
    content = getattr(seen, "content", None)
    return size(content.size) if content is not None and content.kind is Kind.FILE else ""


def _detail_lines(item: Item) -> Iterator[Line]:
    for step in item.steps:
        expect = f"expects {printable(step.expect)}" if step.expect is not None else "expects nothing there"
        needs = f", after {', '.join(step.needs)}" if step.needs else ""
        yield line(f"        {step.id} {step.verb.value} {printable(step.key)} on {step.side}: {expect}{needs}", "dim")


def marks(items: Iterable[Item]) -> Counter[Mark]:
    """How many lines of each mark the items make; saves and siblings are counted beside them."""
    counts: Counter[Mark] = Counter()
    for item in items:
        if item.reason == Reason.MOVED and not item.steps:
            continue  # counted under its new name
        steps = principals(item)
        if not steps or item.reason == Reason.AGREE:
            counts[item_mark(item, None)] += 1
            continue
        for step in item.steps:
            if step in steps:
                counts[item_mark(item, step)] += 1
            elif step.verb is Verb.SAVE:
                counts[SAVE] += 1
            elif step.verb is Verb.SIBLING:
                counts[SIBLING] += 1
    return counts


def _bytes(plan: Plan, mark: Mark) -> int:
    """What the steps of one mark carry."""
    steps = (step for item in plan.items for step in item.steps)
    return sum(
        step.value.content.size
        for step in steps
        if step.value is not None and step.value.content.kind is Kind.FILE and step_mark(step) == mark
    )


def totals(plan: Plan) -> Line:
    """Counts of everything, bytes each way: ``> 5 up 12 MB  < 3 down 8 MB  - 2 deletes  = 812 same``."""
    folders = moved_folders(plan.changes)
    counts = marks(plan.items)
    for step in steps_of(plan, folders):
        counts[step_mark(step)] -= 1
    same = counts.pop(SAME, 0) + plan.agreed
    spans: list[tuple[str, str]] = [(folders_counted(folders) + "  ", MOVE.style)] if folders else []
    for mark in MARKS:
        number = counts[mark]
        if not number:
            continue
        amount = f" {size(_bytes(plan, mark))}" if mark in (UPLOAD, DOWNLOAD) else ""
        spans.append((f"{counted(mark, number)}{amount}  ", mark.style))
    if plan.undoes is None:
        spans.append((counted(SAME, same), ""))
    return tuple(spans)


def steps_of(plan: Plan, folders: Iterable[Folder]) -> Iterator[Step]:
    """The steps of these folders."""
    covered = {step for folder in folders for step in folder.covered}
    return (step for item in plan.changes for step in item.steps if step.id in covered)


def footer(plan: Plan, words: Words, refusals: Sequence[Refusal] = ()) -> list[Line]:
    """Counts, what is destroyed, what is refused, the digest, and the next command."""
    lines = [(("  ", ""), *totals(plan))]
    if plan.destroys:
        keep = f" (keep is {plan.policy.keep.value})" if plan.policy.keep is not Keep.ALL else ""
        lines.append(line(f"  destroys {count(plan.destroys, 'version')}{keep}", "red"))
    lines += refusal_lines(refusals)
    command = "" if words.next is None else next_command(plan, words, refusals)
    lines.append(((f"  plan {digest(plan)}", "dim"), (f"   {command}", "")))
    return lines


def same_items(plan: Plan) -> int:
    """How many items are the same on both sides, so far as is known."""
    return plan.agreed + sum(item.reason in (Reason.AGREE, Reason.ADOPT) and not forgets(item) for item in plan.items)


def forgotten_items(plan: Plan) -> int:
    """How many items are on neither side any more, so that what was agreed about them is forgotten."""
    return sum(forgets(item) for item in plan.items)


def refusal_lines(refusals: Sequence[Refusal]) -> list[Line]:
    """Each guard that stops the plan, and the option that lets one run pass."""
    return [
        ((f"  {'x refused':<11}", "red"), (f"  {place(r.why)}; --allow {r.guard.value} lets one run pass", ""))
        for r in refusals
    ]


def next_command(plan: Plan, words: Words, refusals: Sequence[Refusal] = ()) -> str:
    """What to type next."""
    if refusals:
        return _look_first(plan, words, refusals)
    return words.next or _following(plan, words)


def _following(plan: Plan, words: Words) -> str:
    """What to type next about a plan that nothing refuses."""
    if plan.undoes is not None:
        return f"next: trueup undo {plan.undoes}"
    news = any(item.reason == Reason.ADOPT for item in plan.items)
    if plan.changes or (news and not plan.conflicts):
        return f"next: trueup sync {words.target}{words.flags}"
    if plan.conflicts:
        return f"next: trueup conflicts ls {words.target}{words.flags}"
    if plan.unknown or not plan.complete:
        return f"next: trueup doctor {words.target}"
    return "nothing to do"


def _look_first(plan: Plan, words: Words, refusals: Sequence[Refusal]) -> str:
    """What to type after a refusal: never the command that passes the guard, a disk may just not be mounted."""
    if any(refusal.guard in (Guard.OTHER_ROOT, Guard.EMPTIED) for refusal in refusals):
        return f"next: trueup doctor {words.target}"
    if plan.undoes is not None:
        return f"next: trueup undo {plan.undoes} --dry-run -v"
    return f"next: trueup plan {words.target}{words.flags} -v"


def verdict(plan: Plan, *, by_content: bool = False) -> tuple[str, str]:
    """One word or two for the state of a target, and its style: in sync, out of sync, conflicts, unknown."""
    if not plan.complete:
        return "unknown", UNKNOWN.style
    if plan.changes:
        return "out of sync", "yellow"
    if plan.conflicts:
        return "conflicts", CONFLICT.style
    if plan.damaged:
        return "damaged", DAMAGED.style
    if plan.unknown:
        return "in sync, as far as it can be seen", UNKNOWN.style
    how = "by content" if by_content else "by metadata"
    return f"in sync {how}", "green"


def status_lines(plan: Plan, words: Words, *, by_content: bool = False, verbose: int = 0) -> list[Line]:
    """A summary: one block for one target."""
    state, style = verdict(plan, by_content=by_content)
    lines: list[Line] = [((printable(plan.target.name), "bold"), ("  ", ""), (state, style))]
    for side, seen in plan.observed.items():
        items = count(seen.items, "item") if seen.complete else "not all seen"
        lines.append(line(f"  {side:<8}{' ' * (len(side) > 7)}{place(seen.location)}  {items}", "dim"))
    lines += _notices(plan)
    if verbose:
        lines += _item_lines(plan, verbose - 1)
    lines.append((("  ", ""), *totals(plan)))
    command = next_command(plan, words)
    if plan.changes:
        command = f"next: trueup plan {words.target}{words.flags}"
    if command != "nothing to do":
        lines.append(line(f"  {command}"))
    return lines
