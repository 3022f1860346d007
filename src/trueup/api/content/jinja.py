"""Templates as Jinja2 sees them: whether they can be parsed, which ones lean on which, what was compiled from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trueup.core.errors import StoreError, UsageError
from trueup.core.model import Key, is_directory
from trueup.core.plan import Item, Phase, Plan, Step
from trueup.core.table import Verb
from trueup.engine.candidates import after_step
from trueup.engine.filter import PatternFilter
from trueup.engine.job import Check, Job
from trueup.targets.templates import MOST_BYTES, PATTERNS, Templates

try:
    from jinja2 import Environment, TemplateSyntaxError, meta
    from jinja2.bccache import FileSystemBytecodeCache
except ImportError as error:
    raise UsageError(
        "templates cannot be parsed", why="Jinja2 is not installed", attempt="pip install 'trueup[templates]'"
    ) from error

BYTECODE = "bytecode"
ANY = "*"
"""Stands for what a template names by a value that only its rendering knows."""


class Pages:
    """The templates of one target.

    Args:
        templates: What is known of them.
        roots: The local folders, as they are configured.
        job: The target's job.
    """

    def __init__(self, templates: Templates, roots: Sequence[str], job: Job) -> None:
        self._templates = templates
        self._roots = dict.fromkeys(roots, "") if len(roots) == 1 else {root: _name(root) + "/" for root in roots}
        self._job = job
        self._environment = templates.environment or _environment(templates)

    # -- before ------------------------------------------------------------------------------------------------------

    def check(self, seconds: float) -> Check | None:
        """What templates are judged by; None if they are not."""
        return Check(self._problem, MOST_BYTES, seconds) if self._templates.check else None

    def _problem(self, _: Key, data: bytes) -> str | None:
        try:
            self._environment.parse(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            return f"line {line}: this is not UTF-8"
        except TemplateSyntaxError as error:
            return f"line {error.lineno}: {error.message}"
        except RecursionError:
            return "nested too deeply"
        return None

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def after(self, plan: Plan) -> tuple[Item, ...]:
        """As `trueup.engine.job.Job.after`: the bytecode of what changes, and of what includes or extends it.

        What else keeps something made from templates is invalidated by steps that join here.
        """
        if not self._templates.bytecode:
            return ()
        return await self._job.ambient.threads(self._bytecode_steps, plan)

    async def act(self, step: Step) -> None:
        """As `trueup.engine.job.Job.act`."""
        await self._job.ambient.threads(self._clear, step)

    def _clear(self, step: Step) -> None:
        folder = Path(self._templates.bytecode)
        for name in step.record.fields["files"] if step.record is not None else ():
            try:
                if os.sep in name or not name.startswith("__jinja2_"):
                    raise StoreError(f"{name} is no file of bytecode")
                with suppress(FileNotFoundError):
                    (folder / name).unlink()
            except OSError as error:
                raise StoreError(f"{folder / name} was not cleared", why=error.strerror or str(error)) from error

    def _bytecode_steps(self, plan: Plan) -> tuple[Item, ...]:
        changed: dict[Key, list[str]] = {}
        for item in plan.changes:
            for step in item.steps:
                if item.phase is not Phase.AFTER and step.verb is not Verb.SAVE and not is_directory(step.key):
                    changed.setdefault(step.key, []).append(step.id)
                    if step.verb is Verb.MOVE and step.value is not None:
                        changed.setdefault(step.value.key, []).append(step.id)
        there = _names_in(self._templates.bytecode)
        if not changed or not there:
            return ()
        leaning = self._leaning(changed)
        steps = []
        for key, causes in sorted(leaning.items()):
            files = sorted(there.intersection(self._files_of(key)))
            if files:
                needs = [step for cause in causes for step in changed[cause]]
                why = f"its bytecode is cleared: {_because(key, causes)}"
                act = {"act": BYTECODE, "template": key, "files": files}
                steps.append(after_step(f"{BYTECODE}/{key}", why, needs, act))
        return tuple(steps)

    def _files_of(self, key: Key) -> Iterable[str]:
        """Names that Jinja2's cache of files may have for a template: they depend on how its loader names the file."""
        cache = FileSystemBytecodeCache(self._templates.bytecode)
        for root, prefix in self._roots.items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                absolute = os.path.join(os.path.abspath(root), name)  # noqa: PTH100, PTH118 - as the loader spells it
                for filename in (absolute, os.path.relpath(absolute), None):
                    yield cache.pattern % cache.get_cache_key(name, filename)

    def _leaning(self, changed: Iterable[Key]) -> dict[Key, list[Key]]:
        """Every template whose rendering may be another one now, and because of which that were changed.

        What a changed template itself names is of no matter: it is one of them already.
        """
        users = self._users()
        causes: dict[Key, list[Key]] = {}
        for origin in changed:
            waiting, seen = [origin], {origin}
            while waiting:
                key = waiting.pop()
                causes.setdefault(key, []).append(origin)
                below = {user for name in self._names_of(key) for user in users.get(name, ())} | users.get(ANY, set())
                waiting += sorted(below - seen)
                seen |= below
        return causes

    def _names_of(self, key: Key) -> list[str]:
        """What templates call it."""
        return [key.removeprefix(prefix) for prefix in self._roots.values() if key.startswith(prefix)]

    def _users(self) -> Mapping[str, set[Key]]:
        """Which templates name which, as they are in the local folders."""
        users: dict[str, set[Key]] = {}
        for key, text in self._texts():
            try:
                named = meta.find_referenced_templates(self._environment.parse(text))
                for name in named:
                    users.setdefault(name if name is not None else ANY, set()).add(key)
            except (TemplateSyntaxError, RecursionError):
                users.setdefault(ANY, set()).add(key)  # what it names nobody knows
        return users

    def _texts(self) -> Iterable[tuple[Key, str]]:
        wanted = PatternFilter(include=PATTERNS)
        for root, prefix in self._roots.items():
            for path in sorted(Path(root.removeprefix("file://")).rglob("*")):
                name = path.relative_to(root.removeprefix("file://")).as_posix()
                if ".trueup" in path.parts or path.is_symlink() or wanted.excludes(name, directory=False):
                    continue
                if path.is_file() and path.stat().st_size <= MOST_BYTES:
                    with suppress(OSError, UnicodeDecodeError):
                        yield Key(prefix + name), path.read_text("utf-8")


def _environment(templates: Templates) -> Any:
    begin_block, end_block, begin_variable, end_variable, begin_comment, end_comment = templates.delimiters
    try:
        return Environment(  # noqa: S701 - it renders nothing
            block_start_string=begin_block,
            block_end_string=end_block,
            variable_start_string=begin_variable,
            variable_end_string=end_variable,
            comment_start_string=begin_comment,
            comment_end_string=end_comment,
            extensions=[f"jinja2.ext.{name}" for name in templates.extensions],
        )
    except (ImportError, AttributeError) as error:
        raise UsageError("Jinja2 has no such extension", why=str(error)) from error


def _name(root: str) -> str:
    return Path(root.removeprefix("file://")).expanduser().resolve().name


def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(path.name for path in Path(folder).iterdir())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise StoreError(f"the bytecode in {folder} cannot be seen", why=error.strerror or str(error)) from error


def _because(key: Key, causes: Sequence[Key]) -> str:
    others = [cause for cause in causes if cause != key]
    return "it changes" if len(others) < len(causes) else f"it leans on {', '.join(others[:3])}"
