"""Pipelines: values, conditions, errors, limits, and what SQL may not do."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.replication.clients import status_of

from trueup.replication import hrana
from trueup.replication.guard import authorize
from trueup.replication.limits import Limits
from trueup.replication.refused import Refused


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text)")
        yield opened


def run(connection: sqlite3.Connection, *requests: Any, limits: Limits | None = None) -> list[Any]:
    body = json.dumps({"baton": None, "requests": requests}).encode()
    answer: dict[str, Any] = json.loads(hrana.Session(connection, limits or Limits()).run(hrana.parse(body)))
    assert answer["baton"] is None
    results: list[Any] = answer["results"]
    return results


def execute(sql: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"type": "execute", "stmt": {"sql": sql, "args": args, **more}}


def batch(*steps: Any) -> dict[str, Any]:
    """Steps are SQL, or SQL with a condition."""
    parts = [(step, None) if isinstance(step, str) else step for step in steps]
    return {"type": "batch", "batch": {"steps": [{"stmt": {"sql": sql}, "condition": cond} for sql, cond in parts]}}


def outcome(result: Any) -> list[str]:
    """Of each step: done, failed, or skipped."""
    found = result["response"]["result"]
    pairs = zip(found["step_results"], found["step_errors"], strict=True)
    return ["done" if done else "failed" if error else "skipped" for done, error in pairs]


def ids(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM t ORDER BY id")]


OPEN = {"type": "not", "cond": {"type": "is_autocommit"}}

# -- values ----------------------------------------------------------------------------------------------------------

VALUES = [
    {"type": "null"},
    {"type": "integer", "value": "9223372036854775807"},
    {"type": "integer", "value": "-9223372036854775808"},
    {"type": "float", "value": 0.1},
    {"type": "text", "value": "é\U0001f600\x00x"},
    {"type": "blob", "base64": "AP8"},
    {"type": "blob", "base64": ""},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[9:40])
def test_a_value_comes_back_as_it_went(connection: sqlite3.Connection, value: dict[str, Any]) -> None:
    (result,) = run(connection, execute("SELECT ? AS mine", value))
    found = result["response"]["result"]
    assert found["rows"] == [[value]]
    assert [column["name"] for column in found["cols"]] == ["mine"]


def test_other_spellings_of_values(connection: sqlite3.Connection) -> None:
    spelled = [{"type": "integer", "value": 5}, {"type": "blob", "base64": "AP8="}, {"type": "float", "value": 2}]
    (result,) = run(connection, execute("SELECT ?, ?, ?", *spelled))
    assert result["response"]["result"]["rows"] == [
        [{"type": "integer", "value": "5"}, {"type": "blob", "base64": "AP8"}, {"type": "float", "value": 2.0}]
    ]


def test_arguments_by_name(connection: sqlite3.Connection) -> None:
    named = [{"name": ":a", "value": {"type": "text", "value": "x"}}, {"name": "b", "value": {"type": "null"}}]
    (result,) = run(connection, execute("SELECT :a, $b", named_args=named))
    assert result["response"]["result"]["rows"] == [[{"type": "text", "value": "x"}, {"type": "null"}]]


def test_infinity_is_no_invalid_json(connection: sqlite3.Connection) -> None:
    (result,) = run(connection, execute("SELECT 9e999"))
    assert result["response"]["result"]["rows"] == [[{"type": "float", "value": None}]]


def test_what_was_written_is_counted(connection: sqlite3.Connection) -> None:
    inserted, updated, looked = run(
        connection,
        execute("INSERT INTO t VALUES (7, 'x'), (8, 'y')"),
        execute("UPDATE t SET text = 'z'"),
        execute("SELECT * FROM t", want_rows=False),
    )
    assert inserted["response"]["result"]["affected_row_count"] == 2
    assert inserted["response"]["result"]["last_insert_rowid"] == "8"
    assert updated["response"]["result"]["affected_row_count"] == 2
    assert looked["response"]["result"]["rows"] == looked["response"]["result"]["cols"] == []


def test_a_statement_is_finished_even_where_nobody_wants_its_rows(connection: sqlite3.Connection) -> None:
    run(connection, execute("INSERT INTO t VALUES (1, 'x'), (2, 'y') RETURNING id", want_rows=False))
    assert ids(connection) == [1, 2]


# -- batches ---------------------------------------------------------------------------------------------------------


def test_conditions(connection: sqlite3.Connection) -> None:
    good, bad, closed = {"type": "ok", "step": 0}, {"type": "error", "step": 1}, {"type": "is_autocommit"}
    wrong = {"type": "error", "step": 0}
    (result,) = run(
        connection,
        batch(
            "SELECT 1",
            "SELECT wrong",
            ("SELECT 2", good),
            ("SELECT 3", bad),
            ("SELECT 4", {"type": "ok", "step": 1}),
            ("SELECT 5", wrong),
            ("SELECT 6", {"type": "and", "conds": [good, bad]}),
            ("SELECT 7", {"type": "and", "conds": [good, wrong]}),
            ("SELECT 8", {"type": "or", "conds": [wrong, bad]}),
            ("SELECT 9", {"type": "or", "conds": []}),
            ("SELECT 10", closed),
            ("SELECT 11", OPEN),
        ),
    )
    done, failed, skipped = "done", "failed", "skipped"
    assert outcome(result) == [
        done, failed, done, done, skipped, skipped, done, skipped, done, skipped, done, skipped,
    ]  # fmt: skip


def test_a_push(connection: sqlite3.Connection) -> None:
    (result,) = run(connection, batch("BEGIN IMMEDIATE", ("INSERT INTO t VALUES (1, 'x')", OPEN), ("COMMIT", OPEN)))
    assert outcome(result) == ["done"] * 3
    assert ids(connection) == [1]


def test_a_transaction_that_lost_a_statement_is_not_committed(connection: sqlite3.Connection) -> None:
    """The client would count all of it as pushed, and never send again what failed."""
    push = batch(
        "BEGIN IMMEDIATE",
        ("INSERT INTO t VALUES (1, 'x')", OPEN),
        ("INSERT INTO nowhere VALUES (1)", OPEN),
        ("INSERT INTO t VALUES (2, 'y')", OPEN),
        ("COMMIT", OPEN),
    )
    (result,) = run(connection, push)
    assert outcome(result) == ["done", "done", "failed", "done", "failed"]
    assert ids(connection) == []
    again = run(connection, batch("BEGIN", "INSERT INTO t VALUES (3, 'z')", " commit"))
    assert outcome(again[0]) == ["done"] * 3
    assert ids(connection) == [3]


def test_a_column_that_is_there_already_loses_nothing(connection: sqlite3.Connection) -> None:
    (result,) = run(connection, batch("BEGIN", "ALTER TABLE t ADD COLUMN text", "INSERT INTO t VALUES (1, 'x')", "END"))
    assert outcome(result) == ["done", "failed", "done", "done"]
    assert ids(connection) == [1]


def test_a_failure_after_it_was_rolled_back_is_forgotten(connection: sqlite3.Connection) -> None:
    steps = ["BEGIN", "INSERT INTO nowhere VALUES (1)", "ROLLBACK", "BEGIN", "INSERT INTO t VALUES (1, 'x')", "COMMIT"]
    (result,) = run(connection, batch(*steps))
    assert outcome(result) == ["done", "failed", "done", "done", "done", "done"]
    assert ids(connection) == [1]


def test_an_error_says_what_and_the_rest_goes_on(connection: sqlite3.Connection) -> None:
    missing, two, ended, fine = run(
        connection,
        execute("SELECT * FROM nowhere"),
        execute("SELECT 1; SELECT 2"),
        {"type": "close"},
        execute("SELECT 1"),
    )
    assert missing["error"] == {"message": "no such table: nowhere", "code": "SQLITE_ERROR"}
    assert two["type"] == "error"
    assert ended == {"type": "ok", "response": {"type": "close"}}
    assert fine["type"] == "ok"


@pytest.mark.parametrize(
    "sql",
    ["SELECT ?", "SELECT 1, ?, ?", "", "SELECT\0 1", "SELECT zeroblob(999999999)", "SELECT abs(-9223372036854775808)"],
)
def test_no_statement_breaks_the_pipeline(connection: sqlite3.Connection, sql: str) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    first, second = run(connection, execute(sql, {"type": "null"}), execute("SELECT 1"))
    assert first["type"] in ("ok", "error")
    assert second["type"] == "ok"


# -- malformed -------------------------------------------------------------------------------------------------------

STATEMENT = {"sql": "SELECT 1"}
MALFORMED: dict[str, Any] = {
    "no object": [],
    "no requests": {},
    "requests no list": {"requests": {}},
    "request no object": {"requests": [1]},
    "another request": {"requests": [{"type": "sequence", "sql": "SELECT 1"}]},
    "no statement": {"requests": [{"type": "execute"}]},
    "no sql": {"requests": [{"type": "execute", "stmt": {"sql_id": 1}}]},
    "sql no text": {"requests": [{"type": "execute", "stmt": {"sql": 5}}]},
    "half a character": {"requests": [{"type": "execute", "stmt": {"sql": "SELECT '\ud800'"}}]},
    "a stream": {"baton": "x", "requests": []},
    "no steps": {"requests": [{"type": "batch", "batch": {}}]},
    "step no object": {"requests": [{"type": "batch", "batch": {"steps": [1]}}]},
    "step of the future": {
        "requests": [
            {"type": "batch", "batch": {"steps": [{"stmt": STATEMENT, "condition": {"type": "ok", "step": 0}}]}}
        ]
    },
    "another condition": {
        "requests": [{"type": "batch", "batch": {"steps": [{"stmt": STATEMENT, "condition": {"type": "maybe"}}]}}]
    },
    "both kinds of arguments": {
        "requests": [execute("SELECT 1", {"type": "null"}, named_args=[{"name": "a", "value": {"type": "null"}}])]
    },
    "arguments no list": {"requests": [{"type": "execute", "stmt": STATEMENT | {"args": "x"}}]},
    "argument without a name": {"requests": [execute("SELECT 1", named_args=[{"value": {"type": "null"}}])]},
}
BAD_VALUES: list[Any] = [
    None, 5, {}, {"type": "text"}, {"type": "text", "value": 5}, {"type": "text", "value": "\udfff"},
    {"type": "integer", "value": "x"}, {"type": "integer", "value": "9223372036854775808"},
    {"type": "integer", "value": True}, {"type": "integer", "value": "1" * 5000}, {"type": "float", "value": "1.0"},
    {"type": "float", "value": 10**400}, {"type": "blob", "base64": "*"}, {"type": "blob", "base64": "AAAAA"},
    {"type": "blob", "value": "AA"}, {"type": "blob", "base64": "\u00e9"}, {"type": "date", "value": "x"},
]  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_pipeline_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        hrana.parse(json.dumps(MALFORMED[name]).encode())
    assert refused.value.status == 400


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: str(value)[:40])
def test_a_malformed_value_is_refused(value: object) -> None:
    with pytest.raises(Refused) as refused:
        hrana.parse(json.dumps({"requests": [execute("SELECT ?", value)]}).encode())
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"requests": [NaN]}', b'{"requests": ' + b"1" * 5000 + b"}"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        hrana.parse(body)
    assert refused.value.status == 400


def test_conditions_nested_without_end_are_refused() -> None:
    condition: dict[str, Any] = {"type": "is_autocommit"}
    for _ in range(100):
        condition = {"type": "not", "cond": condition}
    with pytest.raises(Refused):
        hrana.parse(json.dumps({"requests": [batch(("SELECT 1", condition))]}).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["execute", "batch", "ok"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["requests", "type", "stmt", "sql", "args", "batch", "steps", "condition", "value"]), inner
        )
    ),
)


@given(JSON)
def test_any_json_is_a_pipeline_or_refused(document: object) -> None:
    for body in (document, {"requests": [document]}, {"requests": [{"type": "execute", "stmt": document}]}):
        assert status_of(hrana.parse, json.dumps(body).encode()) in (200, 400)


# -- limits and guards -----------------------------------------------------------------------------------------------


def test_a_statement_without_end_is_stopped(connection: sqlite3.Connection) -> None:
    forever = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n) SELECT count(*) FROM n"
    stopped, fine = run(connection, execute(forever), execute("SELECT 1"), limits=Limits(statement_seconds=0.0))
    assert "took longer than 0 s" in stopped["error"]["message"]
    assert fine["type"] == "ok"


def test_more_rows_than_an_answer_holds_are_refused(connection: sqlite3.Connection) -> None:
    request = batch("BEGIN", "INSERT INTO t VALUES (1, 'x')", "SELECT zeroblob(2000)")
    with pytest.raises(Refused) as refused:
        run(connection, request, limits=Limits(answer_bytes=1000))
    assert refused.value.status == 413
    assert not connection.in_transaction
    assert ids(connection) == []


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO 'other.db'",
        "CREATE TEMP TABLE mine (id)",
        "CREATE TEMP VIEW mine AS SELECT 1",
        "CREATE TEMP TRIGGER mine AFTER INSERT ON t BEGIN SELECT 1; END",
        "SELECT load_extension('x')",
        "SELECT Load_Extension('x', 'y')",
        "CREATE VIRTUAL TABLE v USING dbstat",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA journal_mode",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA synchronous = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = ON",
        "PRAGMA user_version = 5",
        "PRAGMA application_id = 5",
        "PRAGMA page_size = 512",
        "PRAGMA mmap_size = 0",
        "PRAGMA temp_store_directory = '/'",
        "SELECT * FROM pragma_journal_mode",
    ],
)
def test_what_would_reach_beyond_the_database_is_denied(connection: sqlite3.Connection, sql: str) -> None:
    (result,) = run(connection, execute(sql))
    assert "authoriz" in result["error"]["message"] or "prohibited" in result["error"]["message"]


@pytest.mark.parametrize(
    ("action", "first", "second"),
    [
        (sqlite3.SQLITE_FUNCTION, None, "load_extension"),
        (sqlite3.SQLITE_FUNCTION, None, "LOAD_EXTENSION"),
        (sqlite3.SQLITE_UPDATE, "sqlite_dbpage", "data"),
        (sqlite3.SQLITE_READ, "SQLITE_DBPAGE", "data"),
    ],
)
def test_what_only_some_builds_of_sqlite_have_is_denied(action: int, first: str | None, second: str) -> None:
    assert authorize(action, first, second, "main", None) == sqlite3.SQLITE_DENY
    assert authorize(action, first and "t", "abs", "main", None) == sqlite3.SQLITE_OK


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA table_info('t')",
        "PRAGMA user_version",
        "PRAGMA integrity_check",
        "PRAGMA quick_check(1)",
        "PRAGMA page_count",
        "SELECT name FROM pragma_table_info('t')",
        "CREATE TABLE other (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE INDEX by_text ON t (text)",
        "ALTER TABLE t ADD COLUMN more",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END",
        "DROP TABLE t",
    ],
)
def test_what_clients_do_is_allowed(connection: sqlite3.Connection, sql: str) -> None:
    (result,) = run(connection, execute(sql))
    assert result["type"] == "ok", result


def test_our_own_statements_are_not_guarded(connection: sqlite3.Connection) -> None:
    run(connection, execute("SELECT 1"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("memory",)
