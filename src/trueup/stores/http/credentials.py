"""Credentials that are no key: a signature for every request, or a token that another service gives.

Each says who it is (`identity`), what must never be repeated (`secrets`), and either signs a request or says how a
token is had. Nothing here asks anybody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

TOKEN_SECONDS = 3600
"""How long a token is asked for; the longest that Google gives."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"
AZURE_AUTHORITY = "https://login.microsoftonline.com"


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


# -- AWS ---------------------------------------------------------------------------------------------------------

_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY = hashlib.sha256(b"").hexdigest()
_TEMPORARY = "ASIA"
"""Access keys of sessions begin so."""


@dataclass(frozen=True, slots=True)
class Aws:
    """An access key. Signs as in "Create a signed AWS API request" of the IAM user guide (Signature Version 4)."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(repr=False)
    region: str
    service: str

    @property
    def identity(self) -> str:
        """A session's key changes every few hours; the account that it encodes does not."""
        key = self.access_key
        return f"{_aws_account(key) if key.startswith(_TEMPORARY) else key} {self.region}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """As `Credential`."""
        return tuple(secret for secret in (self.secret_key, self.session_token, self.access_key) if secret)

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Credential`."""
        return {}

    def signed(self, url: str, now: datetime) -> Mapping[str, str]:
        """As `Credential`."""
        parts = urlsplit(url)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        host = (
            parts.netloc.rpartition("@")[2].lower().removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, ""))
        )
        headers = {"host": host, "x-amz-date": stamp}
        if self.session_token:
            headers["x-amz-security-token"] = self.session_token
        names = ";".join(sorted(headers))
        query = sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        )
        canonical = "\n".join(
            (
                "GET",
                quote(parts.path or "/", safe="/-_.~"),  # of services other than S3 it is encoded once more
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{headers[name]}" for name in sorted(headers)),
                "",
                names,
                _EMPTY,
            )
        )
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        del headers["host"]  # the client writes it
        proof = f"{_ALGORITHM} Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return headers | {"authorization": proof}

    def token_request(self, now: datetime) -> TokenRequest | None:
        """As `Credential`."""
        return None


def _aws_account(access_key: str) -> str:
    """The account that an access key encodes in bits 1 to 40 of its base32 part; of a key of another form, itself."""
    try:
        decoded = base64.b32decode(access_key[4:])
    except ValueError:
        return access_key
    return f"aws-{(int.from_bytes(decoded[:6], 'big') & 0x7FFFFFFFFF80) >> 7:012}"


def _aws(env: Mapping[str, str], service: str) -> Aws | None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")
    access, secret, session, region, other = _values(env, names)
    if not (access and secret and (region or other)):
        return None
    return Aws(access, secret, session, region or other, service)


# -- tokens ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entra:
    """An application of Microsoft Entra ID: the client credentials grant of OAuth 2.0 (RFC 6749, 4.4)."""

    tenant: str
    client: str
    secret: str = field(repr=False)
    authority: str = AZURE_AUTHORITY

    @property
    def identity(self) -> str:
        """As `Credential`."""
        return f"{self.tenant} {self.client}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """As `Credential`."""
        return (self.secret,)

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Credential`."""
        return {}

    def signed(self, url: str, now: datetime) -> Mapping[str, str]:
        """As `Credential`."""
        return {}

    def token_request(self, now: datetime) -> TokenRequest:
        """As `Credential`."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client,
            "client_secret": self.secret,
            "scope": AZURE_SCOPE,
        }
        url = f"{self.authority.rstrip('/')}/{quote(self.tenant, safe='')}/oauth2/v2.0/token"
        return TokenRequest(url, form, self.secrets)


def _entra(env: Mapping[str, str], _: str) -> Entra | None:
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST")
    tenant, client, secret, authority = _values(env, names)
    if not (tenant and client and secret):
        return None
    return Entra(tenant, client, secret, authority or AZURE_AUTHORITY)


@dataclass(frozen=True, slots=True)
class Google:
    """A service account: a JWT that it signs (RFC 7523) for a token."""

    email: str
    key_id: str
    project: str
    token_url: str
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)
    """RSA, PKCS #1 v1.5, SHA-256: ``RS256`` of RFC 7518."""

    @property
    def identity(self) -> str:
        """As `Credential`."""
        return f"{self.email} {self.project}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """As `Credential`: the private key goes nowhere."""
        return ()

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Credential`."""
        return {"x-goog-user-project": self.project} if self.project else {}

    def signed(self, url: str, now: datetime) -> Mapping[str, str]:
        """As `Credential`."""
        return {}

    def token_request(self, now: datetime) -> TokenRequest:
        """As `Credential`."""
        issued = int(now.timestamp())
        head = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        claims = {
            "iss": self.email,
            "scope": GOOGLE_SCOPE,
            "aud": self.token_url,
            "iat": issued,
            "exp": issued + TOKEN_SECONDS,
        }
        body = b".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        assertion = (body + b"." + _base64url(self.sign(body))).decode()
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return TokenRequest(self.token_url, form, (assertion,))


def _google(env: Mapping[str, str], _: str) -> Google | None:
    """From the file that Google's own tools read. Blocks."""
    named = env.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if not named:
        return None
    try:
        found = json.loads(Path(named).read_bytes())
        if found["type"] != "service_account":
            raise Unusable(f"{named} is no key of a service account")
        email, pem, url = (str(found[name]) for name in ("client_email", "private_key", "token_uri"))
        key_id, project = str(found.get("private_key_id", "")), str(found.get("project_id", ""))
    except OSError as error:
        raise Unusable(f"{named} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"{named} is no key of a service account") from None
    if not url.startswith(("https://", "http://")):
        raise Unusable(f"{named} names no address for tokens")
    return Google(email, key_id, project, url, _signer(named, pem))


def _signer(named: str, pem: str) -> Callable[[bytes], bytes]:
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise Unusable("cryptography is not installed: pip install 'trueup[vertex]'") from None
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except ValueError:
        raise Unusable(f"{named} holds no private key") from None
    if not isinstance(key, RSAPrivateKey):
        raise Unusable(f"{named} holds a private key of another kind than RSA")
    rsa: RSAPrivateKey = key
    return lambda data: rsa.sign(data, PKCS1v15(), SHA256())


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


# -- which -------------------------------------------------------------------------------------------------------

_FINDERS: Mapping[str, Callable[[Mapping[str, str], str], Credential | None]] = {
    "aws": _aws,
    "entra": _entra,
    "google": _google,
}
NEEDED = {
    "aws": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "entra": "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    "google": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""The environment variables that each kind is found in."""


def _values(env: Mapping[str, str], names: Sequence[str]) -> list[str]:
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
    return _FINDERS[kind](env, service)
