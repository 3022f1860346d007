"""Store of caches: the keys of one application, by namespace, in an engine that others use too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from trueup.core.errors import UsageError
from trueup.core.model import Key, Record, Row
from trueup.core.urls import holds_password
from trueup.protocols import Opening
from trueup.stores.cache.engines import PAGE, Cache, Hits, open_cache
from trueup.stores.cache.names import Pattern, pattern, raw, text
from trueup.stores.cache.presets import PRESETS, Preset
from trueup.stores.records import Inventory, record_row

__all__ = ["CacheStore", "Coordinates", "Removed", "Stats"]

SAMPLES = 5
"""Names of keys that plans and stats show."""
MEASURED = 1_000
"""Keys of a namespace whose size is asked for; the rest is taken to be like them."""

PLAIN = "{}:=/@"
"""Characters beside letters and digits that stand for themselves in a location."""
NOTICE = "what is taken out of a cache cannot be brought back by undo: applications fill it again"


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where the keys are and how they are named."""

    url: str
    preset: str = "fastblocks"
    app: str = ""
    """The application's name, Django's prefix, aiocache's namespace, the prefix of cashews."""
    version: str = ""
    """Django's; empty: the preset's own."""
    templates: tuple[tuple[str, str], ...] = ()
    """Namespaces and their templates of keys, beside those of the preset or in their place."""

    @property
    def location(self) -> str:
        """Canonical, and enough to find the target again."""
        said = [self.preset, self.app, self.version, *(f"{name}={template}" for name, template in self.templates)]
        return " ".join([self.url, *(quote(part, safe=PLAIN) for part in said)]).rstrip()

    def chosen(self) -> Preset:
        """The preset.

        Raises:
            UsageError: If there is none of that name, or it needs an application.
        """
        preset = PRESETS.get(self.preset)
        if preset is None:
            raise UsageError(f"there is no preset {self.preset}", why=f"there are {', '.join(PRESETS)}")
        if preset.app and not self.app:
            raise UsageError(
                f"the preset {self.preset} needs the name of the application",
                why="without it, keys of other applications could not be told from yours",
                attempt="the same command with --app NAME, or app = in the configuration",
            )
        return preset

    def patterns(self) -> Mapping[str, Pattern]:
        """The form of keys of each namespace."""
        preset = self.chosen()
        known = {**preset.defaults, "app": self.app}
        if self.version:
            known["version"] = self.version
        templates = {**preset.namespaces, **dict(self.templates)}
        return {name: pattern(template, known) for name, template in templates.items()}


@dataclass(frozen=True, slots=True)
class Stats:
    """How much a namespace holds."""

    keys: int
    bytes: int
    exact: bool
    """Whether every key was measured; otherwise the bytes are those of a sample, projected."""
    hit_rate: float | None
    """Of the whole server, from 0 to 1; None if the engine does not count."""


@dataclass(slots=True)
class Removed:
    """What became of the keys of one namespace."""

    keys: list[str] = field(default_factory=list)
    unplanned: int = 0
    """How many of them the plan had not listed: they were written meanwhile."""
    missing: int = 0
    """How many were planned, and had gone by themselves."""
    left: int = 0
    """Members of tags that are no keys of this application, and stay."""


