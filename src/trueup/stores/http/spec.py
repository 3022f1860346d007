"""Providers as data: one TOML file each, validated when it is read. What it cannot say does not exist here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from trueup.stores.http.credentials import NEEDED

UNITS = frozenset({"", "unix", "date", "usd/token", "usd/1M", "cents/100M"})
"""How a provider writes a fact: seconds since the epoch, any ISO date, prices in dollars per token, per million tokens,
or in cents per 100 million tokens."""

FIRST = ("openai", "azure", "gemini", "anthropic", "xai", "mistral", "cohere", "groq")
"""Providers that are listed before the others, in this order."""

KEYS = ("required", "optional", "none")


@dataclass(frozen=True, slots=True)
class Fact:
    """Where one fact about a model stands."""

    path: str
    """Names joined by dots, inside the entry."""
    unit: str = ""
    has: str = ""
    """The fact is whether the list there holds this word."""
    ends: str = ""
    """The fact is under the one key there that ends so."""


@dataclass(frozen=True, slots=True)
class Paging:
    """How the next page is asked for."""

    size_param: str
    size: int
    """The largest page that the service serves."""
    cursor_param: str
    cursor: str
    """Path of the next page's cursor in an answer."""
    more: str = ""
    """Path of the answer's own word on whether there is a next page; empty: a cursor says so."""


@dataclass(frozen=True, slots=True)
class Detail:
    """Another list of the same service that tells more about some of the models."""

    path: str
    items: str = ""
    optional: bool = False
    """Whether the service may not have it."""
    each: str = ""
    """Not a list: asked for each model, by POST, with its id under this name. The answer is all about it."""
    drop: tuple[str, ...] = ()
    """Parts that are long, and tell nothing that is wanted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Facts that the vendor tells of a whole family, and its list does not tell."""

    match: str
    """Regular expression, searched in the model's id. Compiled when it is first searched; a test compiles all."""
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are counted together. The first that matches counts."""

    match: str
    """As that of a `Rule`."""
    name: str


@dataclass(frozen=True, slots=True)
class Provider:
    """A service that lists models."""

    name: str
    title: str
    base_url: str = ""
    """Everything before `path`; ``{NAME}`` stands for an environment variable, ``{A|B}`` for the first
    of two that is set. Empty: only a setting or one of
    `base_url_env` says where it is."""
    base_url_env: tuple[str, ...] = ()
    """Environment variables of the vendor's own tools that say where it is."""
    base_url_env_suffix: str = ""
    """What the vendor's variable leaves out at the end."""
    path: str = "/models"
    query: Mapping[str, str] = field(default_factory=dict)
    key_env: tuple[str, ...] = ()
    key: str = "required"
    auth: str = "Authorization"
    auth_prefix: str = "Bearer "
    credential: str = ""
    """What else proves who asks, where there is no key: one of `credentials.NEEDED`."""
    service: str = ""
    """What its signatures are for."""
    headers: Mapping[str, str] = field(default_factory=dict)
    headers_env: Mapping[str, str] = field(default_factory=dict)
    """Headers from environment variables: which organisation or project pays."""
    items: str = "data"
    """Path of the list in an answer; empty: the answer is the list."""
    id: str = "id"
    strip: str = ""
    """A beginning that all ids share, and that is left out."""
    paging: Paging | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    volatile: tuple[str, ...] = ()
    """Parts of an entry that may differ on every call, and mean nothing."""
    details: tuple[Detail, ...] = ()
    bad_key: tuple[str, ...] = ()
    """What an answer 400 says where others would answer 401."""
    rules: tuple[Rule, ...] = ()
    curated: Mapping[str, str] = field(default_factory=dict)
    """What data packages call it, by package."""
    families: tuple[Family, ...] = ()
    statistics: tuple[str, ...] = ()
    """Capabilities that are counted."""
    only_asked: bool = False
    """Whether it is used only when somebody names it, and never in production."""
    fixed: tuple[Mapping[str, Any], ...] = ()
    """Entries that need no network."""

    def family(self, model: str) -> str | None:
        """The name of the family that a model belongs to; None: of none that is known."""
        return next((family.name for family in self.families if re.search(family.match, model)), None)


