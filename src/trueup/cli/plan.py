"""``trueup status``, ``plan`` and ``verify``: look, and write nothing on any side."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from trueup.cli.answers import finish
from trueup.cli.common import Output, Session, pass_session
from trueup.cli.group import Command
from trueup.cli.running import Runner, run_engine
from trueup.cli.targets import (
    Chosen,
    Overrides,
    choose,
    choose_all,
    no_more,
    policy_options,
    target_argument,
    targets_argument,
)
from trueup.core.codec import MAX_BYTES, CodecError, plan_from_bytes, plan_to_json
from trueup.core.errors import TrueupError, UsageError
from trueup.core.model import LOCAL
from trueup.core.plan import Plan
from trueup.core.report import EXIT_FAILED, EXIT_OK, combine, plan_exit_code
from trueup.render.documents import dump, refusal_fields, summary_fields
from trueup.render.names import printable, quote
from trueup.render.plans import plan_lines, status_lines, verdict
from trueup.targets.datasets import Datasets

SHOWN_CHARACTERS = 300
"""Of what is wrong with a plan that somebody else may have written."""

exit_code_option = click.option(
    "--exit-code", is_flag=True, help="End with 3 where there is drift; --quiet implies it."
)


@click.command(cls=Command)
@targets_argument
@policy_options
@exit_code_option
@pass_session
def status(session: Session, *, names: tuple[str, ...], overrides: Overrides, exit_code: bool) -> int:
    """Say how each target stands.

    \b
    Examples:
      trueup status                       every target
      trueup status photos -v             one, with all that differs
      trueup status folder ~/a /mnt/a     two folders that no file configures
      trueup status dataset 0042 0042_eu  one actor's images: size, time, and digests of before
      trueup status --quiet || trueup sync

    Nothing is written, and unchanged files are not read: they are known by size, time and inode. `trueup verify` reads
    every byte. The exit code is 4 if a conflict waits for a person, 1 if a side could not be seen, 2 if an item could
    not; 3 for drift only with --exit-code.
    """
    return _survey(session, names, overrides, exit_code=exit_code or session.quiet, by_content=False)


@click.command(cls=Command)
@targets_argument
@policy_options
@pass_session
def verify(session: Session, *, names: tuple[str, ...], overrides: Overrides) -> int:
    """Read and compare every byte of both sides.

    \b
    Examples:
      trueup verify                       every target
      trueup verify photos -v             one, with all that differs
      trueup verify dataset 0042 0042_eu  stopped half-way, it goes on from there
      trueup verify --json

    Finds what size and time cannot show, such as a damaged disk. Writes nothing. The exit code is 3 if anything
    differs.
    """
    return _survey(session, names, overrides, exit_code=True, by_content=True)


def _survey(
    session: Session, names: tuple[str, ...], overrides: Overrides, *, exit_code: bool, by_content: bool
) -> int:
    async def work(runner: Runner) -> int:
        chosen = choose_all(runner, names, overrides)
        entries: list[dict[str, Any]] = []

        async def look(index: int) -> int:
            target = chosen[index]
            entries.append({"name": target.spec.name})
            try:
                plan = await runner.engine.plan(target.spec, verify=by_content, glance=not by_content)
                if isinstance(target.spec, Datasets):
                    from trueup.api.datasets import refuse_unknown  # manifests, which folders need not load

                    await refuse_unknown(target.spec, plan)
            except* TrueupError:
                runner.display.close()
                if session.text:
                    session.show([((printable(target.spec.name), "bold"), ("  unknown", "magenta"))])
                raise
            runner.display.close()
            if by_content:
                plan = _counted(plan)
            code = plan_exit_code(plan, drift=exit_code)
            entries[-1] |= summary_fields(plan, by_content=by_content) | {"state": verdict(plan)[0], "exit_code": code}
            runner.event("status", **entries[-1])
            if session.text:
                verbose = session.verbose + by_content
                session.show(status_lines(plan, target.words, by_content=by_content, verbose=verbose))
            return code

        results = await runner.each([target.spec.name for target in chosen], look)
        code = combine([code for code, _ in results])
        for entry, (own, failure) in zip(entries, results, strict=True):
            entry |= {"error": failure, "exit_code": own}
        finish(session, "status", targets=entries, exit_code=code)
        return code

    return run_engine(session, work)


def _counted(plan: Plan) -> Plan:
    """Where versions count for nothing, what agrees is not counted on the way: it is what the plan does not list."""
    listed = sum(item.side(LOCAL) is not None for item in plan.items)
    return replace(plan, agreed=plan.agreed or max(0, plan.observed[LOCAL].items - listed))


@click.command(cls=Command)
@target_argument
@policy_options
@click.option("-o", "--out", metavar="FILE", type=click.Path(path_type=Path), help="Save the plan for `trueup apply`.")
@click.option("--detailed-exitcode", is_flag=True, help="0: nothing to do, 1: error, 2: changes or conflicts.")
@exit_code_option
@pass_session
def plan(
    session: Session,
    *,
    words: tuple[str, ...],
    overrides: Overrides,
    out: Path | None,
    detailed_exitcode: bool,
    exit_code: bool,
) -> int:
    """Show what sync would do, and why.

    \b
    Examples:
      trueup plan photos
      trueup plan photos -o photos.plan   save it; then: trueup apply photos.plan
      trueup plan folder ~/a /mnt/a --direction push --deletes propagate
      trueup plan photos --json

    Nothing is written on any side. A saved plan names every version that it saw: what has changed meanwhile is found
    out when it is applied.
    """

    async def work(runner: Runner) -> int:
        target, rest = choose(runner, words, overrides)
        no_more(rest)
        made = await runner.engine.plan(target.spec)
        runner.display.close()
        _present(runner, target, made, out)
        if detailed_exitcode:
            return _detailed(made)
        return plan_exit_code(made, drift=exit_code or session.quiet)

    if not detailed_exitcode:
        return run_engine(session, work)
    try:
        return run_engine(session, work)
    except* (UsageError, click.UsageError):
        raise
    except* TrueupError as group:
        from trueup.cli.failures import report_failure

        report_failure(group, session)
    return EXIT_FAILED


def _detailed(made: Plan) -> int:
    if made.unknown or not made.complete:
        return EXIT_FAILED
    return 2 if made.changes or made.conflicts else EXIT_OK


def _present(runner: Runner, target: Chosen, made: Plan, out: Path | None) -> None:
    session = runner.session
    refusals = runner.engine.refusals(made, target.spec)
    words = target.words
    whole = ""
    if out is not None or session.output is Output.JSON:  # costs as much as the plan itself
        whole = dump(plan_to_json(made) | {"refusals": refusal_fields(refusals)})
    if out is not None:
        _refuse_unreadable(whole)
        _save(out, whole)
        words = replace(words, next=f"next: trueup apply {quote(str(out))}")
    if session.output is Output.JSON:
        session.answer(whole)
    elif session.output is Output.JSONL:
        runner.event("plan", plan=made, refusals=refusal_fields(refusals))
    else:
        session.show(plan_lines(made, words, verbose=session.verbose, refusals=refusals))


def _refuse_unreadable(whole: str) -> None:
    """Nobody is to find out only in `trueup apply` that a plan is too large to be read again."""
    if len(whole) > MAX_BYTES:
        raise UsageError(
            "the plan is too large for a file",
            why=f"it has {len(whole)} bytes, {MAX_BYTES} can be read again",
            attempt="trueup sync, which asks before it does anything",
        )


def _save(path: Path, text: str) -> None:
    """Write a file whole or not at all; it names other people's files, so only its owner reads it."""
    import tempfile

    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name[:100]}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=error.strerror or str(error)) from error


def read_plan(path: Path) -> Plan:
    """A plan that was saved; ``-`` reads stdin.

    Raises:
        UsageError: If the file cannot be read.
        CodecError: If it is no plan, or was altered.
    """
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        return plan_from_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or str(error)) from error
    except CodecError as error:
        why = str(error)  # it may repeat what the file says, at any length
        why = why if len(why) <= SHOWN_CHARACTERS else f"{why[:SHOWN_CHARACTERS]}..."
        raise CodecError(f"{path} is not a plan", why=why, attempt="trueup plan NAME -o FILE") from error
