"""Templates of an application through its own Jinja environment: what their bytecode is called, whether it is old."""

from __future__ import annotations

import inspect
import pickle
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from trueup.core.errors import ConfigError, StoreError, UsageError

URL_SECONDS = 30.0
"""Longest time for one page that is asked for to be cached."""
READ_BYTES = 1024 * 1024

OURS = ".trueup"
"""How the names begin of what trueup keeps in a folder: trash, identity, files that are being written."""


def load_environment(name: str, folder: Path | None) -> Any:
    """The environment that ``module:attribute`` names; a function is called for it.

    Args:
        name: As in the configuration.
        folder: Where modules are looked for first.

    Raises:
        ConfigError: If it cannot be imported, or is no environment.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ConfigError(f"{name} is no environment", why="it must be module:attribute")
    try:
        with _importing(folder):
            found = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the environment {name} cannot be loaded", why=str(error)) from error
    return checked(found() if callable(found) and not hasattr(found, "get_template") else found)


def checked(environment: Any) -> Any:
    """The environment, if it is one.

    Raises:
        ConfigError: If it is not.
    """
    if not hasattr(environment, "get_template") or not hasattr(environment, "list_templates"):
        raise ConfigError(f"{type(environment).__name__} is no Jinja environment")
    return environment


@contextmanager
def _importing(folder: Path | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@dataclass(frozen=True, slots=True)
class Template:
    """One template, and its bytecode."""

    name: str
    key: str
    """What `get_cache_key` of the environment's bytecode cache says; empty if it has none."""
    head: bytes
    """How its bytecode begins if it is of the source as it is now."""


class Templates:
    """All templates of an environment. Methods block, and read each source once at most."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment

    def names(self) -> list[str]:
        """The real list, sorted. What trueup itself keeps beside templates is none.

        Raises:
            StoreError: If the loader cannot list.
        """
        try:
            names = self._environment.list_templates()
            return sorted(name for name in names if not any(part.startswith(OURS) for part in name.split("/")))
        except TypeError as error:
            raise StoreError("the loader of the templates cannot list them", why=str(error)) from error

    def look(self, name: str) -> Template:
        """A template as it is now. Nothing that the cache holds is unpickled: its beginning is compared."""
        from jinja2.bccache import bc_magic

        source, filename, _ = self._environment.loader.get_source(self._environment, name)
        cache = self._environment.bytecode_cache
        if cache is None:
            return Template(name, "", b"")
        checksum = cache.get_source_checksum(source)
        return Template(name, cache.get_cache_key(name, filename), bc_magic + pickle.dumps(checksum, 2))

    def warm(self, name: str) -> str:
        """Compile a template, which writes its bytecode.

        Returns:
            The key of its bytecode, as the environment's cache of bytecode says it; empty where it has none.

        Raises:
            StoreError: If it is no good template; with the line.
        """
        from jinja2 import TemplateError, TemplateSyntaxError

        self._forget(name)
        try:
            found = self._environment.get_template(name)
            if inspect.isawaitable(found):
                _finish(found)
            return self.look(name).key
        except TemplateSyntaxError as error:
            raise StoreError(f"{error.name or name}:{error.lineno}: {error.message}") from error
        except TemplateError as error:
            raise StoreError(f"{name} cannot be compiled", why=str(error)) from error

    def _forget(self, name: str) -> None:
        """A template that this process has loaded before would be handed out again, and no bytecode be written."""
        loaded: Any = getattr(self._environment, "cache", None) or {}
        for key in [key for key in loaded.keys() if key[-1] == name]:  # noqa: SIM118 - Jinja's is no mapping
            with suppress(KeyError):  # the application may have been faster
                del loaded[key]


def _finish(found: Any) -> None:
    import asyncio

    async def wait() -> None:
        await found

    asyncio.run(wait())


def fetch(url: str) -> None:
    """Ask for a page, so that the application caches it. Blocks.

    Raises:
        UsageError: If it is no http or https URL.
        StoreError: If the page is not answered.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url} is no http or https URL")
    try:
        with urllib.request.urlopen(url, timeout=URL_SECONDS) as answer:  # noqa: S310  # the scheme is looked at above
            while answer.read(READ_BYTES):
                pass
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise StoreError(f"{url} is not answered", why=f"HTTP {error.code}") from error
    except (urllib.error.URLError, OSError) as error:
        raise StoreError(f"{url} is not answered", why=str(getattr(error, "reason", "") or error)) from error
