"""The lines of a plan: what each side showed, what would be done, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trueup.core.model import Ancestor, Content, Damaged, Entry, Fingerprint, Kind, Recorded, Shown, Side, Unknown
from trueup.core.plan import Item, Plan, Step
from trueup.core.reconcile import Reason
from trueup.core.table import Standing, Verb
from trueup.render.names import moment, printable, size
from trueup.render.wording import (
    CREATE,
    DELETE,
    FORGET,
    MOVE,
    SAME,
    UPDATE,
    Mark,
    forgets,
    idle_mark,
    principals,
    reason_text,
    step_mark,
)

WITHIN = frozenset({CREATE, UPDATE, DELETE, MOVE})
"""Marks that do not say which side they write; the line does."""
DIGEST_LETTERS = 8
"""Of a digest, in a column; the whole one is beside it for whoever points at it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one side showed."""

    text: str
    detail: str = ""
    """Digest or time."""
    whole: str = ""
    """Everything that is known, where the cell shows less."""
    sign: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a plan."""

    n: int
    key: str
    marks: tuple[Mark, ...]
    why: str
    cells: tuple[Cell, ...]
    change: bool
    selected: bool
    conflict: bool
    picture: bool
    """Whether its name is that of an image."""


def sides_of(plan: Plan) -> tuple[Side, ...]:
    """The columns, in the order in which the target has its sides."""
    return tuple(plan.observed)


def line(n: int, item: Item, plan: Plan, *, selected: bool) -> Line:
    """One item as a line."""
    steps = principals(item)
    marks = tuple(dict.fromkeys(item_mark(item, step) for step in steps)) or (item_mark(item, None),)
    return Line(
        n,
        item.key,
        marks,
        _why(item, plan),
        tuple(cell(item.side(side), item.ancestor) for side in sides_of(plan)),
        item.is_change,
        selected,
        item.standing is Standing.CONFLICT,
        is_picture(item.key),
    )


def item_mark(item: Item, step: Step | None) -> Mark:
    """The mark of a line, as the command line has it."""
    if item.reason == Reason.AGREE:
        return SAME
    if forgets(item):
        return FORGET
    return step_mark(step) if step is not None else idle_mark(item)


def _why(item: Item, plan: Plan) -> str:
    steps = principals(item)
    step = steps[0] if steps else None
    why = reason_text(item, plan, step)
    if step is not None and item_mark(item, step) in WITHIN:
        why = f"on {step.side}: {why}"
    if any(one.verb is Verb.SAVE for one in item.steps):
        gone = step is not None and step.verb is Verb.DELETE
        why += f"; what is {'deleted' if gone else 'replaced'} goes to the trash"
    if item.destroys:
        why += "; destroys the version there"
    return why


def cell(shown: Shown, ancestor: Ancestor | None) -> Cell:
    """What a side showed, against what was agreed."""
    match shown:
        case None:
            return Cell("-", whole="not there", style="absent")
        case Unknown():
            return Cell("unknown", whole=printable(shown.why), sign="?", style="magenta")
        case Damaged():
            return Cell("damaged", whole=printable(shown.why), sign="x", style="red")
        case Recorded():
            return _recorded(shown)
        case Entry():
            return _entry(shown, ancestor)


def _entry(entry: Entry, ancestor: Ancestor | None) -> Cell:
    content = entry.content
    if content.kind is Kind.DIRECTORY:
        return Cell("folder")
    when = moment(entry.modified_ns)
    digest = short(content.fingerprint)
    changed = ancestor is not None and _differs(ancestor.content, content)
    whole = ", ".join(part for part in (f"{content.size:,} bytes", str(content.fingerprint or ""), when) if part)
    return Cell(size(content.size), digest or when, whole, "~" if changed else "", "yellow" if changed else "")


def _differs(one: Content, other: Content) -> bool:
    if one.kind is not other.kind or one.size != other.size:
        return True
    a, b = one.fingerprint, other.fingerprint
    return a is not None and b is not None and a.algorithm == b.algorithm and a.digest != b.digest


def _recorded(recorded: Recorded) -> Cell:
    fields = recorded.record.fields
    bytes_ = next((fields[name] for name in ("size_bytes", "size") if isinstance(fields.get(name), int)), None)
    digest = next((str(fields[name]) for name in ("md5_hash", "etag", "digest", "hash") if fields.get(name)), "")
    text = size(bytes_) if bytes_ is not None else "recorded"
    whole = ", ".join(f"{name}: {printable(str(value))}" for name, value in sorted(fields.items()))
    return Cell(text, printable(digest.strip('"').rpartition(":")[2][:DIGEST_LETTERS]), whole[:1000])


def short(fingerprint: Fingerprint | None) -> str:
    """The beginning of a digest."""
    return "" if fingerprint is None else fingerprint.digest[:DIGEST_LETTERS]


PICTURES: Sequence[str] = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")


def is_picture(key: str) -> bool:
    """Whether the name is that of an image that a page can show."""
    return key.lower().endswith(tuple(PICTURES))
