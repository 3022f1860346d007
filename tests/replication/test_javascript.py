"""The client for JavaScript, of a newer version of the protocol, together with the one for Python."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.replication.clients import Remote, replica, rows, write
from tests.tursodb import javascript

from trueup.testing.engines import Missing

CLIENT = Path(__file__).with_name("client.mjs")
TABLE = "CREATE TABLE note (id INTEGER PRIMARY KEY, text)"


@pytest.fixture(scope="module")
def package() -> tuple[str, Path]:
    try:
        return javascript()
    except Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class Script:
    """Runs turns of the client, each in a process of its own."""

    def __init__(self, package: tuple[str, Path], path: Path, remote: Remote) -> None:
        node, folder = package
        self._command = [node, str(CLIENT), str(folder), str(path), remote.url, remote.token or ""]

    def run(self, *steps: tuple[str, ...]) -> list[Any]:
        done = subprocess.run(
            [*self._command, json.dumps(steps)], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        found: list[Any] = json.loads(done.stdout)
        return found


def test_both_clients_see_the_same(tmp_path: Path, remote: Remote, package: tuple[str, Path]) -> None:
    script = Script(package, tmp_path / "js.db", remote)
    script.run(("exec", TABLE), ("exec", "INSERT INTO note VALUES (1, 'of js')"), ("push",))
    with replica(tmp_path / "py.db", remote) as python:
        assert rows(python, "SELECT * FROM note") == [(1, "of js")]
        write(python, ("INSERT INTO note VALUES (?, ?)", (2, "of py")), "DELETE FROM note WHERE id = 1")
        python.push()
        everything = "SELECT * FROM note ORDER BY id"
        _, seen = script.run(("pull",), ("query", everything))
        assert seen == [{"id": 2, "text": "of py"}]
        script.run(("exec", "INSERT INTO note VALUES (3, zeroblob(100000))"), ("push",))
        python.pull()
        assert rows(python, everything) == [(2, "of py"), (3, bytes(100_000))]


def test_a_column_that_both_add_is_no_error(tmp_path: Path, remote: Remote, package: tuple[str, Path]) -> None:
    script = Script(package, tmp_path / "js.db", remote)
    with replica(tmp_path / "py.db", remote) as python:
        write(python, TABLE)
        python.push()
        script.run(("pull",), ("exec", "ALTER TABLE note ADD COLUMN mood TEXT"))
        write(python, "ALTER TABLE note ADD COLUMN mood TEXT", "INSERT INTO note VALUES (1, 'x', 'good')")
        python.push()
        script.run(("exec", "INSERT INTO note VALUES (2, 'y', 'bad')"), ("push",))
        python.pull()
        assert rows(python, "SELECT id, mood FROM note ORDER BY id") == [(1, "good"), (2, "bad")]


def test_it_is_told_that_the_token_is_wrong(tmp_path: Path, remote: Remote, package: tuple[str, Path]) -> None:
    if remote.token is None:
        pytest.skip("the reference knows no tokens")
    with pytest.raises(AssertionError, match="401"):
        Script(package, tmp_path / "js.db", Remote(remote.url, "no")).run(("pull",))
