"""Targets: all, one, what was seen of them, and what is asked for with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from trueup.core.strategy import Conflict
from trueup.engine.served import SavedPlan, ServedRun
from trueup.engine.tokens import Scope
from trueup.web.access import Principal
from trueup.web.asked import Action, Allowed, Asked, Name, Names, Strict
from trueup.web.documents import ERRORS, ConflictList, Observation, Run, Target, TargetDetail, TargetList
from trueup.web.problems import Problem
from trueup.web.routes.common import PAGE, Chosen, Limit, Offset, Reader, Serving, Syncer, shown
from trueup.web.routes.plans import listed
from trueup.web.service import Service
from trueup.web.targets import Named, everything, settings

router = APIRouter(tags=["targets"], responses=ERRORS)


@router.get("/targets")
async def list_targets(_: Reader, service: Serving) -> TargetList:
    """All targets: those that are configured, then every actor that has a manifest."""

    def look() -> list[Target]:
        following = _following(service)
        return [Target(**_document(service, one, following)) for one in everything(service.config)]

    return TargetList(targets=await service.threads(look))


@router.get("/targets/{target_id}")
async def show_target(_: Reader, service: Serving, target: Chosen) -> TargetDetail:
    """One target, with its settings; secrets as how they are got."""
    found = await service.threads(lambda: _document(service, target, _following(service)))
    return TargetDetail(**found, settings=settings(service.config, target))


@router.get("/targets/{target_id}/observations")
async def show_observations(_: Reader, service: Serving, target: Chosen) -> Observation:
    """What each side showed when the target was last looked at. Nothing is looked at for it: ask for a plan."""
    plan = await service.threads(service.ledger.latest, target.id)
    if plan is None:
        return Observation(plan=None, checked_ns=None, summary={}, sides={})
    summary = dict(plan.summary)
    sides = summary.pop("observed")
    return Observation(plan=plan.id, checked_ns=plan.made_ns, summary=summary, sides=sides)


@router.get("/targets/{target_id}/status")
async def show_status(_: Reader, service: Serving, target: Chosen) -> Target:
    """How a target stood when it was last looked at."""
    return Target(**await service.threads(lambda: _document(service, target, _following(service))))


_LOOKED_AT = 20
"""Runs, to find out whether something was written since."""


def _following(service: Service) -> dict[str, int]:
    """When each target is due next."""
    found: dict[str, int] = {}
    for schedule in service.schedules.listed():
        due_ns = schedule.next_ns()
        found[schedule.target] = min(due_ns, found.get(schedule.target, due_ns))
    return found


def _document(service: Service, named: Named, following: Mapping[str, int]) -> dict[str, Any]:
    plan = service.ledger.latest(named.id)
    runs = service.ledger.runs(target=named.id, limit=_LOOKED_AT)
    return {
        "id": named.id,
        "name": named.spec.name,
        "kind": named.kind,
        "configured": named.configured,
        **_standing(plan),
        "outdated": plan is not None and any(_outdates(run, plan) for run in runs),
        "health": _health(runs[0] if runs else None),
        "checked_ns": plan and plan.made_ns,
        "plan": plan and plan.id,
        "run": shown(runs[0]) if runs else None,
        "next": following.get(named.id),
    }


def _outdates(run: ServedRun, plan: SavedPlan) -> bool:
    """Whether a run wrote something that a plan has not seen, and did not intend."""
    return run.history is not None and run.plan != plan.id and run.changed_ns > plan.made_ns


def _standing(plan: SavedPlan | None) -> dict[str, Any]:
    if plan is None:
        return {"sync": "unchecked", "verified": None, "changes": 0, "conflicts": 0, "unknown": 0}
    summary = plan.summary
    changes = max(0, summary["changes"] - summary.get("done", 0))
    unknown = summary["unknown"] + summary["damaged"]
    sync = "unknown" if unknown or not summary["complete"] else "in_sync"
    sync = "conflicts" if summary["conflicts"] else "out_of_sync" if changes else sync
    counts = {"changes": changes, "conflicts": summary["conflicts"], "unknown": unknown}
    return {"sync": sync, "verified": summary["verified"], **counts}


def _health(run: ServedRun | None) -> str:
    if run is None or not (run.ended or run.state.value in ("awaiting_approval", "interrupted")):
        return "unknown"
    return "failing" if run.state.value in ("failed", "interrupted") else "healthy"


# -- asking for runs -----------------------------------------------------------------------------------------------


class PlanRequest(Strict):
    """How to look."""

    verify: Annotated[bool, Field(description="read and compare every byte")] = False
    glance: Annotated[bool, Field(description="read nothing: size and time decide what is not known")] = False
    operation: Annotated[str, Field(max_length=20, description="of a cache")] = ""
    namespaces: Annotated[Names, Field(description="of a cache")] = Field(default_factory=list)
    providers: Annotated[Names, Field(description="of models")] = Field(default_factory=list)


class SyncRequest(PlanRequest):
    """How to sync."""

    approve: Annotated[
        str,
        Field(
            pattern="^(harmless|all)$",
            description="harmless: what deletes anything or destroys a version waits for an approval; "
            "all: it is approved, which needs the scope delete",
        ),
    ] = "harmless"
    allow: Allowed = Field(default_factory=list)


class Resolution(Strict):
    """A person's decision about conflicts."""

    keys: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    keep: Annotated[str, Field(pattern="^(local|remote|both)$", description="which version holds")]


