"""Run the engine for a command: the event loop, signals, questions, and several targets after each other."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio.abc import TaskGroup, TaskStatus

from trueup.cli.common import Output, Session
from trueup.cli.failures import leaves, print_error
from trueup.cli.progress import Display
from trueup.core.errors import TrueupError, UsageError
from trueup.core.report import combine
from trueup.render.documents import event
from trueup.render.names import count
from trueup.render.text import line

if TYPE_CHECKING:
    from trueup.api import Engine
    from trueup.config import Config
    from trueup.core.plan import Plan


@dataclass(slots=True)
class Stop:
    """What signals have asked for. The first lets what is under way finish, the second stops at once."""

    number: int = 0
    """The first signal that came; 0 while none has."""
    writing: bool = False
    """Whether there is something to finish."""

    @property
    def exit_code(self) -> int:
        """As shells count: 128 and the signal's number."""
        return 128 + self.number


@dataclass(slots=True)
class Runner:
    """An engine, and what a command needs around it."""

    session: Session
    config: Config
    display: Display
    closing: AsyncExitStack
    """Closes what was opened when the command ends."""
    stop: Stop = field(default_factory=Stop)
    _engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine, opened when it is first wanted: loading it takes longer than to begin asking a service."""
        if self._engine is None:
            from trueup.api import Engine

            self._engine = Engine(self.config, on_progress=self.display.update)
            self.closing.push_async_exit(self._engine)
        return self._engine

    # -- results -------------------------------------------------------------------------------------------------

    def event(self, name: str, /, **fields: object) -> None:
        """Write one event, where events are wanted."""
        if self.session.output is Output.JSONL:
            self.session.answer(event(name, **fields))

    # -- questions -----------------------------------------------------------------------------------------------

    def require_terminal(self, question: str, *, option: str = "--yes") -> None:
        """Refuse a question that nobody would see.

        Raises:
            UsageError: If stdin or stderr is no terminal.
        """
        if not interactive():
            raise UsageError(
                f"a question is due: {question}",
                why="nobody can be asked, this is no terminal",
                attempt=f"the same command with {option}",
            )

    async def ask(self, question: str) -> bool:
        """Ask a question on the terminal; only a plain yes is one."""
        answer = await self.prompt(f"{question} [y/N] ")
        return answer.strip().lower() in ("y", "yes")

    async def prompt(self, text: str) -> str:
        """Ask for a line. The event loop stays alive, so that Ctrl-C is heard."""
        self.display.close()
        sys.stderr.write(text)
        sys.stderr.flush()
        await anyio.wait_readable(sys.stdin)
        answer = sys.stdin.readline()
        if not answer:
            sys.stderr.write("\n")
        return answer

    # -- several targets -----------------------------------------------------------------------------------------

    async def each(self, names: Sequence[str], work: Callable[[int], Awaitable[int]]) -> list[tuple[int, Failure]]:
        """Do the same for several targets, one after the other. One that fails never stops the others.

        Args:
            names: What to call them when they fail.
            work: Does it for the n-th and returns an exit code.

        Returns:
            An exit code and a failure, if there was one, for each that was begun.
        """
        results: list[tuple[int, Failure]] = []
        for index, name in enumerate(names):
            if self.stop.number:
                break
            try:
                results.append((await work(index), None))
            except* TrueupError as group:
                errors = [error for error in leaves(group) if isinstance(error, TrueupError)]
                self.fail(name if len(names) > 1 else "", errors)
                results.append((combine([error.exit_code for error in errors]), errors[0]))
        return results

    def fail(self, name: str, errors: Iterable[TrueupError]) -> None:
        """Say that something went wrong with one target."""
        self.display.close()
        for error in errors:
            print_error(error, self.session, about=name)
            self.event("error", target=name, error=error)


Failure = TrueupError | None


def interactive() -> bool:
    """Whether a person can be asked: stdin hears, and stderr shows."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def run_engine(session: Session, work: Callable[[Runner], Awaitable[int]]) -> int:
    """Do the work of a command, and come back with an exit code.

    Args:
        session: What the common options say.
        work: The command, as a coroutine over an engine.
    """
    config = session.load_config()
    display = Display(session)

    async def main() -> int:
        async with AsyncExitStack() as closing:
            runner = Runner(session, config, display, closing)
            code = 0
            async with _Signals(runner) as signals:
                try:
                    code = await work(runner)
                finally:
                    display.close()
                signals.done()
            return runner.stop.exit_code if runner.stop.number else code

    return anyio.run(main)


class _Signals:
    """Hears SIGINT and SIGTERM while the work is done; cancels it when it must."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        if threading.current_thread() is threading.main_thread():
            await self._tasks.start(self._hear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None  # noqa: S101 - entered before
        return await self._tasks.__aexit__(kind, error, trace)

    def done(self) -> None:
        """Hear no more."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _hear(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self._heard(number)

    def _heard(self, number: signal.Signals) -> None:
        stop, session = self._runner.stop, self._runner.session
        first, stop.number = not stop.number, stop.number or int(number)
        self._runner.display.close()
        if interactive():
            sys.stderr.write("\n")  # behind a question, or the terminal's ^C
        if first and stop.writing:
            self._runner.engine.drain()
            session.tell([line("finishing what is under way; once more stops at once", "yellow")])
            return
        session.tell([line("stopped; what was done is recorded" if stop.writing else "stopped; nothing was done")])
        self.done()


def changes_question(plan: Plan) -> str:
    """What is asked before anything is done."""
    destroys = f", {count(plan.destroys, 'version')} destroyed for good" if plan.destroys else ""
    return f"Apply {count(len(plan.changes), 'change')}{destroys}?"
