"""What a service really does, found out with scratch keys and remembered: some answer 200 to a wrong ``If-Match``."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from trueup.core.errors import NotFound, PreconditionFailed, StoreError
from trueup.core.model import Token
from trueup.protocols import Clock
from trueup.stores.object.bucket import Bucket, only_if
from trueup.stores.object.errors import NotAllowed
from trueup.stores.object.listing import Pages
from trueup.stores.object.names import RESERVED

WRONG = Token("00000000000000000000000000000000")
BELIEVED_NS = 7 * 24 * 3600 * 10**9
"""For so long what was found out is believed: another server may answer there one day."""
PART_BYTES = 5 * 1024 * 1024
"""Smallest part that services take, but for the last."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What was found out; None: not yet."""

    create: bool | None = None
    """Refuses to create what is there already."""
    replace: bool | None = None
    """Refuses to replace another version than expected."""
    delete: bool | None = None
    parts: bool | None = None
    """Refuses to complete an upload in parts over another version than expected."""
    read: bool | None = None
    """Refuses to read another version than expected."""
    md5: bool | None = None
    """Names versions by the MD5 of their bytes."""
    metadata: bool | None = None
    """Gives back the user's metadata."""
    backslashes: bool | None = None
    """Gives back names that hold one."""
    folds_case: bool | None = None
    """Takes ``A`` and ``a`` for one name."""
    folds_unicode: bool | None = None
    """Takes the composed and the decomposed spelling of a letter for one name."""
    probed_ns: int = 0
    """When the first of it was found out."""

    @property
    def refuses(self) -> bool:
        """Whether every lost race is refused by the service; large objects aside, until one is written."""
        return bool(self.create and self.replace and self.delete) and self.parts is not False

    def notices(self) -> tuple[str, ...]:
        """What cannot be promised, in plain words."""
        if self.create is None:
            return (
                "not yet probed: whether this store can refuse a lost race is found out by the first run that writes",
            )
        weak = [name for name in ("create", "replace", "delete") if not getattr(self, name)]
        notices = []
        if weak:
            notices.append(f"this store cannot refuse a lost race ({', '.join(weak)}): two writers at once can collide")
        if self.parts is False:
            notices.append("this store cannot refuse a lost race when it puts a large object together")
        if not self.metadata:
            notices.append("this store does not keep metadata: times and permission bits are not kept there")
        return tuple(notices)


class Prober:
    """Finds out what is not known yet, once. For any number of threads."""

    def __init__(
        self,
        bucket: Bucket,
        unique: Callable[[], str],
        clock: Clock,
        remember: MutableMapping[str, str] | None = None,
    ) -> None:
        self._bucket = bucket
        self._unique = unique
        self._clock = clock
        self._memory = {} if remember is None else remember
        self._name = f"object abilities {bucket.place.service}"
        self._lock = threading.Lock()
        self._known = self._recalled()

    def _recalled(self) -> Abilities:
        try:
            known = Abilities(**json.loads(self._memory.get(self._name, "{}")))
        except (ValueError, TypeError):
            return Abilities()  # written by another release
        age_ns = self._clock.now_ns() - known.probed_ns
        return known if 0 <= age_ns < BELIEVED_NS else Abilities()

    @property
    def known(self) -> Abilities:
        """What is known by now. Asks nobody."""
        return self._known

    def for_writing(self) -> Abilities:
        """What has to be known to write. Writes and removes a scratch object if it is not."""
        with self._lock:
            if self._known.create is None:
                try:
                    self._remember(self._probe())
                except NotAllowed as error:
                    raise NotAllowed(
                        f"these keys may not write to {self._bucket.place.url}",
                        why=error.why,
                        attempt="use keys that may; or --direction pull, which writes nothing there",
                    ) from error
            return self._known

    def for_parts(self) -> Abilities:
        """What has to be known to write in parts. Writes and removes a scratch object of two parts if it is not."""
        self.for_writing()
        with self._lock:
            if self._known.parts is None:
                self._remember(replace(self._known, parts=self._probe_parts()))
            return self._known

    def for_reading(self, key: str) -> Abilities:
        """What has to be known to read; found out by reading an object that is there, of a wrong version."""
        with self._lock:
            if self._known.read is None:
                self._remember(replace(self._known, read=self._refused(lambda: self._bucket.read(key, WRONG))))
            return self._known

    def _remember(self, abilities: Abilities) -> None:
        self._known = replace(abilities, probed_ns=abilities.probed_ns or self._clock.now_ns())
        self._memory[self._name] = json.dumps(asdict(self._known))

    def _probe(self) -> Abilities:
        key, bucket = f"{RESERVED}/probe-{self._unique()}", self._bucket
        put, curious = bucket.put, f"{key}\\caf\u00e9"
        try:
            put(curious, b"", {}, {})
            put(key, b"one", {"trueup-write": key}, {})
            head = bucket.head(key)
            if head is None:
                raise StoreError(f"{bucket.place.url} does not show what was just written there")
            able = bool(only_if(head.token))
            create = self._refused(lambda: put(key, b"two", {}, {"if_not_exists": True}))
            replaces = self._refused(lambda: put(key, b"two", {}, only_if(WRONG))) and able
            token = (bucket.head(key) or head).token
            return Abilities(
                create=create,
                replace=replaces and self._accepted(lambda: put(key, b"three", {}, only_if(token))),
                parts=self._known.parts,
                read=self._refused(lambda: bucket.read(key, WRONG)) and able,
                md5=head.token == hashlib.md5(b"one", usedforsecurity=False).hexdigest(),
                metadata=head.metadata.get("trueupwrite") == key,
                backslashes=curious.encode() in self._names(key),
                folds_case=bucket.head(curious.replace("caf", "CAF")) is not None,
                folds_unicode=bucket.head(curious.replace("\u00e9", "e\u0301")) is not None,
                delete=self._refused(lambda: bucket.delete(key, only_if(WRONG))) and able,  # last: it may succeed
            )
        finally:
            for scratch in (key, curious):
                with suppress(StoreError):
                    bucket.delete(scratch)

    def _names(self, prefix: str) -> list[bytes]:
        """What is listed, from the place's prefix on."""
        return [row[0] for row in Pages(self._bucket.place, prefix)]

    def _probe_parts(self) -> bool:
        key, bucket = f"{RESERVED}/probe-{self._unique()}", self._bucket
        try:
            bucket.put(key, b"one", {}, {})
            return self._refused(lambda: self._write_parts(key, only_if(WRONG)))
        finally:
            with suppress(StoreError):
                bucket.delete(key)

    def _write_parts(self, key: str, condition: dict[str, Any]) -> None:
        with self._bucket.doing(key):
            file = self._bucket.writer(key, {}, condition, chunk=PART_BYTES, concurrent=1)
            file.write(bytes(PART_BYTES))
            file.write(b"x")
            file.close()

    def _refused(self, call: Callable[[], object]) -> bool:
        """Whether the service refuses what has to be refused; what it does not know at all it does not refuse."""
        try:
            call()
        except PreconditionFailed:
            return True
        except StoreError as error:
            if error.retryable or isinstance(error, NotFound):
                raise
        return False

    def _accepted(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except PreconditionFailed:
            return False
        return True
