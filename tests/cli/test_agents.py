"""``trueup agent`` and ``trueup sync agent``."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.agents import outside_delete, outside_write
from tests.cli.home import Home

from trueup.core.model import Key

TARGET = """
[targets.helper]
kind = "agent"
database = ".agentfs/helper.db"
remote = "team/team.db"
"""


@pytest.fixture
def agent(home: Home) -> Path:
    """The database of the configured agent, with one file."""
    home.configure(TARGET)
    path = home.path / ".agentfs" / "helper.db"
    home("agent", "init", "helper")
    outside_write(path, Key("notes/plan.md"), b"tea\n")
    return path


def test_a_dry_run_shows_the_plan_and_writes_nothing(home: Home, agent: Path) -> None:
    for words in (("sync", "agent", "helper", "--dry-run"), ("agent", "diff", "helper")):
        shown = home(*words).stdout
        assert "notes/plan.md" in shown
        assert "next: trueup agent sync helper" in shown
    assert "notes/plan.md" in home("agent", "diff", "helper").stdout


def test_nobody_is_asked_unless_something_is_deleted(home: Home, agent: Path) -> None:
    assert "applied 2 of 2" in home("sync", "agent").stdout
    assert "in sync" in home("sync", "agent", "helper").stdout
    assert "in sync" in home("sync", "helper").stdout
    outside_delete(agent, Key("notes/plan.md"))
    refused = home("sync", "agent", "helper", code=64)
    assert "a question is due" in refused.stderr
    assert "1 delete" in home("sync", "agent", "helper", "--yes").stdout
    assert "notes/plan.md" in home("trash", "ls", "helper").stdout


def test_another_agent_is_cloned_and_what_one_writes_the_other_pulls(home: Home, agent: Path) -> None:
    url = f"file://{home.path}/team/team.db"
    home("agent", "push", "helper")
    home("agent", "clone", "other", "--remote-url", url)
    refused = home("agent", "clone", "other", "--remote-url", url, code=64)
    assert "is there already" in refused.stderr
    outside_write(home.path / ".agentfs" / "other.db", Key("more"), b"more")
    pushed = json.loads(home("agent", "push", "other", "--remote-url", url, "--json").stdout)
    assert (pushed["format"], pushed["exit_code"], len(pushed["rounds"])) == ("trueup.agent_sync", 0, 1)
    assert "more" in home("agent", "pull", "helper").stdout


def test_statistics_are_real(home: Home, agent: Path) -> None:
    before = json.loads(home("agent", "stats", "helper", "--json").stdout)
    assert (before["pending_changes"], before["total_synced"], before["last_sync"]) == (2, 0, None)
    assert before["pending_rows"] == 5  # two names, two inodes, one chunk
    home("sync", "agent")
    after = json.loads(home("agent", "stats", "helper", "--json").stdout)
    assert (after["pending_changes"], after["pending_rows"], after["total_synced"]) == (0, 0, 2)
    assert after["last_sync"] > 0
    assert after["sent_bytes"] > 0
    assert after["revision"]
    outside_delete(agent, Key("notes/plan.md"))
    outside_write(agent, Key("notes/long"), bytes(10_000))
    shown = home("agent", "stats", "helper").stdout
    assert "pending changes  2 in 6 rows" in shown  # a name, an inode, three chunks; and one that is gone
    assert "total synced     2" in shown


def test_a_restore_point_is_brought_back_and_what_was_there_is_kept(home: Home, agent: Path) -> None:
    home("agent", "checkpoint", "helper", "--restore-point", "before")
    refused = home("agent", "checkpoint", "helper", "--restore-point", "before", code=64)
    assert "already" in refused.stderr
    outside_write(agent, Key("notes/plan.md"), b"coffee\n")
    kept = json.loads(home("agent", "restore", "helper", "before", "--json").stdout)["kept"]
    assert content(agent) == b"tea\n"
    home("agent", "restore", "helper", kept)
    assert content(agent) == b"coffee\n"
    missing = home("agent", "restore", "helper", "never", code=1)
    assert "there is no restore point never" in missing.stderr


def test_a_replica_of_the_engine_is_adopted(home: Home, agent: Path) -> None:
    agent.with_name("helper.db-info").write_text("{}")
    refused = home("agent", "sync", "helper", code=1)
    assert "trueup agent adopt" in refused.stderr
    home("agent", "adopt", "helper")
    assert content(agent) == b"tea\n"
    assert "applied" in home("agent", "sync", "helper").stdout
    assert list(agent.parent.glob("helper.db.replica-*/helper.db-info"))
    assert "plain database already" in home("agent", "adopt", "helper", code=64).stderr


def test_a_remote_is_backed_up(home: Home, agent: Path) -> None:
    home("sync", "agent")
    home("agent", "backup", "team/team.db", "copy.db")
    assert content(home.path / "copy.db") == b"tea\n"


def test_another_remote_in_its_place_is_refused(home: Home, agent: Path) -> None:
    home("sync", "agent")
    shutil.rmtree(home.path / "team")
    refused = home("sync", "agent", code=5)
    assert "other-root" in refused.stderr
    assert content(agent) == b"tea\n"


def test_what_is_meant_is_asked(home: Home) -> None:
    assert "which agent?" in home("sync", "agent", code=64).stderr
    assert "which remote has scout?" in home("agent", "sync", "scout", code=64).stderr
    refused = home("agent", "pull", "scout", "--remote-url", "file:///x", "--partial-prefetch", code=64)
    assert "remote does not support partial prefetch" in refused.stderr
    assert "no remote of an agent" in home("agent", "pull", "scout", "--remote-url", "ftp://x", code=64).stderr


def test_a_doctor_looks_at_both_sides(home: Home, agent: Path) -> None:
    shown = home("doctor").stdout
    assert "helper local" in shown
    assert "helper remote" in shown


def test_a_remote_in_the_configuration_is_no_bucket(home: Home) -> None:
    home.configure(TARGET.replace("team/team.db", "s3://bucket/x"))
    assert "targets.helper.remote must be" in home("config", "check", code=78).stderr


def content(database: Path) -> bytes:
    with closing(sqlite3.connect(database)) as db:
        (row,) = db.execute("SELECT data FROM fs_dentry JOIN fs_data USING (ino) WHERE name = 'plan.md'").fetchall()
        return bytes(row[0])
