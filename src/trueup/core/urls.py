"""What in a URL is not to be shown, and which URLs are paths."""

from __future__ import annotations

import re
from urllib.parse import unquote

FILE = "file://"
_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/?#@]*:)[^/?#@]*@")
"""Anywhere in the text, because a query can hold a URL of its own; the first group ends before the password."""


def holds_password(url: str) -> bool:
    """Whether somebody has written a password into the URL, where every message would repeat it."""
    return _PASSWORD.search(url) is not None


def without_passwords(text: str) -> str:
    """The text, each password in a URL replaced by ``***``."""
    return _PASSWORD.sub(r"\1***@", text)


def local_path(place: str) -> str | None:
    """The path that a ``file://`` URL or a plain path names, as it was written otherwise; None of any other URL."""
    if place[: len(FILE)].lower() != FILE:
        return None if "://" in place else place
    _, slash, path = place[len(FILE) :].partition("/")
    return unquote(slash + path, errors="surrogateescape")


def host_of(place: str) -> str:
    """The machine that a ``file://`` URL names; empty for this one."""
    named = place[len(FILE) :].partition("/")[0] if place[: len(FILE)].lower() == FILE else ""
    return "" if named == "localhost" else named
