"""SQL at a remote: transactions over ``POST {base}/v2/pipeline``, the protocol Hrana 3 over HTTP with JSON.

https://github.com/tursodatabase/libsql/blob/main/docs/HTTP_V2_SPEC.md
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from trueup.core.errors import Corrupt, PreconditionFailed, StoreError, Unavailable
from trueup.stores.agentfs import faults
from trueup.stores.agentfs.schema import Statement, Value

_REFUSALS = ("constraint failed", "UNIQUE", "NOT NULL")
"""In the message of a guard that failed, or of a name that somebody else has taken."""


class Remote:
    """Where a database is served.

    Args:
        base: Its URL.
        token: The bearer token, if there is one.
        seconds: The longest silence.
        known_as: What messages call it; empty: its URL.
    """

    def __init__(self, base: str, token: str | None, seconds: float, known_as: str = "") -> None:
        self.base = base.rstrip("/")
        self._name = known_as or self.base
        self._token = token
        self._seconds = seconds
        self.sent_bytes = 0
        self.received_bytes = 0

    def transactions(self, wanted: Sequence[Sequence[Statement]]) -> list[StoreError | None]:
        """Several transactions, one after the other, in one request.

        Returns:
            For each None if it was committed, or why it was not; then nothing of it has happened.

        Raises:
            StoreError: If it cannot be said what has happened: Unavailable, TimedOut, Corrupt; or if it was refused.
        """
        results = self._pipeline([{"type": "batch", "batch": {"steps": _steps(one)}} for one in wanted])
        return [_outcome(result, len(one)) for result, one in zip(results, wanted, strict=True)]

    def value(self, sql: str, *values: Value) -> str | None:
        """The first column of the first row, as text; None if there is none."""
        (result,) = self._pipeline([{"type": "execute", "stmt": _statement(sql, values, rows=True)}])
        if result.get("type") != "ok":
            message = str(result.get("error", {}).get("message", ""))
            if "no such table" in message:
                return None
            raise StoreError(f"{self._name} refused", why=message, attempt=faults.AGAIN)
        rows = result["response"]["result"]["rows"]
        return None if not rows else rows[0][0].get("value")

    def _pipeline(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = json.dumps({"baton": None, "requests": requests}).encode()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"{self.base}/v2/pipeline", data=body, headers=headers)  # noqa: S310
        self.sent_bytes += len(body)
        try:
            with self._opener().open(request, timeout=self._seconds) as response:
                raw = response.read()
            self.received_bytes += len(raw)
            answer = json.loads(raw)
            results: list[dict[str, Any]] = answer["results"]
        except urllib.error.HTTPError as error:
            raise faults.by_status(self._name, error.code, error.read(200).decode("utf-8", "replace")) from error
        except TimeoutError as error:
            raise faults.timed_out(self._name, f"silent for {self._seconds:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise faults.timed_out(self._name, f"silent for {self._seconds:g} s") from error
            raise faults.unreached(self._name, faults.told(str(error.reason))) from error
        except (HTTPException, OSError) as error:
            raise faults.broke_off(self._name, str(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise faults.cut_off(self._name, str(error)[:200]) from error
        if len(results) != len(requests):
            raise faults.cut_off(self._name, f"{len(results)} of {len(requests)} results")
        return results

    def _opener(self) -> urllib.request.OpenerDirector:
        local = urlsplit(self.base).hostname in ("127.0.0.1", "::1", "localhost")
        return urllib.request.build_opener(urllib.request.ProxyHandler({}) if local else urllib.request.ProxyHandler())


def ambiguous(error: StoreError) -> bool:
    """Whether a request that ended with this may have been carried out all the same."""
    return isinstance(error, Unavailable | Corrupt) and not isinstance(error, faults.Unreached)


def _steps(statements: Sequence[Statement]) -> list[dict[str, Any]]:
    """All or nothing: each step only if the one before succeeded, and a way back if the last did not."""
    steps = [{"condition": None, "stmt": _statement("BEGIN IMMEDIATE", ())}]
    for n, (sql, values) in enumerate([*statements, ("COMMIT", ())]):
        steps.append({"condition": {"type": "ok", "step": n}, "stmt": _statement(sql, values)})
    undone = {"type": "not", "cond": {"type": "ok", "step": len(statements) + 1}}
    begun = {"type": "ok", "step": 0}
    steps.append({"condition": {"type": "and", "conds": [begun, undone]}, "stmt": _statement("ROLLBACK", ())})
    return steps


def _statement(sql: str, values: Sequence[Value], *, rows: bool = False) -> dict[str, Any]:
    return {"sql": sql, "args": [_argument(value) for value in values], "named_args": [], "want_rows": rows}


def _argument(value: Value) -> dict[str, str]:
    match value:
        case None:
            return {"type": "null"}
        case int():
            return {"type": "integer", "value": str(value)}
        case bytes():
            return {"type": "blob", "base64": base64.b64encode(value).decode().rstrip("=")}
        case _:
            return {"type": "text", "value": value}


def _outcome(result: dict[str, Any], statements: int) -> StoreError | None:
    try:
        if result["type"] != "ok":
            return _failure(str(result["error"]["message"]))
        batch = result["response"]["result"]
        if batch["step_results"][statements + 1] is not None:
            return None
        errors = [error for error in batch["step_errors"] if error is not None]
    except (KeyError, IndexError, TypeError) as error:
        return Corrupt("the remote's answer makes no sense", why=repr(error))
    return _failure(str(errors[0].get("message", "")) if errors else "the transaction was not committed")


def _failure(message: str) -> StoreError:
    if any(sign in message for sign in _REFUSALS):
        return PreconditionFailed("the remote was changed meanwhile", why=message)
    if "locked" in message or "busy" in message.lower():
        return Unavailable("the remote is busy", why=message, attempt=faults.AGAIN)
    return StoreError("the remote refused a change", why=message, attempt="run this again with -vv")
