"""What became of a call of `trueup.actions.sync`: the fields that its documents name, filled from a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from trueup.core.errors import ConflictError, StoreError
from trueup.core.model import LOCAL, REMOTE, Damaged, Entry, Unknown, is_directory
from trueup.core.plan import Item, Phase, Plan, Step
from trueup.core.reconcile import Reason
from trueup.core.report import Ending, Report, Status, exit_code
from trueup.core.table import Standing, Verb

_OPEN = frozenset({Reason.CONFLICT.value, Reason.KIND_CONFLICT.value})
_SETTLED = frozenset({Reason.LOCAL_WINS, Reason.REMOTE_WINS, Reason.KEEP_BOTH})
_LEFT = frozenset({Reason.KEPT_LOCAL, Reason.KEPT_REMOTE})
_SILENT = frozenset({Reason.ADOPT, Reason.AGREE, Reason.MOVED})


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What became of a call. It may be partial: what is done is done, and the rest is named."""

    synced_items: list[str] = field(default_factory=list)
    """``PULL: path``, ``PUSH: path``, ``DELETE local: path``, ``MOVE remote: old -> new``."""
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    """Each with ``path``, ``local_mtime`` and ``remote_mtime`` (seconds since the epoch, or None) and ``reason``: what
    was settled, and how; ``conflict`` where it waits for a person."""
    errors: list[Exception] = field(default_factory=list)
    """What failed; the text of each begins with its path, or with its side."""
    skipped: list[str] = field(default_factory=list)
    """``path: reason`` of what differs and stays as it is."""
    backed_up: list[str] = field(default_factory=list)
    """Losers of conflicts: ``SIDE: HANDLE`` in that side's trash, or ``SIDE: path`` of a sibling."""
    report: Report | None = field(default=None, repr=False)
    """All of it, in the engine's own terms; None if no side could be looked at."""

    @property
    def has_conflicts(self) -> bool:
        """Whether there were any, settled or not."""
        return bool(self.conflicts)

    @property
    def unresolved(self) -> list[dict[str, Any]]:
        """Conflicts that wait for a person."""
        return [conflict for conflict in self.conflicts if conflict["reason"] in _OPEN]

    @property
    def has_errors(self) -> bool:
        """Whether anything failed."""
        return bool(self.errors)

    @property
    def total_processed(self) -> int:
        """Synced, failed, skipped, and waiting for a person."""
        return len(self.synced_items) + len(self.errors) + len(self.skipped) + len(self.unresolved)

    @property
    def success_count(self) -> int:
        """How many items were synced."""
        return len(self.synced_items)

    @property
    def is_success(self) -> bool:
        """Whether nothing failed and nothing waits for a person."""
        return not self.errors and not self.unresolved

    ok = is_success

    @property
    def partial(self) -> bool:
        """Whether some of it was done and some not."""
        return bool(self.synced_items) and not self.is_success

    @property
    def exit_code(self) -> int:
        """That of the command line for the same."""
        return StoreError.exit_code if self.report is None else exit_code(self.report)

    def raise_for_status(self) -> Self:
        """The result itself.

        Raises:
            ConflictError: If a conflict waits for a person.
            StoreError: If anything failed.
        """
        if self.errors:
            raise StoreError(f"{len(self.errors)} items were not synced", why="; ".join(map(str, self.errors[:5])))
        if self.unresolved:
            raise undecided(self)
        return self


@dataclass(frozen=True, slots=True)
class TemplateSyncResult(SyncResult):
    """What became of templates."""

    cache_invalidated: list[str] = field(default_factory=list)
    """Keys that caches held when the plan was made, and that were deleted."""
    bytecode_cleared: list[str] = field(default_factory=list)
    """Files of Jinja2's bytecode cache."""
    cache_warmed: list[str] = field(default_factory=list)
    """Templates that were compiled again."""


@dataclass(frozen=True, slots=True)
class SettingsSyncResult(SyncResult):
    """What became of settings."""

    config_reloaded: bool = False
    """Whether the application has read them again."""
    adapters_affected: list[str] = field(default_factory=list)
    """Sorted."""
    rolled_back: bool = False
    """Whether the previous settings were put back, because the application could not read the new ones."""


@dataclass(frozen=True, slots=True)
class StaticSyncResult(SyncResult):
    """What became of static files."""


def undecided(result: SyncResult) -> ConflictError:
    """The error for conflicts that wait for a person."""
    paths = ", ".join(conflict["path"] for conflict in result.unresolved[:5])
    return ConflictError(
        "Manual conflict resolution required", why=paths, attempt="trueup conflicts, or another strategy", result=result
    )


