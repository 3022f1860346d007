"""The database that an agent works in keeps the contract of stores, and what is special about it."""

from pathlib import Path

import pytest
from tests.agents import opening, outside_delete, outside_write

from trueup.core.model import Key
from trueup.stores.agentfs import Beside, LocalAgent
from trueup.testing import StoreContract


class TestLocalAgent(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalAgent:
        self.path = tmp_path / "agent.db"
        return LocalAgent(self.path, opening(), Beside(tmp_path / "state" / "local.db"))

    def outside_write(self, key: Key, data: bytes) -> None:
        outside_write(self.path, key, data)

    def outside_delete(self, key: Key) -> None:
        outside_delete(self.path, key)
