"""The endpoint of the training data's own document: one button that audits and syncs everything of an actor."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from trueup.engine.tokens import Scope
from trueup.web.asked import Action, Asked, Strict
from trueup.web.documents import ERRORS, Run
from trueup.web.problems import Problem
from trueup.web.routes.common import Serving, Syncer, shown
from trueup.web.targets import Named, actor_id_of, everything

router = APIRouter(tags=["training data"], responses=ERRORS)

RUN_HEADER = "x-trueup-run"
"""Id of the run that was done."""
RESPOND_ASYNC = "respond-async"


class Training(Strict):
    """What the document's button sends."""

    actor_name: Annotated[str, Field(min_length=1, max_length=1000)]
    delete_orphans: bool = False
    dry_run: bool = False


class Synced(BaseModel):
    """Exactly the document's answer; errors of conflicts begin with ``conflict:``."""

    uploaded: int
    downloaded: int
    added_to_manifest: int
    updated_in_manifest: int
    removed_from_manifest: int
    deleted_local: int
    deleted_s3: int
    errors: list[str]


@router.post(
    "/actors/{actorId}/training-data/comprehensive-sync",
    response_model=Synced,
    responses={202: {"model": Run, "description": "With `Prefer: respond-async`: the run goes on"}},
)
async def comprehensive_sync(
    who: Syncer,
    service: Serving,
    actor_id: Annotated[str, Path(alias="actorId", min_length=1, max_length=1000)],
    body: Training,
    prefer: Annotated[str, Header(max_length=200)] = "",
) -> Response:
    """Audit manifest, local files and remote copy of an actor, then sync everything that needs no question."""
    if body.delete_orphans and not who.may(Scope.DELETE):
        raise Problem(403, "TU-SCOPE", "the token may not delete orphans", hint="a token with the scope delete")
    async with service.engine() as engine:
        spec = engine.dataset(actor_id, body.actor_name)
    configured = await service.threads(everything, service.config)
    named = next(
        (one for one in configured if _places(one) == (spec.manifest, spec.local, spec.remote)),
        Named(actor_id_of(actor_id, body.actor_name), spec, configured=False),
    )
    asked = Asked(
        action=Action.TRAINING,
        actor=(actor_id, body.actor_name),
        delete_orphans=body.delete_orphans,
        dry_run=body.dry_run,
        may_delete=body.delete_orphans,
    )
    live = await service.runs.begin(named, asked, who.name)
    headers = {RUN_HEADER: live.run.id, "location": f"/api/v1/runs/{live.run.id}"}
    if RESPOND_ASYNC in [part.strip().lower() for part in prefer.split(",")]:
        headers["preference-applied"] = RESPOND_ASYNC
        return JSONResponse(shown(live.run).model_dump(mode="json"), 202, headers)
    await live.over.wait()
    if live.answer is None:
        raise _problem(live.problem, headers)
    return JSONResponse(live.answer, 200, headers)


def _places(named: Named) -> tuple[object, ...]:
    return tuple(getattr(named.spec, name, None) for name in ("manifest", "local", "remote"))


def _problem(problem: Problem | None, headers: dict[str, str]) -> Problem:
    found = problem or Problem(409, "TU-STAGE", "the sync was stopped", why="what was done is recorded")
    found.headers.update(headers)
    return found
