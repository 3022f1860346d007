"""A bucket to measure on, and who is measured there: every tool as it comes, nobody's configuration but the address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ground import Bench
from machine import peer, trueup
from measure import Command

from trueup.testing.engines import KEYS, weed_mini
from trueup.testing.sigv4 import call

BUCKET = "test"


@dataclass
class Site:
    """A server of our own with one bucket, and a home for those who talk to it."""

    room: Path
    endpoint: str
    env: Mapping[str, str] = field(init=False)
    """Address and keys, as each of the tools wants to be told."""
    _turn: int = 0

    def __post_init__(self) -> None:
        home = self.room / "home"
        home.mkdir(exist_ok=True)
        aws = {
            "AWS_ACCESS_KEY_ID": KEYS.access_key,
            "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
            "AWS_REGION": KEYS.region,
            "AWS_DEFAULT_REGION": KEYS.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        remote = {"TYPE": "s3", "PROVIDER": "SeaweedFS", "ENV_AUTH": "true", "ENDPOINT": self.endpoint}
        others = {
            "RCLONE_CONFIG": "/dev/null",
            "S3_ENDPOINT_URL": self.endpoint,
            "MINIO_ACCESS_KEY": KEYS.access_key,
            "MINIO_SECRET_KEY": KEYS.secret_key,
        }
        rclone = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in remote.items()}
        self.env = {"HOME": str(home), **aws, **others, **rclone}

    def at(self, endpoint: str) -> Site:
        """The same by another address."""
        return Site(self.room, endpoint)

    def fresh(self, name: str) -> str:
        """A prefix that nobody has used."""
        self._turn += 1
        return f"{name}-{self._turn}"

    def names(self, prefix: str) -> Iterator[str]:
        """All keys below a prefix that belong to somebody; for checks."""
        token = ""
        while True:
            more = f"&continuation-token={token}" if token else ""
            answer = call(
                self.endpoint, KEYS, "GET", f"/{BUCKET}?list-type=2&prefix={prefix}/{more}", timeout_seconds=60
            )
            text = answer.body.decode()
            keys = (part.partition("</Key>")[0] for part in text.split("<Key>")[1:])
            yield from (key for key in keys if "/.trueup" not in key)
            if "<IsTruncated>true" not in text:
                return
            token = text.partition("<NextContinuationToken>")[2].partition("<")[0]

    def count(self, prefix: str) -> int:
        """How many objects lie below a prefix."""
        return sum(1 for _ in self.names(prefix))

    # -- the tools -----------------------------------------------------------------------------------------------

    def ours(self, local: Path, prefix: str, state: Path) -> Command:
        """Ours."""
        argv = [trueup(), "sync", "folder", str(local), url(prefix), "--yes"]
        return Command(argv, {**self.env, "TRUEUP_STATE": str(state)})

    def rclone(self, *words: object) -> Command:
        """With a remote called `bench:`; what is ours at the sides is no file of anybody."""
        options = ("--exclude", "/.trueup/**")
        return Command([str(peer("rclone")), *options, *map(str, words)], self.env)

    def juicefs(self, *words: object) -> Command:
        """Its folders and prefixes end in a slash."""
        options = ("sync", "--no-https", "--exclude", ".trueup/")
        return Command([str(peer("juicefs")), *options, *map(str, words)], self.env)

    def s5cmd(self, *words: object) -> Command:
        """Says every file, which goes nowhere here."""
        return Command([str(peer("s5cmd")), *map(str, words)], self.env)

    def aws(self, *words: object) -> Command:
        """Version 1, which is what its registry has."""
        return Command([str(peer("aws")), "s3", *map(str, words)], self.env)

    def minio(self, prefix: str) -> str:
        """As juicefs wants to be told."""
        return f"minio://{self.endpoint.partition('://')[2]}/{BUCKET}/{prefix}/"


def url(prefix: str) -> str:
    """As most want to be told."""
    return f"s3://{BUCKET}/{prefix}"


@contextmanager
def site(bench: Bench, name: str) -> Iterator[Site]:
    """A fresh server for one row; stopped by its id."""
    room = bench.room(name)
    with weed_mini(room / "server") as server:
        yield Site(room, server.endpoint)
