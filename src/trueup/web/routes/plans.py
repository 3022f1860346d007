"""Plans: pages of them, what of them is wanted, and their approval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from trueup.core.codec import plan_to_json
from trueup.engine.served import Filter, SavedPlan, Stage
from trueup.engine.tokens import Scope
from trueup.web.asked import Action, Allowed, Asked, Selection, Strict
from trueup.web.documents import ERRORS, Plan, PlanRow, Run
from trueup.web.problems import Problem, not_found
from trueup.web.routes.common import PAGE, Id, Limit, Offset, Reader, Serving, Syncer, shown
from trueup.web.runs import Live
from trueup.web.service import Service
from trueup.web.targets import find

CHECK_SECONDS = 10.0
"""How long an approval waits for the checks before it is answered; they go on."""

router = APIRouter(tags=["plans"], responses=ERRORS)


async def plan_of(plan_id: Id, service: Serving) -> SavedPlan:
    """The plan that the path names."""
    plan = await service.threads(service.ledger.saved, plan_id)
    if plan is None:
        raise not_found("there is no such plan", hint="make one: POST /api/v1/targets/ID/plans")
    return plan


OfPlan = Annotated[SavedPlan, Depends(plan_of)]
Word = Annotated[str, Query(max_length=4096)]


@router.get("/plans/{plan_id}")
async def show_plan(
    _: Reader,
    service: Serving,
    plan: OfPlan,
    offset: Offset = 0,
    limit: Limit = PAGE,
    q: Word = "",
    reason: Word = "",
    standing: Word = "",
    changes: bool | None = None,
) -> Plan:
    """A page of a plan. `q` is a part of the key; `changes` leaves out what is only reported, or only shows it."""
    wanted = {"q": q, "reason": reason, "standing": standing, "changes": changes}
    return await service.threads(listed, service, plan, wanted, offset, limit)


def listed(service: Service, plan: SavedPlan, wanted: Mapping[str, Any], offset: int, limit: int) -> Plan:
    """A page of a plan. Blocks."""
    covers = Filter(**wanted).covers
    rows = service.ledger.rows(plan.id)
    selection = Selection.model_validate(plan.selection)
    chosen = selection.chosen(rows)
    found = [row for row in rows if covers(row)]
    page = found[offset : offset + limit]
    items = service.ledger.documents(plan.id, [row.n for row in page])
    return Plan(
        id=plan.id,
        target=plan.target,
        digest=plan.digest,
        made_ns=plan.made_ns,
        summary=dict(plan.summary),
        selection=selection.model_dump(mode="json"),
        selected=len(chosen),
        total=len(found),
        offset=offset,
        limit=limit,
        rows=[
            PlanRow(
                n=row.n,
                key=row.key,
                reason=row.reason,
                standing=row.standing,
                change=row.change,
                selected=row.n in chosen,
                item=dict(items[row.n]),
            )
            for row in page
        ],
    )


@router.get("/plans/{plan_id}/document")
async def download(_: Reader, service: Serving, plan: OfPlan) -> dict[str, Any]:
    """The whole plan, as `trueup plan -o` saves it and `trueup apply` reads it."""
    return plan_to_json(await service.threads(service.ledger.plan, plan.id))


@router.put("/plans/{plan_id}/selection")
async def select(_: Syncer, service: Serving, plan: OfPlan, body: Selection) -> Plan:
    """Say which changes are wanted: a beginning, and exceptions from it. It is kept with the plan."""
    await service.threads(service.ledger.select, plan.id, body.model_dump(mode="json"))
    kept = await service.threads(service.ledger.saved, plan.id)
    return await service.threads(listed, service, kept or plan, {"changes": True}, 0, PAGE)


class Approval(Strict):
    """The plan that was seen, and what of it is wanted."""

    digest: Annotated[str, Field(max_length=100, description="of the plan that was seen")]
    selection: Annotated[Selection | None, Field(description="without it: as it is kept with the plan")] = None
    allow: Allowed = Field(default_factory=list)
    skip_stale: Annotated[bool, Field(description="apply what still matches, report the rest as changed")] = False


@router.post("/plans/{plan_id}/apply", status_code=202)
async def apply(who: Syncer, service: Serving, plan: OfPlan, response: Response, body: Approval) -> Run:
    """Carry out a plan. If an item is no longer as the plan saw it, 409 names those, and nothing is done."""
    if body.digest != plan.digest:
        raise Problem(
            409, "TU-STALE", "this is another plan", why=f"its digest is {plan.digest}", hint="look at it again"
        )
    if body.allow and not who.may(Scope.DELETE):
        raise Problem(403, "TU-SCOPE", "the token may not pass guards", hint="a token with the scope delete")
    if plan.summary.get("undoes"):
        raise Problem(409, "TU-STAGE", "this plan only shows an undo", hint="POST /api/v1/runs/ID/undo")
    asked = Asked.model_validate(plan.summary["asked"]).model_copy(  # what a plan was made with, it is applied with
        update={
            "action": Action.APPLY,
            "select": body.selection,
            "allow": tuple(body.allow),
            "skip_stale": body.skip_stale,
            "may_delete": who.may(Scope.DELETE),
        }
    )
    live = await _approved(service, plan, asked, who.name)
    with anyio.move_on_after(CHECK_SECONDS):
        await live.begun.wait()
    if live.run.state is Stage.REFUSED and live.problem is not None:
        live.problem.document["run"] = live.run.id
        raise live.problem
    response.headers["location"] = f"/api/v1/runs/{live.run.id}"
    return shown(live.run)


async def _approved(service: Service, plan: SavedPlan, asked: Asked, who: str) -> Live:
    """The run that made the plan goes on if it waits for this, else there is a new one."""
    async with service.engine() as engine:
        named = find(engine, plan.target)
    runs = await service.threads(lambda: service.ledger.runs(target=plan.target, limit=1))
    if runs and runs[0].plan == plan.id and runs[0].state is Stage.AWAITING_APPROVAL:
        return await service.runs.again(runs[0], named, asked)
    return await service.runs.begin(named, asked, who, plan=plan.id)
