"""Services that buckets are tested on; the fixtures are in conftest.py."""

from dataclasses import dataclass

from trueup.engine.ambient import SystemClock, random_name
from trueup.engine.threads import ThreadPool
from trueup.protocols import Access
from trueup.stores.object import ObjectStore
from trueup.stores.object.connect import connect
from trueup.testing.engines import KEYS


@dataclass(frozen=True)
class Service:
    """An S3 service with one bucket."""

    endpoint: str
    bucket: str = "test"

    def access(
        self, *, access_key: str = KEYS.access_key, secret_key: str = KEYS.secret_key, region: str = "us-east-1"
    ) -> tuple[Access, ...]:
        """How a store gets there."""
        return (Access("s3://", self.endpoint, region, lambda: access_key, lambda: secret_key),)

    def store(self, prefix: str, access: tuple[Access, ...] | None = None, **settings: object) -> ObjectStore:
        """A store on a prefix of the bucket."""
        place = connect(f"s3://{self.bucket}/{prefix}", access or self.access(), {})
        return ObjectStore(
            place,
            clock=SystemClock(),
            threads=ThreadPool(),
            unique=random_name,
            **settings,  # type: ignore[arg-type]  # the test knows what it passes
        )
