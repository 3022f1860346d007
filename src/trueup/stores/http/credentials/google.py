"""Credentials of Google, as its own tools find them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.stores.http.credentials import TokenRequest, Unusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


TOKEN_SECONDS = 3600
"""How long a token is asked for; the longest that Google gives."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


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


def find(env: Mapping[str, str], _: str) -> Google | None:
    """As `trueup.stores.http.credentials.find`, from the file that Google's own tools read."""
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
