"""What the modules of REST share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from trueup.engine.served import ServedRun
from trueup.engine.tokens import Scope
from trueup.web.access import Principal, needs
from trueup.web.documents import Run
from trueup.web.problems import not_found
from trueup.web.runs import document
from trueup.web.service import Service
from trueup.web.targets import Named, find

PAGE = 200
"""Rows of a page."""

Reader = Annotated[Principal, Depends(needs(Scope.READ))]
Syncer = Annotated[Principal, Depends(needs(Scope.SYNC))]
Deleter = Annotated[Principal, Depends(needs(Scope.DELETE))]
Admin = Annotated[Principal, Depends(needs(Scope.ADMIN))]

TargetId = Annotated[str, Path(min_length=1, max_length=500, description="Name of a target, or `actor:ID:NAME`")]
Id = Annotated[str, Path(min_length=1, max_length=100)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, lt=2**53)]


def service_of(request: Request) -> Service:
    """The service behind the application."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(service_of)]


async def named(target_id: TargetId, service: Serving) -> Named:
    """The target that the path names."""
    async with service.engine() as engine:
        return find(engine, target_id)


Chosen = Annotated[Named, Depends(named)]


async def run_of(run_id: Id, service: Serving) -> ServedRun:
    """The run that the path names."""
    live = service.runs.live(run_id)
    if live is not None:
        return live.run
    run = await service.threads(service.ledger.find, run_id)
    if run is None:
        raise not_found("there is no such run", hint="GET /api/v1/runs; runs of the command line: GET /api/v1/history")
    return run


OfRun = Annotated[ServedRun, Depends(run_of)]


def shown(run: ServedRun) -> Run:
    """A run as it is answered."""
    return Run(**document(run))
