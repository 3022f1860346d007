"""Static files: a bucket serves them with their type, and with how long they may be kept in caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KIND = "static"

TYPES: Mapping[str, str] = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".eot": "application/vnd.ms-fontobject",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".zip": "application/zip",
}
"""The same on every machine, whatever its own list of types says. Sources: the IANA registry; RFC 9239 for scripts."""

PATTERNS = tuple(f"*{suffix}" for suffix in TYPES)

CACHED = "public, max-age=3600"
UNCACHED = "no-cache"
"""It may be kept, and has to be asked about each time (RFC 9111)."""


@dataclass(frozen=True, slots=True)
class Static:
    """What is known of the files of a target of kind ``static``."""

    types: tuple[str, ...] = ()
    """``.SUFFIX=TYPE``, before those that are known anyway."""
    cache_control: str = CACHED
    uncached: tuple[str, ...] = ("*.html", "*.htm")
    """gitignore patterns of what caches have to ask about each time."""

    @property
    def kind(self) -> str:
        """The kind of the target."""
        return KIND
