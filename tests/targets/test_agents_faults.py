"""What goes wrong with an agent's remote is said clearly, and the agent's database is byte for byte as before."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from tests.agents import answering, cut_off, status
from tests.targets.agent_world import Replica

from trueup.agentfs import AgentFSCLI, SyncError, SyncManager
from trueup.config import Config
from trueup.stores.agentfs import engine
from trueup.stores.agentfs.local import LocalAgent
from trueup.testing.engines import free_ports


@pytest.fixture
def agent(tmp_path: Path) -> Replica:
    replica = Replica(tmp_path / "one", "")
    replica.does(("write", "/a", "text"), ("set", "k", 1))
    with closing(sqlite3.connect(replica.database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return replica


def refusal(replica: Replica, remote: str, operation: str = "sync", *, timeout: float = 10.0) -> str:
    """The message of an operation that fails, after which the database is as it was."""
    before = replica.database.read_bytes()
    cli = AgentFSCLI(config=Config(replica.folder / "state"), timeout=timeout)
    manager = SyncManager(str(replica.database), remote, auth_token="secret-token", cli=cli)
    with pytest.raises(SyncError) as caught:
        anyio.run(getattr(manager, operation))
    assert replica.database.read_bytes() == before
    assert "secret-token" not in str(caught.value)
    assert caught.value.remote_url == remote
    return str(caught.value)


def test_no_network(agent: Replica) -> None:
    (port,) = free_ports(1)
    message = refusal(agent, f"http://127.0.0.1:{port}")
    assert message.startswith("Pull failed: ")
    assert "cannot be reached" in message


def test_a_wrong_token(agent: Replica) -> None:
    with answering(status(401)) as url:
        assert "refuses the token" in refusal(agent, url, "push")


def test_an_error_of_the_server(agent: Replica) -> None:
    with answering(status(500)) as url:
        assert "status 500" in refusal(agent, url)


def test_an_answer_that_is_cut_off(agent: Replica) -> None:
    with answering(cut_off) as url:
        message = refusal(agent, url)
    assert "cut off" in message


def test_a_server_that_hangs(agent: Replica) -> None:
    done = threading.Event()
    with answering(lambda _: done.wait(60)) as url:
        try:
            assert "no answer in time" in refusal(agent, url, timeout=0.3)
        finally:
            done.set()


def test_an_engine_that_crashes(agent: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "crash.py"
    program.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(engine, "PROGRAM", program)
    assert "the sync engine crashed (SIGABRT)" in refusal(agent, "http://127.0.0.1:1")


def test_a_token_is_in_no_argument(agent: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "told.py"
    program.write_text(
        "import json, os, sys\n"
        "told = [sys.argv, json.load(sys.stdin)]\n"
        "print(json.dumps({'error': f\"{'secret-token' in str(told)} {os.environ['TURSO_DB_AUTH_TOKEN'][:6]}\"}))\n"
    )
    monkeypatch.setattr(engine, "PROGRAM", program)
    assert "False secret" in refusal(agent, "http://127.0.0.1:1")


def test_a_database_that_an_agent_has_open(agent: Replica) -> None:
    hold = "import sys, turso\ndb = turso.connect(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()\n"
    command = [sys.executable, "-c", hold, str(agent.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            assert "is in use" in refusal(agent, f"file://{agent.folder}/team.db")
        finally:
            process.send_signal(signal.SIGKILL)


def test_a_database_that_this_process_has_open(agent: Replica) -> None:
    import turso

    db = turso.connect(str(agent.database))
    try:
        assert "is in use" in refusal(agent, f"file://{agent.folder}/team.db")
    finally:
        db.close()


def test_a_replica_of_the_engine(agent: Replica) -> None:
    agent.database.with_name("agent.db-info").write_text("{}")
    message = refusal(agent, f"file://{agent.folder}/team.db")
    assert "replica of the sync engine" in message
    assert "trueup agent adopt" in message


def test_a_database_of_a_newer_engine(agent: Replica) -> None:
    with agent.database.open("r+b") as file:
        file.seek(18)
        file.write(b"\xff\xff")
    assert "newer engine" in refusal(agent, f"file://{agent.folder}/team.db")


def test_a_database_that_is_something_else(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "one", "")
    replica.folder.mkdir()
    with closing(sqlite3.connect(replica.database)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE songs (title)")
        db.commit()
    assert "is no AgentFS" in refusal(replica, f"file://{tmp_path}/team.db")
    replica.database.write_text("no database at all, but a text that is long enough to be looked at" * 20)
    assert "is no database" in refusal(replica, f"file://{tmp_path}/team.db")


def test_a_remote_that_was_replaced(agent: Replica) -> None:
    agent.remote = f"file://{agent.folder}/team/team.db"
    agent.sync()
    shutil.rmtree(agent.folder / "team")
    other = Replica(agent.folder / "other", agent.remote)
    other.does(("write", "/b", "theirs"))
    other.sync()
    assert "other-root" in refusal(agent, agent.remote)


def test_a_remote_that_is_empty_by_now(agent: Replica) -> None:
    agent.remote = f"file://{agent.folder}/team/team.db"
    agent.sync()
    shutil.rmtree(agent.folder / "team")
    assert "other-root" in refusal(agent, agent.remote)


def test_no_room(agent: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = agent.remote = f"file://{agent.folder}/team/team.db"
    agent.sync()
    other = Replica(agent.folder / "other", remote)
    other.does(("write", "/large", "x" * 300_000))
    other.sync()
    connect = LocalAgent._connect

    def small(store: LocalAgent) -> sqlite3.Connection:
        db = connect(store)
        db.execute("PRAGMA max_page_count = 25")
        return db

    with monkeypatch.context() as patched:
        patched.setattr(LocalAgent, "_connect", small)
        message = refusal(agent, remote, "pull")
    assert f"no room for {agent.database}" in message
    agent.check()
    agent.sync()
    assert agent.files()["large"] == "x" * 300_000


def test_partial_prefetch_is_refused(agent: Replica) -> None:
    cli = AgentFSCLI(config=Config(agent.folder / "state"))
    manager = SyncManager(str(agent.database), "file:///nowhere/team.db", partial_prefetch=True, cli=cli)
    with pytest.raises(SyncError, match=r"^Pull failed: remote does not support partial prefetch"):
        anyio.run(manager.pull)
