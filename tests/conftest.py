"""What every test shares: how hard hypothesis tries, and a watch for blocking calls."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from trueup.testing import servers

# Helpers beside the tests are imported as `tests.engine.pair`, wherever pytest was started.
sys.path.insert(0, str(Path(__file__).parents[1]))

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
def strong_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server that refuses lost races."""
    with _served(servers.strong, tmp_path_factory.mktemp("strong")) as server:
        yield server


@pytest.fixture(scope="session")
def weak_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """A server that ignores every condition."""
    with _served(servers.weak, tmp_path_factory.mktemp("weak")) as server:
        yield server


@contextmanager
def _served(
    serve: Callable[[Path], AbstractContextManager[servers.Server]], directory: Path
) -> Iterator[servers.Server]:
    try:
        context = serve(directory)
        server = context.__enter__()
    except servers.Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    try:
        yield server
    finally:
        context.__exit__(None, None, None)
