"""JSON documents and JSON lines, each with its format and version. Names that are not UTF-8 are ``\\udcXX`` escapes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trueup.core.check import Refusal
from trueup.core.codec import encode, plan_to_json, report_to_json
from trueup.core.errors import TrueupError
from trueup.core.plan import Plan
from trueup.core.report import Report

VERSION = 1
EVENT_FORMAT = "trueup.event"


def dump(document: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """The document as text, ended by a newline; ASCII only, so that no terminal and no encoding can spoil it."""
    return json.dumps(document, indent=indent) + "\n"


def document(name: str, /, **fields: Any) -> dict[str, Any]:
    """``{"format": "trueup.NAME", "version": 1, ...}``, the fields being values of the core or plain."""
    return {"format": f"trueup.{name}", "version": VERSION, **{key: plainly(value) for key, value in fields.items()}}


def event(name: str, /, **fields: Any) -> str:
    """One line of ``--output jsonl``."""
    body = {"format": EVENT_FORMAT, "version": VERSION, "event": name}
    body |= {key: plainly(value) for key, value in fields.items()}
    return dump(body, indent=None)


def plainly(value: Any) -> Any:
    """A value, a list or a mapping of values, as plain JSON types."""
    if isinstance(value, Plan):
        return plan_to_json(value)
    if isinstance(value, Report):
        return report_to_json(value)
    if isinstance(value, TrueupError):
        return error_fields(value)
    if isinstance(value, list | tuple | frozenset):
        return [plainly(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plainly(item) for key, item in value.items()}
    return encode(value)


def error_fields(error: TrueupError) -> dict[str, Any]:
    """An error for programs: its stable code, its three parts, its exit code."""
    return {
        "code": error.code,
        "what": error.what,
        "why": error.why,
        "try": error.attempt,
        "exit_code": error.exit_code,
    }


def summary_fields(plan: Plan, *, by_content: bool = False) -> dict[str, Any]:
    """The state of one target, without its items."""
    return {
        "target": plan.target,
        "in_sync": not (plan.changes or plan.conflicts or plan.unknown) and plan.complete,
        "complete": plan.complete,
        "verified": "content" if by_content else "metadata",
        "changes": len(plan.changes),
        "conflicts": len(plan.conflicts),
        "unknown": len(plan.unknown),
        "agreed": plan.agreed,
        "destroys": plan.destroys,
        "bytes_to": {side: plan.bytes_to(side) for side in plan.observed},
        "deletes": {side: plan.deletes(side) for side in plan.observed},
        "observed": plan.observed,
    }


def refusal_fields(refusals: Iterable[Refusal]) -> Sequence[dict[str, Any]]:
    """Guards that stop a plan."""
    return [{"guard": refusal.guard.value, "why": refusal.why} for refusal in refusals]
