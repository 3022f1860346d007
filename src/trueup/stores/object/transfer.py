"""Content on its way, both ways. Every byte that passes is checked. Everything here blocks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from trueup.core.errors import Corrupt, PreconditionFailed, Unavailable
from trueup.core.model import Fingerprint, Key, Token
from trueup.protocols import Headers, Source
from trueup.stores.object.bucket import NO_HEADERS, Bucket, Head, gone_is_changed, only_if
from trueup.stores.object.probe import Abilities

if TYPE_CHECKING:
    from hashlib import _Hash

MIB = 1024 * 1024
SMALL_BYTES = 8 * MIB
"""Up to here an object is one request; above it goes in parts."""
RANGE_BYTES = 4 * MIB
RANGES = 8
"""Fetched ahead at once."""
PARTS = 4
"""Sent at once."""
_MAYBE_MD5: Final = re.compile("[0-9a-f]{32}")
MOST_PARTS = 10_000
"""As Amazon S3 allows."""


@dataclass(frozen=True, slots=True)
class Digests:
    """What content hashes to."""

    fingerprint: Fingerprint
    token: Token
    """ETag that it gets from a service whose ETags are MD5."""


class Tally:
    """Counts and hashes what passes, and says whether it is what was promised.

    Args:
        key: Of the object, for messages.
        source: What was promised.
        part_bytes: Size of the parts that the ETag is made of; 0: nobody asks for it.
    """

    def __init__(self, key: str, source: Source, part_bytes: int) -> None:
        self._key = key
        self._source = source
        self._part_bytes = part_bytes
        self._blake3 = blake3()
        promised = source.fingerprint
        self._also = hashlib.new(promised.algorithm) if promised and promised.algorithm != "blake3" else None
        self._part = _md5()
        self._part_left = part_bytes
        self._parts: list[bytes] = []
        self.length = 0

    def add(self, chunk: bytes) -> None:
        """So much has passed.

        Raises:
            Corrupt: If that is more than was promised.
        """
        self._blake3.update(chunk)
        if self._also is not None:
            self._also.update(chunk)
        self.length += len(chunk)
        if self.length > self._source.size:
            raise Corrupt(f"{self._key} is longer than the {self._source.size} bytes that were promised")
        view = memoryview(chunk)
        while view and self._part_bytes:
            piece = view[: self._part_left]
            self._part.update(piece)
            self._part_left -= len(piece)
            view = view[len(piece) :]
            if not self._part_left:
                self._next_part()

    def _next_part(self) -> None:
        self._parts.append(self._part.digest())
        self._part, self._part_left = _md5(), self._part_bytes

    def result(self) -> Digests:
        """What passed, at its end.

        Raises:
            Corrupt: If it is not what was promised.
        """
        promised = self._source.fingerprint
        if self.length != self._source.size:
            raise Corrupt(f"{self._key} arrived with {self.length} bytes", why=f"{self._source.size} were promised")
        arrived = Fingerprint("blake3", self._blake3.hexdigest())
        actual = arrived.digest if self._also is None else self._also.hexdigest()
        if promised is not None and promised.digest != actual:
            raise Corrupt(
                f"{self._key} arrived with other content than promised", why=f"{actual}, not {promised.digest}"
            )
        return Digests(arrived, self._token())

    def _token(self) -> Token:
        if self._part_left != self._part_bytes or not self._parts:
            self._next_part()
        if len(self._parts) == 1:
            return Token(self._parts[0].hex())
        return Token(f"{_md5(b''.join(self._parts)).hexdigest()}-{len(self._parts)}")


def _md5(data: bytes = b"") -> _Hash:
    return hashlib.md5(data, usedforsecurity=False)


def part_bytes(size: int) -> int:
    """Size of the parts of an object: as small as the number of parts allows."""
    least = -(-size // MOST_PARTS)
    return max(SMALL_BYTES, -(-least // MIB) * MIB)


@dataclass(frozen=True, slots=True)
class Upload:
    """Content that is to become an object, hashed already: its digest travels in its metadata."""

    key: Key
    source: Source
    digests: Digests
    data: bytes | None
    """All of it, if it is small."""

    @classmethod
    def prepare(cls, key: Key, source: Source) -> Upload:
        """Read the source; a large one is only hashed, unless its BLAKE3 is promised.

        Raises:
            Corrupt: If its bytes are not the bytes promised.
        """
        promised = source.fingerprint
        if source.size > SMALL_BYTES and promised is not None and promised.algorithm == "blake3":
            return cls(key, source, Digests(promised, Token("")), None)
        tally, kept = Tally(key, source, part_bytes(source.size)), bytearray()
        with source.open() as chunks:
            for chunk in chunks:
                tally.add(chunk)
                if source.size <= SMALL_BYTES:
                    kept += chunk
        digests = tally.result()
        return cls(key, source, digests, bytes(kept) if source.size <= SMALL_BYTES else None)

    def metadata(self, write_id: str) -> dict[str, str]:
        """What our objects tell about themselves."""
        told = {
            "trueup-blake3": self.digests.fingerprint.digest,
            "trueup-size": str(self.source.size),
            "trueup-write": write_id,
        }
        if self.digests.token:
            told["trueup-etag"] = self.digests.token
        if self.source.modified_ns:
            told["trueup-mtime"] = str(self.source.modified_ns)
        if self.source.mode is not None:
            told["trueup-mode"] = f"{self.source.mode & 0o7777:o}"
        return told

    def send(
        self,
        bucket: Bucket,
        metadata: Mapping[str, str],
        expect: Token | None,
        *,
        able: bool,
        begins: Callable[[], None],
        headers: Headers = NO_HEADERS,
    ) -> Digests:
        """Write the object, if the expected version is there.

        Args:
            bucket: Where.
            metadata: What it tells about itself.
            expect: The version to replace.
            able: Whether the service refuses to replace another.
            begins: Called right before the request that makes the object.
            headers: How it is to be served.

        Raises:
            PreconditionFailed: If another one is; nothing has changed.
            Corrupt: If other bytes came than at the first reading; nothing has changed.
        """
        condition = only_if(expect, able=able)
        with gone_is_changed(self.key):
            if self.data is None:
                return self._send_parts(bucket, metadata, condition, begins, headers)
            begins()
            bucket.put(self.key, self.data, metadata, condition, headers)
            return self.digests

    def _send_parts(
        self,
        bucket: Bucket,
        metadata: Mapping[str, str],
        condition: Mapping[str, Any],
        begins: Callable[[], None],
        headers: Headers,
    ) -> Digests:
        """In parts; an error leaves the upload open on the service, invisible, until its rule for such things."""
        size = part_bytes(self.source.size)
        known = Source(self.source.open, self.source.size, self.digests.fingerprint)
        token = self.digests.token
        tally, part = Tally(self.key, known, 0 if token else size), bytearray()
        file = bucket.writer(self.key, metadata, condition, headers, chunk=size, concurrent=PARTS)
        with self.source.open() as chunks:
            for chunk in chunks:
                tally.add(chunk)
                part += chunk
                while len(part) >= size:
                    self._write(bucket, file, bytes(part[:size]))
                    del part[:size]
        digests = tally.result()
        if part:
            self._write(bucket, file, bytes(part))
        begins()
        with bucket.doing(self.key):
            file.close()
        return replace(digests, token=token) if token else digests

    def _write(self, bucket: Bucket, file: Any, data: bytes) -> None:
        with bucket.doing(self.key):
            file.write(data)


def reading(
    bucket: Bucket, key: str, token: Token, size: int, *, able: Callable[[str], Abilities]
) -> Callable[[], AbstractContextManager[Iterator[bytes]]]:
    """A factory of contexts that yield the bytes of one version.

    Args:
        bucket: Where.
        key: The object's.
        token: Its version.
        size: Bytes.
        able: What the service can, asked when it is opened. Where it does not refuse to read another version, it is
            looked at before and after.
    """

    @contextmanager
    def opened() -> Iterator[Iterator[bytes]]:
        yield _chunks(bucket, key, token, size, able=able)

    return opened


def _chunks(bucket: Bucket, key: str, token: Token, size: int, *, able: Callable[[str], Abilities]) -> Iterator[bytes]:
    with gone_is_changed(key):
        abilities = able(key)
        sure = bool(abilities.read) and not token.startswith("~")
        if not sure:
            _check(bucket, key, token)
        fetch = _small if size <= SMALL_BYTES else _large
        yield from _verified(partial(fetch, bucket, key, token), key, token, times=2 if abilities.md5 is False else 3)
        if not sure:
            _check(bucket, key, token)


def _verified(fetch: Callable[[], Iterator[bytes]], key: str, token: Token, *, times: int) -> Iterator[bytes]:
    """What is fetched; if the version could be its MD5 and is not, it has to come several times in the same way.

    An object that another tool has written promises nothing but its ETag. That may be of 32 digits and no MD5: so it
    is where a key service encrypts ("Common response headers" in the Amazon S3 API reference). Unless the service was
    seen not to name versions by their MD5, that is less likely than harm, and it is asked once more.

    Raises:
        Corrupt: After the last chunk, if other bytes came another time.
    """
    if _MAYBE_MD5.fullmatch(token) is None:
        yield from fetch()
        return
    first = _md5()
    for chunk in fetch():
        first.update(chunk)
        yield chunk
    if first.hexdigest() == token:
        return
    for _ in range(1, times):
        again = _md5()
        for chunk in fetch():
            again.update(chunk)
        if again.digest() != first.digest():
            why = f"{first.hexdigest()}, not {token}"
            raise Corrupt(f"{key} arrived with other content than its ETag names", why=why)


def _check(bucket: Bucket, key: str, token: Token) -> None:
    head = bucket.head(key)
    if head is None or head.token != token:
        raise PreconditionFailed(f"{key} was changed meanwhile")


def _small(bucket: Bucket, key: str, token: Token) -> Iterator[bytes]:
    data = bucket.read(key, token)
    for start in range(0, len(data), MIB):
        yield data[start : start + MIB]


def _large(bucket: Bucket, key: str, token: Token) -> Iterator[bytes]:
    read = bucket.chunks(key, token, chunk=RANGE_BYTES, concurrent=RANGES)
    while chunk := read():
        yield chunk


def hashed(chunks: Iterator[bytes]) -> Fingerprint:
    """BLAKE3 of what comes."""
    digest = blake3()
    for chunk in chunks:
        digest.update(chunk)
    return Fingerprint("blake3", digest.hexdigest())


@dataclass(slots=True)
class Ours:
    """Write ids of this process, to recognise what it wrote itself; the youngest few."""

    ids: dict[str, Fingerprint] = field(default_factory=dict)
    most: int = 10_000

    def add(self, write_id: str, fingerprint: Fingerprint) -> None:
        """A write begins."""
        if len(self.ids) >= self.most:
            del self.ids[next(iter(self.ids))]
        self.ids[write_id] = fingerprint

    def fingerprint(self, head: Head) -> Fingerprint | None:
        """The digest that an object tells of itself, if it is sure to be of this version.

        Tools that copy metadata along with other bytes would make it a lie; so it counts only with the ETag that those
        bytes must have, or with a write id of ours.
        """
        digest, told = head.metadata.get("trueupblake3", ""), head.metadata
        if len(digest) != 64 or told.get("trueupsize") != str(head.size):
            return None
        found = Fingerprint("blake3", digest)
        own = self.ids.get(told.get("trueupwrite", ""))
        return found if told.get("trueupetag") == head.token or own == found else None


def settled(bucket: Bucket, key: str, write_id: str, *, attempts: int = 3) -> Head | None:
    """What is told of an object that was just written, if it is still the one that this write made."""
    for _ in range(attempts):
        try:
            head = bucket.head(key)
        except Unavailable:
            continue
        return head if head is not None and head.metadata.get("trueupwrite") == write_id else None
    return None
