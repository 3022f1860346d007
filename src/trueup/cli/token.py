"""``trueup token``: who may ask the server."""

from __future__ import annotations

import click

from trueup.cli.answers import finish, respond
from trueup.cli.choices import word_option
from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command, Group
from trueup.cli.kept import opened, refuse_odd
from trueup.core.errors import UsageError
from trueup.core.report import EXIT_OK
from trueup.engine.ambient import Ambient
from trueup.engine.tokens import CODE_SECONDS, EVERYTHING, Kind, Scope, Token, Tokens
from trueup.render.names import moment, printable
from trueup.render.text import Line, line


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke tokens for programs that ask the server.

    \b
    Examples:
      trueup token create monitoring --scope read
      trueup token ls
      trueup token revoke monitoring

    Scopes: `read` looks; `sync` plans and applies what deletes nothing; `delete` approves deletions, passes guards and
    prunes the trash; `admin` makes tokens and schedules.
    """


@token.command("create", cls=Command)
@click.argument("name")
@word_option("--scope", Scope, multiple=True, explain="What it may do; again for several. Default: read.")
@click.option("--days", type=click.FloatRange(0, 3650, min_open=True), metavar="N", help="It ends after so many days.")
@pass_session
def create(session: Session, *, name: str, scope: tuple[Scope, ...], days: float | None) -> int:
    """Make a token and print it. It is shown this once: only its hash is kept.

    \b
    Examples:
      trueup token create monitoring --scope read
      trueup token create pipeline --scope read --scope sync --days 30
    """
    refuse_odd(name)
    seconds = None if days is None else days * 86400
    with opened(session) as (_, state):
        made, secret = Tokens(state).create(
            Kind.TOKEN, name, scope or (Scope.READ,), now_ns=Ambient().clock.now_ns(), seconds=seconds
        )
    if session.text:
        session.tell([line(f"token {made.name}: {', '.join(sorted(made.scopes))}; it is shown this once", "dim")])
        session.answer(f"{secret}\n")
    finish(session, "token", id=made.id, name=made.name, scopes=sorted(made.scopes), secret=secret, exit_code=EXIT_OK)
    return EXIT_OK


@token.command("ls", cls=Command)
@pass_session
def ls(session: Session) -> int:
    """List tokens and the sessions of browsers.

    \b
    Examples:
      trueup token ls
      trueup token ls --json
    """
    with opened(session) as (_, state):
        found = Tokens(state).listed(now_ns=Ambient().clock.now_ns())
    none = line("no tokens yet. Make one: trueup token create NAME")
    respond(
        session,
        "tokens",
        [_about(one) for one in found] or [none],
        tokens=[one.told() for one in found],
        exit_code=EXIT_OK,
    )
    return EXIT_OK


def _about(one: Token) -> Line:
    until = f"until {moment(one.expires_ns)}" if one.expires_ns else "revoked"
    scopes = ",".join(sorted(one.scopes))
    return line(f"{one.id}  {one.kind.value:<8}{printable(one.name):<20}{scopes:<26}{until}")


@token.command("revoke", cls=Command)
@click.argument("name")
@pass_session
def revoke(session: Session, *, name: str) -> int:
    """End a token, or a session of a browser, by its name or id. A server that runs knows it at once.

    \b
    Examples:
      trueup token revoke monitoring
      trueup token revoke 1f2e3d4c
    """
    with opened(session) as (_, state):
        ended = Tokens(state).revoke(name)
    if not ended:
        raise UsageError(f"there is no token {name}", attempt="trueup token ls")
    respond(session, "revoked", [line(f"revoked {printable(name)}")], revoked=ended, exit_code=EXIT_OK)
    return EXIT_OK


@token.command("login", cls=Command)
@click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", help="Port of the server; else `[serve] port`, 8000."
)
@pass_session
def login(session: Session, *, port: int | None) -> int:
    """Print another link that logs one browser in, once, within ten minutes.

    \b
    Examples:
      trueup token login
      trueup token login --port 9000
    """
    with opened(session) as (config, state):
        _, code = Tokens(state).create(
            Kind.CODE, "page", EVERYTHING, now_ns=Ambient().clock.now_ns(), seconds=CODE_SECONDS
        )
    link = f"http://127.0.0.1:{config.port if port is None else port}/login?code={code}"
    if session.text:
        session.answer(f"{link}\n")
    finish(session, "login", login=link, exit_code=EXIT_OK)
    return EXIT_OK
