"""What caches can do: list keys of a form, delete named keys, say how large they are. One class for each engine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trueup.core.errors import AccessDenied, NotFound, StoreError, TimedOut, Unavailable, UsageError
from trueup.core.urls import local_path
from trueup.stores.cache.names import Pattern, raw, text

PAGE = 2_000
"""Keys that a server looks at before it answers, and that one request deletes: 1,000 to 5,000 cost least."""
TIMEOUT_SECONDS = 10.0
"""Longest time for one request."""


@dataclass(frozen=True, slots=True)
class Hits:
    """How often a server as a whole was asked for keys that it had, and for keys that it had not."""

    hits: int
    misses: int

    @property
    def rate(self) -> float | None:
        """From 0 to 1; None if it was never asked."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


class Cache(Protocol):
    """One engine. All methods block, and raise StoreError."""

    location: str
    """Canonical, without secrets."""

    def pages(self, pattern: Pattern) -> Iterator[list[bytes]]:
        """All keys of a form, page by page; one that is there all the while is among them, perhaps twice."""
        ...

    def delete(self, keys: Sequence[bytes]) -> int:
        """Delete keys by name; how many of them were there."""
        ...

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What keys hold; None for keys that are not there, or hold something else than bytes."""
        ...

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """Whether keys are held, whatever they hold."""
        ...

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        """Bytes that keys take, the engine's own account included where it tells; 0 for keys that are not there."""
        ...

    def members(self, key: bytes) -> list[bytes]:
        """The members of a set; empty for anything else."""
        ...

    def hits(self) -> Hits | None:
        """How well it serves; None if it does not count."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


# -- in this process ---------------------------------------------------------------------------------------------------

_REGISTERED: dict[str, MutableMapping[Any, Any]] = {}


def register(name: str, cache: MutableMapping[Any, Any]) -> None:
    """Let ``memory://NAME`` mean a mapping of this process, whose keys are text or bytes."""
    _REGISTERED[name] = cache


class MemoryCache:
    """A mapping of this process; one that nobody has registered is empty."""

    def __init__(self, url: str) -> None:
        name = url.removeprefix("memory://") or "default"
        self.location = f"memory://{name}"
        self._mapping = _REGISTERED.setdefault(name, {})

    def _key(self, key: bytes) -> Any:
        return text(key) if text(key) in self._mapping else key

    def pages(self, pattern: Pattern) -> Iterator[list[bytes]]:
        """As `Cache`."""
        keys = [raw(key) if isinstance(key, str) else key for key in list(self._mapping)]
        yield [key for key in keys if isinstance(key, bytes) and pattern.matches(key)]

    def delete(self, keys: Sequence[bytes]) -> int:
        """As `Cache`."""
        missing = object()
        return sum(self._mapping.pop(self._key(key), missing) is not missing for key in keys)

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `Cache`."""
        found = [self._mapping.get(self._key(key)) for key in keys]
        return [value if isinstance(value, bytes) else None for value in found]

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """As `Cache`."""
        return [self._key(key) in self._mapping for key in keys]

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        """As `Cache`: of text and bytes."""
        found = [self._mapping.get(self._key(key)) for key in keys]
        return [len(value) if isinstance(value, (bytes, str)) else 0 for value in found]

    def members(self, key: bytes) -> list[bytes]:
        """As `Cache`."""
        found = self._mapping.get(self._key(key))
        if not isinstance(found, (set, frozenset)):
            return []
        return [raw(member) if isinstance(member, str) else member for member in found]

    def hits(self) -> Hits | None:
        """As `Cache`: a mapping does not count."""
        return None

    def close(self) -> None:
        """As `Cache`."""


# -- a folder ----------------------------------------------------------------------------------------------------------


@contextmanager
def _os_errors(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{what} is not there") from error
    except PermissionError as error:
        raise AccessDenied(f"{what} may not be used", why=error.strerror or "") from error
    except OSError as error:
        raise StoreError(f"{what} cannot be used", why=error.strerror or str(error)) from error


class FolderCache:
    """A folder of which every key is a file; folders, links and pipes in it are none of ours."""

    def __init__(self, url: str) -> None:
        self._folder = Path(local_path(url) or url).expanduser().absolute()
        self.location = str(self._folder)

    def pages(self, pattern: Pattern) -> Iterator[list[bytes]]:
        """As `Cache`."""
        with _os_errors(self.location), os.scandir(os.fsencode(self._folder)) as entries:
            yield [
                entry.name for entry in entries if pattern.matches(entry.name) and entry.is_file(follow_symlinks=False)
            ]

    def _path(self, key: bytes) -> bytes:
        if b"/" in key or key in (b"", b".", b".."):
            raise UsageError(f"{text(key)} is no name of a file in {self.location}")
        return os.path.join(os.fsencode(self._folder), key)

    def delete(self, keys: Sequence[bytes]) -> int:
        """As `Cache`."""
        gone = 0
        for key in keys:
            with _os_errors(text(key)):
                try:
                    if stat.S_ISREG(os.lstat(self._path(key)).st_mode):
                        os.unlink(self._path(key))
                        gone += 1
                except FileNotFoundError:
                    continue
        return gone

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `Cache`."""
        return [self._value(key) for key in keys]

    def _value(self, key: bytes) -> bytes | None:
        with _os_errors(text(key)):
            try:
                descriptor = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                return file.read()

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """As `Cache`: a name with a slash in it is none of a file here."""
        with _os_errors(self.location), os.scandir(os.fsencode(self._folder)) as entries:
            held = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        return [key in held for key in keys]

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        """As `Cache`."""
        sizes = []
        for key in keys:
            with _os_errors(text(key)):
                try:
                    sizes.append(os.lstat(self._path(key)).st_size)
                except FileNotFoundError:
                    sizes.append(0)
        return sizes

    def members(self, key: bytes) -> list[bytes]:
        """As `Cache`: files are no sets."""
        return []

    def hits(self) -> Hits | None:
        """As `Cache`: a folder does not count."""
        return None

    def close(self) -> None:
        """As `Cache`."""


