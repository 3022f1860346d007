"""The forms that values can have: how each is read, what it allows in words, and its JSON Schema."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trueup.config.problems import nearest, shown, worded
from trueup.config.secret import HIDDEN, WAYS, Approved, Place, Secret, absolute
from trueup.core.check import Limits
from trueup.core.urls import holds_password
from trueup.targets.datasets import ACTOR_ID, ACTOR_NAME, unsafe

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?((?:[kKmMgGtT]i?)?[bB])")
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)")
_TYPE = re.compile(r"\.[\w.-]+=[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w-]+)*")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_MARK = re.compile(r"\{[^}]*\}")
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}

BUCKET = "bucket"
"""The scheme of names from ``[buckets]``."""


class Wrong(ValueError):
    """A value is not what it must be; the text says why, and never repeats a secret."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a value looks like."""

    read: Callable[[object, Place], Any]
    """From what TOML yields, or from the text of a variable. Raises Wrong."""
    allowed: str
    """In words, after "must be"."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema (draft 2020-12) of what TOML yields."""
    secret: bool = False
    """Whether the value must not appear in a message."""
    number: bool = False
    """Whether a variable or flag that is written like a number means one."""

    def read_text(self, text: str, place: Place) -> Any:
        """The value that a variable or a flag gives. Raises Wrong."""
        return self.read(_number(text) if self.number else text, place)


def one_of(choices: type[StrEnum], *, without: Collection[StrEnum] = ()) -> Form:
    """A word out of a closed set."""
    names = [choice.value for choice in choices if choice not in without]

    def read(value: object, _: Place) -> StrEnum:
        if value not in names:
            raise Wrong(nearest(value, names) if isinstance(value, str) else "")
        return choices(value)

    return Form(read, f"one of {', '.join(names)}", {"enum": names})


def several(choices: type[StrEnum]) -> Form:
    """Words out of a closed set, each once; their order is kept."""
    one = one_of(choices)

    def read(value: object, place: Place) -> tuple[StrEnum, ...]:
        words = tuple(one.read(word, place) for word in (value if isinstance(value, list) else [value]))
        if len(set(words)) < len(words):
            raise Wrong("one is there twice")
        return words

    return Form(
        read, f"{one.allowed}, or a list of them", {"anyOf": [one.schema, {"type": "array", "items": one.schema}]}
    )


def whole(minimum: int, maximum: int) -> Form:
    """A whole number in a range."""

    def read(value: object, _: Place) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise Wrong
        return value

    schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Form(read, f"a whole number from {minimum} to {maximum}", schema, number=True)


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _read_switch(value: object, _: Place) -> bool:
    if not isinstance(value, bool):
        raise Wrong("without quotes" if value in ("true", "false") else "")
    return value


def _read_text(value: object, _: Place) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong
    if any(not sign.isprintable() for sign in value):
        raise Wrong("it holds control characters")
    return value


def _read_size(value: object, _: Place) -> int:
    if type(value) is int and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong("kB is 1000 bytes, KiB is 1024")
    unit = match[2].lower()
    power = " kmgt".index(unit[0]) if len(unit) > 1 else 0
    return round(float(match[1]) * float(1024 if "i" in unit else 1000) ** power)


def _read_rate(value: object, place: Place) -> int:
    text = value.removesuffix("/s") if isinstance(value, str) else value
    rate = _read_size(text, place)
    if not rate:
        raise Wrong("nothing could be written; leave it out for no limit")
    return rate


def duration(*, zero: bool) -> Form:
    """Seconds, as a number or with a unit."""

    def read(value: object, _: Place) -> float:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match:
            value = float(match[1]) * _SECONDS[match[2]]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Wrong
        if value < 0 or (value == 0 and not zero):
            raise Wrong("it is not positive")
        return float(value)

    number = {"type": "number", "minimum": 0} if zero else {"type": "number", "exclusiveMinimum": 0}
    text = {"type": "string", "pattern": f"^{_DURATION.pattern}$"}
    return Form(read, 'seconds, or text such as "500ms", "30s", "5m", "2h"', {"anyOf": [number, text]}, number=True)


_AGE = re.compile(r"(\d+(?:\.\d+)?) ?([hdw])")
_AGE_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def _read_age(value: object, _: Place) -> float:
    match = _AGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong
    if not float(match[1]):
        raise Wrong("it is not positive")
    return float(match[1]) * _AGE_SECONDS[match[2]]


def _read_limits(value: object, _: Place) -> Limits:
    if not isinstance(value, (int, str)):
        raise Wrong
    try:
        return Limits.parse(str(value))
    except ValueError as error:
        raise Wrong(str(error)) from error


