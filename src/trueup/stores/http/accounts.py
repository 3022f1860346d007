"""Which providers can be asked: those whose credentials are here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trueup.stores.http.client import Account
from trueup.stores.http.credentials import NEEDED, Credential, Unusable, find
from trueup.stores.http.spec import Provider

PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Configured:
    """What a person has set of a provider; empty: as its own description says."""

    base_url: str = ""
    api_key: Callable[[], str] | None = None
    """Fetches it, when it is needed."""
    organization: str = ""
    named: bool = False
    """Whether there is a table of it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A provider that cannot be asked."""

    name: str
    why: str


def account(
    provider: Provider, configured: Configured, env: Mapping[str, str], *, asked: bool, production: bool
) -> Account | Skipped:
    """The account of a provider, or why there is none.

    Args:
        provider: Its description.
        configured: What a person has set.
        env: The environment; an empty variable counts as not set.
        asked: Whether it was asked for by name.
        production: Whether made-up providers are out of place.
    """
    if provider.only_asked and (production or not asked):
        return Skipped(provider.name, "not in production" if production else "only when it is asked for")
    base_url = configured.base_url or _base_url(provider, env)
    if base_url.startswith("$"):
        where = base_url[1:] or f"base_url of [providers.{provider.name}]"
        return Skipped(provider.name, f"no address: set {where}")
    told = bool(configured.base_url) or any(env.get(name) for name in provider.base_url_env)
    try:
        key, credential = _proof(provider, configured, env, meant=asked or configured.named or told)
    except Unusable as error:
        return Skipped(provider.name, str(error))
    if not key and provider.key == "optional" and provider.base_url and not (configured.base_url or asked):
        return Skipped(provider.name, f"no credentials: set {_needed(provider)}, or ask for it by name")
    headers = {header: env[name] for header, name in provider.headers_env.items() if env.get(name)}
    if configured.organization:
        headers[next(iter(provider.headers_env), "OpenAI-Organization")] = configured.organization
    base_url = base_url.rstrip("/")
    identity = key if credential is None else credential.identity
    fingerprint = _fingerprint(provider.name, base_url, identity, headers)
    return Account(provider, base_url, fingerprint, key, headers, credential)


def _proof(
    provider: Provider, configured: Configured, env: Mapping[str, str], *, meant: bool
) -> tuple[str, Credential | None]:
    """The key, else what proves who asks; neither if none is needed.

    Raises:
        Unusable: If there is none, and one is needed.
    """
    if provider.key == "none":
        return "", None
    if configured.api_key is not None:
        key = configured.api_key().strip()
    else:
        key = next((env[name].strip() for name in provider.key_env if env.get(name)), "")
    if not (key.isascii() and key.isprintable()):
        raise Unusable("its key holds characters that no key has")
    if key or provider.key == "optional":
        return key, None
    credential = find(provider.credential, env, provider.service) if provider.credential else None
    if credential is None:
        raise Unusable(f"no credentials: set {_needed(provider)}")
    if not meant:  # they are there for all of a cloud: nobody has said that its models are wanted
        raise Unusable(f"only when it is asked for: --provider {provider.name}, or a table [providers.{provider.name}]")
    return "", credential


def _needed(provider: Provider) -> str:
    keys = " or ".join(provider.key_env)
    return ", or ".join(way for way in (keys, NEEDED.get(provider.credential, "")) if way)


def _base_url(provider: Provider, env: Mapping[str, str]) -> str:
    """Where it is; ``$NAMES`` if nothing says so."""
    for name in provider.base_url_env:
        if found := env.get(name):
            url = found if "://" in found else f"http://{found}"  # OLLAMA_HOST is written as host:port
            url, suffix = url.rstrip("/"), provider.base_url_env_suffix
            return url if not suffix or url.endswith(suffix) else url + suffix
    named = re.findall(r"\{([\w|]+)\}", provider.base_url)
    missing = [name for names in named if not _first(names, env) for name in names.split("|")]
    if missing or not (provider.base_url or provider.fixed):
        return "$" + " or ".join(missing or provider.base_url_env)
    return re.sub(r"\{([\w|]+)\}", lambda found: _first(found[1], env), provider.base_url)


def _first(names: str, env: Mapping[str, str]) -> str:
    return next((env[name] for name in names.split("|") if env.get(name)), "")


def _fingerprint(name: str, base_url: str, key: str, headers: Mapping[str, str]) -> str:
    """Nobody can get from it to a key, which is long and random."""
    text = json.dumps([name, base_url, key, sorted(headers.items())])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
