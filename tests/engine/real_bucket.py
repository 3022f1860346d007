"""A world whose remote side is a bucket, and a person who works there with plain requests."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import unescape
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote_plus

from tests.engine.real_tree import World, snapshot, trash
from tests.services import Service

from trueup.testing.engines import KEYS
from trueup.testing.sigv4 import Response, call

_OBJECT = re.compile(r"<Contents>.*?<Key>(.*?)</Key>.*?<ETag>(.*?)</ETag>.*?</Contents>", re.DOTALL)
_NEXT = re.compile(r"<NextContinuationToken>(.*?)</NextContinuationToken>")
_TRASH = ".trueup/trash/"
_numbers = count()


@dataclass(frozen=True)
class Plain:
    """A prefix of a bucket, by requests that our store has no part in."""

    server: Service
    prefix: str

    def request(self, method: str, key: str, body: bytes = b"", *, query: str = "", **headers: str) -> Response:
        """Any request about an object."""
        target = f"/{self.server.bucket}/{quote(self.prefix + key)}{query}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(self.server.endpoint, KEYS, method, target, body=body, headers=named)

    def put(self, key: str, body: bytes) -> None:
        """Write an object, whatever is there."""
        answer = self.request("PUT", key, body)
        assert answer.status == 200, (key, answer)

    def get(self, key: str) -> bytes:
        """Read one."""
        answer = self.request("GET", key)
        assert answer.status == 200, (key, answer)
        return answer.body

    def delete(self, key: str) -> None:
        """Remove one."""
        answer = self.request("DELETE", key)
        assert answer.status == 204, (key, answer)

    def list(self, below: str = "") -> dict[str, bytes]:
        """Everything with the MD5 that the server gives it, our own traces included."""
        found: dict[str, bytes] = {}
        token = ""
        while True:
            prefix = quote(self.prefix + below, safe="")
            target = f"/{self.server.bucket}?list-type=2&encoding-type=url&prefix={prefix}"
            answer = call(self.server.endpoint, KEYS, "GET", target + (token and f"&continuation-token={token}"))
            assert answer.status == 200, answer
            text = answer.body.decode()
            for key, etag in _OBJECT.findall(text):
                name = unquote_plus(key)[len(self.prefix) :]
                if not name.endswith("/"):
                    found[name] = bytes.fromhex(unescape(etag).strip('"').partition("-")[0])
            following = _NEXT.search(text)
            if following is None:
                return found
            token = quote(unescape(following[1]), safe="")

    def live(self) -> dict[str, bytes]:
        """The digest of every object that a target sees."""
        return {name: seen for name, seen in self.list().items() if not name.startswith(".trueup/")}

    def kept(self) -> set[bytes]:
        """Digests of all that is in the trash."""
        return set(self.list(_TRASH).values())


def files(root: Path) -> dict[str, bytes]:
    """As `snapshot`, without the directories that a bucket cannot hold."""
    return {name: seen for name, seen in snapshot(root).items() if not name.endswith("/")}


@dataclass
class BucketWorld(World):
    """A folder and a bucket; ``remote`` is the desk of the person who works in the bucket."""

    server: Service = field(kw_only=True)
    prefix: str = field(default_factory=lambda: f"world{next(_numbers)}", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bucket = Plain(self.server, f"{self.prefix}/")

    @property
    def places(self) -> tuple[str, str]:
        return str(self.local), f"s3://{self.server.bucket}/{self.prefix}"

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEYS.access_key,
            "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
        }

    def edit(self) -> None:
        """As with folders; what was done at the desk is then done to the objects."""
        shutil.copytree(self.local, self.remote, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".trueup"))
        before = files(self.remote)
        super().edit()
        after = files(self.remote)
        self.each(self.bucket.delete, before.keys() - after.keys())
        self.each(self._put, (name for name in after if after[name] != before.get(name)))
        assert self.bucket.live() == after

    def _put(self, name: str) -> None:
        self.bucket.put(name, (self.remote / name).read_bytes())

    @staticmethod
    def each(do: Callable[[str], None], names: Iterable[str]) -> None:
        """A few at once."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(do, sorted(names)))

    def held(self) -> set[bytes]:
        live = set(files(self.local).values()) | set(self.bucket.live().values())
        return live | trash(self.local) | self.bucket.kept()
