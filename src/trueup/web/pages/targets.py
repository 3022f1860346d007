"""All targets, and one of them with its latest plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from trueup.engine.served import ACTIVE, ServedRun
from trueup.web.access import Principal
from trueup.web.asked import Action, Asked
from trueup.web.documents import Target
from trueup.web.pages.frame import form_of, frame_of, pages, segment, to
from trueup.web.pages.plan_view import Wanted, view
from trueup.web.problems import Problem
from trueup.web.routes import targets as rest
from trueup.web.routes.common import Chosen, Reader, Serving, Syncer, run_of
from trueup.web.runs import Live
from trueup.web.service import Service
from trueup.web.targets import Named, everything, settings

QUICK_SECONDS = 0.8
"""How long a form waits for its run: most end within it, and the next page is the result."""

FILTERS: Mapping[str, tuple[str, Callable[[Target], bool]]] = {
    "": ("All", lambda _: True),
    "drift": ("Drift", lambda one: one.sync == "out_of_sync"),
    "conflicts": ("Conflicts", lambda one: one.conflicts > 0),
    "failing": ("Failing", lambda one: one.health == "failing"),
    "unknown": ("Unknown", lambda one: one.sync in ("unknown", "unchecked")),
}

MOST_EVENTS = 5000
"""Of a run, that are looked through for its latest progress."""

Word = Annotated[str, Query(max_length=4096)]
Offset = Annotated[int, Query(ge=0, lt=2**53)]
Told = Annotated[str, Query(max_length=100, description="id of a run that has just ended here")]

router: APIRouter = pages()


@router.get("/")
async def show_all(request: Request, who: Reader, service: Serving, q: Word = "", show: Word = "") -> Response:
    """All targets."""
    targets = (await rest.list_targets(who, service)).targets
    covers = FILTERS.get(show, FILTERS[""])[1]
    return frame_of(request).page(
        request,
        "targets.html",
        who=who,
        targets=[one for one in targets if covers(one) and q.lower() in one.name.lower()],
        counts={name: sum(map(one, targets)) for name, (_, one) in FILTERS.items()},
        filters={name: word for name, (word, _) in FILTERS.items()},
        q=q,
        show=show if show in FILTERS else "",
        active=sum(one.run is not None and one.run.active for one in targets),
    )


@router.post("/plan-all")
async def plan_all(request: Request, who: Syncer, service: Serving) -> Response:
    """Look at all targets; those that are busy are left to it."""
    for named in await service.threads(everything, service.config):
        try:
            await service.runs.begin(named, Asked(action=Action.PLAN), who.name)
        except Problem as problem:
            if problem.code != "TU-BUSY":
                raise
    return to("/")


@router.get("/targets/{target_id}")
async def show_one(
    request: Request,
    who: Reader,
    service: Serving,
    target: Chosen,
    q: Word = "",
    show: Word = "",
    offset: Offset = 0,
    told: Told = "",
) -> Response:
    """A target, with the plan that was made last."""
    context = await around(service, target, who, told=told)
    saved = await service.threads(service.ledger.latest, target.id)
    shown = None if saved is None else await service.threads(view, service, saved, Wanted(q, show, offset))
    return frame_of(request).page(request, "target.html", tab="changes", view=shown, **context)


@router.get("/targets/{target_id}/settings")
async def show_settings(request: Request, who: Reader, service: Serving, target: Chosen) -> Response:
    """What is set for a target, and where."""
    found = await service.threads(settings, service.config, target)
    context = await around(service, target, who)
    return frame_of(request).page(request, "target_settings.html", tab="settings", settings=found, **context)


@router.post("/targets/{target_id}/plan")
async def plan(request: Request, who: Syncer, service: Serving, target: Chosen) -> Response:
    """Look, and make a plan; with `verify` every byte is read."""
    form = await form_of(request)
    asked = Asked(action=Action.PLAN, verify=form.has("verify"))
    return await begun(service, await service.runs.begin(target, asked, who.name))


@router.post("/targets/{target_id}/sync")
async def sync(request: Request, who: Syncer, service: Serving, target: Chosen) -> Response:
    """Plan, and apply what nobody has to approve."""
    return await begun(service, await service.runs.begin(target, Asked(action=Action.SYNC), who.name))


async def begun(service: Service, live: Live, *, back: str = "") -> Response:
    """The page that shows what becomes of a run that has begun; if it is over soon, what became of it.

    Args:
        service: Whose.
        live: The run.
        back: Address of another page than the run's own, which is told the run.
    """
    with anyio.move_on_after(QUICK_SECONDS):
        await live.over.wait()
    return to(f"{back}?told={live.run.id}" if back else f"/runs/{live.run.id}")


async def around(service: Service, target: Named, who: Principal, *, told: str = "") -> dict[str, Any]:
    """What every page of a target shows."""
    document = await rest.show_status(who, service, target)
    runs: Sequence[ServedRun] = await service.threads(lambda: service.ledger.runs(target=target.id, limit=1))
    last = runs[0] if runs else None
    busy = last if last is not None and last.state in ACTIVE else None
    run = await run_of(told, service) if told else None
    return {
        "who": who,
        "target": document,
        "tabs": _tabs(document),
        "home": f"/targets/{segment(target.id)}",
        "busy": busy,
        **(await progress(service, busy) if busy is not None else {}),
        "last": last,
        "told": run if run is not None and run.target == target.id and run.state not in ACTIVE else None,
    }


async def progress(service: Service, run: ServedRun) -> dict[str, Any]:
    """How far a run is, as its last event told it, and the number of that event."""
    events = await service.threads(lambda: service.ledger.events(run.id, after=0, limit=MOST_EVENTS))
    latest = next((event.data for event in reversed(events) if event.kind == "progress"), None)
    return {"progress": latest, "heard": events[-1].n if events else 0}


def _tabs(target: Target) -> list[tuple[str, str, str, int]]:
    """Name, word, end of the address, and a number where it says something."""
    tabs = [
        ("changes", "Changes", "", target.changes),
        ("conflicts", "Conflicts", "/conflicts", target.conflicts),
        ("history", "History", "/history", 0),
        ("trash", "Trash", "/trash", 0),
        ("settings", "Settings", "/settings", 0),
    ]
    return [("training", "Training Data", "/training-data", 0), *tabs] if target.kind == "dataset" else tabs
