"""Names of models: an account, and the id that its provider gives."""

from __future__ import annotations

from trueup.core.model import Key


def key_of(account: str, model: str) -> Key:
    """The key of a model: its account, a slash, its id. A last slash is escaped: it would mean a directory."""
    escaped = model.replace("%", "%25")
    return Key(f"{account}/{escaped[:-1]}%2F" if escaped.endswith("/") else f"{account}/{escaped}")


def parts_of(key: Key) -> tuple[str, str]:
    """Inverse of `key_of`."""
    account, _, model = key.partition("/")
    return account, model.replace("%2F", "/").replace("%25", "%")
