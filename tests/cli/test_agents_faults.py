"""What goes wrong with an agent, at the command line: what happened, why, and the next command; no byte has changed."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.agents import Answer, answering, cut_off, hang_up, outside_write, status
from tests.cli.home import Home

from trueup.core.model import Key
from trueup.replication import serving
from trueup.stores.agentfs import engine
from trueup.testing.engines import free_ports

TARGET = """
[targets.helper]
kind = "agent"
database = ".agentfs/helper.db"
remote = "{remote}"
timeout = "1s"
"""


@pytest.fixture
def agent(home: Home) -> Path:
    """The database of an agent that has one file."""
    home("agent", "init", "helper")
    path = home.path / ".agentfs" / "helper.db"
    outside_write(path, Key("plan.md"), b"tea\n")
    return path


def bytes_of(database: Path) -> tuple[bytes, bytes]:
    """The database and its log, which a look that was given up may just be about to close."""
    try:
        log = database.with_name(database.name + "-wal").read_bytes()
    except FileNotFoundError:
        log = b""
    return database.read_bytes(), log


def refused(home: Home, database: Path, *words: str, code: int = 1) -> str:
    """The error of a command, after which the agent's folder is byte for byte as it was."""
    before = bytes_of(database)
    message = home("agent", *words, code=code).stderr
    assert bytes_of(database) == before
    what, separator, attempt = message.strip().partition(" - try: ")
    assert separator, message
    assert what.startswith("error[TU-")
    assert attempt
    return message


def over(home: Home, database: Path, remote: str, *verbs: str, code: int = 1) -> str:
    """The one error of all commands that ask this remote; of `sync` if none is given."""
    home.configure(TARGET.format(remote=remote))
    messages = {refused(home, database, verb, "helper", code=code) for verb in verbs or ("sync",)}
    (message,) = messages
    return message


def test_no_network(home: Home, agent: Path) -> None:
    (port,) = free_ports(1)
    message = over(home, agent, f"http://127.0.0.1:{port}")
    assert (
        f"error[TU-UNAVAILABLE]: http://127.0.0.1:{port} cannot be reached - Connection refused - try: curl" in message
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(401), "error[TU-DENIED]: {url} refuses the token - status 401 - try: export TURSO_DB_AUTH_TOKEN=TOKEN"),
        (status(404), "error[TU-NOT-FOUND]: {url} is not there - status 404 - try: give its address with --remote-url"),
        (status(409), "error[TU-STORE]: {url} was replaced by another database - status 409 - try: run this again"),
        (status(418), "error[TU-STORE]: {url} refused - status 418 - try: curl -i {url}"),
        (status(500), "error[TU-UNAVAILABLE]: {url} cannot serve now - status 500 - try: run this again in a moment"),
        (status(507), "error[TU-UNAVAILABLE]: the disk of {url} is full - status 507 - try: make room there"),
        (cut_off, "error[TU-CORRUPT]: the answer of {url} was cut off or makes no sense - "),
        (hang_up, "error[TU-UNAVAILABLE]: {url} broke off - "),
    ],
    ids=["token", "nothing", "replaced", "stranger", "error", "full", "cut off", "hung up"],
)
def test_a_remote_that_does_not_answer_as_it_should(home: Home, agent: Path, answer: Answer, said: str) -> None:
    with answering(answer) as url:
        assert said.format(url=url) in over(home, agent, url)


