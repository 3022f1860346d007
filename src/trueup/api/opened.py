"""What is open while an engine is: the configuration, the state, and a job for each target that is worked on."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from trueup.api.opening import open_job, spec_from
from trueup.config import Config
from trueup.config import state_dir as default_state_dir
from trueup.core.check import Guard
from trueup.core.errors import StalePlan, UsageError
from trueup.core.plan import Plan
from trueup.engine.ambient import Ambient
from trueup.engine.job import Job, Progress
from trueup.engine.state import State
from trueup.targets import Spec
from trueup.targets.datasets import Datasets, Layout

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectSendStream


class Opened:
    """Targets by name, their jobs, and who hears what happens.

    Args:
        config: What `trueup.config.load` found; None: no configuration, ad hoc targets only.
        state_dir: Where to remember; default: the configuration's.
        on_progress: Is called for everything that happens, in the event loop's thread.
        ambient: Clock, threads, names, randomness; for simulations.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        state_dir: Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        ambient: Ambient | None = None,
    ) -> None:
        self._config = config or Config(state_dir or default_state_dir(Path.cwd(), env=os.environ))
        self._directory = state_dir or self._config.state_dir
        self._ambient = ambient or Ambient()
        self._state: State | None = None
        self._opening = anyio.Lock()
        """What stores found out about services."""
        self._draining = False
        self._listeners: list[MemoryObjectSendStream[Progress]] = []
        self._on_progress = on_progress

    async def __aenter__(self) -> Self:
        """Open nothing yet: the state is opened on first use."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the state, end the event streams."""
        for listener in self._listeners:
            await listener.aclose()
        if self._state is not None:
            self._state.close()

    def drain(self) -> None:
        """Finish what is under way, begin nothing new; runs end as interrupted. May be called from a signal handler."""
        self._draining = True

    async def events(self) -> AsyncIterator[Progress]:
        """Everything that happens from now on, until the engine is closed. A slow reader misses nothing."""
        send, receive = anyio.create_memory_object_stream[Progress](math.inf)
        self._listeners.append(send)
        try:
            async with receive:
                async for event in receive:
                    yield event
        finally:
            if send in self._listeners:
                self._listeners.remove(send)

    def _progress(self, event: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(event)
        for listener in self._listeners:
            listener.send_nowait(event)

    @property
    def targets(self) -> Mapping[str, Spec]:
        """The configured targets by name."""
        return self._config.targets

    def find(self, name: str) -> Spec:
        """The configured target of that name.

        Raises:
            UsageError: If there is none; with the nearest names.
        """
        return self._config.target(name)

    @property
    def layout(self) -> Layout:
        """Where the datasets of all actors are.

        Raises:
            UsageError: If nobody has said so.
        """
        if self._config.datasets is None:
            raise UsageError(
                "nobody has said where datasets are",
                why="no configuration here or above has a table [datasets]",
                attempt="trueup init --dataset --remote s3://BUCKET/PREFIX",
            )
        return self._config.datasets

    def dataset(self, actor_id: str, actor_name: str, *, delete_orphans: bool = False) -> Datasets:
        """The dataset of one actor, configured as a target or not.

        Raises:
            UsageError: If nobody has said where datasets are, or id or name cannot be a part of a path.
        """
        return self.layout.actor(actor_id, actor_name, delete_orphans=delete_orphans)

    def _spec(self, target: str | Spec) -> Spec:
        return self.find(target) if isinstance(target, str) else target

    async def _planned_job(self, plan: Plan, allow: Iterable[Guard]) -> Job:
        """The job of a plan made before: of the configured target if it still is the same, else of what the plan says.

        Raises:
            StalePlan: If the plan's own folders are another target by now.
        """
        configured = self.targets.get(plan.target.name)
        if configured is not None:
            job = await self._job(configured, allow=allow)
            if job.target.id == plan.target.id:
                return replace(job, target=plan.target, policy=plan.policy)
        job = await self._job(spec_from(plan), allow=allow)
        if job.target.id != plan.target.id:
            raise StalePlan(f"the folders of {plan.target.name} are others by now", attempt="make a new plan")
        return replace(job, target=plan.target, policy=plan.policy)

    async def _opened(self, *, recover: bool = False) -> State:
        async with self._opening:  # two callers at once share one connection
            if self._state is None:
                self._state = await self._ambient.threads(self._open_state, recover)
            return self._state

    def _open_state(self, recover: object) -> State:
        return State.recovered(self._directory, self._ambient.run_id()) if recover else State(self._directory)

    async def _job(self, target: str | Spec, *, allow: Iterable[Guard] = ()) -> Job:
        allowed = frozenset(allow)
        state = await self._opened(recover=Guard.CORRUPT_STATE in allowed)
        opening = partial(open_job, buckets=self._config.buckets.values(), targets=self.targets)
        job = await self._ambient.threads(opening, self._spec(target), state, self._ambient)
        return replace(job, allow=allowed, on_progress=self._progress, draining=lambda: self._draining)
