"""`trueup.agentfs`: the names, signatures and messages of its document, and where it differs on purpose."""

import inspect
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import pytest

import trueup.agentfs
from trueup.agentfs import (
    AgentFSCLI,
    CommandResult,
    FSOperations,
    InitOptions,
    SyncConfig,
    SyncError,
    SyncManager,
    SyncStats,
    auto_sync,
)
from trueup.config import Config
from trueup.targets.agents import TOKEN


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return f"file://{tmp_path}/team/team.db"


def test_the_names_of_the_document_are_there() -> None:
    assert set(trueup.agentfs.__all__) == {
        "AgentFSCLI", "CommandResult", "FSOperations", "InitOptions", "SyncConfig", "SyncError", "SyncManager",
        "SyncStats", "auto_sync",
    }  # fmt: skip
    assert list(inspect.signature(SyncConfig).parameters) == [
        "id_or_path", "remote_url", "auth_token", "partial_prefetch",
    ]  # fmt: skip
    assert list(inspect.signature(SyncStats).parameters)[:3] == ["last_sync", "pending_changes", "total_synced"]
    assert list(inspect.signature(SyncError).parameters) == ["message", "operation", "remote_url"]
    assert list(inspect.signature(SyncManager).parameters) == [
        "agent_id", "remote_url", "auth_token", "partial_prefetch", "cli",
    ]  # fmt: skip
    assert list(inspect.signature(auto_sync).parameters)[:6] == [
        "agent_id", "remote_url", "auth_token", "pull_on_enter", "push_on_exit", "cli",
    ]  # fmt: skip


def test_a_manager_has_the_attributes_of_the_document(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = SyncManager("test-agent", "libsql://test.turso.io", auth_token="test-token")
    assert (manager.agent_id, manager.remote_url) == ("test-agent", "libsql://test.turso.io")
    assert (manager.auth_token, manager.partial_prefetch) == ("test-token", False)
    assert isinstance(manager.cli, AgentFSCLI)
    monkeypatch.setenv(TOKEN, "from the environment")
    assert SyncManager("test-agent", remote).auth_token == "from the environment"
    assert "test-token" not in repr(SyncConfig("a", "b", "test-token"))


async def test_the_workflow_of_the_document(remote: str) -> None:
    cli = AgentFSCLI()
    assert (await cli.init("agent", options=InitOptions(force=True))).success
    manager = SyncManager("agent", remote)
    assert await manager.pull()
    assert (await manager.stats()).last_sync is not None
    await FSOperations("agent").write("/data.txt", "new data")
    assert (await manager.stats()).pending_changes == 1
    assert await manager.push()
    stats = await manager.stats()
    assert (stats.pending_changes, stats.total_synced) == (0, 1)
    assert stats.sent_bytes > 0
    assert stats.received_bytes > 0
    assert stats.revision
    assert await manager.sync()
    assert await manager.checkpoint()


async def test_auto_sync_pulls_and_pushes(remote: str) -> None:
    async with auto_sync("one", remote) as manager:
        await FSOperations("one").write("/auto.txt", "by one")
    assert manager.last_error is None
    async with auto_sync("two", remote):
        assert await FSOperations("two").read("/auto.txt") == "by one"


async def test_a_push_that_fails_warns_and_is_remembered(remote: str) -> None:
    blocked = Path(remote.removeprefix("file://"))

    async def work() -> SyncManager:
        async with auto_sync("one", remote, pull_on_enter=False) as manager:
            await FSOperations("one").write("/a", "1")
            blocked.mkdir(parents=True)
        return manager

    with pytest.warns(RuntimeWarning, match=r"Push failed: .* still in the database"):
        manager = await work()
    assert isinstance(manager.last_error, SyncError)
    assert manager.last_error.operation == "push"
    with pytest.raises(SyncError, match=r"^Push failed: "):
        async with auto_sync("one", remote, pull_on_enter=False, strict=True):
            pass
    assert await FSOperations("one").read("/a") == "1"


async def test_the_bodys_own_error_comes_out_and_nothing_is_pushed(remote: str) -> None:

    async def fail() -> None:
        async with auto_sync("one", remote):
            await FSOperations("one").write("/a", "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with auto_sync("two", remote, push_on_exit=False):
        with pytest.raises(FileNotFoundError):
            await FSOperations("two").read("/a")
    with pytest.raises(ZeroDivisionError):
        async with auto_sync("one", remote, push_on_error=True):
            raise ZeroDivisionError
    async with auto_sync("two", remote, push_on_exit=False):
        assert await FSOperations("two").read("/a") == "half"


async def test_init_replaces_only_if_forced_and_keeps_what_was_there(remote: str, tmp_path: Path) -> None:
    cli = AgentFSCLI()
    assert (await cli.init("agent")).success
    await FSOperations("agent").write("/a", "1")
    refused = await cli.init("agent")
    assert (refused.success, refused.return_code) == (False, 64)
    assert "is there already" in refused.stderr
    assert (await cli.init("agent", options=InitOptions(force=True))).success
    with pytest.raises(FileNotFoundError):
        await FSOperations("agent").read("/a")
    (kept,) = (tmp_path / ".agentfs").glob("agent.db.replaced-*/agent.db")
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT name FROM fs_dentry").fetchall() == [("a",)]


async def test_an_id_is_found_here_then_at_home_then_as_a_path(remote: str, tmp_path: Path) -> None:
    await AgentFSCLI().init(str(tmp_path / "home" / ".agentfs" / "agent.db"))
    await FSOperations("agent").write("/a", "at home")
    assert await FSOperations(str(tmp_path / "home" / ".agentfs" / "agent.db")).read("a") == "at home"
    await AgentFSCLI().init(str(tmp_path / ".agentfs" / "agent.db"))
    with pytest.raises(FileNotFoundError):
        await FSOperations("agent").read("/a")


async def test_what_the_sdk_reads_is_what_was_written(remote: str, tmp_path: Path) -> None:
    await FSOperations("agent").write("/deep/er/a.txt", "text")
    import turso

    with warnings.catch_warnings():
        db = turso.connect(str(tmp_path / ".agentfs" / "agent.db"))
        query = "SELECT d.name, i.size, i.nlink FROM fs_dentry d JOIN fs_inode i ON i.ino = d.ino ORDER BY d.id"
        rows = db.execute(query).fetchall()
        db.close()
    assert [tuple(row) for row in rows] == [("deep", 0, 1), ("er", 0, 1), ("a.txt", 4, 1)]


async def test_the_binary_is_run_where_it_is_installed(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = AgentFSCLI(config=Config(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    missing = await cli.binary.execute(["--version"])
    assert isinstance(missing, CommandResult)
    assert (missing.return_code, missing.stderr, missing.success) == (127, "agentfs is not on PATH", False)
    program = tmp_path / "bin" / "agentfs"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "told: $*"\necho aside >&2\nexit 3\n')
    program.chmod(0o755)
    told = await cli.binary.execute(["sync", "agent", "stats"])
    assert (told.stdout, told.stderr, told.return_code) == ("told: sync agent stats\n", "aside\n", 3)
    assert told.duration > 0
