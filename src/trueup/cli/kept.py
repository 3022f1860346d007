"""What commands share that keep something for the server: the state it is kept in, and names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trueup.cli.common import Session
from trueup.config import Config
from trueup.core.errors import UsageError
from trueup.engine.state import State


@contextmanager
def opened(session: Session) -> Iterator[tuple[Config, State]]:
    """The configuration, and the state while it is open."""
    config = session.load_config()
    state = State(config.state_dir)
    try:
        yield config, state
    finally:
        state.close()


def refuse_odd(name: str) -> None:
    """Refuse what is no name.

    Raises:
        UsageError: If it could not be typed as an argument, or not be told from options.
    """
    from trueup.config.settings import NAME

    if not NAME.fullmatch(name):
        raise UsageError(f"{name} is no name", why="letters, digits, and _ . - @ after the first")
