"""What caches hold of templates: found by the templates' names, deleted by key, filled again by compiling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trueup.api.caching import coordinates
from trueup.core.errors import StoreError, UsageError
from trueup.protocols import Opening
from trueup.stores.cache import CacheStore, Removed
from trueup.stores.cache.names import raw, text
from trueup.targets.caches import Caches

TEMPLATE = ("template",)
"""The free part of keys that are called as a template is."""

Keys = Mapping[str, Sequence[str]]
"""By namespace."""


class CachedTemplates:
    """One cache, as far as templates are in it. Methods block."""

    def __init__(self, spec: Caches, opening: Opening) -> None:
        self.spec = spec
        self._store = CacheStore(coordinates(spec), opening)

    def keys(self, names: Iterable[str], bytecode: Iterable[str]) -> dict[str, list[str]]:
        """All keys that one template may have; no other template has any of them.

        Args:
            names: What it is called.
            bytecode: What Jinja's caches of bytecode may call it.
        """
        found: dict[str, list[str]] = {}
        values = [*names]
        compiled = [*values, *bytecode]
        for namespace, form in self._store.patterns.items():
            if form.free == TEMPLATE or (namespace == self._store.preset.bytecode and len(form.free) == 1):
                chosen = compiled if namespace == self._store.preset.bytecode else values
                keys = [key for key in map(form.filled, chosen) if form.matches(key)]
                found[namespace] = list(dict.fromkeys(map(text, keys)))
        return {namespace: keys for namespace, keys in found.items() if keys}

    def reached(self) -> str:
        """Where the cache is.

        Raises:
            StoreError: If it does not answer.
        """
        self._store.there(["trueup"])
        return self.spec.url

    def there(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that the cache holds now."""
        return self._store.there(list(keys))

    def invalidate(self, keys: Keys) -> None:
        """Delete keys.

        Raises:
            StoreError: If the cache cannot be reached, or a key is not of the application.
        """
        for namespace, names in keys.items():
            form = self._store.patterns.get(namespace)
            if form is None or not all(form.matches(raw(name)) for name in names):
                raise StoreError(
                    f"{self.spec.name} has no such keys", why="keys of other applications are never touched"
                )
            try:
                self._store.remove_named(namespace, names, Removed())
            except UsageError as error:  # no key of that name can be in a folder
                raise StoreError(f"{self.spec.name} was not invalidated", why=str(error)) from error


def opened(specs: Iterable[Caches], opening: Opening) -> dict[str, CachedTemplates]:
    """The caches by name."""
    return {spec.name: CachedTemplates(replace(spec, namespaces=()), opening) for spec in specs}
