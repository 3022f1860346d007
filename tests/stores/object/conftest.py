"""Stores on real services, each on a prefix of its own."""

from collections.abc import Callable
from itertools import count

import pytest
from tests.services import Service

from trueup.stores.object import ObjectStore

Opened = Callable[..., ObjectStore]
_numbers = count()


@pytest.fixture
def opened() -> Opened:
    """Opens a store on a new prefix of a service."""

    def open_it(service: Service, **settings: object) -> ObjectStore:
        return service.store(f"t{next(_numbers)}", **settings)  # type: ignore[arg-type]  # passed on

    return open_it
