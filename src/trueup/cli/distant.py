"""``--port N``: a run that a server of this machine carries out, shown and asked about here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anyio import to_thread

from trueup.api import Confirm
from trueup.core import codec, errors
from trueup.core.check import Guard, Refusal
from trueup.core.errors import PlanRefused, StalePlan, StoreError, TrueupError, UsageError
from trueup.core.plan import Item, Plan
from trueup.core.report import Ending, Outcome, Report
from trueup.engine.listening import FOLDER, HOST
from trueup.engine.run import selected

Select = Callable[[Item], bool] | None
"""Which changes are wanted; None: all."""

TIMEOUT_SECONDS = 60.0
"""Without a sign of life; a stream that is silent says that it lives every 15 seconds."""


@dataclass(slots=True)
class Distant:
    """What a command needs of an engine, for one target of a server.

    Args:
        port: Where the server listens.
        state_dir: Where it has left its token.
        target: The target's id.
    """

    port: int
    state_dir: Path
    target: str
    token: str = field(init=False, repr=False)
    _heard: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Find the token.

        Raises:
            UsageError: If no server of this state listens there.
        """
        path = self.state_dir / FOLDER / f"{self.port}.json"
        try:
            self.token = json.loads(path.read_text("utf-8"))["token"]
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"no server of this state listens on port {self.port}",
                why=f"{path} cannot be read",
                attempt=f"trueup serve --port {self.port}, or the same command without --port",
            ) from error

    async def plan(self, select: Select = None) -> Plan:
        """What would be done, of the changes that `select` wants."""
        return selected((await self._planned())[1], select)

    async def run(self, *, confirm: Confirm, allow: Iterable[Guard] = (), select: Select = None) -> Report:
        """Plan there, confirm here, apply there.

        Args:
            confirm: Is shown the plan; False ends the run with nothing done.
            allow: Guards that let this one run pass.
            select: Which changes are wanted; None: all.

        Raises:
            PlanRefused: If a guard stops the plan.
            StalePlan: If something has changed since the plan was made.
            TrueupError: Whatever else the server says.
        """
        name, whole = await self._planned()
        plan = selected(whole, select)
        if not plan.changes:
            return Report(plan, Ending.IN_SYNC)
        if not await confirm(plan):
            return Report(plan, Ending.DECLINED)
        body: dict[str, Any] = {"digest": codec.digest(whole), "allow": [guard.value for guard in allow]}
        if select is not None:
            wanted = {item.key for item in plan.changes}
            places = [n for n, item in enumerate(whole.items) if item.is_change and item.key in wanted]
            body["selection"] = {"base": "none", "exceptions": places}
        try:
            run = await self._ask("POST", f"/plans/{name}/apply", body)
        except PlanRefused as error:
            error.plan = plan
            raise
        run = await self._ended(run["id"])
        if run["history"] is None:
            raise error_of(run["error"] or {"title": f"the run was {run['state']}"})
        told = await self._ask("GET", f"/history/{run['history']}")
        outcomes = tuple(codec.decode(Outcome, one, "outcome") for one in told["outcomes"])
        ending = Ending.INTERRUPTED if run["result"]["ending"] == Ending.INTERRUPTED.value else Ending.APPLIED
        return Report(plan, ending, run["history"], outcomes, run["result"]["seconds"])

    async def _planned(self) -> tuple[str, Plan]:
        run = await self._ask("POST", f"/targets/{quote(self.target, safe='')}/plans", {})
        run = await self._ended(run["id"])
        if run["plan"] is None:
            raise error_of(run["error"] or {"title": f"the run was {run['state']}"})
        document = await self._ask("GET", f"/plans/{run['plan']}/document")
        return run["plan"], codec.plan_from_json(document)

    async def _ended(self, run: str) -> Any:
        return await to_thread.run_sync(self._wait, run, abandon_on_cancel=True)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return await to_thread.run_sync(partial(self._request, method, path, body), abandon_on_cancel=True)

    # -- in a thread ---------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        connection = HTTPConnection(HOST, self.port, timeout=TIMEOUT_SECONDS)
        try:
            with self._open(connection, method, path, body) as answer:
                return json.loads(answer.read() or b"null")
        except (OSError, HTTPException, ValueError) as error:
            raise StoreError(f"the server on port {self.port} does not answer", why=str(error)) from error
        finally:
            connection.close()

    def _open(self, connection: HTTPConnection, method: str, path: str, body: Any) -> HTTPResponse:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            raise error_of(json.loads(answer.read()))
        return answer

    def _wait(self, run: str) -> Any:
        """Hear the run's events until nobody works on it any more."""
        for number, kind, data in self._events(run):
            self._heard[run] = number
            if kind == "state" and not data["active"]:
                return data
        return self._request("GET", f"/runs/{run}")

    def _events(self, run: str) -> Iterator[tuple[int, str, Any]]:
        connection = HTTPConnection(HOST, self.port, timeout=TIMEOUT_SECONDS)
        try:
            path = f"/runs/{run}/events?after={self._heard.get(run, 0)}"
            with self._open(connection, "GET", path, None) as answer:
                number, kind = 0, ""
                for raw in answer:
                    name, _, value = raw.decode().rstrip("\n").partition(": ")
                    if name == "id":
                        number = int(value)
                    elif name == "event":
                        kind = value
                    elif name == "data":
                        yield number, kind, json.loads(value)
        except (OSError, HTTPException, ValueError) as error:
            raise StoreError(
                f"the server on port {self.port} has gone", why=str(error), attempt="trueup history ls: what was done"
            ) from error
        finally:
            connection.close()


def error_of(problem: Any) -> TrueupError:
    """A problem document as the error that it was."""
    what, why, attempt = (str(problem.get(name, "")) for name in ("title", "detail", "hint"))
    code = problem.get("code")
    if code == PlanRefused.code:
        refusals = tuple(Refusal(Guard(one["guard"]), one["why"]) for one in problem.get("refusals", ()))
        allow = " ".join(f"--allow {one.guard.value}" for one in refusals)
        return PlanRefused(what, why=why, attempt=f"the same command with {allow}", refusals=refusals)
    if code == StalePlan.code:
        return StalePlan(what, why=why, attempt="the same command again")
    known = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TrueupError)]
    kind = next((kind for kind in known if kind.code == code), None)
    if kind is not None:
        return kind(what, why=why, attempt=attempt)
    error = TrueupError(what, why=why, attempt=attempt)
    error.code = str(code)
    return error
