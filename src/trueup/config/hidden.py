"""Forms of what only a file that is trusted may say: secrets, code, where alerts go."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from trueup.config.forms import TEXT_SCHEMA, TEXTS_SCHEMA, Form, Wrong, read_text
from trueup.config.places import absolute_text, read_folder, read_url
from trueup.config.problems import shown, worded
from trueup.config.secret import HIDDEN, WAYS, Approved, Place, Secret

_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _read_secret(value: object, place: Place) -> Secret:
    """None of these messages may repeat the value."""
    if not isinstance(value, dict):
        raise Wrong(f"{worded(value)} would be the secret itself, which is never written down")
    if len(value) != 1 or (how := next(iter(value))) not in WAYS:
        raise Wrong(f"it has {', '.join(sorted(map(shown, value))) or 'no key'}")
    what = value[how]
    if how == "command" and isinstance(what, str):
        what = _split(what)
    if how == "command" and isinstance(what, list) and what and all(isinstance(part, str) and part for part in what):
        return Secret(how, tuple(what), place)
    if how == "command" or not isinstance(what, str) or not what:
        raise Wrong(f"{how} must be {'text or a list of text' if how == 'command' else 'text'}, and not empty")
    if how == "keyring" and not all(what.partition("/")):
        raise Wrong("keyring must be SERVICE/USER")
    return Secret(how, what, place)


def _read_attribute(value: object, place: Place) -> Approved:
    text: str = read_text(value, place)
    if not _ATTRIBUTE.fullmatch(text):
        raise Wrong
    return Approved((text,), place)


def _read_pages(value: object, place: Place) -> Approved:
    pages = value if isinstance(value, list) else [value]
    return Approved(tuple(read_url(page, place) for page in pages), place)


def _read_page(value: object, place: Place) -> Approved:
    return Approved((read_url(value, place),), place)


def _read_approved_file(value: object, place: Place) -> Approved:
    return Approved((read_folder(value, place),), place)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where an alert goes: ``webhook`` (a URL), ``webhook_env`` (a variable that holds one), ``file``, ``command``."""

    how: str
    what: str | tuple[str, ...]
    place: Place = field(repr=False, compare=False)

    def plain(self) -> dict[str, str]:
        """As it may be shown: a URL of a webhook is a secret, and a command may hold one."""
        shown_as_is = self.how in ("file", "webhook_env") and isinstance(self.what, str)
        return {self.how: str(self.what) if shown_as_is else HIDDEN}


def _read_delivery(value: object, place: Place) -> Delivery:
    """None of these messages may repeat the value."""
    ways = ("webhook", "webhook_env", "file", "command")
    if not isinstance(value, dict) or len(value) != 1 or (how := next(iter(value))) not in ways:
        raise Wrong(f"it has one key, of {', '.join(ways)}")
    what = value[how]
    if how == "command" and isinstance(what, str):
        what = _split(what)
    if how == "command" and isinstance(what, list) and what and all(isinstance(part, str) and part for part in what):
        return Delivery(how, tuple(what), place)
    if how == "command" or not isinstance(what, str) or not what:
        raise Wrong(f"{how} must be text, and not empty")
    if how == "webhook" and not re.match(r"https?://[^/]", what):
        raise Wrong("webhook must be an http:// or https:// URL")
    return Delivery(how, absolute_text(what, place) if how == "file" else what, place)


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise Wrong("the quotes of command do not match") from error


ATTRIBUTE = Form(
    _read_attribute,
    "module:attribute, in a file that is trusted",
    {"type": "string", "pattern": f"^{_ATTRIBUTE.pattern}$"},
)
PAGES = Form(_read_pages, "an http:// or https:// URL, or a list of them, in a file that is trusted", TEXTS_SCHEMA)
PAGE = Form(
    _read_page, "an http:// or https:// URL, in a file that is trusted", {"type": "string", "pattern": "^https?://[^/]"}
)
APPROVED_FILE = Form(_read_approved_file, "a file, in a file that is trusted", TEXT_SCHEMA)
SECRET = Form(
    _read_secret,
    "a table with one of env, file, command, keyring",
    {
        "type": "object",
        "properties": {
            "env": TEXT_SCHEMA,
            "file": TEXT_SCHEMA,
            "command": {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "minItems": 1}]},
            "keyring": {"type": "string", "pattern": "^[^/]+/.+$"},
        },
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    secret=True,
)
DELIVERY = Form(
    _read_delivery,
    "a table with one of webhook, webhook_env, file, command",
    {
        "type": "object",
        "properties": {
            "webhook": {"type": "string", "pattern": "^https?://[^/]"},
            "webhook_env": TEXT_SCHEMA,
            "file": TEXT_SCHEMA,
            "command": {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "minItems": 1}]},
        },
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    secret=True,
)
