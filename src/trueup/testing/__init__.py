"""What other people's stores are tested with: the contract that every store keeps, and a wrapper that breaks things.

`StoreContract` says every sentence of `trueup.protocols` as a test. To join, subclass it, open an empty store in a
fixture, and say how a person edits behind the store's back::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path: Path) -> MyStore:
            self.root = tmp_path
            return MyStore(tmp_path)

        def outside_write(self, key: Key, data: bytes) -> None:
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        def outside_delete(self, key: Key) -> None:
            (self.root / key).unlink()

`Faulty` wraps a store and injects failures, from a seed or from a function of yours, and remembers which.

Needs pytest and its anyio plugin, which come with ``trueup[dev]`` or with your own development dependencies; pytest is
imported when a contract is subclassed or skips, not before.
"""

from trueup.testing.clock import LogicalClock
from trueup.testing.contract import StoreContract
from trueup.testing.faulty import Call, Decide, Fault, Faulty, Harm, Injected, Seeded
from trueup.testing.keeping import KeepsContract, MarkedContract
from trueup.testing.looking import ObserveContract, ReadContract
from trueup.testing.trees import DirectoryContract
from trueup.testing.writing import WriteContract

__all__ = [
    "Call",
    "Decide",
    "DirectoryContract",
    "Fault",
    "Faulty",
    "Harm",
    "Injected",
    "KeepsContract",
    "LogicalClock",
    "MarkedContract",
    "ObserveContract",
    "ReadContract",
    "Seeded",
    "StoreContract",
    "WriteContract",
]
