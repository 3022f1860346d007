"""The words of a plan: a sign and a word for every step, a sentence for every reason; tests check that none misses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trueup.core.check import Guard
from trueup.core.model import LOCAL, REMOTE, Unknown
from trueup.core.plan import Item, Plan, Step
from trueup.core.reconcile import Reason, other
from trueup.core.report import Status
from trueup.core.table import Standing, Verb
from trueup.render.names import count, printable


@dataclass(frozen=True, slots=True)
class Mark:
    """How a line begins: the sign may be empty, the word never is."""

    sign: str
    word: str
    style: str = ""
    """Name of a colour; never carries meaning alone."""
    meaning: str = ""

    def __str__(self) -> str:
        """Sign, if there is one, and word."""
        return f"{self.sign} {self.word}".strip()


CREATE = Mark("+", "create", "green", "a new item, from the same side (its trash, its disk)")
UPDATE = Mark("~", "update", "yellow", "a changed item, from the same side")
DELETE = Mark("-", "delete", "red", "removed; kept in the trash unless the line says `destroys`")
UPLOAD = Mark(">", "upload", "green", "local to remote")
DOWNLOAD = Mark("<", "download", "cyan", "remote to local")
RECORD_ADD = Mark("r+", "record", "green", "a record is added beside the content")
RECORD_CHANGE = Mark("r~", "record", "yellow", "a record is changed")
RECORD_REMOVE = Mark("r-", "record", "red", "a record is removed; kept in the state")
MOVE = Mark("~", "move", "yellow", "renamed on the same side, without payload")
REPLACE = Mark("~", "replace", "yellow", "a file becomes a folder, or a folder a file")
SAVE = Mark("", "save", "", "the version that is replaced goes to the trash first")
SIBLING = Mark("", "sibling", "cyan", "the losing version gets a name of its own beside the winner")
ADOPT = Mark("=", "adopt", "", "both sides are the same already; only that is remembered")
FORGET = Mark("", "forget", "", "on neither side any more, or no part of the target any more; only that is remembered")
ACT = Mark("", "act", "", "what else is done: a container stopped, a cache emptied")
CLEAR = Mark("", "clear", "", "behind the writes: compiled templates are deleted")
INVALIDATE = Mark("", "invalidate", "", "behind the writes: keys are taken out of a cache")
WARM = Mark("", "warm", "", "behind the writes: a cache is filled again")
RELOAD = Mark("", "reload", "", "behind the writes: an application reads its settings again")
CONFLICT = Mark("!", "conflict", "magenta", "a person decides; see `trueup conflicts`")
SAME = Mark("=", "same", "", "nothing to do")
UNKNOWN = Mark("?", "unknown", "magenta", "a side could not say; nothing is done, nothing is forgotten")
BLOCKED = Mark("?", "blocked", "magenta", "the side that would be written cannot hold this name")
DAMAGED = Mark("x", "damaged", "red", "the content is not what its record says")
UNREGISTERED = Mark("*", "unregistered", "yellow", "content without a record")
KEEP = Mark("", "keep", "", "left as it is; the reason says why")
SKIP = Mark("", "skip", "", "not followed, not copied: links, devices, excluded by size")
HELD = Mark("", "held", "yellow", "waits for another item, or for a complete listing")

MARKS: tuple[Mark, ...] = (
    UPLOAD, DOWNLOAD, CREATE, UPDATE, DELETE, RECORD_ADD, RECORD_CHANGE, RECORD_REMOVE, CONFLICT, SAME, UNKNOWN,
    DAMAGED, UNREGISTERED, BLOCKED, MOVE, REPLACE, ADOPT, FORGET, SAVE, SIBLING, ACT, CLEAR, INVALIDATE, WARM, RELOAD,
    KEEP, SKIP, HELD,
)  # fmt: skip
"""Every mark, for `trueup help symbols`."""


_COUNTED: Mapping[Mark, tuple[str, str]] = {
    UPLOAD: ("up", "up"),
    DOWNLOAD: ("down", "down"),
    SAME: ("same", "same"),
    UNKNOWN: ("unknown", "unknown"),
    DAMAGED: ("damaged", "damaged"),
    UNREGISTERED: ("unregistered", "unregistered"),
    BLOCKED: ("blocked", "blocked"),
    ADOPT: ("to remember", "to remember"),
    FORGET: ("to forget", "to forget"),
    SAVE: ("saved to the trash", "saved to the trash"),
    ACT: ("further step", "further steps"),
    CLEAR: ("cleared", "cleared"),
    INVALIDATE: ("invalidated", "invalidated"),
    WARM: ("warmed", "warmed"),
    KEEP: ("stays as it is", "stay as they are"),
    SKIP: ("skipped", "skipped"),
    HELD: ("held", "held"),
}
"""How marks are counted, one and several, where an s does not do."""


def counted(mark: Mark, number: int) -> str:
    """``- 1 delete``, ``- 5 deletes``, ``7 saved to the trash``."""
    one, many = _COUNTED.get(mark, (mark.word, f"{mark.word}s"))
    return f"{mark.sign} {number:,} {one if number == 1 else many}".strip()


VERBS: Mapping[Verb, Mark] = {
    Verb.MOVE: MOVE,
    Verb.DELETE: DELETE,
    Verb.SAVE: SAVE,
    Verb.SIBLING: SIBLING,
    Verb.REPLACE_KIND: REPLACE,
    Verb.RECORD_ADD: RECORD_ADD,
    Verb.RECORD_CHANGE: RECORD_CHANGE,
    Verb.RECORD_REMOVE: RECORD_REMOVE,
    Verb.ACT: ACT,
    Verb.ADOPT: ADOPT,
}
"""Marks of all verbs but PUT, whose mark says the way that the content goes."""


AFTER_MARKS: Mapping[str, Mark] = {"bytecode": CLEAR, "invalidate": INVALIDATE, "warm": WARM, "reload": RELOAD}
"""Marks of after-steps, by what their records say."""


def step_mark(step: Step) -> Mark:
    """The mark of one step."""
    if step.verb is Verb.PUT or (step.verb is Verb.REPLACE_KIND and step.value is not None):
        return _put_mark(step)
    if step.verb is Verb.ACT and step.record is not None:
        return AFTER_MARKS.get(str(step.record.fields.get("act")), ACT)
    return VERBS[step.verb]


def _put_mark(step: Step) -> Mark:
    if step.value is not None and step.value.side != step.side:
        return UPLOAD if step.side == REMOTE else DOWNLOAD
    return CREATE if step.expect is None else UPDATE


IDLE_MARKS: Mapping[Reason, Mark] = {
    Reason.CONFLICT: CONFLICT,
    Reason.KIND_CONFLICT: CONFLICT,
    Reason.UNKNOWN: UNKNOWN,
    Reason.BLOCKED: BLOCKED,
    Reason.SKIPPED: SKIP,
    Reason.HELD: HELD,
    Reason.AGREE: SAME,
    Reason.ADOPT: ADOPT,
}
"""Marks of items without steps; all others are kept."""

_STANDING_MARKS: Mapping[Standing, Mark] = {
    Standing.CONFLICT: CONFLICT,
    Standing.UNKNOWN: UNKNOWN,
    Standing.DAMAGED: DAMAGED,
    Standing.UNREGISTERED: UNREGISTERED,
}


def idle_mark(item: Item) -> Mark:
    """The mark of an item for which there is nothing to do."""
    try:
        return IDLE_MARKS[Reason(item.reason)]
    except (KeyError, ValueError):  # kept, or a reason of a table, which says how the item stands
        return _STANDING_MARKS.get(item.standing, KEEP)


REASONS: Mapping[Reason, str] = {
    Reason.AGREE: "the same on both sides",
    Reason.ADOPT: "the same on both sides: remembered",
    Reason.CREATE: "new on {source}",
    Reason.UPDATE: "changed on {source}",
    Reason.EDIT_BEATS_DELETE: "changed on {source}, deleted on {side}: an edit beats a delete",
    Reason.RESTORE: "deleted on {side}: comes back",
    Reason.DELETE: "deleted on {source}",
    Reason.LOCAL_WINS: "the sides differ: local wins",
    Reason.REMOTE_WINS: "the sides differ: remote wins",
    Reason.KEEP_BOTH: "the sides differ: both are kept, the {side} version as {sibling}",
    Reason.CONFLICT: "changed on both sides: which one holds?",
    Reason.KIND_CONFLICT: "a file on one side, a folder on the other: which one holds?",
    Reason.ONLY_LOCAL: "only on local: {direction} does not write remote",
    Reason.ONLY_REMOTE: "only on remote: {direction} does not write local",
    Reason.KEPT_LOCAL: "the sides differ, local stays as it is: direction is {direction}",
    Reason.KEPT_REMOTE: "the sides differ, remote stays as it is: direction is {direction}",
    Reason.MISSING_LOCAL: "deleted on local, stays on remote: direction is {direction}, deletes are {deletes}",
    Reason.MISSING_REMOTE: "deleted on remote, stays on local: direction is {direction}, deletes are {deletes}",
    Reason.UNKNOWN: "{why}",
    Reason.SKIPPED: "{why}",
    Reason.BLOCKED: "the other side cannot hold this name, or holds one that it would take for the same",
    Reason.HELD: "waits: something that goes with it stays, is undecided, or could not be seen",
    Reason.MOVE: "was {origin}",
    Reason.MOVED: "has another name now",
    Reason.UNDO: "as it was before the run",
}
"""Why an item has the steps it has. Filled in by `reason_text`."""

_DELETES = {"restore": "restored", "propagate": "propagated", "report": "only reported"}


def reason_text(item: Item, plan: Plan, step: Step | None = None) -> str:
    """Why, in words; the step says which side is meant where an item writes both."""
    if item.reason == Reason.BLOCKED and plan.undoes is not None:
        return "cannot be taken back: the version before is no longer in the trash"
    if item.reason == Reason.CONFLICT and item.ancestor is None:
        return "different on both sides, and never agreed: which one holds?"
    if forgets(item):
        return _forgotten(item)
    if item.why:
        return printable(item.why)
    step = step or principal(item)
    return _became(item, plan, step) or _worded(item, plan, step)


def _worded(item: Item, plan: Plan, step: Step | None) -> str:
    """The reason's sentence, filled in."""
    side = step.side if step else LOCAL
    text = REASONS[Reason(item.reason)].format(
        side=side,
        source=other(side),
        direction=plan.policy.direction.value,
        deletes=_DELETES[plan.policy.deletes.value],
        sibling=_sibling(item),
        origin=_origin(item),
        why=_why(item),
    )
    if step is not None and step.verb is Verb.DELETE and item.reason == Reason.MOVED:
        text = "what it held has other names now"
    if step is not None and step.verb is Verb.MOVE and item.reason == Reason.UNDO:
        text = f"was {_origin(item)}: {text}"
    if step is not None and step.verb is Verb.REPLACE_KIND:
        text += "; a folder takes its place" if step.value is None else "; takes the place of a folder"
    return text


