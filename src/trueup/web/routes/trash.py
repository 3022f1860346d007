"""The trash of a target: what runs replaced and deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from trueup.core.model import Side
from trueup.engine.tokens import Scope
from trueup.web.asked import Strict
from trueup.web.documents import ERRORS, Kept, Pruned, Trash
from trueup.web.problems import Problem
from trueup.web.routes.common import PAGE, Chosen, Limit, Offset, Reader, Serving, Syncer

router = APIRouter(tags=["trash"], responses=ERRORS)


@router.get("/targets/{target_id}/trash")
async def list_trash(_: Reader, service: Serving, target: Chosen, offset: Offset = 0, limit: Limit = PAGE) -> Trash:
    """Kept versions, the newest first."""
    async with service.engine() as engine:
        kept = await engine.trash(target.spec)
    kept.sort(key=lambda one: (-one.item.discarded_ns, one.side, one.item.handle))
    return Trash(
        total=len(kept),
        items=[
            Kept(
                side=one.side,
                handle=one.item.handle,
                key=one.item.key,
                run=one.item.run,
                size=one.item.size,
                discarded_ns=one.item.discarded_ns,
            )
            for one in kept[offset : offset + limit]
        ],
    )


class Restoring(Strict):
    """Which version."""

    side: Annotated[str, Field(min_length=1, max_length=100)]
    handle: Annotated[str, Field(min_length=1, max_length=4096)]


@router.post("/targets/{target_id}/trash/restore", status_code=204)
async def restore(_: Syncer, service: Serving, target: Chosen, body: Restoring) -> None:
    """Bring a kept version back under its name. If something has the name, 409, and nothing is changed."""
    async with service.engine() as engine:
        sides = {one.side for one in await engine.trash(target.spec)}
        if body.side not in sides:
            raise Problem(404, "TU-NOT-FOUND", "the trash of that side holds nothing")
        await engine.restore(target.spec, body.handle, side=Side(body.side))


class Pruning(Strict):
    """Which kept versions to destroy; all conditions that are given must hold."""

    older_than_seconds: Annotated[float | None, Field(ge=0, le=1e12, strict=False)] = None
    run: Annotated[str | None, Field(max_length=100)] = None
    last_copies: Annotated[
        bool, Field(description="also what no side holds under its name any more; needs the scope admin")
    ] = False
    dry_run: bool = True


@router.post("/targets/{target_id}/trash/prune")
async def prune(who: Syncer, service: Serving, target: Chosen, body: Pruning) -> Pruned:
    """Destroy kept versions for good, or say what would go. Last copies stay."""
    needed = Scope.ADMIN if body.last_copies else Scope.DELETE
    if not body.dry_run and not who.may(needed):
        raise Problem(403, "TU-SCOPE", "the token may not destroy versions", why=f"it needs the scope {needed.value}")
    async with service.engine() as engine:
        pruned = await engine.prune(
            target.spec,
            older_than_seconds=body.older_than_seconds,
            run_name=body.run,
            last_copies=body.last_copies,
            dry_run=body.dry_run,
        )
    refused = [{"handle": handle, "why": why} for handle, why in pruned.refused]
    return Pruned(removed=pruned.removed, bytes=pruned.bytes, refused=refused)
