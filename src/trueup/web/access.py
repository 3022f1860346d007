"""Who asks: sessions of browsers by cookie, tokens of programs by header, and how often may be guessed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from trueup.engine.ambient import Ambient
from trueup.engine.tokens import SESSION_SECONDS, Kind, Scope, Token, Tokens
from trueup.web.problems import Problem

TRIES = 10
"""Wrong secrets from one address within `WINDOW_SECONDS` before the next ones are not even looked at."""
WINDOW_SECONDS = 60.0
_ADDRESSES = 10_000
"""Of how many addresses wrong secrets are counted."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may do."""

    name: str
    scopes: frozenset[Scope]
    token: str
    """Id of the token or the session."""

    def may(self, scope: Scope) -> bool:
        """Whether they may."""
        return scope in self.scopes


class Throttle:
    """Counts wrong secrets by address.

    Args:
        monotonic: Seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Refuse an address that has guessed too often.

        Raises:
            Problem: 429, with the seconds to wait.
        """
        times = self._wrong.get(address)
        if times is None or len(times) < TRIES:
            return
        left = times[0] + WINDOW_SECONDS - self._monotonic()
        if left <= 0:
            return
        raise Problem(
            429, "TU-LIMIT", "too many wrong tokens from this address", headers={"Retry-After": str(int(left) + 1)}
        )

    def wrong(self, address: str) -> None:
        """A secret was wrong."""
        times = self._wrong.setdefault(address, deque(maxlen=TRIES))
        times.append(self._monotonic())
        self._wrong.move_to_end(address)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)


class Access:
    """Finds out who asks.

    Args:
        tokens: What is known.
        ambient: Clock and threads.
        cookie: Name of the session's cookie: one for each port, because browsers do not tell ports apart.
    """

    def __init__(self, tokens: Tokens, ambient: Ambient, cookie: str) -> None:
        self.tokens = tokens
        self.cookie = cookie
        self.throttle = Throttle(ambient.clock.monotonic)
        self._ambient = ambient

    async def principal(self, request: Request) -> Principal:
        """Who asks.

        Raises:
            Problem: 401 if nobody known does, 429 if the address has guessed too often.
        """
        said = request.headers.get("authorization")
        if said is not None:
            scheme, _, secret = said.partition(" ")
            kind, secret = (Kind.TOKEN, secret.strip()) if scheme.lower() == "bearer" else (Kind.TOKEN, "")
        else:
            kind, secret = Kind.SESSION, request.cookies.get(self.cookie, "")
        if not secret:
            raise _nobody()
        found = await self._ambient.threads(self._find, secret, kind)
        if found is None:
            self.throttle.check(address_of(request))  # a right one passes: who guesses locks nobody out
            self.throttle.wrong(address_of(request))
            raise _nobody()
        return Principal(found.name, found.scopes, found.id)

    async def login(self, request: Request, secret: str) -> str:
        """Open a session by a one-time code, or by a token. Returns the session's secret.

        Raises:
            Problem: 401 if it is neither, 429 if the address has guessed too often.
        """
        address = address_of(request)
        self.throttle.check(address)
        opened = await self._ambient.threads(self._open, secret)
        if opened is None:
            self.throttle.wrong(address)
            raise Problem(
                401,
                "TU-AUTH",
                "this link or token is not valid, or was used before",
                hint="trueup token login prints another link",
            )
        return opened

    async def logout(self, principal: Principal) -> None:
        """End the session, or the token, that asks."""
        await self._ambient.threads(self.tokens.revoke, principal.token)

    def _find(self, secret: str, kind: Kind) -> Token | None:
        return self.tokens.find(secret, kind, now_ns=self._ambient.clock.now_ns())

    def _open(self, secret: str) -> str | None:
        now_ns = self._ambient.clock.now_ns()
        opened = self.tokens.redeem(secret, now_ns=now_ns)
        if opened is None:
            token = self.tokens.find(secret, Kind.TOKEN, now_ns=now_ns)
            if token is None:
                return None
            opened = self.tokens.create(Kind.SESSION, token.name, token.scopes, now_ns=now_ns, seconds=SESSION_SECONDS)
        return opened[1]


def address_of(request: Request) -> str:
    """Where a request comes from. Headers that say so are not believed."""
    return request.client.host if request.client is not None else ""


def needs(scope: Scope) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency: who asks, if they may."""

    async def check(request: Request) -> Principal:
        access: Access = request.app.state.service.access
        principal = await access.principal(request)
        if not principal.may(scope):
            raise Problem(
                403,
                "TU-SCOPE",
                f"{principal.name} may not do that",
                why=f"it needs the scope {scope.value}",
                hint=f"trueup token create NAME --scope {scope.value}",
            )
        return principal

    return check


def _nobody() -> Problem:
    return Problem(
        401,
        "TU-AUTH",
        "nobody is logged in",
        hint="open the link that trueup serve printed, or send Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": "Bearer"},
    )