class CacheStore(Inventory):
    """The namespaces of an application, each one item; its record says how many keys it has, and some of them.

    Args:
        coordinates: Where the keys are, and how they are named.
        opening: Clock, threads, access.
        namespaces: Those that are looked at; empty: all of the preset.
    """

    def __init__(self, coordinates: Coordinates, opening: Opening, namespaces: Sequence[str] = ()) -> None:
        if holds_password(coordinates.url):
            raise UsageError(
                "a password does not belong in a URL",
                why="plans, the history and messages repeat it",
                attempt="put it into [buckets], with the same url",
            )
        super().__init__(coordinates.location, opening)
        self._properties = replace(self._properties, notices=(NOTICE,), refuses_lost_races=False)
        self.coordinates = coordinates
        self.preset = coordinates.chosen()
        self.patterns = coordinates.patterns()
        self.namespaces: tuple[str, ...] = ()
        self.choose(namespaces)
        self.found: dict[str, dict[bytes, None]] = {}
        """What the latest look has seen: a run looks once, and compares what it deletes with it."""
        access = [one for one in opening.access if one.url == coordinates.url]
        self._user = access[0].access_key if access else None
        self._password = access[0].secret_key if access else None

    def choose(self, namespaces: Sequence[str]) -> None:
        """Look at these namespaces only; at all if none is named.

        Raises:
            UsageError: If there is none of that name.
        """
        for name in namespaces:
            if name not in self.patterns:
                why = f"{self.coordinates.preset} has {', '.join(self.patterns)}"
                raise UsageError(f"there is no namespace {name}", why=why)
        self.namespaces = tuple(dict.fromkeys(namespaces)) or tuple(self.patterns)

    def opened(self) -> Cache:
        """The engine. Blocks."""
        return open_cache(self.coordinates.url, self._user, self._password)

    def rows(self) -> Iterable[Row]:
        """As `Inventory`: looks once for a run."""
        if not self.found:
            with closing(self.opened()) as cache:
                self.found = {name: dict.fromkeys(self._all(cache, name)) for name in self.namespaces}
        for name, keys in self.found.items():
            samples = [text(key) for key in sorted(keys)[:SAMPLES]]
            yield record_row(Key(name), Record.of({"keys": len(keys), "samples": samples}))

    def _all(self, cache: Cache, namespace: str) -> Iterator[bytes]:
        for page in cache.pages(self.patterns[namespace]):
            yield from page

    def namespace_of(self, key: str) -> str:
        """The namespace that a key is of.

        Raises:
            UsageError: If it is of none: it belongs to another application.
        """
        for name, form in self.patterns.items():
            if form.matches(raw(key)):
                return name
        raise UsageError(
            f"{key} is no key of {self.coordinates.preset} for {self.coordinates.app or 'this application'}",
            why="keys of other applications are never touched",
        )

    def remove_all(self, namespace: str, removed: Removed, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Delete every key of a namespace, page by page. Blocks.

        Args:
            namespace: Which one.
            removed: Is told of every page that is gone, so that it is true however this ends.
            stop: Whether to end before the next page.
        """
        planned = self.found.get(namespace, {})
        with closing(self.opened()) as cache:
            for page in cache.pages(self.patterns[namespace]):
                if stop():
                    return
                if namespace == self.preset.tags:
                    self._remove_members(cache, page, removed)
                keys = list(dict.fromkeys(page))
                cache.delete(keys)
                removed.keys += map(text, keys)
                removed.unplanned += sum(key not in planned for key in keys)

    def remove_named(self, namespace: str, keys: Sequence[str], removed: Removed) -> None:
        """Delete keys of a namespace by their names, page by page. Blocks."""
        with closing(self.opened()) as cache:
            for start in range(0, len(keys), PAGE):
                page = [raw(key) for key in keys[start : start + PAGE]]
                if namespace == self.preset.tags:
                    self._remove_members(cache, page, removed)
                removed.missing += len(page) - cache.delete(page)
                removed.keys += map(text, page)

    def _remove_members(self, cache: Cache, tags: Sequence[bytes], removed: Removed) -> None:
        """A tag names keys that go with it; before the tag, so that a stop in between leaves what names the rest."""
        form = self.patterns[self.preset.members]
        for tag in tags:
            members = cache.members(tag)
            ours = [member for member in members if form.matches(member)]
            removed.left += len(members) - len(ours)
            if cache.delete(ours):
                removed.keys += [text(member) for member in ours]

    def there(self, keys: Sequence[str]) -> set[str]:
        """Which of these keys the cache holds. Blocks."""
        with closing(self.opened()) as cache:
            return {key for key, held in zip(keys, cache.there([raw(key) for key in keys]), strict=True) if held}

    def values(self, keys: Sequence[str]) -> list[bytes | None]:
        """What keys hold. Blocks."""
        with closing(self.opened()) as cache:
            return cache.values([raw(key) for key in keys])

    def stats(self) -> dict[str, Stats]:
        """How much each namespace holds. Blocks."""
        list(self.rows())
        with closing(self.opened()) as cache:
            hits = cache.hits()
            return {name: self._measured(cache, list(keys), hits) for name, keys in self.found.items()}

    def _measured(self, cache: Cache, keys: list[bytes], hits: Hits | None) -> Stats:
        sample = keys[:: max(1, -(-len(keys) // MEASURED))]
        size = sum(cache.sizes(sample))
        total = size if len(sample) == len(keys) else round(size * len(keys) / len(sample))
        return Stats(len(keys), total, len(sample) == len(keys), hits.rate if hits else None)
