"""Access keys of AWS, as its own tools find them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

from trueup.stores.http.credentials import TokenRequest, values

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


def find(env: Mapping[str, str], service: str) -> Aws | None:
    """As `trueup.stores.http.credentials.find`."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")
    access, secret, session, region, other = values(env, names)
    if not (access and secret and (region or other)):
        return None
    return Aws(access, secret, session, region or other, service)
