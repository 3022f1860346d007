"""Where the other side is: a bucket behind the fault proxy, on a strong or a weak server, or a folder."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from tests.blackbox.ledger import Ledger, Version
from tests.blackbox.people import BucketPerson, FolderPerson, Person
from tests.engine.real_bucket import Plain, files
from tests.engine.real_tree import digest, trash
from tests.services import Service

from trueup.testing.engines import KEYS
from trueup.testing.proxy import (
    Action,
    CutAnswer,
    DropAnswer,
    DropRequest,
    Exchange,
    FaultProxy,
    FlipAnswer,
    FlipRequest,
    Latency,
    Rule,
    TruncatedListing,
    s3_error,
)

TRASH = ".trueup/trash/"
WINDOW = "cannot refuse a lost race"
"""What the plan says of a weak server."""


@dataclass(frozen=True)
class Seen(Action):
    """Remembers who asked for what, and when."""

    log: list[tuple[float, str, str]] = field(hash=False)

    async def arriving(self, exchange: Exchange) -> None:
        """Remember: time, method, key."""
        self.log.append((monotonic(), exchange.request.method, exchange.request.key))


class Remote:
    """The side that machines share."""

    kind: str
    env: Mapping[str, str]
    url: str

    def person(self, who: str, ledger: Ledger) -> Person:
        """Somebody who works there."""
        raise NotImplementedError

    def live(self) -> dict[str, bytes]:
        """Digest of every item by its name."""
        raise NotImplementedError

    def held(self, wanted: set[bytes]) -> set[bytes]:
        """Digests of what is live or kept; those of large objects only if they are wanted."""
        raise NotImplementedError

    def start_faults(self, rng: Random) -> None:
        """From now on things go wrong."""

    def stop_faults(self) -> int:
        """From now on they do not; how often they did."""
        return 0

    def explains(self, version: Version) -> bool:
        """Whether it was lost in the window that every plan announced."""
        del version
        return False

    def close(self) -> None:
        """It is not needed any more."""


@dataclass
class FolderRemote(Remote):
    """A folder, by its URL."""

    base: Path

    def __post_init__(self) -> None:
        self.kind = "file://"
        self.root, self.desk = self.base / "shared", self.base / "shared desk"
        self.root.mkdir()
        self.desk.mkdir()
        self.env = {}
        self.url = self.root.as_uri()

    def person(self, who: str, ledger: Ledger) -> Person:
        return FolderPerson(who, ledger.seed, ledger, root=self.root, desk=self.desk)

    def live(self) -> dict[str, bytes]:
        return files(self.root)

    def held(self, wanted: set[bytes]) -> set[bytes]:
        del wanted
        return set(files(self.root).values()) | trash(self.root)


@dataclass
class BucketRemote(Remote):
    """A prefix of a bucket behind a proxy; people reach the server without it."""

    kind: str
    server: Service
    prefix: str
    seed: int

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self.proxy = self._stack.enter_context(FaultProxy(self.server.endpoint))
        self.plain = Plain(self.server, f"{self.prefix}/")
        self.url = f"s3://{self.server.bucket}/{self.prefix}"
        self.seen: list[tuple[float, str, str]] = []
        self.proxy.add(Rule(Seen(self.seen), path=f"^/{self.server.bucket}/{self.prefix}/"))
        self.rules: list[Rule] = []
        self.env = {
            "AWS_ENDPOINT_URL": self.proxy.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEYS.access_key,
            "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
        }

    @property
    def weak(self) -> bool:
        """Whether it ignores conditions."""
        return self.kind == "weak"

    def person(self, who: str, ledger: Ledger) -> Person:
        return BucketPerson(who, ledger.seed, ledger, bucket=self.plain)

    def live(self) -> dict[str, bytes]:
        """By their bytes: the names that a server gives to versions are believed nowhere here."""
        return {name: digest(self.plain.get(name)) for name in self.plain.live()}

    def held(self, wanted: set[bytes]) -> set[bytes]:
        kept = {name: seen for name, seen in self.plain.list(TRASH).items() if seen in wanted}
        others = [name for name in self.plain.list(TRASH) if name not in kept]
        return set(self.live().values()) | set(kept.values()) | {digest(self.plain.get(name)) for name in others}

    # -- faults --------------------------------------------------------------------------------------------------

    def start_faults(self, rng: Random) -> None:
        """A few requests of every sort, drawn from the seed."""
        inside = f"^/{self.server.bucket}/{self.prefix}/"
        items = f"{inside}(?!{re.escape('.trueup/')})"
        changes, any_method = "PUT|POST|DELETE", "PUT|POST|DELETE|GET|HEAD"
        drawn: list[tuple[Action, str, str, float]] = [
            (s3_error("SlowDown"), any_method, inside, 0.03),
            (s3_error("TooManyRequests", status=429), any_method, inside, 0.02),
            (s3_error("InternalError"), any_method, inside, 0.02),
            (s3_error("XMinioStorageFull", status=507), "PUT", items, 0.02),
            (DropRequest(), any_method, inside, 0.02),
            (DropAnswer(), changes, inside, 0.04),
            (CutAnswer(at=rng.random()), "GET", items, 0.03),
            (FlipAnswer(at=rng.random()), "GET", items, 0.03),
            (TruncatedListing(at=rng.random()), "GET", "", 0.05),
        ]
        if not self.weak:  # which does not look whether what it gets is what was sent
            drawn.append((FlipRequest(at=rng.random()), "PUT", items, 0.02))
        self.rules = [
            Rule(action, method=method, path=path, probability=share, seed=rng.randrange(1 << 30))
            for action, method, path, share in drawn
        ]
        slow = Rule(Latency(0.0, jitter_seconds=0.03), probability=0.3, seed=rng.randrange(1 << 30))
        for rule in (slow, *self.rules):
            self.proxy.add(rule)
        self.rules.append(slow)

    def stop_faults(self) -> int:
        harmed = sum(self.proxy.fired(rule) for rule in self.rules[:-1])
        for rule in self.rules:
            self.proxy.remove(rule)
        self.rules = []
        return harmed

    def explains(self, version: Version) -> bool:
        """On a weak server: a person wrote it to the bucket after a run had looked and before the run wrote."""
        if not self.weak or version.side != "remote":
            return False
        about = [(when, method) for when, method, key in self.seen if key == f"{self.prefix}/{version.name}"]
        looked = False
        for when, method in about:
            if method in ("HEAD", "GET"):
                looked = when < version.ended
            elif when > version.began and looked:
                return True
        return False

    def close(self) -> None:
        self._stack.close()


def requests_by_key(remote: BucketRemote) -> dict[str, list[str]]:
    """For the message of a round that fails: what runs asked of each key."""
    found: dict[str, list[str]] = defaultdict(list)
    for when, method, key in remote.seen:
        found[key.removeprefix(f"{remote.prefix}/")].append(f"{when:.3f} {method}")
    return found


def environment(remote: Remote, state: Path) -> dict[str, str]:
    """What a run gets: nobody's configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRUEUP_"))}
    return {**kept, **remote.env, "TRUEUP_STATE": str(state), "HOME": str(state)}
