"""Credentials that are no key: a signature for every request, or a token that another service gives.

Each says who it is (`identity`), what must never be repeated (`secrets`), and either signs a request or says how a
token is had. Nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Protocol

NEEDED = {
    "aws": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "entra": "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    "google": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""The environment variables that each kind is found in; a module of the kind's name looks for it."""


class Unusable(ValueError):
    """A credential is there and cannot be used; the text says why, without it."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A form to post, for an answer with an ``access_token``."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class Credential(Protocol):
    """Who asks."""

    @property
    def identity(self) -> str:
        """The same as long as it is the same account, also when what proves it changes."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""

    @property
    def headers(self) -> Mapping[str, str]:
        """That go with every request."""

    def signed(self, url: str, now: datetime) -> Mapping[str, str]:
        """Headers that prove a GET of this address; empty: a token does."""

    def token_request(self, now: datetime) -> TokenRequest | None:
        """How a token is had; None: none is needed."""


def values(env: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The values of variables; empty: not set.

    Raises:
        Unusable: If one holds what cannot go into a request.
    """
    values = [env.get(name, "").strip() for name in names]
    for name, value in zip(names, values, strict=True):
        if not (value.isascii() and value.isprintable()):
            raise Unusable(f"{name} holds characters that no credential has")
    return values


def find(kind: str, env: Mapping[str, str], service: str) -> Credential | None:
    """The credential of a kind, as the vendor's own tools find it; None if there is none. Blocks.

    Args:
        kind: One of `NEEDED`.
        env: The environment.
        service: What a signature is for.

    Raises:
        Unusable: If one is there, and cannot be used.
    """
    found: Credential | None = import_module(f"trueup.stores.http.credentials.{kind}").find(env, service)
    return found