# -- from reports to results ------------------------------------------------------------------------------------------


def told(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """The fields that all results have."""
    plan = report.plan
    outcomes = {outcome.step: outcome for outcome in report.outcomes}
    found = _Told([], [], [], [], [])
    for side, observed in plan.observed.items():
        if not observed.complete:
            found.errors.append(StoreError(f"{side}: {observed.why or 'the listing broke off'}"))
    for item in plan.items:
        conflict = _conflict(item)
        if conflict is not None:
            found.conflicts.append(conflict)
        if item.phase >= Phase.AFTER or item.is_change:
            bad = [o for step in item.steps if (o := outcomes.get(step.id)) and o.status is not Status.DONE]
            if bad and not dry_run:
                why = next((outcome.why for outcome in bad if outcome.why), bad[0].status.value)
                found.errors.append(StoreError(f"{item.key}: {why}"))
            else:
                found.synced_items.extend(map(_said, _principal(item)))
                found.backed_up.extend(_backups(item, outcomes))
        elif item.standing in (Standing.UNKNOWN, Standing.DAMAGED):
            found.errors.append(StoreError(_located(item)))
        elif conflict is None and item.reason not in _SILENT:
            found.skipped.append(f"{item.key}: {item.why or item.reason}")
    return {**found.__dict__, "report": report}


@dataclass
class _Told:
    synced_items: list[str]
    conflicts: list[dict[str, Any]]
    errors: list[Exception]
    skipped: list[str]
    backed_up: list[str]


def _located(item: Item) -> str:
    """``path: local: line 3, column 5: ...``."""
    unknown = [f"{side}: {seen.why}" for side, seen in item.seen.items() if isinstance(seen, Unknown | Damaged)]
    return f"{item.key}: {item.why or '; '.join(unknown) or item.reason}"


def _principal(item: Item) -> list[Step]:
    """The steps that say what happens to an item's own name; folders are not worth a word."""
    quiet = (Verb.SAVE, Verb.SIBLING, Verb.ADOPT, Verb.ACT)
    return [step for step in item.steps if step.verb not in quiet and not is_directory(step.key)]


def _said(step: Step) -> str:
    match step.verb:
        case Verb.DELETE:
            return f"DELETE {step.side}: {step.key}"
        case Verb.MOVE if step.value is not None:
            return f"MOVE {step.side}: {step.value.key} -> {step.key}"
        case _:
            return f"{'PULL' if step.side == LOCAL else 'PUSH'}: {step.key}"


def _conflict(item: Item) -> dict[str, Any] | None:
    """What both sides changed, with how it was settled; None if they did not."""
    both = all(item.side(side) is not None for side in (LOCAL, REMOTE))
    if item.reason not in _SETTLED | _OPEN and not (item.reason in _LEFT and both):
        return None
    times = {side: seen.modified_ns for side in (LOCAL, REMOTE) if isinstance(seen := item.side(side), Entry)}
    return {
        "path": str(item.key),
        "local_mtime": times[LOCAL] / 1e9 if times.get(LOCAL) else None,
        "remote_mtime": times[REMOTE] / 1e9 if times.get(REMOTE) else None,
        "reason": str(item.reason),
    }


def _backups(item: Item, outcomes: dict[str, Any]) -> Iterable[str]:
    """Where the losers of a conflict are."""
    for step in item.steps:
        if step.verb is Verb.SIBLING:
            yield f"{step.side}: {step.key}"
        elif item.reason in _SETTLED and step.verb is Verb.SAVE:
            outcome = outcomes.get(step.id)
            yield f"{step.side}: {outcome.kept if outcome is not None and outcome.kept else step.key}"


def changed(result: SyncResult) -> Iterable[Step]:
    """Steps that were carried out, or would be."""
    return _done(result.report) if result.report is not None else ()


def _done(report: Report) -> Iterable[Step]:
    plan: Plan = report.plan
    done = {outcome.step for outcome in report.outcomes if outcome.status is Status.DONE}
    for item in plan.changes:
        for step in _principal(item):
            if step.id in done or report.ending is Ending.DECLINED:
                yield step


def acts(result: SyncResult, name: str) -> list[dict[str, Any]]:
    """What was done by the after-steps of that name, or would be."""
    report = result.report
    if report is None:
        return []
    done = {outcome.step for outcome in report.outcomes if outcome.status is Status.DONE}
    return [
        step.record.fields
        for item in report.plan.items
        for step in item.steps
        if step.verb is Verb.ACT and step.record is not None and step.record.fields.get("act") == name
        if step.id in done or report.ending is Ending.DECLINED
    ]
