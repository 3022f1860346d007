"""Which providers can be asked: those whose credentials are here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trueup.stores.http.client import Account
from trueup.stores.http.spec import Provider

PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Configured:
    """What a person has set of a provider; empty: as its own description says."""

    base_url: str = ""
    api_key: Callable[[], str] | None = None
    """Fetches it, when it is needed."""
    organization: str = ""


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
    key = ""
    if provider.key != "none":
        if configured.api_key is not None:
            key = configured.api_key().strip()
        else:
            key = next((env[name].strip() for name in provider.key_env if env.get(name)), "")
        if not key and provider.key == "required":
            return Skipped(provider.name, f"no credentials: set {' or '.join(provider.key_env)}")
        if not key and not configured.base_url and provider.base_url and not asked:
            return Skipped(provider.name, f"no credentials: set {' or '.join(provider.key_env)}, or ask for it by name")
    headers = {header: env[name] for header, name in provider.headers_env.items() if env.get(name)}
    if configured.organization:
        headers[next(iter(provider.headers_env), "OpenAI-Organization")] = configured.organization
    if not (key.isascii() and key.isprintable()):
        return Skipped(provider.name, "its key holds characters that no key has")
    base_url = base_url.rstrip("/")
    return Account(provider, base_url, _fingerprint(provider.name, base_url, key, headers), key, headers)


def _base_url(provider: Provider, env: Mapping[str, str]) -> str:
    """Where it is; ``$NAMES`` if nothing says so."""
    for name in provider.base_url_env:
        if found := env.get(name):
            url = found if "://" in found else f"http://{found}"  # OLLAMA_HOST is written as host:port
            url, suffix = url.rstrip("/"), provider.base_url_env_suffix
            return url if not suffix or url.endswith(suffix) else url + suffix
    missing = [name for name in re.findall(r"\{(\w+)\}", provider.base_url) if not env.get(name)]
    if missing or not (provider.base_url or provider.fixed):
        return "$" + " or ".join(missing or provider.base_url_env)
    return re.sub(r"\{(\w+)\}", lambda found: env[found[1]], provider.base_url)


def _fingerprint(name: str, base_url: str, key: str, headers: Mapping[str, str]) -> str:
    """Nobody can get from it to a key, which is long and random."""
    text = json.dumps([name, base_url, key, sorted(headers.items())])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
