"""The same edits by the sync engine alone, for comparison: what is lost there is not lost here."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.agents import served
from tests.targets.agent_world import Replica, settled

from trueup.stores.agentfs import engine

pytestmark = pytest.mark.engine

RAW = """
import asyncio, json, sys
import turso.aio.sync
from agentfs_sdk import AgentFS

async def main():
    db = await turso.aio.sync.connect(sys.argv[1], remote_url=sys.argv[2])
    agent = await AgentFS.open_with(db)
    for path, text in json.load(sys.stdin):
        await agent.fs.write_file(path, text)
    await db.commit()

asyncio.run(main())
"""
"""An agent that works in a replica of the engine."""


def test_raw_pull_and_push_lose_a_file_and_ours_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path / "server" / "raw.db") as url:
        ours = [tmp_path / "raw-one.db", tmp_path / "raw-two.db"]
        for path in ours:
            raw("pull", path, url)
        write(ours[0], url, '[["/begun", "1"]]')
        raw("push", ours[0], url)
        raw("pull", ours[1], url)
        write(ours[0], url, '[["/one.txt", "from one"]]')
        write(ours[1], url, '[["/two.txt", "from two"]]')
        for path in (*ours, *ours):
            raw("pull", path, url)
            raw("push", path, url)
        lost = {"from one", "from two"} - contents(ours[0])
    with capsys.disabled():
        print(f"raw pull and push: lost {sorted(lost)}", file=sys.stderr)  # noqa: T201  # for comparison
    assert lost

    with served(tmp_path / "other" / "team.db") as url:
        one, two = Replica(tmp_path / "one", url), Replica(tmp_path / "two", url)
        one.does(("write", "/begun", "1"))
        settled(one, two)
        one.does(("write", "/one.txt", "from one"))
        two.does(("write", "/two.txt", "from two"))
        settled(one, two)
        assert one.files() == {"begun": "1", "one.txt": "from one", "two.txt": "from two"}


def raw(do: str, path: Path, url: str) -> None:
    engine.call(engine.Call(do, path, url, None, 10.0))


def write(path: Path, url: str, files: str) -> None:
    command = [sys.executable, "-c", RAW, str(path), url]
    subprocess.run(command, input=files, text=True, check=True, timeout=60)


def contents(path: Path) -> set[str]:
    """What the files of a database hold, by name and inode as they are there now."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as db:
        query = "SELECT data FROM fs_dentry JOIN fs_data USING (ino)"
        return {bytes(row[0]).decode() for row in db.execute(query)}
