"""Where every error ends: one line on stderr that says what, why and what to try, and a documented exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from trueup.core.errors import ConfigError, TrueupError, UsageError

if TYPE_CHECKING:
    from trueup.cli.common import Session

INTERRUPTED = 130
BUG = "TU-BUG"


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of errors, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def exit_code_of(error: BaseException) -> int:
    """The exit code for whatever went wrong."""
    from trueup.core.report import combine

    return combine([_code(leaf) for leaf in leaves(error)])


def _code(error: BaseException) -> int:
    match error:
        case TrueupError():
            return error.exit_code
        case click.UsageError():
            return UsageError.exit_code
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED
        case _:
            return 1


def report_failure(error: BaseException, session: Session) -> None:
    """Print every error once; with ``--json`` as a document too."""
    from trueup.cli.common import Output

    if session.verbose > 1:
        _print_traceback(error)
    known = [found for leaf in leaves(error) if (found := understood(leaf)) is not None]
    for found in known:
        print_error(found, session)
    if session.output is not Output.TEXT and not session.answered and known:
        from trueup.render.documents import document, dump, event

        if session.output is Output.JSON:
            session.answer(dump(document("error", error=known[0])))
        else:
            session.answer(event("error", error=known[0]))


def understood(error: BaseException) -> TrueupError | None:
    """The error as one of ours; None where there is nothing to say."""
    match error:
        case TrueupError():
            return error
        case click.exceptions.NoArgsIsHelpError():
            return UsageError("a command is missing", attempt=f"{_path(error)} --help")
        case click.UsageError():
            return UsageError(_sentence(error.format_message()), attempt=f"{_path(error)} --help")
        case click.ClickException():
            return UsageError(_sentence(error.format_message()))
        case click.Abort() | KeyboardInterrupt():
            return None
        case _:
            return _Bug(
                f"{type(error).__name__}: {error}",
                why="this should not happen; what was done is recorded",
                attempt="the same with -vv, and report what it prints",
            )


class _Bug(TrueupError):
    """Nobody expected this."""

    code = BUG


def _path(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx is not None else "trueup"


def _sentence(message: str) -> str:
    """Click's sentence as the middle of ours."""
    text = re.sub(r"\s+", " ", message).strip()
    return text.rstrip(".")


def print_error(error: TrueupError, session: Session, *, about: str = "") -> None:
    """``error[TU-...]: what - why - try: command``; `about` names the target where there are several."""
    session.tell([error_line(error, about=about)])


def error_line(error: TrueupError, *, about: str = "") -> tuple[tuple[str, str], ...]:
    """One error as a line; a why of several lines keeps them."""
    from trueup.render.names import place, printable

    what, why, attempt = (place(part) for part in (error.what, error.why, error.attempt))
    body = f"{printable(about)}: {what}" if about else what
    listed = isinstance(error, ConfigError) and error.why.startswith("\n")
    if listed:  # one line each; the configuration has made its own values harmless
        body += "".join(f"\n{printable(part)}" for part in error.why[1:].split("\n"))
    elif why:
        body += f" - {why}"
    if attempt:
        body += ("\n" if listed else " - ") + f"try: {attempt}"
    return ((f"error[{error.code}]", "red"), (f": {body}", ""))


def _print_traceback(error: BaseException) -> None:
    import sys
    import traceback

    from trueup.render.names import printable

    for line in "".join(traceback.format_exception(error)).splitlines():
        sys.stderr.write(printable(line) + "\n")