def forgets(item: Item) -> bool:
    """Whether the item is about nothing but an agreement that is no longer."""
    return item.reason == Reason.ADOPT and None in item.seen.values()


def _forgotten(item: Item) -> str:
    if not any(item.seen.values()):
        return "gone from both sides, or no longer part of the target: forgotten"
    return "forgotten before a file becomes a folder: it comes back below that"


def _became(item: Item, plan: Plan, step: Step | None) -> str:
    """Of a change of kind on one side only; empty for everything else."""
    if step is None or step.verb is not Verb.REPLACE_KIND or item.reason == Reason.UNDO:
        return ""
    kind, old = "folder", item
    if step.value is not None:
        kind, old = "file", next((found for found in plan.items if found.key == f"{item.key}/"), item)
    if old.ancestor is None or old.altered(step.side):
        return ""  # the sides differ in more than that
    return f"became a {kind} on {other(step.side)}"


def principal(item: Item) -> Step | None:
    """The step that names the item's line; None if there is nothing to do."""
    steps = principals(item)
    return steps[0] if steps else None


def principals(item: Item) -> tuple[Step, ...]:
    """The steps worth a line of their own: saves and siblings only if there is nothing else."""
    main = tuple(step for step in item.steps if step.verb not in (Verb.SAVE, Verb.SIBLING, Verb.ADOPT))
    return main or item.steps[:1]