def test_a_remote_that_says_why(home: Home, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURSO_DB_AUTH_TOKEN", "another")
    with serving(tmp_path / "team.db") as served:
        message = over(home, agent, served.url)
    assert "refuses the token - status 401: this remote wants a valid token - try: export" in message
    assert "another" not in message


def test_a_remote_that_hangs(home: Home, agent: Path) -> None:
    done = threading.Event()
    with answering(lambda _: done.wait(60)) as url:
        try:
            assert f"error[TU-TIMEOUT]: {url} gave no answer in time - " in over(home, agent, url)
        finally:
            done.set()


def test_a_remote_in_a_file_has_its_own_name_in_messages(
    home: Home, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = home.path / "fails.py"
    program.write_text('print(\'{"error": "network error: [Errno 111] Connection refused"}\')\n')
    monkeypatch.setattr(engine, "PROGRAM", program)
    assert f": file://{home.path}/team.db cannot be reached - Connection refused" in over(home, agent, "team.db")


def test_an_engine_that_crashes(home: Home, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = home.path / "crash.py"
    program.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(engine, "PROGRAM", program)
    assert "error[TU-STORE]: the sync engine crashed (SIGABRT) at pull - " in over(home, agent, "team.db")


def damage(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[4096:12000] = b"\xff" * (12000 - 4096)
    database.write_bytes(data)


def make_text(database: Path) -> None:
    database.write_text("no database at all, but a text that is long enough to be looked at" * 20)


def make_newer(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(18)
        file.write(b"\xff\xff")


def make_songs(database: Path) -> None:
    database.unlink()
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE songs (title)")
    db.close()


def make_replica(database: Path) -> None:
    database.with_name("helper.db-info").write_text('{"version": "v1", "remote_pull_protocol": "pages"}')


def make_old(database: Path) -> None:
    db = sqlite3.connect(database)
    db.execute("UPDATE fs_config SET value = '0.9' WHERE key = 'schema_version'")
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            damage,
            "error[TU-STORE]: {path} is damaged - database disk image is malformed - try: keep a copy, then: sqlite3",
        ),
        (make_text, "error[TU-STORE]: {path} is no database - file is not a database - try: name another"),
        (
            make_newer,
            "error[TU-STORE]: {path} was written by a newer engine - its format is 255, not 1 or 2 - try: pip",
        ),
        (make_songs, "error[TU-STORE]: {path} is no AgentFS - it holds the table songs - try: name another"),
        (make_replica, "error[TU-STORE]: {path} is a replica of the sync engine - helper.db-info is beside it - try: "),
        (make_old, "error[TU-STORE]: {path} has the tables of AgentFS 0.9 - 0.4 is what is understood here - try: pip"),
    ],
)
def test_a_database_that_cannot_be_used(home: Home, agent: Path, spoil: Callable[[Path], None], said: str) -> None:
    home.configure(TARGET.format(remote="team.db"))
    spoil(agent)
    for verb in ("sync", "stats", "checkpoint"):
        assert said.format(path=agent) in refused(home, agent, verb, "helper")


def test_a_directory_in_the_place_of_a_database(home: Home, agent: Path) -> None:
    home.configure(TARGET.format(remote="team.db"))
    agent.unlink()
    agent.mkdir()
    message = home("agent", "sync", "helper", code=1).stderr
    assert f"error[TU-STORE]: {agent} is no file - a database is one - try: " in message


@contextmanager
def opened(database: Path) -> Iterator[None]:
    """An agent that has its database open, as long as the block runs."""
    hold = "import sys, turso\ndb = turso.connect(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()\n"
    command = [sys.executable, "-c", hold, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield
        finally:
            process.kill()


def test_a_database_that_an_agent_has_open(home: Home, agent: Path) -> None:
    with opened(agent):
        message = over(home, agent, "team.db", code=6)
    assert f"error[TU-LOCKED]: {agent} is in use - an agent has it open - try: close it, then run this again" in message


def test_a_remote_that_another_process_serves(home: Home, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.api.agents.FILE_WAIT_SECONDS", 0.0)
    with serving(home.path / "team.db"):
        message = over(home, agent, "team.db", code=6)
    assert "team.db is served by another process - try: use the address of that server" in message


def test_a_remote_that_is_no_database(home: Home, agent: Path) -> None:
    make_text(home.path / "team.db")
    assert "team.db is not a database - try: restore it from a copy" in over(home, agent, "team.db")


def test_a_remote_that_was_replaced(home: Home, agent: Path) -> None:
    home.configure(TARGET.format(remote="team/team.db"))
    home("agent", "sync", "helper")
    shutil.rmtree(home.path / "team")
    before = bytes_of(agent)
    message = home("agent", "sync", "helper", code=5).stderr
    assert bytes_of(agent) == before
    assert "other-root" in message
    assert "--allow other-root" in message
