"""One server for the tests of a module; every test has a target of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from tests.web.server import Client, Served, Site

from trueup.config import Config, load
from trueup.engine.ambient import Ambient
from trueup.testing.clock import LogicalClock
from trueup.web.service import Options, Service

MOST_SITES = 60
"""Tests of one module."""
START_NS = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over many targets, whose sides are empty."""
    path = tmp_path_factory.mktemp("served")
    server = serving(path)
    server.start()
    yield server
    server.stop()


def serving(path: Path, sites: int = MOST_SITES) -> Served:
    """A server that is not started, with targets `site0`, `site1`, ..."""
    home = path / "home"
    server = Served(home, path / "state", sites=(Site(home, f"site{n}") for n in count()))
    text = "".join(
        f'[targets.site{n}]\nkind = "folder"\nlocal = "site{n}/here"\nremote = "site{n}/there"\ndeletes = "propagate"\n'
        for n in range(sites)
    )
    for n in range(sites):
        for side in ("here", "there"):
            (home / f"site{n}" / side).mkdir(parents=True)
    (home / "trueup.toml").write_text(text)
    return server


@pytest.fixture
def site(served: Served) -> Site:
    """A target that no other test uses."""
    return next(served.sites)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """A server of this test alone, over one target, not started."""
    server = serving(tmp_path, 1)
    yield server
    if server.process is not None:
        server.stop()


@pytest.fixture(scope="module")
def client(served: Served) -> Client:
    """A client that may do everything."""
    return served.client()


# -- the parts of a server, in this process ---------------------------------------------------------------------------


@pytest.fixture
def clock() -> LogicalClock:
    return LogicalClock(START_NS)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """One target."""
    served = serving(tmp_path, 1)
    return load(served.path, env=served.environment)


@pytest.fixture
async def service(config: Config, clock: LogicalClock) -> AsyncIterator[Service]:
    """The server's parts in this process, on a fake clock."""
    service = Service(config, Options(), Ambient(clock=clock), keeps_time=False)
    async with service.running():
        yield service