def _sibling(item: Item) -> str:
    names = [printable(step.key.rpartition("/")[2]) for step in item.steps if step.verb is Verb.SIBLING]
    return names[0] if names else "a sibling"


def _origin(item: Item) -> str:
    names = [printable(step.value.key) for step in item.steps if step.verb is Verb.MOVE and step.value is not None]
    return names[0] if names else "elsewhere"


def _why(item: Item) -> str:
    parts = []
    for side, seen in item.seen.items():
        if isinstance(seen, Unknown):
            below = f", and {count(seen.hidden, 'known item')} below it" if seen.hidden else ""
            parts.append(f"{side}: {printable(seen.why)}{below}")
    return "; ".join(parts) or "a side could not say"


STATUSES: Mapping[Status, Mark] = {
    Status.DONE: Mark("", "done", "green", "carried out"),
    Status.CHANGED: Mark("!", "changed", "magenta", "somebody else's version was there; nothing was written"),
    Status.FAILED: Mark("x", "failed", "red", "the side refused or did not answer"),
    Status.SKIPPED: Mark("", "skipped", "yellow", "not tried: what it needs did not succeed, or the run was stopped"),
}

GUARDS: Mapping[Guard, str] = {
    Guard.MAX_DELETE: "More deletions than the limit permits, by count and by share (--max-delete).",
    Guard.EMPTIED: "A side is empty that held ten items or more: usually a disk that is not mounted.",
    Guard.ALL_CHANGED: "Every known item on a side changed at once: encrypted, converted, or another folder.",
    Guard.OTHER_ROOT: "A root is not the one that was agreed with: its identity marker is missing or another.",
    Guard.FREE_SPACE: "A side has no room for what would be written to it.",
    Guard.CORRUPT_STATE: "The recorded state failed its checksums; the run would decide as if for the first time.",
}
"""What each guard watches, for `trueup help guards`."""
