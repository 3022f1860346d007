"""How static files are served: type and caching, as a bucket is told at the upload."""

from __future__ import annotations

from collections.abc import Callable

from pathspec import GitIgnoreSpec

from trueup.core.model import Key
from trueup.protocols import Headers
from trueup.targets.static import TYPES, UNCACHED, Static

UNKNOWN_TYPE = "application/octet-stream"


def headers(static: Static) -> Callable[[Key], Headers]:
    """The headers of each file."""
    own = {suffix.lower(): kind for suffix, _, kind in (text.partition("=") for text in static.types)}
    types = {**TYPES, **own}
    uncached = GitIgnoreSpec.from_lines(static.uncached)

    def of(key: Key) -> Headers:
        name = key.rpartition("/")[2].lower()
        # The longest suffix that is known counts: of `a.min.js` it is `.js`, unless `.min.js` is one too.
        found = (types.get(name[dot:]) for dot in range(len(name)) if name[dot] == ".")
        kind = next((kind for kind in found if kind), UNKNOWN_TYPE)
        return Headers(kind, UNCACHED if uncached.match_file(key) else static.cache_control)

    return of
