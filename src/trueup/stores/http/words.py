"""What a provider's refusal means, in words that hold no key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST = 200
"""Characters of a service's own words that are repeated."""

_KEYLIKE = re.compile(
    r"\b(?:sk|xai|gsk|pplx|csk|fw|hf|ghp|github_pat|tgp|AIza)[-_A-Za-z0-9*.]{6,}|[\w-]*\*{2,}[\w-]*", re.ASCII
)
"""Keys of other people's accounts too, and keys that a service has shortened with asterisks."""

HIDDEN = "***"

INVALID_KEY = "Invalid API key"
QUOTA = "insufficient_quota"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer."""

    why: str
    retryable: bool = False
    after_seconds: float | None = None
    """When to come again, as the service says."""


def redacted(text: str, secrets: Sequence[str]) -> str:
    """The text without keys: ours wherever they stand, and whatever looks like one; one line, printable, cut."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    text = _KEYLIKE.sub(HIDDEN, text)
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    bad_key: Sequence[str],
    secrets: Sequence[str],
    now: datetime,
) -> Refusal:
    """What an answer that is no success means.

    Args:
        status: HTTP status.
        headers: Of the answer, names in lower case.
        body: Of the answer, as far as it was read.
        bad_key: What an answer 400 says of a wrong key.
        secrets: What must not be repeated.
        now: For dates in ``retry-after``.
    """
    document = _document(body)
    said = redacted(_message(document), secrets)
    if 300 <= status < 400:
        return Refusal(f"HTTP {status}: redirected, and a redirect is not followed with a key")
    if status == 401 or (status == 400 and any(word in body.decode("utf-8", "replace") for word in bad_key)):
        return Refusal(INVALID_KEY)
    if status == 403:
        return Refusal(f"Access denied: {said}" if said else "Access denied")
    if status == 429:
        return _rate_limit(document, headers, said, now)
    if document is None and body.lstrip()[:1] == b"<":
        said = "answered with a web page instead of JSON"
    after = waiting(headers, document, now)
    return Refusal(f"HTTP {status}: {said}" if said else f"HTTP {status}", status >= 500 or status == 408, after)


def _rate_limit(document: Any, headers: Mapping[str, str], said: str, now: datetime) -> Refusal:
    if QUOTA in (_part(document, "code"), _part(document, "type")):
        return Refusal(f"Quota exhausted: {said}" if said else "Quota exhausted")
    after = waiting(headers, document, now)
    if after is None:
        return Refusal("Rate limit exceeded", retryable=True)
    return Refusal(f"Rate limit exceeded, retry after {after:.0f} seconds", True, after)


def waiting(headers: Mapping[str, str], document: Any, now: datetime) -> float | None:
    """Seconds until another try makes sense, in any of the four ways of saying so; None if nothing is said."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    if (seconds := _number(text)) is not None:
        return seconds
    if text:
        try:
            return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
        except (ValueError, TypeError):  # no date, or one without a zone
            return None
    details = document.get("error", {}).get("details", []) if _is_error(document) else []
    for detail in details if isinstance(details, list) else []:
        # google.rpc.RetryInfo: a protobuf Duration, which JSON writes as "3.5s".
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith("google.rpc.RetryInfo"):
            return _number(str(detail.get("retryDelay", "")).removesuffix("s"))
    return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _is_error(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _part(document: Any, name: str) -> str:
    part = document["error"].get(name) if _is_error(document) else None
    return part if isinstance(part, str) else ""


def _message(document: Any) -> str:
    """The sentence in an error document, in the forms that providers use."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return ""
    words = ("error_description", "error", "message", "detail")  # the first is that of OAuth 2.0
    found = _part(document, "message") or next(
        (document[name] for name in words if isinstance(document.get(name), str)), ""
    )
    return str(found)
