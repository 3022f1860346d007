"""How targets, runs and their ends are called on pages: a sign, a word, and a colour that never stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trueup.core.plan import Step
from trueup.engine.served import Stage
from trueup.render.names import count, size
from trueup.render.wording import (
    CONFLICT,
    DAMAGED,
    DELETE,
    DOWNLOAD,
    GUARDS,
    MOVE,
    RECORD_ADD,
    RECORD_CHANGE,
    RECORD_REMOVE,
    SAME,
    SAVE,
    SIBLING,
    STATUSES,
    UNKNOWN,
    UPDATE,
    UPLOAD,
    Mark,
    counted,
    step_mark,
)

SYNC: Mapping[str, Mark] = {
    "in_sync": Mark("=", "In sync", "green"),
    "out_of_sync": Mark("~", "Out of sync", "yellow"),
    "conflicts": Mark("!", "Conflicts", "magenta"),
    "unknown": Mark("?", "Unknown", "magenta"),
    "unchecked": Mark("?", "Not checked yet", ""),
}
"""How a target stood when it was last looked at."""

HEALTH: Mapping[str, Mark] = {
    "healthy": Mark("", "Healthy", "green"),
    "failing": Mark("x", "Failing", "red"),
    "unknown": Mark("", "-", ""),
}

STAGES: Mapping[Stage, Mark] = {
    Stage.QUEUED: Mark("", "Queued", ""),
    Stage.OBSERVING: Mark("", "Looking", "cyan"),
    Stage.PLANNED: Mark("=", "Planned", ""),
    Stage.AWAITING_APPROVAL: Mark("?", "Waits for approval", "yellow"),
    Stage.APPLYING: Mark(">", "Applying", "cyan"),
    Stage.SUCCEEDED: Mark("=", "Succeeded", "green"),
    Stage.PARTIAL: Mark("~", "Partial", "yellow"),
    Stage.FAILED: Mark("x", "Failed", "red"),
    Stage.CANCELLED: Mark("-", "Cancelled", "yellow"),
    Stage.REFUSED: Mark("x", "Refused", "red"),
    Stage.INTERRUPTED: Mark("!", "Interrupted", "magenta"),
}

ENDED: Mapping[str, Mark] = {
    "applied": Mark("=", "Applied", "green"),
    "partial": Mark("~", "Partial", "yellow"),
    "failed": Mark("x", "Failed", "red"),
    "interrupted": Mark("!", "Interrupted", "magenta"),
    "killed": Mark("!", "Killed", "magenta"),
    "running": Mark(">", "Running", "cyan"),
}
"""How a run of the history stands."""

ACTIONS: Mapping[str, str] = {
    "plan": "Plan",
    "sync": "Sync",
    "apply": "Apply",
    "undo": "Undo",
    "resolve": "Resolve conflicts",
    "training": "Sync training data",
}

SIDES: Mapping[str, str] = {"manifest": "Recorded", "record": "Recorded", "local": "Local", "remote": "Remote"}
"""Sides that have another name for people; the others are called as they are."""

TRAINED: Sequence[tuple[str, str, str]] = (
    ("uploaded", "remote put", "uploaded"),
    ("downloaded", "local put", "downloaded"),
    ("added_to_manifest", "manifest record+", "added to manifest"),
    ("updated_in_manifest", "manifest record~", "updated in manifest"),
    ("removed_from_manifest", "manifest record-", "removed from manifest"),
    ("deleted_local", "local delete", "deleted locally"),
    ("deleted_s3", "remote delete", "deleted on the remote"),
)
"""A key of the endpoint's answer, the steps that it counts, and how people read it."""

VERIFIED: Mapping[str, str] = {"content": "every byte was compared", "metadata": "by versions, sizes and times"}


def stage(state: str) -> Mark:
    """How a run stands."""
    return STAGES[Stage(state)]


def ended(state: str) -> Mark:
    """How a run of the history stands."""
    return ENDED[state]


def verb(step: Step) -> Mark:
    """What a step did."""
    return step_mark(step)


def status(name: str) -> Mark:
    """What became of a step."""
    return next(mark for status, mark in STATUSES.items() if status.value == name)


def side(name: str) -> str:
    """The name of a side at the head of a column."""
    return SIDES.get(name, name.capitalize())


def action(asked: Mapping[str, Any]) -> str:
    """What a run was asked for."""
    if asked.get("dry_run"):
        return "Dry run"
    return ACTIONS.get(str(asked.get("action")), str(asked.get("action")))


def guard(name: str) -> str:
    """What a guard watches."""
    return next((text for one, text in GUARDS.items() if one.value == name), name)


def changes(number: int) -> str:
    """``1 change``, ``2 changes``."""
    return count(number, "change")


def items(number: int) -> str:
    """``1 item``, ``2 items``."""
    return count(number, "item")


def versions(number: int) -> str:
    """``1 version``, ``2 versions``."""
    return count(number, "version")


_TALLIED: Sequence[tuple[str, str, Mark]] = (
    ("remote", "put", UPLOAD),
    ("local", "put", DOWNLOAD),
    ("", "put", UPDATE),
    ("", "replace_kind", UPDATE),
    ("", "move", MOVE),
    ("", "record+", RECORD_ADD),
    ("", "record~", RECORD_CHANGE),
    ("", "record-", RECORD_REMOVE),
    ("", "delete", DELETE),
    ("", "save", SAVE),
    ("", "sibling", SIBLING),
)
"""Side (empty: any other), verb, and how it is counted."""


def tally(summary: Mapping[str, Any]) -> list[tuple[Mark, str]]:
    """The counts of a plan, as the command line's footer has them: ``> 5 up 12 MB``, ``r+ 2 records``."""
    left: dict[str, int] = dict(summary["verbs"])
    found: list[tuple[Mark, str]] = []
    for where, verb, mark in _TALLIED:
        names = [name for name in left if name.endswith(f" {verb}") and where in ("", name.partition(" ")[0])]
        number = sum(left.pop(name) for name in names)
        if number:
            amount = f" {size(summary['bytes_to'].get(where, 0))}" if mark in (UPLOAD, DOWNLOAD) else ""
            found.append((mark, _bare(mark, number) + amount))
    for name, mark in (("conflicts", CONFLICT), ("unknown", UNKNOWN), ("damaged", DAMAGED)):
        if summary[name]:
            found.append((mark, _bare(mark, summary[name])))
    found.append((SAME, _bare(SAME, summary["agreed"])))
    return found


def _bare(mark: Mark, number: int) -> str:
    """The count without its sign, which stands before it."""
    return counted(mark, number).removeprefix(mark.sign).strip()
