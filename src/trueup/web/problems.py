"""Errors as problem documents (RFC 9457), each with the stable code and the hint that the command line shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from trueup.core import errors
from trueup.core.check import Refusal
from trueup.core.codec import CodecError
from trueup.core.errors import TrueupError

MEDIA_TYPE = "application/problem+json"

BUG = "TU-BUG"

CODES: Mapping[str, str] = {
    "TU-AUTH": "Nobody is logged in, or the token is not known.",
    "TU-SCOPE": "The token may not do that.",
    "TU-ORIGIN": "The request was made under a foreign name, or by a page of another site.",
    "TU-REQUEST": "The request cannot be understood: its path, its body, a field of it.",
    "TU-LIMIT": "Too many requests, runs or streams at once; `Retry-After` says when to try again.",
    "TU-BUSY": "A run of this target is under way.",
    "TU-STAGE": "The run or the plan is not in a state in which that can be done.",
}
"""Codes that only the server has."""

STATUSES: tuple[tuple[type[TrueupError], int], ...] = (
    (errors.NotFound, 404),
    (errors.Unaddressable, 422),
    (errors.PreconditionFailed, 409),
    (errors.NoSpace, 507),
    (errors.StoreError, 502),
    (errors.StateDamaged, 503),
    (errors.UsageError, 422),
    (CodecError, 422),
    (errors.PlanRefused, 409),
    (errors.StalePlan, 409),
    (errors.Locked, 409),
    (errors.ConflictError, 409),
    (errors.ConfigError, 409),
    (TrueupError, 500),
)
"""The first class that fits decides."""


class Problem(Exception):
    """An answer that is no success.

    Args:
        status: HTTP status.
        code: Stable code.
        what: What happened, in one line.
        why: Why.
        hint: What to do.
        headers: Further headers, such as ``Retry-After``.
        more: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        what: str,
        *,
        why: str = "",
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.document: dict[str, Any] = {
            "type": f"urn:trueup:{code}",
            "title": what,
            "status": status,
            "detail": why,
            "code": code,
            "hint": hint,
            **(more or {}),
        }

    @property
    def response(self) -> JSONResponse:
        """As it goes out."""
        return JSONResponse(self.document, self.status, self.headers, media_type=MEDIA_TYPE)


def not_found(what: str, *, hint: str = "") -> Problem:
    """Something that is asked for by its name is not there."""
    return Problem(404, errors.NotFound.code, what, hint=hint)


def problem_of(error: BaseException) -> Problem:
    """Whatever went wrong. Of a group the first that is ours counts; what nobody expected tells nothing of itself."""
    for leaf in leaves(error):
        if isinstance(leaf, Problem):
            return leaf
    ours = [leaf for leaf in leaves(error) if isinstance(leaf, TrueupError)]
    if not ours:
        return Problem(
            500, BUG, "this should not happen", why="what was done is recorded", hint="look into the server's log"
        )
    found = ours[0]
    status = next(status for kind, status in STATUSES if isinstance(found, kind))
    return Problem(status, found.code, found.what, why=found.why, hint=found.attempt, more=_more(found))


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group of errors, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def _more(error: TrueupError) -> dict[str, Any]:
    if isinstance(error, errors.PlanRefused):
        refusals = [one for one in error.refusals if isinstance(one, Refusal)]
        return {"refusals": [{"guard": one.guard.value, "why": one.why} for one in refusals]}
    if isinstance(error, errors.StalePlan):
        return {"changed": [{"key": key, "why": why} for key, why in error.changed.items()]}
    return {}


async def answer_problem(_: Request, error: Exception) -> JSONResponse:
    """As an exception handler."""
    return (error if isinstance(error, Problem) else problem_of(error)).response
