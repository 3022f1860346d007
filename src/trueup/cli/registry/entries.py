"""Entries of a registry: which one a command means, and how each of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trueup.cli.registry.options import Options
from trueup.cli.running import Runner
from trueup.core.audit import AGREE, Judged
from trueup.core.errors import UsageError
from trueup.core.model import Damaged, Entry, Key, Recorded, Shown, Unknown
from trueup.core.table import Standing
from trueup.targets import environments, policies
from trueup.targets.environments import Environments
from trueup.targets.policies import Policies

POLICY, ENV = "policy", "env"
LATEST = "latest"
"""The version that a policy has if none is named."""


@dataclass(frozen=True, slots=True)
class Found:
    """One entry: of which kind it is, and what every side shows."""

    kind: str
    spec: Policies | Environments
    item: Judged

    @property
    def fields(self) -> dict[str, Any]:
        """What the registry says; empty for what it does not name."""
        record = self.item.seen.get(policies.RECORD)
        return record.record.fields if isinstance(record, Recorded) else {}

    @property
    def content(self) -> Shown:
        """What the side shows that holds what is recorded."""
        return self.item.seen.get(policies.DISK if self.kind == POLICY else environments.ENGINE)

    @property
    def recorded(self) -> bool:
        """Whether the registry names it."""
        return self.item.seen.get(policies.RECORD) is not None

    @property
    def state(self) -> str:
        """One word for how it stands."""
        if self.item.rule.reason == AGREE:
            return "present"
        if self.item.rule.standing is not Standing.PLAIN:
            return self.item.rule.standing.value
        return "missing"

    @property
    def image(self) -> str:
        """The image that the registry names, and what the engine says of it where that is known."""
        image = str(self.fields.get("image") or "")
        if self.kind == ENV or not image:
            return image
        engine = self.item.seen.get(policies.ENGINE)
        if isinstance(engine, Unknown):
            return f"{image} (unknown)"
        return image if engine is not None else f"{image} (missing)"

    @property
    def why(self) -> str:
        """What is wrong with it; empty if nothing is."""
        content = self.content
        if isinstance(content, Unknown | Damaged):
            return content.why
        return self.item.rule.why

    @property
    def size(self) -> int | None:
        """Bytes of what is recorded, as far as they are there."""
        content = self.content
        if isinstance(content, Entry):
            return content.content.size
        return content.size if isinstance(content, Damaged) else None


def specs(runner: Runner, options: Options) -> dict[str, Policies | Environments]:
    """The targets of both kinds."""
    return {POLICY: options.policies(runner), ENV: options.environments(runner)}


async def entries(runner: Runner, options: Options, kinds: Sequence[str] = (POLICY, ENV)) -> list[Found]:
    """Everything that the registry names, and what it does not name and should.

    Raises:
        StoreError: If the registry cannot be read.
    """
    chosen = specs(runner, options)
    return [Found(kind, chosen[kind], item) for kind in kinds for item in await runner.engine.survey(chosen[kind])]


def parsed(words: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """``[policy|env] NAME`` as the kinds that it can be, and the name.

    Raises:
        UsageError: If it is something else.
    """
    match words:
        case [("policy" | "env") as kind, name]:
            return (kind,), name
        case [name] if name not in (POLICY, ENV):
            return (POLICY, ENV), name
        case _:
            raise UsageError("which entry?", why="one is meant by its name", attempt="trueup registry ls")


def policy_key(name: str) -> Key:
    """``NAME`` or ``NAME:VERSION``."""
    return Key(name if ":" in name else f"{name}:{LATEST}")


async def find(runner: Runner, options: Options, words: Sequence[str], *, recorded: bool = True) -> Found:
    """The entry that ``[policy|env] NAME`` means.

    Args:
        runner: The open engine.
        options: Which registry.
        words: What was typed.
        recorded: Whether the registry has to name it.

    Raises:
        UsageError: If there is none, or there are two.
    """
    kinds, name = parsed(words)
    keys = {POLICY: policy_key(name), ENV: Key(name)}
    all_ = [one for one in await entries(runner, options, kinds) if one.recorded or not recorded]
    found = [one for one in all_ if one.item.key == keys[one.kind]]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{name} is a policy and an environment", attempt=f"the same command with policy {name}, or env {name}"
        )
    from difflib import get_close_matches

    near = get_close_matches(name, [one.item.key for one in all_], n=3, cutoff=0.5)
    versions = [one.item.key for one in all_ if one.item.key.startswith(f"{name}:")]
    why = f"there is {', '.join(dict.fromkeys([*versions, *near]))}" if near or versions else ""
    raise UsageError(f"no entry is called {name}", why=why, attempt="trueup registry ls")
