"""Forms of places: folders, URLs, names of buckets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from trueup.config.forms import TEXT_SCHEMA, TEXTS_SCHEMA, Form, Wrong, read_text
from trueup.config.problems import shown
from trueup.config.secret import Place, absolute
from trueup.core.urls import holds_password
from trueup.targets.datasets import ACTOR_ID, ACTOR_NAME

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_MARK = re.compile(r"\{[^}]*\}")
BUCKET = "bucket"
"""The scheme of names from ``[buckets]``."""


def read_folder(value: object, place: Place) -> str:
    """An absolute path. Raises Wrong."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong
    if "://" in value:
        raise Wrong("it is on this machine, a URL is for `remote`")
    return absolute_text(value, place)


def _read_folders(value: object, place: Place) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise Wrong("the list is empty")
    folders = tuple(read_folder(item, place) for item in values)
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
            return absolute_text(value, place)
        if match[1] == BUCKET and not buckets:
            raise Wrong("a bucket cannot be another one")
        if match[1] != BUCKET and not match[2]:
            raise Wrong(f"a URL begins with {shown(match[1] + '://')}, a path of that name with ./")
        return value

    return Form(read, "a path, a URL, or bucket:NAME/..." if buckets else "a path or a URL", TEXT_SCHEMA)


def template(*, urls: bool) -> Form:
    """A place of each actor: a path, or where wanted a URL, with the actor's id or name in it."""
    inner = location(buckets=True) if urls else Form(read_folder, "")

    def read(value: object, place: Place) -> str:
        text: str = inner.read(value, place)
        marks = set(_MARK.findall(text))
        if foreign := sorted(marks - {ACTOR_ID, ACTOR_NAME}):
            raise Wrong(f"there is no {foreign[0]}")
        if not marks:
            raise Wrong(f"without {ACTOR_ID} or {ACTOR_NAME} all actors would share it")
        return text + "/" if isinstance(value, str) and value.endswith("/") and not text.endswith("/") else text

    what = "a path, a URL, or bucket:NAME/..." if urls else "a path"
    return Form(read, f"{what}, with {ACTOR_ID} or {ACTOR_NAME} in it", TEXT_SCHEMA)


def read_url(value: object, place: Place) -> str:
    """An http or https URL without a password. Raises Wrong."""
    text: str = read_text(value, place)
    if holds_password(text):
        raise Wrong("a password does not belong in a URL: use access_key and secret_key")
    if not re.match(r"https?://[^/]", text):
        raise Wrong
    return text


def _read_cache(value: object, place: Place) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or " " in value:
        raise Wrong
    if holds_password(value):
        raise Wrong("a password does not belong in a URL: put it into [buckets] with the same url")
    return value if "://" in value else absolute_text(value, place)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, and where it is said: keys are only sent to where an approved file sends them."""

    url: str
    place: Place = field(repr=False, compare=False)


def _read_address(value: object, place: Place) -> Address:
    return Address(read_url(value, place), place)


def absolute_text(text: str, place: Place) -> str:
    """The path, from the folder of the file that says it. Raises Wrong."""
    try:
        return str(absolute(text, place))
    except ValueError as error:
        raise Wrong(str(error)) from error


def _read_agent_remote(value: object, place: Place) -> str:
    text: str = read_text(value, place)
    if holds_password(text):
        raise Wrong("a password does not belong in a URL: use token")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "file":
        return f"file://{absolute_text(rest if separator else text, place)}"
    if scheme not in ("http", "https", "libsql") or not rest:
        raise Wrong
    return text


AGENT_REMOTE = Form(_read_agent_remote, "a path or a URL (file://, http://, https://, libsql://)", TEXT_SCHEMA)
CACHE = Form(_read_cache, "a URL (redis://, rediss://, unix://, memory://) or a folder", TEXT_SCHEMA)
FOLDER = Form(read_folder, "a folder", TEXT_SCHEMA)
FILE = Form(read_folder, "a file", TEXT_SCHEMA)
FOLDERS = Form(_read_folders, "a folder, or a list of folders", TEXTS_SCHEMA)
URL = Form(read_url, "an http:// or https:// URL", {"type": "string", "pattern": "^https?://[^/]"})
ADDRESS = Form(_read_address, URL.allowed, URL.schema)
