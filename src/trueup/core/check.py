"""Guards: what a plan must not do without being told so. Each names the one option that lets this one run pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from trueup.core.model import Entry, Side, is_directory
from trueup.core.plan import Observed, Plan

FEW = 10
"""Below this many items, an emptied or wholly changed side is an ordinary clean-up."""

FREE_RESERVE_BYTES = 16 * 1024 * 1024
"""A side is never filled to the last byte: state, journal and temporary files live there too."""


class Guard(StrEnum):
    """The value of ``--allow``."""

    MAX_DELETE = "max-delete"
    EMPTIED = "emptied"
    ALL_CHANGED = "all-changed"
    OTHER_ROOT = "other-root"
    FREE_SPACE = "free-space"
    CORRUPT_STATE = "corrupt-state"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard that stops the plan, and why."""

    guard: Guard
    why: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run may delete: more than the count, and than the share if there is one, is refused."""

    delete_count: int = FEW
    delete_share: float | None = 0.2
    """Share of the items that both sides last agreed on; None: the count alone decides."""

    @classmethod
    def parse(cls, text: str) -> Limits:
        """From ``N`` or ``P%``.

        Raises:
            ValueError: If it is neither.
        """
        text = text.strip()
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if not 0 <= share <= 1:
                raise ValueError(f"{text} is not between 0% and 100%")
            return cls(delete_share=share)
        if not text.isdigit():
            raise ValueError(f"{text!r} is neither a count nor a percentage")
        return cls(delete_count=int(text), delete_share=None)

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.delete_share * 100:g}%" if self.delete_share is not None else str(self.delete_count)

    def permit(self, deletes: int, known: int) -> bool:
        """Whether so many deletions among so many known items are ordinary."""
        if deletes <= self.delete_count:
            return True
        return self.delete_share is not None and deletes <= self.delete_share * known


def check(plan: Plan, limits: Limits, *, allow: Iterable[Guard] = ()) -> tuple[Refusal, ...]:
    """Every guard that stops this plan, in a fixed order.

    Args:
        plan: The plan as it would be applied, selection included.
        limits: How much may be deleted.
        allow: Guards that let this one run pass.
    """
    if not plan.needs_apply:  # forgetting what was agreed, because both sides seem empty, is a write too
        return ()
    passed = frozenset(allow)
    if plan.undoes is not None:
        # A person named the run to take back; what it created is deleted, however much that is.
        passed |= {Guard.EMPTIED, Guard.ALL_CHANGED, Guard.MAX_DELETE}
    return tuple(
        Refusal(guard, why)
        for guard, judge in _GUARDS.items()
        if guard not in passed and (why := judge(plan, limits)) is not None
    )


def _max_delete(plan: Plan, limits: Limits) -> str | None:
    for side in plan.observed:
        deletes = plan.deletes(side)
        if not limits.permit(deletes, plan.ancestors):
            share = f" ({deletes / plan.ancestors:.0%} of {plan.ancestors})" if plan.ancestors else ""
            return f"{deletes} files{share} would be deleted on {side}, the limit is {limits}"
    return None


def _emptied(plan: Plan, _: Limits) -> str | None:
    return _first_side(
        plan,
        lambda side, seen: (
            f"{side} holds nothing, but {_expected(plan, seen)} items were agreed: is it mounted?"
            if seen.complete and seen.items == 0 and _expected(plan, seen) >= FEW
            else None
        ),
    )


def _expected(plan: Plan, seen: Observed) -> int:
    return plan.ancestors if seen.expected is None else seen.expected


def _all_changed(plan: Plan, _: Limits) -> str | None:
    def judge(side: Side, seen: Observed) -> str | None:
        if not plan.changes or seen.unchanged:
            return None
        altered = [
            item
            for item in plan.items
            if item.ancestor is not None and not is_directory(item.key) and isinstance(item.side(side), Entry)
        ]
        if len(altered) < FEW or not all(item.altered(side) for item in altered):
            return None
        return f"all {len(altered)} known items on {side} changed at once: encrypted, converted, or another folder?"

    return _first_side(plan, judge)


def _other_root(plan: Plan, _: Limits) -> str | None:
    return _first_side(
        plan,
        lambda side, seen: (
            f"{seen.location} is not the {side} that was agreed with: its identity marker is "
            f"{'missing' if seen.marker is None else 'another one'}"
            if seen.expected_marker is not None and seen.marker != seen.expected_marker
            else None
        ),
    )


def _free_space(plan: Plan, _: Limits) -> str | None:
    def judge(side: Side, seen: Observed) -> str | None:
        needed = plan.bytes_to(side)
        if seen.free_bytes is None or not needed or needed + FREE_RESERVE_BYTES <= seen.free_bytes:
            return None
        return f"{side} needs {needed} bytes and has {seen.free_bytes} free (16 MiB stay reserved)"

    return _first_side(plan, judge)


def _first_side(plan: Plan, judge: Callable[[Side, Observed], str | None]) -> str | None:
    return next((why for side, seen in plan.observed.items() if (why := judge(side, seen)) is not None), None)


_GUARDS: dict[Guard, Callable[[Plan, Limits], str | None]] = {
    Guard.OTHER_ROOT: _other_root,
    Guard.EMPTIED: _emptied,
    Guard.ALL_CHANGED: _all_changed,
    Guard.MAX_DELETE: _max_delete,
    Guard.FREE_SPACE: _free_space,
}