# -- Redis and Valkey --------------------------------------------------------------------------------------------------


class RedisCache:
    """A database of Redis or Valkey. It is scanned and deleted from by name; nothing is ever flushed.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, without a password.
        user: Who asks; None: nobody in particular.
        password: Fetches the proof of it, when it is needed.
    """

    def __init__(
        self,
        url: str,
        user: Callable[[], str] | None = None,
        password: Callable[[], str] | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        try:
            import redis
        except ImportError as error:
            raise StoreError("the client of Redis is not installed", attempt="pip install 'trueup[cache]'") from error
        self._errors = redis
        self.location = url
        more: dict[str, Any] = {}
        if user is not None:
            more["username"] = user()
        if password is not None:
            more["password"] = password()
        try:
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds, **more
            )
        except ValueError as error:
            raise UsageError(f"{url} is no address of a cache", why=str(error)) from error
        self._refused_cluster = False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        errors = self._errors
        try:
            yield
        except (errors.AuthenticationError, errors.exceptions.NoPermissionError) as error:
            raise AccessDenied(
                f"{self.location} does not let us in",
                why=str(error),
                attempt="give access_key and secret_key in [buckets]",
            ) from error
        except errors.TimeoutError as error:
            raise TimedOut(f"{self.location} does not answer", why=str(error)) from error
        except errors.ConnectionError as error:
            raise Unavailable(f"{self.location} cannot be reached", why=str(error)) from error
        except errors.RedisError as error:
            raise StoreError(f"{self.location} refuses", why=str(error)) from error

    def pages(self, pattern: Pattern) -> Iterator[list[bytes]]:
        """As `Cache`: SCAN, which never blocks the server for longer than one page takes."""
        self._refuse_cluster()
        cursor = 0
        while True:
            with self._translated():
                cursor, keys = self._client.scan(cursor=cursor, match=pattern.glob, count=PAGE)
            found = [key for key in keys if pattern.matches(key)]
            if found:
                yield found
            if not int(cursor):
                return

    def _refuse_cluster(self) -> None:
        """One node of a cluster shows its own keys only, which would look like all of them."""
        if self._refused_cluster:
            return
        with self._translated():
            try:
                clustered = int(self._client.info("cluster").get("cluster_enabled", 0))
            except self._errors.exceptions.NoPermissionError:
                clustered = 0  # whoever may not ask is refused by the first key of another node
        if clustered:
            raise StoreError(f"{self.location} is a node of a cluster", why="its other nodes would be left out")
        self._refused_cluster = True

    def delete(self, keys: Sequence[bytes]) -> int:
        """As `Cache`: one UNLINK for a page; memory is freed behind the scenes."""
        gone = 0
        for page in _pages(keys):
            with self._translated():
                gone += int(self._client.unlink(*page))
        return gone

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """As `Cache`."""
        found: list[bytes | None] = []
        for page in _pages(keys):
            with self._translated():
                found += self._client.mget(page)
        return found

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """As `Cache`: many in one round trip."""
        held: list[bool] = []
        for page in _pages(keys):
            with self._translated(), self._client.pipeline(transaction=False) as pipeline:
                for key in page:
                    pipeline.exists(key)
                held += [bool(count) for count in pipeline.execute()]
        return held

    def sizes(self, keys: Sequence[bytes]) -> list[int]:
        """As `Cache`: ``MEMORY USAGE``, many in one round trip."""
        sizes: list[int] = []
        for page in _pages(keys):
            with self._translated(), self._client.pipeline(transaction=False) as pipeline:
                for key in page:
                    pipeline.memory_usage(key)
                sizes += [int(size or 0) for size in pipeline.execute()]
        return sizes

    def members(self, key: bytes) -> list[bytes]:
        """As `Cache`."""
        with self._translated():
            if self._client.type(key) != b"set":
                return []
            return list(self._client.sscan_iter(key, count=PAGE))

    def hits(self) -> Hits | None:
        """As `Cache`: of the whole server, since it was started; it does not count by key."""
        with self._translated():
            counted = self._client.info("stats")
        return Hits(int(counted.get("keyspace_hits", 0)), int(counted.get("keyspace_misses", 0)))

    def close(self) -> None:
        """As `Cache`."""
        self._client.close()


def _pages(keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (keys[start : start + PAGE] for start in range(0, len(keys), PAGE))


SERVED = ("redis", "rediss", "valkey", "valkeys", "unix")
"""Schemes of Redis and Valkey."""


def open_cache(url: str, user: Callable[[], str] | None = None, password: Callable[[], str] | None = None) -> Cache:
    """The engine that a URL names; a plain path is a folder.

    Raises:
        UsageError: If none has such URLs.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        return FolderCache(url)
    if scheme == "memory":
        return MemoryCache(url)
    if scheme not in SERVED:
        raise UsageError(f"no cache has {scheme}:// URLs", why=f"there are memory, file, {', '.join(SERVED)}")
    return RedisCache(scheme.replace("valkey", "redis") + "://" + rest, user, password)
