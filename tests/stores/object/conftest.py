"""Stores on real servers, each on a prefix of its own."""

from collections.abc import Callable
from itertools import count

import pytest

from trueup.engine.ambient import SystemClock, random_name
from trueup.engine.threads import ThreadPool
from trueup.stores.object import ObjectStore
from trueup.stores.object.connect import connect
from trueup.testing.servers import Server

Opened = Callable[..., ObjectStore]
_numbers = count()


@pytest.fixture
def opened() -> Opened:
    """Opens a store on a new prefix of a server, or on the one that is given."""

    def open_it(server: Server, prefix: str | None = None, **settings: object) -> ObjectStore:
        url = f"s3://{server.bucket}/{prefix or f't{next(_numbers)}'}"
        return ObjectStore(
            connect(url, server.access(), {}),
            clock=SystemClock(),
            threads=ThreadPool(),
            unique=random_name,
            **settings,  # type: ignore[arg-type]  # the test knows what it passes
        )

    return open_it
