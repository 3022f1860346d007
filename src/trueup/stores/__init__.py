"""One file per scheme or family of places that hold items.

Outside packages add theirs by the entry point group ``trueup.stores``: a name (the URL's scheme) and a callable of the
form of `Open`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from trueup.core.errors import UsageError
from trueup.core.urls import holds_password

if TYPE_CHECKING:
    from trueup.protocols import Opening, Store

Open = Callable[[str, "Opening"], "Store"]
"""Opens the side that a URL names."""

_OURS = {
    "file": "trueup.stores.file:open_url",
    "memory": "trueup.stores.memory:open_url",
    **dict.fromkeys(("s3", "gs", "gcs", "az", "azblob", "oss", "obs", "cos", "b2"), "trueup.stores.object:open_url"),
}

_ELSEWHERE = "trueup help stores, which says where keys belong"


def scheme_of(url: str) -> str:
    """The scheme of a URL; a plain path is a ``file``."""
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator and scheme.isalnum() else "file"


def schemes() -> dict[str, str]:
    """Every scheme that a URL may have, with one sentence about what it holds."""
    from importlib.metadata import entry_points

    found = {scheme: _summary(home.partition(":")[0]) for scheme, home in _OURS.items()}
    for point in entry_points(group="trueup.stores"):
        found.setdefault(point.name, f"From the package {point.dist.name if point.dist else point.module}.")
    return found


def _summary(module: str) -> str:
    return (import_module(module).__doc__ or "").partition("\n")[0]


def open_store(url: str, opening: Opening) -> Store:
    """The store that holds what a URL names.

    Raises:
        UsageError: If no store knows the scheme, or the URL holds a password.
        StoreError: If the store knows that there is no such place.
    """
    if holds_password(url):
        raise UsageError(
            "a password does not belong in a URL", why="plans, the history and messages repeat it", attempt=_ELSEWHERE
        )
    scheme = scheme_of(url)
    if scheme in _OURS:
        module, _, name = _OURS[scheme].partition(":")
        opener: Open = getattr(import_module(module), name)
        return opener(url, opening)
    from importlib.metadata import entry_points  # 20 ms that folders need not pay

    found = entry_points(group="trueup.stores", name=scheme)
    if not found:
        known = ", ".join(sorted(schemes()))
        raise UsageError(f"no store for {scheme}://", why=f"there are {known}", attempt="trueup help stores")
    opener = next(iter(found)).load()
    return opener(url, opening)
