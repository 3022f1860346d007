"""What serves a database in these tests: ours, and the reference; clients with a limit on their patience."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.replication.clients import Remote
from tests.tursodb import SyncServer

from trueup.replication import Served, serving
from trueup.testing.engines import Missing


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """The driver of the clients has no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)
    yield
    socket.setdefaulttimeout(before)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An empty database of ours."""
    with serving(tmp_path / "team.db") as server:
        yield server


@pytest.fixture(params=["ours", "reference"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """An empty database; each scenario runs against both, and has to end the same."""
    if request.param == "ours":
        with serving(tmp_path / "team.db") as server:
            yield Remote(server.url, server.token)
        return
    try:
        with SyncServer(tmp_path / "reference") as reference:
            yield Remote(reference.endpoint, None)
    except Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
