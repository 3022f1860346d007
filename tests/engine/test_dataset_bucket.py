"""A dataset whose remote is a real bucket: every row, killed runs, two at once, an outage, many keys, undo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.actors import ID, NAME, WORDS, Actor, files, md5
from tests.engine.real_bucket import Plain
from tests.services import Service

from trueup.api import Engine
from trueup.api.datasets import done, planned
from trueup.config import Bucket, Config
from trueup.config.secret import Place, Secret
from trueup.core.errors import Locked
from trueup.core.report import Report
from trueup.core.strategy import Conflict
from trueup.engine import digests
from trueup.targets.datasets import Datasets, Layout
from trueup.testing.engines import KEYS
from trueup.testing.proxy import FaultProxy, Rule, s3_error

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("dataset bucket")]

NAMES = {f"pictures of {word}/ä {word}.png": word for word in WORDS}
PATIENCE_SECONDS = 100
_numbers = count()


class BucketActor(Actor):
    """An actor whose remote is a prefix of a bucket."""

    service: Service
    plain: Plain

    def reach(self, service: Service, endpoint: str = "") -> BucketActor:
        """Take a prefix that nobody else uses."""
        prefix = f"dataset {os.getpid()} {next(_numbers)}/training_data"
        self.service, self.plain = service, Plain(service, f"{prefix}/{NAME}/")
        self.layout = replace(self.layout, remote=f"s3://{service.bucket}/{prefix}/{{actor_name}}/")
        self.endpoint = endpoint or service.endpoint
        return self

    @property
    def config(self) -> Config:
        """How to get there."""
        place = Place(self.root, {"KEY": KEYS.access_key, "SECRET": KEYS.secret_key}, self.root)
        secrets = Secret("env", "KEY", place), Secret("env", "SECRET", place)
        bucket = Bucket(f"s3://{self.service.bucket}", self.endpoint, "us-east-1", *secrets)
        return Config(self.root / "state", datasets=self.layout, buckets={"test": bucket})

    def drift(self, words: dict[str, str]) -> None:
        """Make each image stand as its word says."""
        self.spell({name: word for name, word in words.items()})
        for name, text in files(self.remote).items():
            self.plain.put(name, text.encode())

    @property
    def there(self) -> dict[str, str]:
        """What the bucket holds: names and MD5."""
        return {
            name: bytes(digest).hex() if len(digest) == 16 else str(digest)
            for name, digest in self.plain.live().items()
        }


@pytest.fixture
def actor(tmp_path: Path, strong_s3: Service) -> BucketActor:
    return BucketActor(tmp_path).reach(strong_s3)


async def run(actor: BucketActor, spec: Datasets | None = None, **options: Any) -> Report:
    async with Engine(actor.config) as engine:
        return await engine.run(spec or actor.spec, **options)
