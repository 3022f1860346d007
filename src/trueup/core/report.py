"""What a run did: one outcome per step, and the exit code that follows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from trueup.core.model import Fingerprint, Key, Token
from trueup.core.plan import Plan

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_PARTIAL = 2
EXIT_DRIFT = 3
EXIT_CONFLICTS = 4
EXIT_REFUSED = 5
EXIT_LOCKED = 6
EXIT_USAGE = 64
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_PRECEDENCE = (EXIT_CONFIG, EXIT_REFUSED, EXIT_FAILED, EXIT_PARTIAL, EXIT_CONFLICTS, EXIT_DRIFT)


class Status(StrEnum):
    """What became of a step."""

    DONE = "done"
    CHANGED = "changed"
    """Somebody else's version was there; nothing was written; plan again."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not tried: a step that it needs did not succeed, or the run was stopped."""


class Ending(StrEnum):
    """How a run ended."""

    IN_SYNC = "in_sync"
    """There was nothing to do."""
    APPLIED = "applied"
    DECLINED = "declined"
    """The plan was shown and not wanted, or only asked for."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step."""

    step: str
    key: Key
    status: Status
    why: str = ""
    code: str = ""
    """Stable error code, empty when done."""
    token: Token | None = None
    """The version that was written."""
    fingerprint: Fingerprint | None = None
    """Of the bytes that were written."""
    kept: str | None = None
    """Handle of the replaced or deleted version in the side's trash."""
    found: bool = False
    """Whether it was there already, just as it was to be: the step wrote nothing, and an undo leaves it alone."""


@dataclass(frozen=True, slots=True)
class Report:
    """A plan and what became of it."""

    plan: Plan
    ending: Ending
    run: str | None = None
    """Id of the run in the history; None if nothing was started."""
    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    selected: int | None = None
    """How many changes were chosen, where not all were."""
    rolled_back: str | None = None
    """The run that took this one back, because an after-step failed that it cannot do without."""
    notes: tuple[str, ...] = ()
    """What was done, or could not be, beside the plan."""

    @property
    def counts(self) -> Counter[Status]:
        """Outcomes by status."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def ok(self) -> bool:
        """Whether everything that was to be done is done and nothing is left open."""
        return exit_code(self) == EXIT_OK

    @property
    def partial(self) -> bool:
        """Whether some of it was done and some not."""
        return exit_code(self) == EXIT_PARTIAL


def exit_code(report: Report) -> int:
    """The process exit code for one report; several at once: the first of 78, 5, 1, 2, 4, 3."""
    if report.ending is Ending.INTERRUPTED:
        return EXIT_INTERRUPTED
    return combine([*_outcome_codes(report), plan_exit_code(report.plan, drift=report.ending is Ending.DECLINED)])


def _outcome_codes(report: Report) -> list[int]:
    counts = report.counts
    if not counts[Status.FAILED] + counts[Status.CHANGED] + counts[Status.SKIPPED]:
        return []
    # Nothing failed where somebody else's version was there: plan again.
    superseded = counts[Status.CHANGED] and not counts[Status.FAILED]
    return [EXIT_PARTIAL if counts[Status.DONE] or superseded else EXIT_FAILED]


def plan_exit_code(plan: Plan, *, drift: bool) -> int:
    """The exit code that a plan alone calls for.

    Args:
        plan: The plan.
        drift: Whether changes that wait count (they do for read-only verbs that were asked to say so).
    """
    codes = [EXIT_OK]
    if not plan.complete:
        codes.append(EXIT_FAILED)
    if plan.unknown or plan.damaged:
        codes.append(EXIT_PARTIAL)
    if plan.conflicts:
        codes.append(EXIT_CONFLICTS)
    if drift and plan.changes:
        codes.append(EXIT_DRIFT)
    return combine(codes)


def combine(codes: list[int]) -> int:
    """The exit code of several results together."""
    for code in (EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_LOCKED, EXIT_USAGE):
        if code in codes:
            return code
    return next((code for code in _PRECEDENCE if code in codes), EXIT_OK)
