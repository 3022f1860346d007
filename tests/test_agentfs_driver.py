"""`AgentFSCLI(driver="agentfs")`: the program's own arguments, its messages, and its replica."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from tests import agentfs_program

from trueup.agentfs import AgentFSCLI, SyncConfig, SyncError, SyncManager
from trueup.api.agent_binary import Binary
from trueup.replication import serving
from trueup.targets.agents import TOKEN

EDIT = """
import turso.sync
database = turso.sync.connect(".agentfs/helper.db", None)
database.execute("INSERT INTO kv_store (key, value) VALUES ('k', '1')")
database.commit()
database.close()
"""
"""An agent that writes into the replica, in a process of its own."""


@dataclass
class Place:
    """A remote of ours, the program on PATH, and what it was called with."""

    folder: Path
    url: str
    token: str

    def config(self, agent: str = "helper", *, partial_prefetch: bool = False) -> SyncConfig:
        return SyncConfig(agent, self.url, self.token, partial_prefetch)

    @property
    def calls(self) -> list[str]:
        """Since the last look."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRUEUP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(TOKEN, raising=False)
    agentfs_program.install(tmp_path / "bin", log=tmp_path / "calls")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with serving(tmp_path / "team.db") as served:
        yield Place(tmp_path, served.url, served.token)


async def test_a_replica_is_made_once_and_then_pulled_and_pushed(place: Place) -> None:
    manager = SyncManager("helper", place.url, auth_token=place.token, cli=AgentFSCLI(driver="agentfs"))
    assert await manager.sync()
    assert place.calls == [
        f"init helper --sync-remote-url {place.url}",
        "sync helper pull",
        "sync helper push",
    ]
    assert (place.folder / ".agentfs" / "helper.db-info").exists()
    assert await manager.checkpoint()
    assert place.calls == ["sync helper checkpoint"]


async def test_its_messages_are_passed_on(place: Place) -> None:
    cli = AgentFSCLI(driver="agentfs")
    pulled = await cli.sync_pull(place.config())
    assert pulled.success
    assert pulled.stderr == "Using agent: helper\nRemote data pulled to local db successfully\n"
    refused = await cli.binary.execute(["sync", "nobody", "pull"])
    assert (refused.return_code, refused.stdout) == (1, "")
    assert refused.stderr == "Error: Agent 'nobody' not found at '.agentfs/nobody.db'\n"


async def test_statistics_are_those_of_the_engine(place: Place) -> None:
    cli = AgentFSCLI(driver="agentfs")
    await cli.sync_push(place.config())
    before = await cli.sync_stats(place.config())
    assert before.pending_changes == before.pending_rows  # what the SDK writes whenever it opens a database
    assert before.total_synced > 0  # the rows of its empty tables
    assert before.last_sync is not None
    assert before.revision
    await anyio.run_process([sys.executable, "-c", EDIT], env={**os.environ, TOKEN: place.token})
    assert (await cli.sync_stats(place.config())).pending_changes > before.pending_changes
    await cli.sync_push(place.config())
    assert (await cli.sync_stats(place.config())).total_synced > before.total_synced


async def test_a_prefix_is_fetched_where_it_is_wanted(place: Place) -> None:
    cli = AgentFSCLI(driver="agentfs")
    assert (await cli.sync_pull(place.config("partial", partial_prefetch=True))).success
    assert place.calls == [
        f"init partial --sync-remote-url {place.url} --sync-partial-prefetch true",
        "sync partial pull",
    ]
    told = json.loads((place.folder / ".agentfs" / "partial.db-info").read_text())
    assert told["saved_configuration"]["partial_sync_prefetch"] is True


async def test_the_token_is_in_the_environment_only(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cli = AgentFSCLI(driver="agentfs")
    assert (await cli.sync_pull(place.config())).success
    assert place.token not in "".join(place.calls)
    refused = await cli.sync_pull(SyncConfig("other", place.url, "wrong"))
    assert refused.return_code == 1
    assert "status=401" in refused.stderr
    monkeypatch.setenv(TOKEN, place.token)
    assert (await cli.sync_pull(SyncConfig("third", place.url))).success


async def test_what_the_program_would_do_wrong_is_refused(place: Place) -> None:
    cli = AgentFSCLI(driver="agentfs")
    await AgentFSCLI().init("plain")
    refusals = {
        "is no replica - agentfs syncs only": place.config("plain"),
        "agentfs cannot reach file://": SyncConfig("helper", "file:///srv/team.db"),
        "there is no replica work/x.db": place.config("work/x.db"),
    }
    for said, config in refusals.items():
        refused = await cli.sync_pull(config)
        assert refused.return_code == 64
        assert said in refused.stderr
        assert " - try: " in refused.stderr
    assert place.calls == []


async def test_a_replica_of_another_remote_is_left_alone(place: Place) -> None:
    cli = AgentFSCLI(driver="agentfs")
    await cli.sync_pull(place.config())
    assert len(place.calls) == 2
    refused = await cli.sync_push(SyncConfig("helper", "http://127.0.0.1:9/other"))
    assert refused.return_code == 64
    assert f".agentfs/helper.db is a replica of {place.url} - not of http://127.0.0.1:9/other - try: " in refused.stderr
    with pytest.raises(SyncError, match=r"^Stats failed: \.agentfs/helper\.db is a replica of"):
        await cli.sync_stats(SyncConfig("helper", "http://127.0.0.1:9/other"))
    assert place.calls == []


async def test_a_replica_whose_record_is_damaged_is_left_alone(place: Place) -> None:
    cli = AgentFSCLI(driver="agentfs")
    await cli.sync_pull(place.config())
    (place.folder / ".agentfs" / "helper.db-info").write_text("{}")
    refused = await cli.sync_push(place.config())
    assert refused.return_code == 1
    assert "helper.db-info cannot be read" in refused.stderr
    assert "trueup agent adopt" in refused.stderr


async def test_a_program_that_is_not_there_or_hangs_is_an_answer(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "agentfs"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    stopped = await Binary(0.2).execute(["sync", "helper", "pull"])
    assert stopped.return_code == 124
    assert stopped.stderr == "agentfs sync helper pull took longer than 0.2 s, and was stopped"
    program.write_text("#!/bin/sh\necho 'no JSON'\n")
    (tmp_path / ".agentfs").mkdir()
    (tmp_path / ".agentfs" / "helper.db").write_bytes(b"")
    record = {"saved_configuration": {"remote_url": None}}
    (tmp_path / ".agentfs" / "helper.db-info").write_text(json.dumps(record))
    with pytest.raises(SyncError, match="agentfs gave no statistics - it said 'no JSON"):
        await AgentFSCLI(driver="agentfs").sync_stats(place.config())
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    missing = await AgentFSCLI(driver="agentfs").sync_pull(place.config())
    assert (missing.return_code, missing.stderr) == (127, "agentfs is not on PATH")


async def test_an_unknown_argument_is_none_of_its(place: Place) -> None:
    refused = await Binary().execute(["sync", "pull", "helper", "--remote-url", place.url])
    assert refused.return_code == 2
