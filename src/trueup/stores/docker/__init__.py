"""Store of images: what a container engine holds of the environments that are recorded, and of others."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from trueup.core.errors import AccessDenied, NotFound, PreconditionFailed, ReadOnly, StoreError, TimedOut
from trueup.core.model import OPAQUE_TOKEN, Key, Kind, Row, Token, key_bytes
from trueup.protocols import Discarded, Opening, Trash, Written
from trueup.stores.docker.engine import DEFAULT_URL, Engine, Unreachable
from trueup.stores.docker.references import Reference, parse
from trueup.stores.records import Removable

__all__ = ["DEFAULT_URL", "ENVIRONMENT_LABELS", "TIMEOUT_SECONDS", "DockerStore", "Wanted"]

ENVIRONMENT_LABELS = ("org.trueup.environment", "vla.env")
"""Labels whose value names an environment: ours, and what MAPLE puts on its containers, which a committed image keeps.
MAPLE's own images bear none."""

TIMEOUT_SECONDS = 10.0
"""Longest time for one call: 500 images are listed in 50 ms."""

Wanted = Callable[[], Mapping[Key, str]]
"""The recorded items, each with the name of its image."""


class DockerStore(Removable):
    """The images of recorded items, each under its item's key; and images labelled as environments, under their label.

    An image is missing only if the engine itself says so, by name (404). Whatever else it answers, the image is
    unknown; if it cannot be asked at all, all images are.

    Args:
        url: As `trueup.stores.docker.engine.Engine`.
        wanted: The recorded items. What they name may be anything.
        opening: Threads.
        labelled: Whether images that nobody has recorded are looked for.
        timeout_seconds: Longest time for one call.
    """

    holds = "images"

    def __init__(
        self,
        url: str,
        wanted: Wanted,
        opening: Opening,
        *,
        labelled: bool = True,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._open = partial(Engine, url, timeout_seconds=timeout_seconds)
        self._wanted = wanted
        self._labelled = labelled
        self._references: dict[Key, str] = {}
        super().__init__(self._open().url, opening)

    def rows(self) -> Iterable[Row]:
        """As `Inventory`.

        Raises:
            AccessDenied: If this user may not ask the engine.
            Unavailable: If it cannot be reached, or does not answer.
            StoreError: If it refuses, or its client is not installed.
        """
        wanted = self._wanted()
        engine = self._open()
        try:
            view = _View(engine, engine.images())
            rows = [row for key, name in wanted.items() if (row := view.row(key, name)) is not None]
        finally:
            engine.close()
        others = view.labelled(wanted) if self._labelled else {}
        self._references = {**{key: name for key, (_, name) in others.items()}, **wanted}
        return [*rows, *(_row(key, image) for key, (image, _) in others.items())]

    def reference_of(self, key: Key) -> str | None:
        """The name of the image that the latest scan has seen under a key; None if it has not."""
        return self._references.get(key)

    async def stop_container(self, container: str, *, grace_seconds: int = 10) -> bool:
        """Stop a container; False if there is none.

        Args:
            container: Its id or name.
            grace_seconds: How long it may take, before it is killed.

        Raises:
            StoreError: As `rows`.
        """
        return await self._threads(self._stop, container, grace_seconds)

    def _stop(self, container: str, grace_seconds: int) -> bool:
        engine = self._open()
        try:
            return engine.stop(container, grace_seconds=grace_seconds)
        finally:
            engine.close()

    # -- remove and restore --------------------------------------------------------------------------------------

    def take(self, key: Key, expect: Token, trash: Trash | None) -> Written:
        """As `Removable`: the name of the image goes; in the trash the image has another name."""
        asked = self._asked(key)
        with closing(self._open()) as engine:
            image = engine.inspect(asked)
            if image is None or Token(str(image["Id"])) != expect:
                raise PreconditionFailed(f"{asked} names another image by now")
            if trash is None:
                engine.remove_image(asked)
                return Written(None)
            handle = f"{trash.run}:{hashlib.sha256(key_bytes(key)).hexdigest()[:12]}"
            kept = {"run": trash.run, "key": key, "image": asked, "size": _size(image), "ns": self._clock.now_ns()}
            self._memory[self._prefix + handle] = json.dumps(kept)  # first: an image without a name is found by nobody
            engine.tag(str(image["Id"]), *_trashed(handle))
            engine.remove_image(asked)
        return Written(None, None, handle)

    def command(self, key: Key) -> str:
        """As `Removable`."""
        return f"docker pull {self._wanted().get(key, key)}"

    def put_back(self, key: Key, handle: str, expect: Token | None, trash: Trash | None) -> Written:
        """As `Removable`."""
        kept = self._memorized(handle)
        repository, tag = _trashed(handle)
        with closing(self._open()) as engine:
            there = engine.inspect(kept["image"])
            if (None if there is None else Token(str(there["Id"]))) != expect:
                raise PreconditionFailed(f"{kept['image']} names another image by now")
            name, _, version = kept["image"].rpartition(":")
            if not engine.tag(f"{repository}:{tag}", name, version):
                raise NotFound(f"the image {kept['image']} is no longer kept", attempt=f"docker pull {kept['image']}")
            engine.remove_image(f"{repository}:{tag}")
            image = engine.inspect(kept["image"])
        del self._memory[self._prefix + handle]
        return Written(None if image is None else Token(str(image["Id"])))

    def _asked(self, key: Key) -> str:
        """The name of an item's image.

        Raises:
            StoreError: If none is recorded, or no image can have that name; or if it names a version, not a name.
        """
        name = self._wanted().get(key)
        if name is None:
            raise NotFound(f"no image is recorded for {key}")
        try:
            reference = parse(name)
        except ValueError as error:
            raise StoreError(str(error)) from error
        if reference.tag is None:
            raise ReadOnly(f"{name} names a version and no name", attempt=f"docker rmi {name}")
        return reference.asked

    @property
    def _prefix(self) -> str:
        return f"image:{self.properties.location}:"

    def _memorized(self, handle: str) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads(self._memory[self._prefix + handle])
        except KeyError:
            raise NotFound(f"{self.properties.location} keeps nothing named {handle}") from None
        return kept

    async def kept(self) -> list[Discarded]:
        """As `trueup.protocols.Keeps`."""
        handles = [name.removeprefix(self._prefix) for name in self._memory if name.startswith(self._prefix)]
        found = [(handle, self._memorized(handle)) for handle in handles]
        kept = [Discarded(handle, one["run"], Key(one["key"]), one["size"], one["ns"]) for handle, one in found]
        return sorted(kept, key=lambda one: (one.run, key_bytes(one.key)))

    async def prune(self, handle: str) -> None:
        """As `trueup.protocols.Keeps`."""
        await self._threads(self._prune, handle)

    def _prune(self, handle: str) -> None:
        self._memorized(handle)
        with closing(self._open()) as engine:
            engine.remove_image(":".join(_trashed(handle)))
        del self._memory[self._prefix + handle]


def _trashed(handle: str) -> tuple[str, str]:
    """The name that an image has in the trash: repository and tag."""
    run, _, digest = handle.rpartition(":")
    return f"trueup-trash/{re.sub('[^a-z0-9]+', '-', run.lower()).strip('-')}", digest


@dataclass(slots=True)
class _View:
    """The engine's list of images, by all their full names; and the engine, for what is not in it."""

    engine: Engine
    images: list[dict[str, Any]]
    by_name: dict[str, dict[str, Any]] = field(default_factory=dict)
    matched: set[str] = field(default_factory=set)
    """Ids of images that are recorded."""
    lost: StoreError | None = None
    """Why nothing more can be asked."""

    def __post_init__(self) -> None:
        for image in self.images:
            self.by_name.update(dict.fromkeys((*_names(image), str(image["Id"])), image))

    def row(self, key: Key, text: str) -> Row | None:
        """What the engine holds under a recorded name; None: it says that there is no such image."""
        try:
            wanted = parse(text)
        except ValueError as error:
            return _opaque(key, str(error))
        name = wanted.tagged or wanted.pinned if wanted.name else wanted.digest
        image = self.by_name.get(str(name))
        if image is None:
            try:
                image = self._ask(wanted)
            except StoreError as error:
                return _opaque(key, str(error))
        if image is None:
            return None
        self.matched.add(str(image["Id"]))
        if wanted.name and wanted.tag and wanted.pinned and wanted.pinned not in _names(image):
            return (
                key_bytes(key),
                Token(image["Id"]),
                Kind.DAMAGED,
                _size(image),
                0,
                None,
                (f"{wanted.asked} is another image than the recorded {wanted.digest}"),
            )
        return _row(key, image)

    def _ask(self, wanted: Reference) -> dict[str, Any] | None:
        """Ask for one image by name.

        Raises:
            StoreError: If the answer is neither this image nor that there is none.
        """
        if self.lost is not None:
            raise self.lost
        try:
            image = self.engine.inspect(wanted.asked)
        except (Unreachable, TimedOut, AccessDenied) as error:
            self.lost = error
            raise
        if image is None:
            return None
        expected = {wanted.tagged, wanted.local} if wanted.tag else {wanted.pinned}
        if wanted.name and not expected & set(_names(image)):
            raise StoreError(f"asked for {wanted.asked}, the engine shows another image")
        return image

    def labelled(self, wanted: Mapping[Key, str]) -> dict[Key, tuple[dict[str, Any], str]]:
        """Images with a name that are labelled as environments and not recorded, the newest of each label."""
        found: dict[Key, tuple[dict[str, Any], str]] = {}
        for image in sorted(self.images, key=lambda one: (one.get("Created") or 0, str(one["Id"]))):
            labels = image.get("Labels") or {}
            label = next((labels[name] for name in ENVIRONMENT_LABELS if labels.get(name)), None)
            names = [name for name in image.get("RepoTags") or [] if not _is_none(name)]
            if label and names and Key(label) not in wanted and image["Id"] not in self.matched:
                found[Key(label)] = image, min(names)
        return found


def _names(image: Mapping[str, Any]) -> list[str]:
    """All full names of an image, by tag and by digest. An untagged one is ``<none>:<none>``, or has none."""
    names = []
    for text in (*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())):
        if _is_none(text):
            continue
        try:
            name = parse(text)
        except ValueError:
            continue  # an engine that knows more names than we do; nobody can have recorded it
        names += [one for one in (name.tagged, name.pinned) if one is not None]
    return names


def _is_none(name: str) -> bool:
    return name.startswith("<none>")


def _size(image: Mapping[str, Any]) -> int:
    return int(image.get("Size") or 0)


def _row(key: Key, image: Mapping[str, Any]) -> Row:
    return key_bytes(key), Token(image["Id"]), Kind.FILE, _size(image), 0, None, ""


def _opaque(key: Key, why: str) -> Row:
    return key_bytes(key), OPAQUE_TOKEN, Kind.UNREADABLE, 0, 0, None, why
