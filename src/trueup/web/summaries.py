"""Plans and reports in few numbers, as lists and events tell them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from trueup.core import codec
from trueup.core.plan import Plan
from trueup.core.report import Report, Status, exit_code


def plan_summary(plan: Plan, *, verified: bool) -> dict[str, Any]:
    """The state that a plan saw, without its items.

    Args:
        plan: The plan.
        verified: Whether every byte was compared.
    """
    return {
        "kind": plan.target.kind,
        "in_sync": not (plan.changes or plan.conflicts or plan.unknown or plan.damaged) and plan.complete,
        "complete": plan.complete,
        "verified": "content" if verified else "metadata",
        "items": len(plan.items),
        "changes": len(plan.changes),
        "conflicts": len(plan.conflicts),
        "unknown": len(plan.unknown),
        "damaged": len(plan.damaged),
        "agreed": plan.agreed,
        "destroys": plan.destroys,
        "bytes_to": {side: plan.bytes_to(side) for side in plan.observed},
        "deletes": {side: plan.deletes(side) for side in plan.observed},
        "verbs": dict(Counter(f"{step.side} {step.verb.value}" for item in plan.changes for step in item.steps)),
        "reasons": dict(Counter(str(item.reason) for item in plan.items)),
        "observed": {side: codec.encode(seen) for side, seen in plan.observed.items()},
        "undoes": plan.undoes,
    }


def report_summary(report: Report) -> dict[str, Any]:
    """What became of a run."""
    counts: Mapping[Status, int] = report.counts
    statuses: dict[str, list[Status]] = {}
    owner = {step.id: item.key for item in report.plan.changes for step in item.steps}
    for outcome in report.outcomes:
        if outcome.step in owner:
            statuses.setdefault(owner[outcome.step], []).append(outcome.status)
    done = sum(all(status is Status.DONE for status in one) for one in statuses.values())
    return {
        "ending": report.ending.value,
        "exit_code": exit_code(report),
        "steps": {status.value: counts[status] for status in Status},
        "changes_done": done,
        "changes_left": len(statuses) - done,
        "conflicts": len(report.plan.conflicts),
        "unknown": len(report.plan.unknown),
        "seconds": round(report.seconds, 3),
    }


def failures(report: Report) -> list[dict[str, Any]]:
    """Every step that was not carried out, in the plan's order."""
    return [
        {"key": outcome.key, "status": outcome.status.value, "why": outcome.why, "code": outcome.code}
        for outcome in report.outcomes
        if outcome.status is not Status.DONE
    ]
