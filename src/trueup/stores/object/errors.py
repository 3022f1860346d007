"""What OpenDAL says, in our words: each failure its own message and what to do next. No secret is ever repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from trueup.core.errors import (
    AccessDenied,
    Corrupt,
    NoSpace,
    NotFound,
    PreconditionFailed,
    StoreError,
    Throttled,
    TimedOut,
    Unaddressable,
    Unavailable,
)


class NotAllowed(AccessDenied):
    """The service knows the keys, and they do not suffice."""


class NoBucket(NotFound):
    """There is nothing to look into. Not to be taken for an object that is missing."""


_SECRET = re.compile(r"(?i)((?:sig|signature|token|credential|secret|key)=)[^&\s\"']+")
_SHOWN = 300
"""Characters of foreign text that are repeated at most."""

_KEYS = "look at {where}"
_NO_BUCKET = "create it (aws s3 mb s3://{bucket}) or correct the URL: trueup config show --origin"


@dataclass(frozen=True, slots=True)
class Said:
    """The parts of an error's text."""

    kind: str
    """Name of OpenDAL's exception."""
    status: int = 0
    """Of the HTTP answer; 0 if there was none."""
    code: str = ""
    """The service's own."""
    message: str = ""
    after_seconds: float | None = None
    region: str = ""
    temporary: bool = False

    @classmethod
    def parse(cls, kind: str, text: str) -> Said:
        """Take apart what ``str`` of one of OpenDAL's exceptions says (0.47; there are no attributes)."""
        head = text.partition("Backtrace:")[0]
        after = _first(r'"retry-after": "(\d+(?:\.\d+)?)"', head)
        return cls(
            kind,
            int(_first(r"status: (\d{3})", head) or 0),
            _first(r'code: "([^"]*)"', head),
            _message(head),
            float(after) if after else None,
            _first(r'"x-amz-bucket-region": "([^"]*)"', head),
            "(temporary)" in head.partition("\n")[0],
        )


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def _message(head: str) -> str:
    """The service's sentence, else the deepest cause, else OpenDAL's own sentence."""
    said = _first(r'message: "([^"]+)"', head)
    cause = _first(r"(?:Source:\s+|, source: )(.+)", head).split(": ")
    own = head.partition("\n")[0].partition(" => ")[2]
    text = said or ": ".join(cause[-2:]) or own
    return _SECRET.sub(r"\1***", text.strip())[:_SHOWN]


_CODES: dict[str, tuple[type[StoreError], str, str]] = {
    "NoSuchBucket": (NoBucket, "there is no bucket {bucket}", _NO_BUCKET),
    "ContainerNotFound": (NoBucket, "there is no container {bucket}", "create it, or correct the URL"),
    "InvalidBucketName": (NoBucket, "{bucket} cannot be the name of a bucket", "correct the URL"),
    "InvalidAccessKeyId": (AccessDenied, "{url} does not know the access key", _KEYS),
    "SignatureDoesNotMatch": (AccessDenied, "the secret key for {url} is wrong", _KEYS),
    "AuthenticationFailed": (AccessDenied, "{url} does not accept the account's key", _KEYS),
    "ExpiredToken": (
        AccessDenied,
        "the session for {url} has ended",
        "log in again (aws sso login), then run this again",
    ),
    "TokenRefreshRequired": (AccessDenied, "the session for {url} has ended", "log in again, then run this again"),
    "AccessDenied": (NotAllowed, "no permission for {what}", "ask whoever owns {bucket} for it, or use other keys"),
    "AuthorizationHeaderMalformed": (AccessDenied, "{url} is in another region", "export AWS_REGION={region}"),
    "PermanentRedirect": (AccessDenied, "{url} is in another region", "export AWS_REGION={region}"),
    "IllegalLocationConstraintException": (AccessDenied, "{url} is in another region", "export AWS_REGION={region}"),
    "RequestTimeTooSkewed": (
        AccessDenied,
        "this machine's clock is too far from that of {url}",
        "set the clock (timedatectl set-ntp true), then run this again",
    ),
    "KeyTooLongError": (Unaddressable, "{what} is too long a name for {url}", "rename it"),
    "EntityTooLarge": (StoreError, "{what} is larger than {url} takes", "exclude it: max_size in trueup.toml"),
    "BadDigest": (Corrupt, "{what} arrived at {url} with other bytes than were sent", "run this again"),
    "InsufficientStorage": (NoSpace, "no room for {what}", "free some space, then run the same command again"),
    "QuotaExceeded": (NoSpace, "no room for {what}", "free some space, then run the same command again"),
    "XMinioStorageFull": (NoSpace, "no room for {what}", "free some space, then run the same command again"),
}
"""By the code of the service: the class, what to say, what to do."""

_STATUS = {301: "PermanentRedirect", 507: "InsufficientStorage"}

