"""A bucket keeps the contract on a server that refuses lost races, and on one that does not and says so."""

from typing import Any

import pytest

from trueup.core.model import Key
from trueup.protocols import Store
from trueup.stores.object import ObjectStore
from trueup.testing import StoreContract
from trueup.testing.servers import Server

pytestmark = pytest.mark.engine

MEMORY: dict[str, str] = {}
"""What is found out about the servers, kept over all tests."""


class BucketContract(StoreContract):
    """Joins an `ObjectStore`."""

    seeds = 6
    bucket: ObjectStore

    def outside_write(self, key: Key, data: bytes) -> None:
        self.bucket._bucket.put(key, data, {}, {})

    def outside_delete(self, key: Key) -> None:
        self.bucket._bucket.delete(key)

    def outside_read(self, key: Key) -> bytes | None:
        return self.bucket._bucket.read(key)


class TestStrong(BucketContract):
    @pytest.fixture
    async def store(self, strong_s3: Server, opened: Any) -> Store:
        self.bucket = opened(strong_s3, remember=MEMORY)
        await self.bucket.probe()
        return self.bucket


class TestWeak(BucketContract):
    @pytest.fixture
    async def store(self, weak_s3: Server, opened: Any) -> Store:
        self.bucket = opened(weak_s3, remember=MEMORY)
        await self.bucket.probe()
        return self.bucket
