"""A bucket keeps the contract on a server that refuses lost races, and on one that does not and says so."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.azurite import ACCOUNT, CONTAINER, KEY, azurite
from tests.services import Service

from trueup.core.errors import StoreError
from trueup.core.model import Key
from trueup.engine.ambient import SystemClock, random_name
from trueup.engine.threads import ThreadPool
from trueup.protocols import Access, Store
from trueup.stores.object import ObjectStore
from trueup.stores.object.connect import connect
from trueup.testing import StoreContract
from trueup.testing.engines import Missing
from trueup.testing.expect import create, refused, rows

pytestmark = pytest.mark.engine

MEMORY: dict[str, str] = {}
"""What is found out about the servers, kept over all tests."""


class BucketContract(StoreContract):
    """Joins an `ObjectStore`."""

    seeds = 6
    tick_seconds = 0  # these services have ETags
    bucket: ObjectStore

    async def test_a_file_and_a_tree_of_one_name_are_apart_in_order_or_exclude_each_other(self, store: Store) -> None:
        """Both servers keep objects in folders, and cannot hold what a real service can."""
        await create(store, Key("a/b"), b"1")
        await create(store, Key("a!x"), b"2")
        with refused(StoreError):
            await create(store, Key("a"), b"3")
        assert [row[0] for row in await rows(store)] == [b"a!x", b"a/b"]

    def outside_write(self, key: Key, data: bytes) -> None:
        self.bucket._bucket.put(key, data, {}, {})

    def outside_delete(self, key: Key) -> None:
        self.bucket._bucket.delete(key)

    def outside_read(self, key: Key) -> bytes | None:
        return self.bucket._bucket.read(key)


class TestStrong(BucketContract):
    @pytest.fixture
    def store(self, strong_s3: Service, opened: Any) -> Store:
        self.bucket = opened(strong_s3, remember=MEMORY)
        self.bucket._prober.for_writing()
        return self.bucket


class TestWeak(BucketContract):
    """It serves a folder: what is replaced is torn for a moment, and a file takes the place of a whole folder."""

    async def test_a_reader_finds_the_old_version_or_the_new_one(self, store: Store) -> None:
        pytest.skip("the server replaces files in place; no client can mend that")

    async def test_a_file_and_a_tree_of_one_name_are_apart_in_order_or_exclude_each_other(self, store: Store) -> None:
        pytest.skip("the server deletes a folder for a file of its name; no client can mend that")

    @pytest.fixture
    def store(self, weak_s3: Service, opened: Any) -> Store:
        self.bucket = opened(weak_s3, remember=MEMORY)
        self.bucket._prober.for_writing()
        return self.bucket


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Access, ...]]:
    """An emulated account; `make test` installs it where it can."""
    try:
        with azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
            yield (Access(f"az://{CONTAINER}", endpoint, None, lambda: ACCOUNT, lambda: KEY),)
    except Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class TestAzure(BucketContract):
    many = 100
    seeds = 3
    test_a_file_and_a_tree_of_one_name_are_apart_in_order_or_exclude_each_other = (
        StoreContract.test_a_file_and_a_tree_of_one_name_are_apart_in_order_or_exclude_each_other
    )

    @pytest.fixture
    def store(self, azure: tuple[Access, ...]) -> Store:
        self.bucket = ObjectStore(
            connect(f"az://{CONTAINER}/{random_name()}", azure, {}),
            clock=SystemClock(),
            threads=ThreadPool(),
            unique=random_name,
            remember=MEMORY,
        )
        self.bucket._prober.for_writing()
        return self.bucket
