"""Others read while a call writes."""

from __future__ import annotations

import threading

import anyio
import pytest
from tests.actions.team import Team

from trueup import ConflictStrategy, SyncStrategy, sync

THEIRS = SyncStrategy(conflict_strategy=ConflictStrategy.REMOTE_WINS)
VERSIONS = [f"size: {n}\nfill: '{str(n) * 60_000}'\n" for n in range(10)]


@pytest.mark.slow
async def test_readers_never_see_settings_that_are_half_written(team: Team) -> None:
    here = team.here("settings/cache.yml", VERSIONS[0])
    await sync.settings()
    stop, reads = threading.Event(), [0, 0]
    odd: list[str] = []

    def read(number: int) -> None:
        while not stop.is_set() and not odd:
            text = here.read_text()
            reads[number] += 1
            if text not in VERSIONS:
                odd.append(text)

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    try:
        for version in VERSIONS[1:]:
            await anyio.to_thread.run_sync(team.there, "settings/cache.yml", version)
            assert (await sync.settings(strategy=THEIRS)).synced_items == ["PULL: cache.yml"]
    finally:
        stop.set()
        for reader in readers:
            await anyio.to_thread.run_sync(reader.join)
    assert odd == []
    assert min(reads) > 0
    assert here.read_text() == VERSIONS[-1]
