"""A registry that MAPLE itself has written."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from trueup.core.model import Key, Record
from trueup.engine.ambient import Ambient
from trueup.protocols import Opening
from trueup.stores.records import Change
from trueup.stores.registry import RegistryStore

Maple = Callable[..., Any]
"""Calls a function of ``maple.state.store`` by its name; gives back what it gives back."""

CALLS = """
import json, sys
from maple.state import store
calls = json.load(sys.stdin)
print(json.dumps([getattr(store, name)(*arguments) for name, *arguments in calls]))
"""


async def there(store: RegistryStore) -> Mapping[Key, Record]:
    return await to_thread.run_sync(store.read)


async def change(store: RegistryStore, changes: Sequence[Change]) -> None:
    await to_thread.run_sync(store.change, changes)


@pytest.fixture
def maple(tmp_path: Path) -> Maple:
    """MAPLE at work in a home of its own, ``tmp_path``."""
    if importlib.util.find_spec("maple") is None:
        assert os.environ.get("CI") != "true", "maple-robotics is not installed"
        pytest.skip("maple-robotics is not installed")

    def call(*calls: tuple[Any, ...]) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", CALLS],
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            input=json.dumps(calls),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return call


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / ".maple" / "state.db"


@pytest.fixture
def opening() -> Opening:
    ambient = Ambient()
    return Opening(ambient.clock, ambient.threads, ambient.unique, remember={})


@pytest.fixture
def policies(database: Path, opening: Opening) -> RegistryStore:
    return RegistryStore(str(database), "policies", opening, busy_seconds=0.2)


@pytest.fixture
def envs(database: Path, opening: Opening) -> RegistryStore:
    return RegistryStore(str(database), "envs", opening, busy_seconds=0.2)
