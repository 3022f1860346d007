"""Requests to an S3 server, signed by hand: for what a library does not do, and for lying on a server's behalf.

Signature version 4 as in "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference, in its
header form; a payload is named by its own hash or not signed. Chunk signatures are not made.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from urllib.parse import parse_qsl, quote, unquote, urlsplit

Headers = list[tuple[str, str]]
"""Names and values in the order of the wire; names in any case, and more than once."""

UNSIGNED = "UNSIGNED-PAYLOAD"
"""What stands for the hash of a payload that is not signed."""

CHUNKS_SIGNED = "STREAMING-AWS4-HMAC"
"""Begins what stands for the hash of a payload whose chunks carry signatures of their own."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_OLD = frozenset({"authorization", "x-amz-date", "date"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs, and for which region."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


def sign(method: str, target: str, headers: Headers, credentials: Credentials) -> tuple[str, Headers]:
    """Sign a request, whoever has signed it before.

    Args:
        method: ``GET``, ``PUT`` and so on.
        target: Path and query, percent-encoded, as they go over the wire.
        headers: With ``Host``, and with ``x-amz-content-sha256`` unless the payload shall not be signed.
        credentials: Who signs.

    Returns:
        The target without a signature in its query, and the headers with ours. ``Host`` and every ``x-amz-`` header
        are signed.
    """
    path, query = _split(target)
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = [(name, value) for name, value in headers if name.lower() not in _OLD]
    lower = {name.lower(): " ".join(value.split()) for name, value in kept}
    payload = lower.get("x-amz-content-sha256")
    if payload is None:
        payload = UNSIGNED
        kept.append(("x-amz-content-sha256", payload))
    kept.append(("x-amz-date", date))
    signed = {name: value for name, value in lower.items() if name == "host" or name.startswith("x-amz-")}
    signed |= {"x-amz-content-sha256": payload, "x-amz-date": date}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = "\n".join((method, quote(unquote(path), safe="/-_.~"), query, lines, names, payload))
    scope = f"{date[:8]}/{credentials.region}/s3/aws4_request"
    text = "\n".join((_ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = _seal(credentials, date[:8], text)
    credential = f"Credential={credentials.access_key}/{scope}"
    kept.append(("authorization", f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"))
    return f"{path}?{query}" if query else path, kept


def _split(target: str) -> tuple[str, str]:
    """The path as it is, and the query in canonical form, without a signature."""
    path, _, query = target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in pairs
        if not name.lower().startswith("x-amz-")
    )
    return path, "&".join(f"{name}={value}" for name, value in encoded)


def _seal(credentials: Credentials, day: str, text: str) -> str:
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def call(
    endpoint: str,
    credentials: Credentials,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    timeout_seconds: float = 10.0,
) -> Response:
    """Send one signed request and read the answer, whatever its status.

    Args:
        endpoint: ``http://host:port``.
        credentials: Who signs.
        method: ``GET``, ``PUT`` and so on.
        target: Path and query, percent-encoded.
        body: What is sent.
        headers: More headers.
        timeout_seconds: Longest wait for a single piece of the answer.

    Raises:
        OSError: If there is no connection.
        http.client.HTTPException: If the answer is broken.
    """
    host = urlsplit(endpoint).netloc
    plain = [("Host", host), ("x-amz-content-sha256", hashlib.sha256(body).hexdigest()), *(headers or {}).items()]
    target, signed = sign(method, target, plain, credentials)
    connection = HTTPConnection(host, timeout=timeout_seconds)
    try:
        connection.request(method, target, body=body or None, headers=dict(signed))
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