_LOOK, _SYNC = PlanRequest(), SyncRequest()
_ANSWERS = {"local": Conflict.LOCAL_WINS, "remote": Conflict.REMOTE_WINS, "both": Conflict.BACKUP_BOTH}


@router.post("/targets/{target_id}/plans", status_code=202)
async def make_plan(
    who: Syncer, service: Serving, target: Chosen, response: Response, body: PlanRequest = _LOOK
) -> Run:
    """Look at a target and make a plan. The run is answered at once; its events tell when the plan is there."""
    return await _begun(service, target, _asked(Action.PLAN, body), who, response)


@router.post("/targets/{target_id}/sync", status_code=202)
async def sync_target(
    who: Syncer, service: Serving, target: Chosen, response: Response, body: SyncRequest = _SYNC
) -> Run:
    """Plan, and apply it at once; what has to be approved waits."""
    if (body.approve == "all" or body.allow) and not who.may(Scope.DELETE):
        raise _may_not_delete()
    asked = _asked(Action.SYNC, body).model_copy(
        update={"may_delete": body.approve == "all", "allow": tuple(body.allow)}
    )
    return await _begun(service, target, asked, who, response)


@router.get("/targets/{target_id}/conflicts")
async def list_conflicts(
    _: Reader, service: Serving, target: Chosen, offset: Offset = 0, limit: Limit = PAGE
) -> ConflictList:
    """What waits for a person, as the last plan saw it."""
    plan = await service.threads(service.ledger.latest, target.id)
    if plan is None:
        return ConflictList(target=target.id, plan=None, checked_ns=None, total=0, rows=[])
    page = await service.threads(listed, service, plan, {"standing": "conflict"}, offset, limit)
    return ConflictList(target=target.id, plan=plan.id, checked_ns=plan.made_ns, total=page.total, rows=page.rows)


@router.post("/targets/{target_id}/conflicts/resolve", status_code=202)
async def resolve(who: Syncer, service: Serving, target: Chosen, response: Response, body: Resolution) -> Run:
    """Settle conflicts by saying which version holds. Only these items are touched; what gives way is kept."""
    decisions = dict.fromkeys((key.rstrip("/") for key in body.keys), _ANSWERS[body.keep])
    asked = Asked(action=Action.RESOLVE, resolve=decisions, may_delete=who.may(Scope.DELETE))
    return await _begun(service, target, asked, who, response)


def _asked(action: Action, body: PlanRequest) -> Asked:
    return Asked(
        action=action,
        verify=body.verify,
        glance=body.glance,
        operation=body.operation,
        namespaces=tuple(body.namespaces),
        providers=tuple(body.providers),
    )


async def _begun(service: Service, target: Named, asked: Asked, who: Principal, response: Response) -> Run:
    live = await service.runs.begin(target, asked, who.name)
    response.headers["location"] = f"/api/v1/runs/{live.run.id}"
    return shown(live.run)


def _may_not_delete() -> Problem:
    return Problem(
        403,
        "TU-SCOPE",
        "the token may not approve deletions or pass guards",
        why="it needs the scope delete",
        hint="trueup token create NAME --scope delete",
    )
