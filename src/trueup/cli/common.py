"""What every command shares: the common options, and the session that they fill."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from trueup.config import Config
    from trueup.render.text import Line


class Output(StrEnum):
    """In which form the result is written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(slots=True)
class Session:
    """One call of the command line: what the common options say, and the two streams.

    The result goes to stdout; progress, questions and errors go to stderr.
    """

    words: tuple[str, ...] = ()
    """What was typed after the program's name."""
    output: Output = Output.TEXT
    quiet: bool = False
    verbose: int = 0
    color: str = "auto"
    config: Path | None = None
    profile: str | None = None
    environment: dict[str, str | None] = field(default_factory=dict)
    """Variables that this call has set, with what they were before."""
    broken: bool = False
    """Whether the reader of stdout has gone. The work goes on; nothing more is written."""
    unwritten: OSError | None = None
    """Why the result could not be written."""
    answered: bool = False
    """Whether a document was written: with ``--json`` there is exactly one."""

    @property
    def text(self) -> bool:
        """Whether people are to read the result."""
        return self.output is Output.TEXT

    @property
    def typed(self) -> str:
        """The whole command, for the history."""
        import shlex

        return shlex.join(("trueup", *self.words))

    # -- writing -------------------------------------------------------------------------------------------------

    def show(self, lines: Iterable[Line]) -> None:
        """Write lines for people to stdout, unless they want to hear nothing."""
        if not self.quiet:
            self._write(sys.stdout, self._painted(lines, sys.stdout))

    def tell(self, lines: Iterable[Line]) -> None:
        """Write lines for people to stderr."""
        self._write(sys.stderr, self._painted(lines, sys.stderr))

    def answer(self, text: str) -> None:
        """Write a document, or a line of one, to stdout; ``--quiet`` does not silence what was asked for."""
        self.answered = True
        self._write(sys.stdout, text)

    def _painted(self, lines: Iterable[Line], stream: TextIO) -> str:
        from trueup.render.text import plain

        if not self.colored(stream):
            return plain(lines)
        return "".join("".join(paint(text, style) for text, style in line).rstrip(" ") + "\n" for line in lines)

    def colored(self, stream: TextIO) -> bool:
        """Whether the stream shows colours: the flag, then NO_COLOR, CLICOLOR_FORCE, TERM, and the stream itself."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
            return True
        return os.environ.get("TERM") != "dumb" and stream.isatty()

    def _write(self, stream: TextIO, text: str) -> None:
        if stream is sys.stdout and self.broken:
            return
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            # A reader who has had enough, or a full disk, is no reason to stop a run that is writing files.
            self.give_up(stream, error)

    def give_up(self, stream: TextIO, error: OSError) -> None:
        """Write nothing more; what is buffered goes nowhere, else Python complains about it at exit."""
        with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123 - a descriptor is replaced
            os.dup2(nothing.fileno(), stream.fileno())
        if stream is sys.stdout:
            self.broken = True
            self.unwritten = None if isinstance(error, BrokenPipeError) else error

    def close(self, code: int) -> int:
        """Flush; a result that could not be written is a failure, unless nobody wanted the rest.

        Returns:
            The exit code.
        """
        try:
            sys.stdout.flush()
        except OSError as error:
            self.give_up(sys.stdout, error)
        if self.unwritten is None:
            return code
        from trueup.cli.failures import print_error
        from trueup.core.errors import TrueupError

        print_error(TrueupError("the result could not be written", why=self.unwritten.strerror or ""), self)
        return code or TrueupError.exit_code

    # -- configuration -------------------------------------------------------------------------------------------

    def load_config(self) -> Config:
        """Read the configuration as the common options say."""
        from trueup import config

        return config.load(Path.cwd(), env=os.environ, profile=self.profile, file=self.config)

    def set_variable(self, name: str, value: str) -> None:
        """Set a variable for this call, so that a flag wins over the environment wherever that is read."""
        self.environment.setdefault(name, os.environ.get(name))
        os.environ[name] = value

    def restore(self) -> None:
        """Put the environment back."""
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.environment.clear()


_ANSI: Mapping[str, str] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}


def paint(text: str, style: str) -> str:
    """The text in a style, as a terminal wants it."""
    return f"\x1b[{_ANSI[style]}m{text}\x1b[0m" if style and text else text


def session_of(ctx: click.Context) -> Session:
    """The session of a call."""
    return ctx.find_root().ensure_object(Session)


pass_session = click.make_pass_decorator(Session, ensure=True)
"""Give the session to a command as its first argument."""


# -- the common options ------------------------------------------------------------------------------------------


def _set_json(session: Session, _: Any) -> None:
    session.output = Output.JSON


def _set_output(session: Session, value: str) -> None:
    session.output = Output(value)


def _set_quiet(session: Session, _: Any) -> None:
    session.quiet = True


def _set_verbose(session: Session, value: int) -> None:
    session.verbose += value


def _set_color(session: Session, value: str) -> None:
    session.color = value


def _set_state(session: Session, value: Path) -> None:
    session.set_variable("TRUEUP_STATE", str(value.absolute()))


def _set_config(session: Session, value: Path) -> None:
    session.config = value


def _set_profile(session: Session, value: str) -> None:
    session.profile = value


_SETTERS: Mapping[str, Callable[[Session, Any], None]] = {
    "as_json": _set_json,
    "output": _set_output,
    "quiet": _set_quiet,
    "verbose": _set_verbose,
    "color": _set_color,
    "state": _set_state,
    "config": _set_config,
    "profile": _set_profile,
}

COMMON = frozenset(_SETTERS)
"""Names of the common parameters."""

_EXPOSED = frozenset({"config", "profile"})


def _callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Take a common option, wherever in the line it stands."""
    if value and param.name is not None:
        _SETTERS[param.name](session_of(ctx), value)
        if param.name in _EXPOSED:
            ctx.find_root().params[param.name] = value
    return value


def common_options(*, exposed: bool, taken: AbstractSet[str] = frozenset()) -> Iterator[click.Option]:
    """The common options.

    Args:
        exposed: Whether the main command's own: those stay readable as its parameters.
        taken: Names that the command uses itself.
    """
    path = click.Path(path_type=Path)
    for names, settings in (
        (("--json", "as_json"), {"is_flag": True, "help": "One JSON document; short for --output json."}),
        (
            ("--output",),
            {
                "type": click.Choice([form.value for form in Output]),
                "help": "Form of the result; jsonl: events as they happen.",
            },
        ),
        (("-q", "--quiet"), {"is_flag": True, "help": "Say nothing; with read-only commands imply --exit-code."}),
        (("-v", "--verbose"), {"count": True, "help": "Show everything; -vv: steps, versions, tracebacks."}),
        (("--color",), {"type": click.Choice(["auto", "always", "never"]), "help": "Colours; default: auto."}),
        (("--state",), {"type": path, "metavar": "DIR", "help": "Where to remember; else TRUEUP_STATE."}),
        (
            ("--config",),
            {"type": path, "metavar": "FILE", "help": "Configuration, in place of the one found by walking up."},
        ),
        (("--profile",), {"metavar": "NAME", "help": "Profile of the configuration; else TRUEUP_PROFILE, TRUEUP_ENV."}),
    ):
        if taken.isdisjoint(names):
            option = click.Option(names, callback=_callback, **settings)
            option.expose_value = exposed and option.name in _EXPOSED
            yield option