def _read_patterns(value: object, _: Place) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise Wrong
    if any(not pattern.strip() or "\n" in pattern for pattern in patterns):
        raise Wrong("one of them is empty or has several lines")
    return tuple(patterns)


def _read_words(value: object, _: Place) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word.isidentifier() for word in words):
        raise Wrong
    return tuple(words)


def _read_names(value: object, _: Place) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise Wrong
    return tuple(names)


def _read_types(value: object, place: Place) -> tuple[str, ...]:
    types = _read_patterns(value, place)
    if odd := [text for text in types if not _TYPE.fullmatch(text)]:
        raise Wrong(f"{shown(odd[0])} is none")
    return types


def _read_delimiters(value: object, _: Place) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) != 6 or not all(isinstance(mark, str) and mark for mark in value):
        raise Wrong
    if len({value[0], value[2], value[4]}) != 3:
        raise Wrong("two of them begin alike")
    return tuple(value)


def _read_folder(value: object, place: Place) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong
    if "://" in value:
        raise Wrong("it is on this machine, a URL is for `remote`")
    return _absolute(value, place)


def _read_folders(value: object, place: Place) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise Wrong("the list is empty")
    folders = tuple(_read_folder(item, place) for item in values)
    names = [folder.rstrip("/").rpartition("/")[2] for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Wrong(f"several folders are told apart by their last component, and two are called {shown(twice[0])}")
    return folders


def location(*, buckets: bool) -> Form:
    """A place: URLs stay as they are written, names of buckets too; paths become absolute."""

    def read(value: object, place: Place) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise Wrong
        if holds_password(value):
            raise Wrong("a password does not belong in a URL: put the keys into [buckets] as { env = ... }")
        match = _SCHEME.match(value)
        if match is None:
            return _absolute(value, place)
        if match[1] == BUCKET and not buckets:
            raise Wrong("a bucket cannot be another one")
        if match[1] != BUCKET and not match[2]:
            raise Wrong(f"a URL begins with {shown(match[1] + '://')}, a path of that name with ./")
        return value

    return Form(read, "a path, a URL, or bucket:NAME/..." if buckets else "a path or a URL", _TEXT)


def template(*, urls: bool) -> Form:
    """A place of each actor: a path, or where wanted a URL, with the actor's id or name in it."""
    inner = location(buckets=True) if urls else Form(_read_folder, "")

    def read(value: object, place: Place) -> str:
        text: str = inner.read(value, place)
        marks = set(_MARK.findall(text))
        if foreign := sorted(marks - {ACTOR_ID, ACTOR_NAME}):
            raise Wrong(f"there is no {foreign[0]}")
        if not marks:
            raise Wrong(f"without {ACTOR_ID} or {ACTOR_NAME} all actors would share it")
        return text + "/" if isinstance(value, str) and value.endswith("/") and not text.endswith("/") else text

    what = "a path, a URL, or bucket:NAME/..." if urls else "a path"
    return Form(read, f"{what}, with {ACTOR_ID} or {ACTOR_NAME} in it", _TEXT)


def _read_actor(value: object, _: Place) -> str:
    if not isinstance(value, str):
        raise Wrong("in quotes, so that its zeros count" if isinstance(value, int) else "")
    if why := unsafe(value):
        raise Wrong(why)
    return value


def _read_url(value: object, place: Place) -> str:
    text: str = _read_text(value, place)
    if holds_password(text):
        raise Wrong("a password does not belong in a URL: use access_key and secret_key")
    if not re.match(r"https?://[^/]", text):
        raise Wrong
    return text


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


_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _read_attribute(value: object, place: Place) -> Approved:
    text: str = _read_text(value, place)
    if not _ATTRIBUTE.fullmatch(text):
        raise Wrong
    return Approved((text,), place)


def _read_pages(value: object, place: Place) -> Approved:
    pages = value if isinstance(value, list) else [value]
    return Approved(tuple(_read_url(page, place) for page in pages), place)


def _read_page(value: object, place: Place) -> Approved:
    return Approved((_read_url(value, place),), place)


def _read_approved_file(value: object, place: Place) -> Approved:
    return Approved((_read_folder(value, place),), place)


def _read_cache(value: object, place: Place) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or " " in value:
        raise Wrong
    if holds_password(value):
        raise Wrong("a password does not belong in a URL: put it into [buckets] with the same url")
    return value if "://" in value else _absolute(value, place)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, and where it is said: keys are only sent to where an approved file sends them."""

    url: str
    place: Place = field(repr=False, compare=False)


def _read_address(value: object, place: Place) -> Address:
    return Address(_read_url(value, place), place)


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
    return Delivery(how, _absolute(what, place) if how == "file" else what, place)


def _read_days(value: object, _: Place) -> tuple[int, ...]:
    days = value if isinstance(value, list) else [value]
    if not all(type(day) is int and day >= 0 for day in days):
        raise Wrong
    return tuple(sorted(set(days), reverse=True))


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise Wrong("the quotes of command do not match") from error


def _absolute(text: str, place: Place) -> str:
    try:
        return str(absolute(text, place))
    except ValueError as error:
        raise Wrong(str(error)) from error


def _read_agent_remote(value: object, place: Place) -> str:
    text: str = _read_text(value, place)
    if holds_password(text):
        raise Wrong("a password does not belong in a URL: use token")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "file":
        return f"file://{_absolute(rest if separator else text, place)}"
    if scheme not in ("http", "https", "libsql") or not rest:
        raise Wrong
    return text


AGENT_REMOTE = Form(_read_agent_remote, "a path or a URL (file://, http://, https://, libsql://)", _TEXT)
SWITCH = Form(_read_switch, "true or false", {"type": "boolean"})
TEXT = Form(_read_text, "text, and not empty", _TEXT)
SIZE = Form(
    _read_size,
    'bytes, or text such as "10MB", "64KiB"',
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]},
    number=True,
)
RATE = Form(
    _read_rate,
    'bytes per second, or text such as "10MB"',
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_SIZE.pattern}(/s)?$"}]},
    number=True,
)
LIMITS = Form(
    _read_limits,
    'a count, or a percentage such as "20%"',
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?%?$"}]},
)
ATTRIBUTE = Form(
    _read_attribute,
    "module:attribute, in a file that is trusted",
    {"type": "string", "pattern": f"^{_ATTRIBUTE.pattern}$"},
)
PAGES = Form(_read_pages, "an http:// or https:// URL, or a list of them, in a file that is trusted", _TEXTS)
PAGE = Form(
    _read_page, "an http:// or https:// URL, in a file that is trusted", {"type": "string", "pattern": "^https?://[^/]"}
)
APPROVED_FILE = Form(_read_approved_file, "a file, in a file that is trusted", _TEXT)
CACHE = Form(_read_cache, "a URL (redis://, rediss://, unix://, memory://) or a folder", _TEXT)
PATTERNS = Form(_read_patterns, "a pattern, or a list of patterns, as in .gitignore", _TEXTS)
NAMES = Form(_read_names, "a name, or a list of names", _TEXTS)
WORDS = Form(_read_words, "a word, or a list of words", _TEXTS)
TYPES = Form(_read_types, "a list of .SUFFIX=TYPE", _TEXTS)
DELIMITERS = Form(
    _read_delimiters,
    "a list of six",
    {"type": "array", "items": _TEXT, "minItems": 6, "maxItems": 6},
)
AGE = Form(_read_age, 'text such as "12h", "30d", "2w"', {"type": "string", "pattern": f"^{_AGE.pattern}$"})
FOLDER = Form(_read_folder, "a folder", _TEXT)
FILE = Form(_read_folder, "a file", _TEXT)
FOLDERS = Form(_read_folders, "a folder, or a list of folders", _TEXTS)
ACTOR = Form(_read_actor, "text that can be a part of a path", _TEXT)
URL = Form(_read_url, "an http:// or https:// URL", {"type": "string", "pattern": "^https?://[^/]"})
SECRET = Form(
    _read_secret,
    "a table with one of env, file, command, keyring",
    {
        "type": "object",
        "properties": {
            "env": _TEXT,
            "file": _TEXT,
            "command": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
            "keyring": {"type": "string", "pattern": "^[^/]+/.+$"},
        },
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    secret=True,
)


ADDRESS = Form(_read_address, URL.allowed, URL.schema)
DELIVERY = Form(
    _read_delivery,
    "a table with one of webhook, webhook_env, file, command",
    {
        "type": "object",
        "properties": {
            "webhook": {"type": "string", "pattern": "^https?://[^/]"},
            "webhook_env": _TEXT,
            "file": _TEXT,
            "command": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
        },
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    },
    secret=True,
)
DAYS = Form(
    _read_days,
    "a number of days, or a list of them",
    {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "array", "items": {"type": "integer", "minimum": 0}},
        ]
    },
)


def plain(value: object) -> Any:
    """A value that was read, as JSON types; secrets as how they are got."""
    if isinstance(value, Secret | Delivery):
        return value.plain()
    if isinstance(value, Address):
        return value.url
    if isinstance(value, Limits):
        return str(value)
    if isinstance(value, Approved):
        return list(value.said) if len(value.said) > 1 else value.said[0]
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, StrEnum) else value
