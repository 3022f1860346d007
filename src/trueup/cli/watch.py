"""``trueup watch``: sync whenever something changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import click
from anyio.streams.memory import MemoryObjectSendStream

from trueup.cli.common import Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, run_engine
from trueup.cli.sync import conclude, present_plan
from trueup.cli.targets import Chosen, Overrides, choose_all, policy_options, targets_argument, yes_option
from trueup.core.errors import UsageError
from trueup.core.plan import Plan
from trueup.core.report import EXIT_OK, Ending
from trueup.core.table import Verb
from trueup.core.urls import local_path
from trueup.render.text import line
from trueup.targets import Spec
from trueup.targets.folders import Folders

FULL_SCAN_SECONDS = 60.0
"""Events get lost (one in two hundred, when many files are made at once): a scan finds what they missed."""

_HEARTBEAT_MS = 1000
"""A thread waits for events that long at a time; so long the end of the command may take."""


@click.command(cls=Command)
@targets_argument
@policy_options
@click.option("--poll", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Scan that often; needs no events.")
@click.option(
    "--debounce",
    type=click.FloatRange(0.05, 60),
    default=1.0,
    show_default=True,
    help="Seconds to wait for more events.",
)
@yes_option
@pass_session
def watch(
    session: Session,
    *,
    names: tuple[str, ...],
    overrides: Overrides,
    poll: float | None,
    debounce: float,
    yes: bool,
) -> int:
    """Sync whenever something changes. Ctrl-C ends it.

    \b
    Examples:
      trueup watch photos
      trueup watch photos --yes           deletions too, without asking
      trueup watch photos --poll 30       where there are no events, such as on network drives

    An event means that a target is scanned again, and every minute it is scanned without one. Without --yes, a plan
    that deletes anything or destroys a version waits: it is shown, and `trueup sync` asks. Needs the extra `watch`,
    unless --poll is given.
    """
    _require_extra(poll)

    async def work(runner: Runner) -> int:
        chosen = choose_all(runner, names, overrides)
        session.tell([line(f"watching {len(chosen)} target(s); Ctrl-C ends it", "dim")])
        waiting: dict[str, str] = {}
        async with _pauses(chosen, poll, debounce) as pause:
            while not runner.stop.number:
                await runner.each(
                    [target.spec.name for target in chosen],
                    lambda index: _once(runner, chosen[index], waiting, yes=yes),
                )
                if not runner.stop.number:
                    await pause()
        return EXIT_OK

    return run_engine(session, work)


def _require_extra(poll: float | None) -> None:
    if poll is not None:
        return
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "watching needs the package watchfiles",
            why="it is not installed",
            attempt="pip install 'trueup[watch]', or trueup watch --poll 30",
        ) from error


async def _once(runner: Runner, target: Chosen, waiting: dict[str, str], *, yes: bool) -> int:
    """Sync one target; what has to be asked about waits, and is shown once."""
    from trueup.core.codec import digest

    async def confirm(plan: Plan) -> bool:
        if yes or _harmless(plan):
            runner.stop.writing = True
            return True
        if waiting.get(target.spec.name) != digest(plan):
            waiting[target.spec.name] = digest(plan)
            present_plan(runner, plan, target.words)
        return False

    report = await runner.engine.run(target.spec, confirm=confirm, command=runner.session.typed)
    runner.stop.writing = False
    if report.ending in (Ending.APPLIED, Ending.INTERRUPTED) and report.plan.changes:
        conclude(runner, report, target.words, shown=True)
    return EXIT_OK


def _harmless(plan: Plan) -> bool:
    deletes = any(step.verb is Verb.DELETE for item in plan.changes for step in item.steps)
    return not deletes and not plan.destroys


@asynccontextmanager
async def _pauses(
    chosen: Sequence[Chosen], poll: float | None, debounce: float
) -> AsyncGenerator[Callable[[], Awaitable[None]], None]:
    """What to await between two scans: some seconds, or events."""
    if poll is not None:
        yield lambda: anyio.sleep(poll)
        return
    stop = anyio.Event()
    ring, bell = anyio.create_memory_object_stream[None](1)

    async def heard() -> None:
        with anyio.move_on_after(FULL_SCAN_SECONDS):
            await bell.receive()

    with ring, bell:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, _roots(chosen), debounce, stop, ring)
            try:
                yield heard
            finally:
                stop.set()
                tasks.cancel_scope.cancel()


async def _listen(
    roots: Sequence[Path], debounce: float, stop: anyio.Event, ring: MemoryObjectSendStream[None]
) -> None:
    """Ring for events, and once when listening has begun: what came before that nobody has heard."""
    from watchfiles import Change, awatch

    def ours(_: Change, path: str) -> bool:
        return "/.trueup/" not in f"{path}/"

    begun = False
    async for changes in awatch(
        *roots,
        watch_filter=ours,
        debounce=max(50, int(debounce * 1000)),
        step=min(200, max(10, int(debounce * 500))),
        stop_event=stop,
        rust_timeout=_HEARTBEAT_MS,
        yield_on_timeout=True,
    ):
        if changes or not begun:
            begun = True
            with suppress(anyio.WouldBlock):
                ring.send_nowait(None)


def _roots(chosen: Sequence[Chosen]) -> list[Path]:
    """Every folder of this machine that belongs to one of the targets and is there."""
    places = [place for target in chosen for place in _places(target.spec)]
    paths = [Path(path).expanduser() for place in places if (path := local_path(place)) is not None]
    roots = [path for path in paths if path.is_dir()]
    if not roots:
        raise UsageError("no folder to watch", why="none of them is there", attempt="trueup doctor")
    return roots


def _places(spec: Spec) -> tuple[str, ...]:
    if isinstance(spec, Folders):
        return (*spec.local, spec.remote)
    raise UsageError(
        f"{spec.name} cannot be watched", why="it is no pair of folders", attempt="trueup sync, now and then"
    )
