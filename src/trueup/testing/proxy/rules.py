"""Which requests are harmed: rules, and what they look at."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from trueup.testing.proxy.exchange import Action

ANY: Final = ".*"
"""A pattern for a parameter or a header that must be there, whatever its value."""

_DRAWN_BY_THE_SERVER = frozenset({"uploadid", "continuation-token", "versionid"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request, as far as rules look at it. Buckets are expected in the path, not in the host."""

    n: int
    """Counts from 1, in the order of arrival."""
    method: str
    target: str
    """Path and query as they came over the wire."""
    headers: Mapping[str, str]
    """Names in lower case."""
    path: str
    """Decoded, bucket included; bytes that are no UTF-8 are surrogate escapes."""
    query: Mapping[str, str]
    """Decoded; ``""`` for a parameter without a value."""
    repeat: int
    """How many requests of the same method, path and query came before."""

    @property
    def bucket(self) -> str:
        """The first part of the path."""
        return self.path[1:].partition("/")[0]

    @property
    def key(self) -> str:
        """What follows the bucket."""
        return self.path[1:].partition("/")[2]

    @property
    def lists(self) -> bool:
        """Whether it is a ListObjectsV2."""
        return self.method == "GET" and not self.key and self.query.get("list-type") == "2"

    @property
    def identity(self) -> str:
        """The same for the same request in another run: without what the server or the clock made up."""
        return self._identity(_DRAWN_BY_THE_SERVER)

    @property
    def identity_with_token(self) -> str:
        """The same for the same request to the same server."""
        return self._identity(frozenset())

    def _identity(self, leave_out: frozenset[str]) -> str:
        parameters = sorted(
            (name, "" if name.lower() in leave_out else value)
            for name, value in self.query.items()
            if not name.lower().startswith("x-amz-")
        )
        return f"{self.method} {self.path} {parameters}"

    def draw(self, seed: int) -> float:
        """A number from 0 to below 1: the same for the same request and seed, in whatever order they come."""
        text = f"{seed} {self.repeat} {self.identity}".encode(errors="surrogateescape")
        return int.from_bytes(blake2b(text, digest_size=6).digest()) / 2**48


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to which requests. All rules that fit apply, in their order; all conditions of a rule must hold."""

    action: Action
    """What happens."""
    method: str = ANY
    """A regular expression for the whole method: ``PUT|POST``."""
    path: str = ""
    r"""A regular expression found anywhere in the decoded path with the bucket: ``^/bucket/docs/.*\.txt$``."""
    query: Mapping[str, str | None] = field(default_factory=dict)
    """Parameters, and a regular expression for the whole decoded value; None for one that must be absent."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """The same for headers; names in lower case."""
    nth: int | Collection[int] | None = None
    """Which of the requests that fit so far, counted from 1 since the rule was added."""
    times: int | None = None
    """At most so many of them, counted after `nth` and `probability`."""
    probability: float = 1.0
    """The share of them, drawn from `seed` and the request alone: concurrency does not change who is hit."""
    seed: int = 0

    def fits(self, request: Request) -> bool:
        """Whether method, path, query and headers agree."""
        return (
            re.fullmatch(self.method, request.method) is not None
            and re.search(self.path, request.path, re.DOTALL) is not None
            and _agree(self.query, request.query)
            and _agree(self.headers, request.headers)
        )

    def chooses(self, count: int) -> bool:
        """Whether the request is one of those in `nth`."""
        if self.nth is None:
            return True
        return count == self.nth if isinstance(self.nth, int) else count in self.nth


def _agree(patterns: Mapping[str, str | None], values: Mapping[str, str]) -> bool:
    for name, pattern in patterns.items():
        value = values.get(name)
        if pattern is None or value is None:
            if value is not pattern:
                return False
        elif re.fullmatch(pattern, value, re.DOTALL) is None:
            return False
    return True


@dataclass(slots=True, eq=False)
class Armed:
    """A rule in force."""

    rule: Rule
    fitted: int = 0
    """How many requests it fitted."""
    fired: int = 0
    """How many it was applied to."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What its action remembers from one request to the next."""


class Rules:
    """The rules in force. Any thread may change them; one thread asks, and it never waits for a lock."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._writing = threading.Lock()
        self._armed = tuple(Armed(rule) for rule in rules)
        self._seen: Counter[str] = Counter()
        self._requests = 0

    def add(self, rule: Rule) -> None:
        """Put a rule in force, after the others."""
        with self._writing:
            self._armed = (*self._armed, Armed(rule))

    def remove(self, rule: Rule) -> None:
        """Take this rule out of force, if it is in force."""
        with self._writing:
            self._armed = tuple(armed for armed in self._armed if armed.rule is not rule)

    def clear(self) -> None:
        """Take every rule out of force."""
        with self._writing:
            self._armed = ()

    def fired(self, rule: Rule) -> int:
        """How many requests this rule was applied to since it was added."""
        return sum(armed.fired for armed in self._armed if armed.rule is rule)

    def arrived(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> tuple[Request, list[Armed]]:
        """Number a request, and say which rules apply to it."""
        path, _, query = target.partition("?")
        self._requests += 1
        request = Request(
            n=self._requests,
            method=method,
            target=target,
            headers={name.lower(): value for name, value in headers},
            path=unquote(path, errors="surrogateescape"),
            query=dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape")),
            repeat=0,
        )
        request = _repeated(request, self._seen)
        return request, [armed for armed in self._armed if _fires(armed, request)]


def _repeated(request: Request, seen: Counter[str]) -> Request:
    repeat = seen[request.identity]
    seen[request.identity] += 1
    return replace(request, repeat=repeat)


def _fires(armed: Armed, request: Request) -> bool:
    rule = armed.rule
    if not rule.fits(request):
        return False
    armed.fitted += 1
    fires = (
        rule.chooses(armed.fitted)
        and (rule.times is None or armed.fired < rule.times)
        and (rule.probability >= 1 or request.draw(rule.seed) < rule.probability)
    )
    armed.fired += fires
    return fires
