"""Single requests about single objects. Everything here blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from trueup.core.errors import NotFound, PreconditionFailed
from trueup.core.model import Token
from trueup.protocols import Headers
from trueup.stores.object.connect import Place
from trueup.stores.object.errors import NoBucket, translated

if TYPE_CHECKING:
    from opendal import Operator

T = TypeVar("T")

TIMEOUT_SECONDS = 300.0
"""For one request; a listing's page and a look have a fifth of it."""

TICK_NS = 2_000_000_000
"""Services tell times in whole seconds."""

NO_HEADERS = Headers()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Head:
    """What a service tells about one object."""

    token: Token
    size: int
    modified_ns: int
    """By the service's clock."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The user's; names in lower case, without hyphens and underscores: services change those."""


class Bucket:
    """A connection. One for any number of threads."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @cached_property
    def operator(self) -> Operator:
        """OpenDAL's; made when it is first needed, because importing it costs as much as a small run."""
        import opendal
        from opendal.layers import TimeoutLayer

        with translated("the connection", self.place.url, self.place.bucket):
            layer = TimeoutLayer(timeout=TIMEOUT_SECONDS / 5, io_timeout=TIMEOUT_SECONDS)
            return opendal.Operator(self.place.scheme, **self.place.options).layer(layer)

    def path(self, key: str) -> str:
        """Where a key lies in the bucket."""
        return self.place.prefix + key

    def doing(self, key: str) -> AbstractContextManager[None]:
        """Turns errors into ours."""
        return translated(key, self.place.url, self.place.bucket)

    def head(self, key: str) -> Head | None:
        """What is told about an object; None if it is not there."""
        try:
            with self.doing(key):
                told = self.operator.stat(self.path(key))
        except NotFound:
            return None
        if told.mode.is_dir():
            return None
        return Head(token_of(told), told.content_length, _time_ns(told), _plain(told.user_metadata or {}))

    def read(self, key: str, token: Token | None = None) -> bytes:
        """All bytes of an object, by one request."""
        with self.doing(key):
            return self.operator.read(self.path(key), **_matching(token))

    def chunks(self, key: str, token: Token | None, *, chunk: int, concurrent: int) -> Callable[[], bytes]:
        """Bytes of a large object in order, ranges fetched ahead; empty at the end."""
        with self.doing(key):
            file = self.operator.open(self.path(key), "rb", chunk=chunk, concurrent=concurrent, **_matching(token))

        def read() -> bytes:
            with self.doing(key):
                return file.read(chunk)

        return read

    def put(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        condition: Mapping[str, Any],
        headers: Headers = NO_HEADERS,
    ) -> None:
        """Write an object by one request."""
        with self.doing(key):
            self.operator.write(self.path(key), data, **condition, **self._metadata(metadata), **_served(headers))

    def writer(
        self,
        key: str,
        metadata: Mapping[str, str],
        condition: Mapping[str, Any],
        headers: Headers = NO_HEADERS,
        *,
        chunk: int,
        concurrent: int,
    ) -> Any:
        """A file to write a large object with. It comes into being when the file is closed, and only then.

        Never use it as a context manager: OpenDAL closes it after an error too, which would complete half an object.
        """
        with self.doing(key):
            return self.operator.open(
                self.path(key),
                "wb",
                chunk=chunk,
                concurrent=concurrent,
                **condition,
                **self._metadata(metadata),
                **_served(headers),
            )

    def _metadata(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        separator = "_" if self.place.scheme == "azblob" else "-"  # Azure takes identifiers only
        return {"user_metadata": {name.replace("-", separator): value for name, value in metadata.items()}}

    def copy(self, source: str, target: str) -> None:
        """Copy an object, with its metadata, without its bytes passing here."""
        with self.doing(source):
            self.operator.copy(self.path(source), self.path(target))

    def delete(self, key: str, condition: Mapping[str, Any] | None = None) -> None:
        """Delete an object; without a condition also one that is not there."""
        with self.doing(key):
            self.operator.delete(self.path(key), **(condition or {}))


@contextmanager
def gone_is_changed(key: str) -> Iterator[None]:
    """An object that is not there any more is a lost race."""
    try:
        yield
    except NoBucket:
        raise
    except NotFound as error:
        raise PreconditionFailed(f"{key} was deleted meanwhile") from error


def token_of(told: Any) -> Token:
    """The version: the ETag without its quotes, else size and time, which no request can be made conditional on."""
    etag = (told.etag or "").removeprefix("W/").strip('"')
    return Token(etag) if etag else timed_token(told.content_length, _time_ns(told))


def timed_token(size: int, modified_ns: int) -> Token:
    """The version where the service names none."""
    return Token(f"~{size:x}-{modified_ns:x}")


def made_ns(token: Token) -> int:
    """When a version without an ETag was made, by the service's clock; 0 for one that has an ETag."""
    return int(token.rpartition("-")[2], 16) if token.startswith("~") else 0


def _matching(token: Token | None) -> dict[str, Any]:
    return {} if token is None or token.startswith("~") else {"if_match": f'"{token}"'}


def only_if(expect: Token | None, *, able: bool = True) -> dict[str, Any]:
    """The condition that makes a service refuse a request if it holds another version than expected."""
    if not able:
        return {}
    return {"if_not_exists": True} if expect is None else _matching(expect)


def _served(headers: Headers) -> dict[str, Any]:
    named = {"content_type": headers.content_type, "cache_control": headers.cache_control}
    return {name: value for name, value in named.items() if value is not None}


def _time_ns(told: Any) -> int:
    modified = told.last_modified
    return 0 if modified is None else (modified - _EPOCH) // _MICROSECOND * 1000


def _plain(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower().replace("-", "").replace("_", ""): value for name, value in metadata.items()}
