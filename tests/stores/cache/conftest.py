"""What the tests of caches share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trueup.caches import CacheSyncResult, cache_sync
from trueup.config import Config
from trueup.targets import Caches

HOSTILE = ["a*b", "a?b", "a[b]", "a[^x]b", "a\\b", "a\\*", "*", "?", "[", "]", "a b", "ä\n", "{app}", "x:y:z", "-", "^"]
"""Names that a glob reads as something else, as applications, versions and keys."""


@dataclass(frozen=True)
class Caching:
    """`cache_sync` with a state of its own."""

    state: Path

    async def __call__(self, spec: Caches, **how: Any) -> CacheSyncResult:
        return await cache_sync(target=spec, config=Config(self.state), **how)


@pytest.fixture
def caching(tmp_path: Path) -> Caching:
    return Caching(tmp_path / "state")