class Malformed(ValueError):
    """A description of a provider is wrong; the text says where."""


def parse(name: str, table: Mapping[str, Any]) -> Provider:
    """A provider from its file.

    Raises:
        Malformed: If anything is unknown, missing, of a wrong type, or means nothing.
    """
    values = dict(table)
    facts = values.pop("fields", {})
    made = {
        "facts": {fact: _built(Fact, entry, f"{name}: fields.{fact}") for fact, entry in facts.items()},
        "details": tuple(_built(Detail, entry, f"{name}: details") for entry in values.pop("details", ())),
        "rules": tuple(_built(Rule, entry, f"{name}: rules") for entry in values.pop("rules", ())),
        "families": tuple(_built(Family, entry, f"{name}: families") for entry in values.pop("families", ())),
    }
    if "paging" in values:
        made["paging"] = _built(Paging, values.pop("paging"), f"{name}: paging")
    provider: Provider = _built(Provider, {"name": name, **values, **made}, name)
    _check(provider)
    return provider


def _built(form: type[Any], table: object, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise Malformed(f"{where} is no table")
    known = _TYPES[form]
    if unknown := sorted(set(table) - set(known)):
        raise Malformed(f"{where} has no setting {', '.join(unknown)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    for key, value in values.items():
        if not _fits(value, known[key]):
            raise Malformed(f"{where}: {key} must be {known[key]}")
    try:
        return form(**values)
    except TypeError as error:
        raise Malformed(f"{where}: {error}") from error


_TYPES = {
    form: {each.name: str(each.type) for each in fields(form)}
    for form in (Fact, Paging, Detail, Rule, Family, Provider)
}
"""The settings of each form, with their types as they are written."""
_FORMS: Mapping[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool}


def _fits(value: object, kind: str) -> bool:
    if kind in _FORMS:
        return isinstance(value, _FORMS[kind]) and isinstance(value, bool) == (kind == "bool")
    if kind.startswith("tuple"):
        texts = kind != "tuple[str, ...]" or (isinstance(value, tuple) and all(isinstance(one, str) for one in value))
        return isinstance(value, tuple) and texts
    if kind == "Mapping[str, str]":
        return isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())
    return True


def _check(provider: Provider) -> None:
    where = provider.name
    if provider.key not in KEYS:
        raise Malformed(f"{where}: key must be one of {', '.join(KEYS)}")
    if provider.key == "required" and not (provider.key_env or provider.credential):
        raise Malformed(f"{where}: no key_env, and a key is required")
    if provider.credential not in ("", *NEEDED):
        raise Malformed(f"{where}: credential must be one of {', '.join(NEEDED)}")
    if not (provider.base_url or provider.base_url_env or provider.fixed):
        raise Malformed(f"{where}: nothing says where it is")
    if provider.base_url and not provider.base_url.startswith(("https://", "http://")):
        raise Malformed(f"{where}: base_url is no http URL")
    for name, fact in provider.facts.items():
        if fact.unit not in UNITS:
            raise Malformed(f"{where}: fields.{name} has an unknown unit {fact.unit}")


@cache
def known() -> Mapping[str, Provider]:
    """Every provider that comes with trueup, by name."""
    found = {}
    for file in Path(__file__).with_name("providers").glob("*.toml"):
        found[file.stem] = parse(file.stem, tomllib.loads(file.read_text("utf-8")))
    return dict(
        sorted(found.items(), key=lambda item: (FIRST.index(item[0]) if item[0] in FIRST else len(FIRST), item[0]))
    )


def openai_shaped(name: str, base_url: str) -> Provider:
    """A provider that nobody described: one that answers as OpenAI does, or with a bare list."""
    variable = re.sub(r"\W", "_", name).upper() + "_API_KEY"
    shape = known()["openai"]
    return Provider(
        name,
        name,
        base_url,
        key_env=(variable,),
        key="optional",
        facts={"created": shape.facts["created"], "owner": shape.facts["owner"]},
        volatile=("created",),
    )


def at(value: object, path: str) -> Any:
    """What stands at a path in a JSON value; None if there is nothing."""
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value


def names(providers: Sequence[Provider]) -> tuple[str, ...]:
    """What they are called."""
    return tuple(provider.name for provider in providers)
