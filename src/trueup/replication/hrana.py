"""Pipelines of SQL: the requests of ``/v2/pipeline`` read, run, and answered.

Source: https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md, of which sync clients use executing one
statement and batches with conditions. Streams that stay open between requests are not offered: what a pipeline leaves
open is rolled back.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from pydantic_core import from_json

from trueup.replication.guard import authorize
from trueup.replication.limits import Limits
from trueup.replication.refused import Refused, malformed

SqlValue: TypeAlias = int | float | str | bytes | None
Json: TypeAlias = dict[str, Any]

_LOOK_EVERY: Final = 10_000
"""Instructions of SQLite between two looks at the clock."""
_COMMIT: Final = re.compile(r"\s*(COMMIT|END)\b", re.IGNORECASE)
_HARMLESS: Final = "duplicate column name"
"""A column that is there already: clients add columns again, and ignore that."""
_INTEGERS: Final = range(-(1 << 63), 1 << 63)
_DEPTH: Final = 32
"""Conditions may be nested so deep."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and what is bound to it."""

    sql: str
    values: Sequence[SqlValue] | Mapping[str, SqlValue]
    want_rows: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Statements, each with its condition or None."""

    steps: Sequence[tuple[Json | None, Statement]]


@dataclass(frozen=True, slots=True)
class Close:
    """Ends a stream; there is nothing to end."""


Request: TypeAlias = Statement | Batch | Close


class _Failed(Exception):
    """A statement did not work; the pipeline goes on."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def parse(body: bytes) -> list[Request]:
    """Read a pipeline whole, so that a malformed one has no effect.

    By the reader of JSON that pydantic has: a push of 30 MiB takes it a quarter of the time, and it refuses texts that
    are no Unicode.

    Raises:
        Refused: If it is malformed, or continues a stream.
    """
    try:
        document = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise malformed(f"the pipeline is not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("requests"), list):
        raise malformed("the pipeline has no list of requests")
    if document.get("baton") is not None:
        raise malformed("streams over several requests are not spoken here: send a transaction as one batch")
    return [_request(each) for each in document["requests"]]


def _request(raw: object) -> Request:
    match raw:
        case {"type": "execute", "stmt": stmt}:
            return _statement(stmt)
        case {"type": "batch", "batch": {"steps": [*steps]}}:
            return Batch([_step(step, number) for number, step in enumerate(steps)])
        case {"type": "close"}:
            return Close()
        case _:
            raise malformed("the pipeline has a request that is neither execute, batch nor close")


def _step(raw: object, number: int) -> tuple[Json | None, Statement]:
    if not isinstance(raw, dict):
        raise malformed("a step of the batch is not an object")
    condition = raw.get("condition")
    if condition is not None:
        _check_condition(condition, number, _DEPTH)
    return condition, _statement(raw.get("stmt"))


def _check_condition(raw: object, number: int, depth: int) -> None:
    """It may speak of earlier steps only."""
    match raw:
        case {"type": "is_autocommit"}:
            return
        case {"type": "ok" | "error", "step": int(step)} if not isinstance(step, bool) and 0 <= step < number:
            return
        case {"type": "not", "cond": inner} if depth:
            _check_condition(inner, number, depth - 1)
        case {"type": "and" | "or", "conds": [*inners]} if depth:
            for inner in inners:
                _check_condition(inner, number, depth - 1)
        case _:
            raise malformed(f"the condition of step {number} of the batch cannot be understood")


def _statement(raw: object) -> Statement:
    if not isinstance(raw, dict) or not isinstance(raw.get("sql"), str):
        raise malformed("a statement has no SQL")
    positional = _list(raw.get("args"))
    named = _list(raw.get("named_args"))
    if positional and named:
        raise malformed("a statement has arguments both by place and by name")
    want_rows = raw.get("want_rows")
    values: Sequence[SqlValue] | Mapping[str, SqlValue]
    values = dict(map(_named, named)) if named else list(map(_value, positional))
    return Statement(raw["sql"], values, want_rows is None or bool(want_rows))


def _list(raw: object) -> list[object]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise malformed("the arguments of a statement are not a list")
    return raw


def _named(raw: object) -> tuple[str, SqlValue]:
    match raw:
        case {"name": str(name), "value": value}:
            return name.lstrip(":@$"), _value(value)
        case _:
            raise malformed("an argument by name has no name or no value")


def _value(raw: object) -> SqlValue:
    if not isinstance(raw, dict):
        raise malformed("a value is not an object")
    kind, value, base = raw.get("type"), raw.get("value"), raw.get("base64")
    if kind == "blob" and isinstance(base, str):
        return _blob(base)
    if kind == "integer" and isinstance(value, (str, int)) and not isinstance(value, bool):
        return _integer(value)
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "null":
        return None
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _float(value)
    raise malformed("a value is neither null, integer, float, text nor blob")


def _blob(text: str) -> bytes:
    stripped = text.rstrip("=")
    try:
        return binascii.a2b_base64(stripped + "=" * (-len(stripped) % 4), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("a blob is not base64") from error


def _integer(raw: str | int) -> int:
    try:
        number = int(raw)
    except ValueError as error:
        raise malformed("an integer is not a number") from error
    if number not in _INTEGERS:
        raise malformed("an integer has more than 64 bits")
    return number


def _float(raw: float) -> float:
    try:
        return float(raw)
    except OverflowError as error:
        raise malformed("a float is too large") from error


class Session:
    """Runs the requests of one pipeline on a connection in autocommit mode.

    A batch whose transaction lost a statement is not committed, whatever its conditions say: clients commit with the
    condition that a transaction is open, and then count all of it as pushed. What failed would be lost.
    """

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._deadline = math.inf
        self._bytes_left = limits.answer_bytes
        self._lost = False
        """A statement of the open transaction failed."""

    def run(self, requests: Sequence[Request]) -> bytes:
        """The answer, as JSON. Errors of SQL are part of it.

        Raises:
            Refused: If the rows are more than an answer may hold; what was committed until then stays.
        """
        self._connection.set_authorizer(authorize)
        self._connection.set_progress_handler(self._late, _LOOK_EVERY)
        try:
            results = [self._answer(request) for request in requests]
        finally:
            # Before the rollback, which must not be stopped.
            self._connection.set_progress_handler(None, 0)
            self._connection.set_authorizer(None)
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return json.dumps({"baton": None, "base_url": None, "results": results}, separators=(",", ":")).encode()

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _answer(self, request: Request) -> Json:
        response: Json
        match request:
            case Statement():
                try:
                    response = {"type": "execute", "result": self._execute(request)}
                except _Failed as error:
                    return {"type": "error", "error": _error(error)}
            case Batch():
                response = {"type": "batch", "result": self._batch(request)}
            case Close():
                response = {"type": "close"}
            case _:
                assert_never(request)
        return {"type": "ok", "response": response}

    def _batch(self, batch: Batch) -> Json:
        results: list[Json | None] = []
        errors: list[Json | None] = []
        for condition, statement in batch.steps:
            result = error = None
            if condition is None or self._holds(condition, results, errors):
                try:
                    result = self._execute(statement)
                except _Failed as failed:
                    error = _error(failed)
            results.append(result)
            errors.append(error)
        return {"step_results": results, "step_errors": errors, "replication_index": None}

    def _holds(self, condition: Json, results: Sequence[Json | None], errors: Sequence[Json | None]) -> bool:
        match condition["type"]:
            case "ok":
                return results[condition["step"]] is not None
            case "error":
                return errors[condition["step"]] is not None
            case "not":
                return not self._holds(condition["cond"], results, errors)
            case "and":
                return all(self._holds(each, results, errors) for each in condition["conds"])
            case "or":
                return any(self._holds(each, results, errors) for each in condition["conds"])
            case _:
                return not self._connection.in_transaction

    def _execute(self, statement: Statement) -> Json:
        if self._lost and self._connection.in_transaction and _COMMIT.match(statement.sql):
            self._connection.execute("ROLLBACK")
            raise _Failed("NOT_COMMITTED", "nothing was committed, because a statement of the transaction failed")
        self._deadline = time.monotonic() + self._limits.statement_seconds
        try:
            cursor = self._connection.execute(statement.sql, statement.values)
            result = self._result(cursor, statement.want_rows)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            message = self._message(error)
            self._lost = self._connection.in_transaction and (self._lost or not message.startswith(_HARMLESS))
            raise _Failed(_kind(error), message) from error
        self._lost = self._lost and self._connection.in_transaction
        return result

    def _message(self, error: Exception) -> str:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return f"the statement took longer than {self._limits.statement_seconds:g} s, and was stopped"
        return str(error)

    def _result(self, cursor: sqlite3.Cursor, want_rows: bool) -> Json:
        columns = [{"name": each[0], "decltype": None} for each in cursor.description or ()] if want_rows else []
        # To its end even where nobody wants rows: only then has a statement done all that it does.
        found = [[self._shown(value) for value in row] if want_rows else None for row in cursor]
        return {
            "cols": columns,
            "rows": found if want_rows else [],
            "affected_row_count": max(cursor.rowcount, 0),
            "last_insert_rowid": None if cursor.lastrowid is None else str(cursor.lastrowid),
            "replication_index": None,
            "rows_read": 0,
            "rows_written": 0,
            "query_duration_ms": 0.0,
        }

    def _shown(self, value: SqlValue) -> Json:
        self._bytes_left -= len(value) if isinstance(value, (str, bytes)) else 8
        if self._bytes_left < 0:
            raise Refused(413, "TOO_LARGE", f"the rows are more than {self._limits.answer_bytes} bytes; ask for fewer")
        match value:
            case None:
                return {"type": "null"}
            case int():
                return {"type": "integer", "value": str(value)}
            case float():
                # JSON has no infinity; the clients' own encoder writes null for it.
                return {"type": "float", "value": value if math.isfinite(value) else None}
            case str():
                return {"type": "text", "value": value}
            case bytes():
                return {"type": "blob", "base64": base64.b64encode(value).decode().rstrip("=")}


def _error(failed: _Failed) -> Json:
    return {"message": str(failed), "code": failed.kind}


def _kind(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
