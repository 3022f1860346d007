"""``trueup serve``: REST and pages for all targets."""

from __future__ import annotations

import click

from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.core.errors import UsageError
from trueup.core.report import EXIT_OK
from trueup.render.documents import event
from trueup.render.text import line


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", help="Port; 0 takes a free one. Else `[serve] port`, 8000."
)
@click.option(
    "--allowed-host", "allowed_hosts", metavar="NAME", multiple=True, help="Another name under which it may be asked."
)
@click.option("--behind-proxy", is_flag=True, help="Something in front does TLS and decides on the port.")
@pass_session
def serve(session: Session, *, host: str, port: int | None, allowed_hosts: tuple[str, ...], behind_proxy: bool) -> int:
    """Serve REST and pages for all targets. Ctrl-C ends it.

    \b
    Examples:
      trueup serve
      trueup serve --port 9000
      trueup serve --host 0.0.0.0 --allowed-host sync.example.org --behind-proxy

    It prints a link that logs one browser in, once; programs use tokens, see `trueup token`. It listens on this machine
    only, unless it is told otherwise: then it needs a name under which it may be asked, and somebody has to have a
    token. The first Ctrl-C lets runs finish what is under way, the second stops them; both are recorded. Needs the
    extra `web`.
    """
    _require_extra()
    from trueup.web.service import Options
    from trueup.web.serving import serve as run

    config = session.load_config()

    def announce(address: str, link: str) -> None:
        if session.text:
            session.tell(
                [
                    line(f"serving {len(config.targets)} targets at {address}; Ctrl-C ends it"),
                    line(f"log in, once: {link}", "bold"),
                ]
            )
        else:
            session.answer(event("serving", address=address, login=link))

    run(config, Options(host, config.port if port is None else port, allowed_hosts, behind_proxy), announce)
    return EXIT_OK


def _require_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "serving needs further packages", why=f"{error.name} is not installed", attempt="pip install 'trueup[web]'"
        ) from error
