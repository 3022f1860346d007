"""Fifty clients with event streams while runs go on, as a team has browsers open. `make bench` does it for a minute."""

from __future__ import annotations

import threading
from itertools import islice
from typing import Any

import pytest
from tests.web.crowd import Crowd, Heard
from tests.web.server import Served

from trueup.engine.served import Event, ServedRun
from trueup.web.asked import Action, Asked
from trueup.web.runs import Live
from trueup.web.service import Service
from trueup.web.targets import Named

CLIENTS = 50
RUNS = 3
"""Of each target."""


def test_fifty_clients_hear_every_event_of_every_run_in_order(served: Served) -> None:
    sites = {site.name: site for site in islice(served.sites, 5)}
    crowd = Crowd(
        served.port,
        served.own_token,
        [*sites],
        CLIENTS,
        lambda name, turn: sites[name].fill(**{f"f{turn}_{n}": f"{turn}" for n in range(20)}),
    )
    crowd.play(lambda done: done == RUNS, pages=True)
    assert crowd.lost() == []
    assert sorted(map(len, crowd.heard.values())) == [CLIENTS // len(sites)] * RUNS * len(sites)
    for streams in crowd.heard.values():
        assert all([kind for _, kind, _ in heard][-1] == "state" for heard in streams), "each heard the end"
    wanted = {f"f{turn}_{n}": f"{turn}" for turn in range(RUNS) for n in range(20)}
    assert all(site.arrived == wanted for site in sites.values())


def test_the_count_of_what_is_lost_counts() -> None:
    """The guard of the tests above and of the benchmark."""
    whole: Heard = [(1, "state", {"a": 1}), (2, "progress", {}), (3, "failure", {}), (4, "state", {"a": 2})]

    class Told(Crowd):
        def _events(self, run: str, after: int) -> Heard:
            return [event for event in whole if event[1] != "progress"]

    def lost(*streams: Heard) -> int:
        return len(Told(0, "", (), 0, lambda *_: None, {"r": [*streams]}).lost())

    assert lost(whole, whole) == 0
    assert lost(whole, [whole[0], *whole[2:]]) == 0, "progress that was forgotten when it came"
    assert lost(whole, whole[:3]) == 1
    assert lost(whole, [*whole[:2], whole[3]]) == 1
    assert lost([whole[1], whole[0], *whole[2:]]) == 1
    assert lost(whole, [whole[0], (2, "progress", {"done": 1}), *whole[2:]]) >= 1


# -- what a crowd finds sometimes, found every time ------------------------------------------------------------------


async def begin(service: Service) -> Live:
    named = Named("site0", service.config.targets["site0"])
    return await service.runs.begin(named, Asked(action=Action.PLAN), "somebody")


async def hear(service: Service, live: Live) -> list[Event]:
    """Everything of a run, to its end."""
    return [event async for event in service.board.listen(live.run.id, 0) if event is not None]


async def test_nobody_sees_an_end_that_is_not_on_disk(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that believed it would close before the last event."""
    plain, seen = service.ledger.save, []

    def save(run: ServedRun, *events: Any) -> None:
        live = service.runs.live(run.id)
        seen.append((run.ended, live is not None and live.run.ended))
        plain(run, *events)

    monkeypatch.setattr(service.ledger, "save", save)
    heard = await hear(service, await begin(service))
    assert heard[-1].data["ended"]
    assert seen[-1] == (True, False)


async def test_who_hears_of_the_end_may_begin_another_run_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes to clear up after the first one."""
    plain, cleared = service.ledger.forget_progress, threading.Event()

    def forget(run_id: str) -> None:
        cleared.wait()
        plain(run_id)

    monkeypatch.setattr(service.ledger, "forget_progress", forget)
    try:
        first = await begin(service)
        await hear(service, first)
        second = await begin(service)
    finally:
        cleared.set()
    await first.over.wait()
    found = service.runs.live(second.run.id)
    assert found is second, "the end of the first one does not touch it"
    await hear(service, second)


async def test_the_rows_of_a_plan_are_read_once(service: Service) -> None:
    """Whoever turns the pages of 20,000 changes asks for all of them each time."""
    live = await begin(service)
    await hear(service, live)
    assert live.run.plan is not None
    first = await service.threads(service.ledger.rows, live.run.plan)
    assert await service.threads(service.ledger.rows, live.run.plan) is first
