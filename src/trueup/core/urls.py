"""What in a URL is not to be shown."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/?#@]*:)[^/?#@]*@")
"""Anywhere in the text, because a query can hold a URL of its own; the first group ends before the password."""


def holds_password(url: str) -> bool:
    """Whether somebody has written a password into the URL, where every message would repeat it."""
    return _PASSWORD.search(url) is not None


def without_passwords(text: str) -> str:
    """The text, each password in a URL replaced by ``***``."""
    return _PASSWORD.sub(r"\1***@", text)
