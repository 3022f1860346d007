"""Templates as Jinja2 sees them: whether they can be parsed, which ones lean on which, what was compiled from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from trueup.api.content.cached import CachedTemplates
from trueup.core.errors import StoreError, UsageError
from trueup.core.model import Key, is_directory
from trueup.core.plan import Item, Phase, Plan, Step
from trueup.core.table import Verb
from trueup.core.urls import local_path
from trueup.engine.candidates import after_step, with_left_over
from trueup.engine.filter import PatternFilter
from trueup.engine.job import Check, Job
from trueup.stores.cache.templates import Templates as Compiling
from trueup.targets.templates import MOST_BYTES, PATTERNS, Templates

try:
    from jinja2 import Environment, TemplateSyntaxError, meta
    from jinja2.bccache import BytecodeCache
except ImportError as error:
    raise UsageError(
        "templates cannot be parsed", why="Jinja2 is not installed", attempt="pip install 'trueup[templates]'"
    ) from error

BYTECODE, INVALIDATE, WARM = "bytecode", "invalidate", "warm"
"""What after-steps do."""
FILES = "__jinja2_%s.cache"
"""Names of files of a `FileSystemBytecodeCache`, its default."""
Leaning = Mapping[Key, tuple[Sequence[Key], Sequence[str]]]
"""Templates whose rendering may be another one now: because of which, and by which steps."""

_NAMING = BytecodeCache()
"""Only what it calls bytecode is asked of it."""
ANY = "*"
"""Stands for what a template names by a value that only its rendering knows."""


class Pages:
    """The templates of one target.

    Args:
        templates: What is known of them.
        roots: The local folders, as they are configured.
        job: The target's job.
        caches: Caches that hold something made from the templates, by name.
    """

    def __init__(
        self, templates: Templates, roots: Sequence[str], job: Job, caches: Mapping[str, CachedTemplates]
    ) -> None:
        self._templates = templates
        self._caches = caches
        self._compiled: Compiling | None = None
        self._loading = Lock()
        folders = [Path(local_path(root) or root).expanduser() for root in roots]
        self._roots = {folder: folder.resolve().name + "/" if len(folders) > 1 else "" for folder in folders}
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

    async def after(self, plan: Plan, left: Sequence[Item]) -> tuple[Item, ...]:
        """As `trueup.engine.job.Job.after`: what was made from templates that change, or from what leans on them.

        Bytecode in the folder is cleared, keys of caches are invalidated, and, where that is wanted, both are filled
        again when all of that is done. A cache is left as it is until the templates are published: whoever asks before
        fills it with the old ones.
        """
        if not (self._templates.bytecode or self._caches):
            return ()
        steps = await self._job.ambient.threads(self._steps, plan)
        return with_left_over(steps, [item for item in left if self._is_ours(item)])

    def needs(self) -> dict[str, Callable[[], str]]:
        """As `trueup.engine.job.Job.needs`."""
        return {f"cache {name}": cache.reached for name, cache in self._caches.items()}

    def permit(self, plan: Plan) -> None:
        """As `trueup.engine.job.Job.permit`: to compile is to load the application's code."""
        if any(_act(step).get("act") == WARM for item in plan.items for step in item.steps):
            self._compiling()

    async def act(self, step: Step) -> None:
        """As `trueup.engine.job.Job.act`."""
        await self._job.ambient.threads(self._do, step)

    def _do(self, step: Step) -> None:
        act = _act(step)
        match act.get("act"):
            case "bytecode":
                self._clear(act["files"])
            case "invalidate" if act["cache"] in self._caches:
                self._caches[act["cache"]].invalidate(act["keys"])
            case "warm":
                if self._is_here(act["key"]):  # it may be owed, and the template have gone since
                    self._warm(act["template"])
            case _:
                raise StoreError(f"{step.key} cannot be carried out", why="the configuration knows nothing of it")

    def _clear(self, names: Iterable[str]) -> None:
        folder = Path(self._templates.bytecode)
        for name in names:
            try:
                if os.sep in name or not name.startswith("__jinja2_"):
                    raise StoreError(f"{name} is no file of bytecode")
                with suppress(FileNotFoundError):
                    (folder / name).unlink()
            except OSError as error:
                raise StoreError(f"{folder / name} was not cleared", why=error.strerror or str(error)) from error

    def _compiling(self) -> Compiling:
        with self._loading:
            if self._compiled is None:
                own = self._templates.environment
                made = next((cache.spec.environment for cache in self._caches.values() if cache.spec.environment), None)
                if own is None and made is None:
                    raise UsageError("no templates can be compiled", why="no cache of the target names an environment")
                self._compiled = Compiling(own if made is None or own is not None else made())
        return self._compiled

    def _warm(self, name: str) -> None:
        try:
            self._compiling().warm(name)
        except StoreError:
            raise
        except Exception as error:  # the edge of somebody else's code: whatever it raises means that it failed
            raise StoreError(f"{name} was not compiled", why=f"{type(error).__name__}: {error}") from error

    def _is_here(self, key: Key) -> bool:
        return any(
            key.startswith(prefix) and (root / key.removeprefix(prefix)).is_file()
            for root, prefix in self._roots.items()
        )

    def _is_ours(self, item: Item) -> bool:
        """Whether what an earlier run has left is still wanted."""
        act = _act(item.steps[0])
        if act.get("act") == INVALIDATE:
            return act["cache"] in self._caches
        return bool(self._templates.warm if act.get("act") == WARM else self._templates.bytecode)

    def _steps(self, plan: Plan) -> tuple[Item, ...]:
        changed, gone = _changed(plan)
        if not changed:
            return ()
        leaning = {
            key: (causes, [step for cause in causes for step in changed[cause]])
            for key, causes in sorted(self._leaning(changed).items())
        }
        steps = [*self._bytecode_steps(leaning), *self._cache_steps(leaning)]
        if self._templates.warm:
            steps += self._warm_steps(leaning, gone)
        return tuple(steps)

    def _bytecode_steps(self, leaning: Leaning) -> Iterable[Item]:
        there = _names_in(self._templates.bytecode) if self._templates.bytecode else frozenset()
        for key, (causes, needs) in leaning.items():
            files = sorted(there.intersection(FILES % bytecode for bytecode in self._bytecode_of(key))) if there else []
            if files:
                why = f"its bytecode is cleared: {_because(key, causes)}"
                act = {"act": BYTECODE, "template": key, "files": files}
                yield after_step(f"{BYTECODE}/{key}", why, needs, act, again=True)

    def _cache_steps(self, leaning: Leaning) -> Iterable[Item]:
        """A step for each template, also if the cache holds nothing of it yet: by the time of the write it may."""
        for name, cache in self._caches.items():
            keys = {key: cache.keys(self._names_of(key), self._bytecode_of(key)) for key in leaning}
            unseen = ""
            try:
                there = cache.there(one for found in keys.values() for names in found.values() for one in names)
            except StoreError as error:
                there, unseen = set(), f"; it cannot be looked at now: {error}"
            for key, (causes, needs) in leaning.items():
                held = [one for names in keys[key].values() for one in names if one in there]
                said = ", ".join(held) or "whatever it has by then"
                why = f"{said} goes from {name}: {_because(key, causes)}{unseen}"
                act = {"act": INVALIDATE, "template": key, "cache": name, "keys": keys[key], "there": held}
                if keys[key]:
                    yield after_step(f"{INVALIDATE}/{name}/{key}", why, needs, act, again=True)

    def _warm_steps(self, leaning: Leaning, gone: AbstractSet[Key]) -> Iterable[Item]:
        for key, (_, needs) in leaning.items():
            if key not in gone:
                for name in self._names_of(key):
                    act = {"act": WARM, "template": name, "key": key}
                    why = "it is compiled again"
                    yield after_step(f"{WARM}/{key}", why, needs, act, phase=Phase.FINISH, again=True)

    def _bytecode_of(self, key: Key) -> list[str]:
        """What Jinja2's caches may call its bytecode: that depends on how the loader names the file."""
        own = getattr(self._templates.environment, "bytecode_cache", None)
        found: list[str] = []
        for root, prefix in self._roots.items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                absolute = os.path.join(os.path.abspath(root), name)  # noqa: PTH100, PTH118 - as the loader spells it
                files = (absolute, os.path.relpath(absolute))
                for cache in (_NAMING, own) if own is not None else (_NAMING,):
                    found += [cache.get_cache_key(name, file) for file in (*files, None)]
                found += files
        return found

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
            for path in sorted(root.rglob("*")):
                name = path.relative_to(root).as_posix()
                if ".trueup" in path.parts or path.is_symlink() or wanted.excludes(name, directory=False):
                    continue
                if path.is_file() and path.stat().st_size <= MOST_BYTES:
                    with suppress(OSError, UnicodeDecodeError):
                        yield Key(prefix + name), path.read_text("utf-8")


def _act(step: Step) -> Mapping[str, Any]:
    return step.record.fields if step.record is not None else {}


def _changed(plan: Plan) -> tuple[dict[Key, list[str]], AbstractSet[Key]]:
    """Templates that change, with the steps that change them, and those of them that are gone afterwards."""
    changed: dict[Key, list[str]] = {}
    gone: set[Key] = set()
    put: set[Key] = set()
    steps = (step for item in plan.changes if item.phase < Phase.AFTER for step in item.steps)
    for step in steps:
        if step.verb is Verb.SAVE or is_directory(step.key):
            continue
        changed.setdefault(step.key, []).append(step.id)
        if step.verb is Verb.MOVE and step.value is not None:
            changed.setdefault(step.value.key, []).append(step.id)
            gone.add(step.value.key)
        (gone if step.verb is Verb.DELETE else put).add(step.key)
    return changed, gone - put


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
