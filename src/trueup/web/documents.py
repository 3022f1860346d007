"""What REST answers, as documents of which OpenAPI knows the form."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Document = dict[str, Any]


class Answer(BaseModel):
    """A document that goes out."""

    model_config = ConfigDict(extra="forbid")


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it; `code` is stable, `hint` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class Run(Answer):
    """A run that the server was asked for. Times are nanoseconds since the epoch."""

    id: str
    target: str
    state: str
    who: str
    asked: Document
    plan: str | None
    history: str | None
    error: Document | None
    result: Document | None
    created_ns: int
    changed_ns: int
    active: bool
    ended: bool


class RunList(Answer):
    """Runs, the newest first."""

    runs: list[Run]


class Target(Answer):
    """A target, and how it stood when it was last looked at."""

    id: str
    name: str
    kind: str
    configured: bool
    sync: Annotated[str, Field(description="in_sync, out_of_sync, conflicts, unknown, or unchecked")]
    verified: Annotated[str | None, Field(description="content: every byte was compared; metadata: versions were")]
    changes: int
    conflicts: int
    unknown: int
    outdated: Annotated[bool, Field(description="something was written since it was looked at")]
    health: Annotated[str, Field(description="healthy, failing, or unknown: of the last run")]
    checked_ns: int | None
    plan: str | None
    run: Run | None
    next: Annotated[int | None, Field(description="when a schedule is due next, nanoseconds since the epoch")]


class TargetList(Answer):
    """All targets."""

    targets: list[Target]


class TargetDetail(Target):
    """A target with its settings."""

    settings: Document


class Observation(Answer):
    """What each side showed when the target was last looked at."""

    plan: str | None
    checked_ns: int | None
    summary: Document
    sides: dict[str, Document]


class PlanRow(Answer):
    """One item of a plan. Its place `n` names it in a selection."""

    n: int
    key: str
    reason: str
    standing: str
    change: bool
    selected: bool
    item: Document


class Plan(Answer):
    """A page of a plan: so many of the items that the filter covers."""

    id: str
    target: str
    digest: str
    made_ns: int
    summary: Document
    selection: Document
    selected: Annotated[int, Field(description="changes that are selected, on all pages")]
    total: Annotated[int, Field(description="items that the filter covers, on all pages")]
    offset: int
    limit: int
    rows: list[PlanRow]


class ConflictList(Answer):
    """What waits for a person, as the last plan saw it."""

    target: str
    plan: str | None
    checked_ns: int | None
    total: int
    rows: list[PlanRow]


class HistoryRun(Answer):
    """One run of the history, also of those that the command line began."""

    id: str
    target_id: str
    target_name: str
    command: str
    started_ns: int
    finished_ns: int | None
    state: str
    done: int
    failed: int
    undoes: str | None


class History(Answer):
    """Runs of the history, the newest first."""

    runs: list[HistoryRun]


class HistoryDetail(Answer):
    """What a run of the history did, step by step."""

    run: HistoryRun
    plan: Document
    outcomes: list[Document]


class Kept(Answer):
    """A version in the trash of a side."""

    side: str
    handle: str
    key: str
    run: str
    size: int
    discarded_ns: int


class Trash(Answer):
    """Everything in the trash of a target's sides."""

    items: list[Kept]
    total: int


class Pruned(Answer):
    """What was destroyed, or would be."""

    removed: int
    bytes: int
    refused: list[Document]


class TokenAnswer(Answer):
    """A token or a session; never its secret."""

    id: str
    kind: str
    name: str
    scopes: list[str]
    created_ns: int
    expires_ns: int | None


class TokenList(Answer):
    """All tokens and sessions."""

    tokens: list[TokenAnswer]


class NewToken(TokenAnswer):
    """A new token, with its secret, which is told this once."""

    secret: str


class Me(Answer):
    """Who asks."""

    name: str
    scopes: list[str]


class Health(Answer):
    """Whether the server serves."""

    status: str


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "A problem document",
        "model": ProblemDocument,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    },
}
"""What every operation can answer besides."""