_CAUSES: tuple[tuple[str, type[StoreError], str, str], ...] = (
    ("operation timeout reached", TimedOut, "{url} did not answer in time", "run the same command again"),
    (
        "certificate",
        Unavailable,
        "{url} cannot prove who it is",
        "name its authority: export SSL_CERT_FILE=/path/ca.pem",
    ),
    (
        "InvalidContentType",
        Unavailable,
        "{url} does not speak TLS",
        "begin the endpoint with http:// if it is meant to be plain",
    ),
    ("dns error", Unavailable, "the name of {url} is not known", "correct the endpoint, or look at the network"),
    ("lookup address", Unavailable, "the name of {url} is not known", "correct the endpoint, or look at the network"),
    ("refused", Unavailable, "{url} is not reachable", "is the service running there? correct the endpoint if not"),
    ("tcp connect error", Unavailable, "{url} is not reachable", "look at the network and the endpoint"),
    ("reading a body", Unavailable, "the answer of {url} broke off", "run the same command again"),
    ("before message length", Unavailable, "the answer of {url} broke off", "run the same command again"),
    ("deserialize xml", Unavailable, "the answer of {url} is not whole", "is the endpoint right? then run this again"),
    ("credential", AccessDenied, "there are no keys for {url}", "{keys}"),
    ("endpoint is empty", AccessDenied, "there is no account for {url}", "{keys}"),
)
"""By words in the text, where no answer came: the class, what to say, what to do."""


_GOOGLE = ("export GOOGLE_APPLICATION_CREDENTIALS=/path/keys.json", "the file of GOOGLE_APPLICATION_CREDENTIALS")
_AZURE = (
    "export AZURE_STORAGE_ACCOUNT=... AZURE_STORAGE_KEY=...",
    "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY, and [buckets] in trueup.toml",
)
_AMAZON = (
    "export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...",
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, and [buckets] in trueup.toml",
)
_OTHER = ("put access_key and secret_key of the bucket into [buckets]", "[buckets] in trueup.toml")
_SOURCES = {"gs": _GOOGLE, "gcs": _GOOGLE, "az": _AZURE, "azblob": _AZURE, "s3": _AMAZON}
"""How a person gives keys, and where they may come from, by the URL's scheme."""


def fault(kind: str, text: str, *, what: str, url: str, bucket: str) -> StoreError:
    """The error of ours for one of OpenDAL's.

    Args:
        kind: Name of its exception.
        text: What it says.
        what: The key, or what was being done.
        url: Where.
        bucket: The bucket's name.
    """
    said = Said.parse(kind, text)
    code = said.code or _STATUS.get(said.status, "")
    keys, where = _SOURCES.get(url.partition("://")[0], _OTHER)
    names = {"what": what, "url": url, "bucket": bucket, "region": said.region or "...", "keys": keys, "where": where}
    if kind == "ConditionNotMatch" or said.status == 412:
        return PreconditionFailed(f"{what} was changed meanwhile")
    if code in _CODES:
        error, sentence, attempt = _CODES[code]
        return error(sentence.format(**names), why=said.message, attempt=attempt.format(**names))
    return _by_kind(said, what, url, where) or _by_cause(said, text, names)


def _by_kind(said: Said, what: str, url: str, where: str) -> StoreError | None:
    why = said.message or said.code
    if said.kind == "RateLimited" or said.status in (429, 503):
        return Throttled(
            f"{url} asks to slow down",
            why=why,
            attempt="run it again with a lower max_concurrent",
            after_seconds=said.after_seconds,
        )
    if said.kind == "NotFound":
        return NotFound(f"{what} is not there")
    if said.kind == "PermissionDenied" or said.status in (401, 403):
        return AccessDenied(f"no permission for {what}", why=why, attempt=_KEYS.format(where=where))
    if said.kind == "Conflict" or said.status == 409:
        return Unavailable(f"{what} is being written by somebody else", why=why, attempt="run the same command again")
    return None


def _by_cause(said: Said, text: str, names: dict[str, str]) -> StoreError:
    head = text.partition("Backtrace:")[0]
    for words, error, sentence, attempt in _CAUSES:
        if words in head:
            return error(sentence.format(**names), why=said.message, attempt=attempt.format(**names))
    why = " ".join(part for part in (str(said.status or ""), said.code, said.message) if part)
    if said.temporary or said.status >= 500:
        return Unavailable("{url} failed at {what}".format(**names), why=why, attempt="run the same command again")
    return StoreError("{url} refused {what}".format(**names), why=why)


@cache
def _failures(exceptions: ModuleType) -> tuple[type[Exception], ...]:
    return tuple(one for one in vars(exceptions).values() if isinstance(one, type) and issubclass(one, Exception))


@contextmanager
def translated(what: str, url: str, bucket: str) -> Iterator[None]:
    """Turn OpenDAL's errors into ours."""
    from opendal import exceptions

    try:
        yield
    except _failures(exceptions) as error:
        raise fault(type(error).__name__, str(error), what=what, url=url, bucket=bucket) from error
    except OSError as error:  # what OpenDAL's files raise; the kind is the text's first word
        raise fault(str(error).partition(" ")[0], str(error), what=what, url=url, bucket=bucket) from error
