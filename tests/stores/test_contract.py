"""Every store of ours keeps the contract, plain and in each of its variants."""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import anyio.to_thread
import pytest

from trueup.core.model import Key
from trueup.stores.file import FileStore
from trueup.stores.memory import MemoryStore
from trueup.testing import Faulty, LogicalClock, StoreContract


class MemoryContract(StoreContract):
    """Joins a `MemoryStore`, whatever its settings."""

    memory: MemoryStore

    def outside_write(self, key: Key, data: bytes) -> None:
        self.memory.put(key, data)

    def outside_delete(self, key: Key) -> None:
        self.memory.delete(key)

    def outside_read(self, key: Key) -> bytes | None:
        return self.memory.tree()[key]


class TestMemory(MemoryContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        self.memory = MemoryStore(clock=LogicalClock(), batch_rows=7)
        return self.memory


class TestMemoryInThreads(MemoryContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        self.memory = MemoryStore(clock=LogicalClock(), threads=anyio.to_thread.run_sync)
        return self.memory


class TestBucket(MemoryContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        self.memory = MemoryStore(clock=LogicalClock(), directories=False, free_fingerprints=True)
        return self.memory


class TestFoldingMemory(MemoryContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        self.memory = MemoryStore(clock=LogicalClock(), case_sensitive=False, normalizes=True)
        return self.memory


class TestMemoryThatCannotRefuse(MemoryContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        self.memory = MemoryStore(clock=LogicalClock(), refuses_lost_races=False)
        return self.memory


class TestFaultlessFaulty(MemoryContract):
    """A wrapper that harms nothing changes nothing."""

    @pytest.fixture
    def store(self) -> Faulty:
        self.memory = MemoryStore(clock=LogicalClock())
        return Faulty(self.memory, decide=lambda _: None, clock=LogicalClock())


class FolderContract(StoreContract):
    """Joins a `FileStore`."""

    tick_seconds = 0.05  # what file systems have here; the store promises two seconds, for the coarsest there are
    root: Path

    def opened(self, path: Path) -> FileStore:
        self.root = path
        # As in the engine, a cancelled caller does not wait for its thread.
        threads = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        return FileStore(str(path), threads=threads, unique=_unique())

    def outside_write(self, key: Key, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def outside_delete(self, key: Key) -> None:
        (self.root / key).unlink()

    def outside_read(self, key: Key) -> bytes | None:
        return (self.root / key).read_bytes()


class TestFolder(FolderContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        return self.opened(tmp_path)


class TestFolderThatCannotExchange(FolderContract):
    """A file system without an atomic exchange of names: the old version is linked away before it is replaced."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FileStore:
        store = self.opened(tmp_path)
        store._folder.exchanges = False
        return store


def _unique() -> Callable[[], str]:
    numbers = count()
    return lambda: f"u{next(numbers)}"
