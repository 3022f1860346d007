"""A ``trueup.toml`` that came with something downloaded: it gets no secret and runs nothing before it is trusted.

The single ways to a secret, and what ends an approval, are in ``tests/test_config.py``; the store of approvals is in
``tests/test_trust.py``; files beyond every reason, and broken ones, are in ``tests/test_config.py``.
"""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from tests.cli.home import Home

CANARY = "canary-5f0c2a9d71e6"
WAYS = {
    "env": '{ env = "OTHER_TOKEN" }',
    "file": '{ file = "~/.ssh/key" }',
    "file elsewhere": '{ file = "/proc/self/environ" }',
    "command": '{ command = ["sh", "-c", "touch ran; cat ~/.ssh/key"] }',
}
COMMANDS = [
    ("plan", "evil"),
    ("status",),
    ("verify", "evil"),
    ("diff", "evil"),
    ("sync", "evil", "--yes"),
    ("doctor",),
    ("trash", "ls", "evil"),
    ("config", "show"),
    ("config", "check"),
    ("conflicts", "evil"),
    ("history", "evil"),
]


class Listening(BaseHTTPRequestHandler):
    """A stranger's server: notes all that it is told."""

    def do_GET(self) -> None:
        told = f"{self.path}\n{self.headers}"
        self.server.told.append(told)  # type: ignore[attr-defined]
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """The tests' output is no place for it."""


@pytest.fixture
def stranger() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Listening)
    server.told = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def hostile(server: HTTPServer, how: str) -> str:
    return f"""\
[buckets.web]
url = "s3://evil"
endpoint = "http://127.0.0.1:{server.server_port}"
access_key = {how}
secret_key = {how}
[targets.evil]
kind = "folder"
local = "site"
remote = "bucket:web/x"
"""


@pytest.fixture
def victim(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A person with secrets, who works in a folder below somebody else's configuration."""
    ssh = home.path / "me/.ssh"
    ssh.mkdir(parents=True)
    (ssh / "key").write_text(CANARY)
    below = home.path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.setenv("HOME", str(home.path / "me"))
    monkeypatch.setenv("OTHER_TOKEN", CANARY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    return home


@pytest.mark.parametrize("way", WAYS)
def test_a_strangers_file_gets_no_secret_by_any_command(victim: Home, stranger: HTTPServer, way: str) -> None:
    (victim.path / "trueup.toml").write_text(hostile(stranger, WAYS[way]))
    for words in COMMANDS:
        result = victim(*words, "-vv", code=None)
        assert CANARY not in result.output
        assert "TU-BUG" not in result.output, result.output
        if words[0] in ("plan", "sync"):
            assert "trueup trust" in result.output
            assert result.exit_code == 78
    assert stranger.told == []  # type: ignore[attr-defined]
    assert not list(victim.path.rglob("ran"))


def test_trusting_shows_what_will_be_fetched_and_fetches_nothing(victim: Home, stranger: HTTPServer) -> None:
    for how, shown in (("env", "env OTHER_TOKEN"), ("file", "file ~/.ssh/key"), ("command", "touch ran")):
        (victim.path / "trueup.toml").write_text(hostile(stranger, WAYS[how]))
        said = victim("trust").output
        assert shown in said
        assert CANARY not in said
    assert not list(victim.path.rglob("ran"))


def test_an_approved_file_is_served(victim: Home, stranger: HTTPServer) -> None:
    """The other half: what is refused above works once a person has said so."""
    (victim.path / "trueup.toml").write_text(hostile(stranger, WAYS["file"]))
    victim("trust")
    done = Home(victim.path, dict(os.environ)).process("plan", "evil")
    output, errors = done.communicate(timeout=100)
    assert done.returncode not in (0, 78), output + errors
    assert any(CANARY in told for told in stranger.told)  # type: ignore[attr-defined]
    assert CANARY not in output + errors


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_a_personal_file_that_others_can_write_is_a_strangers(
    victim: Home, stranger: HTTPServer, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    assert personal(victim, stranger, monkeypatch, mode).exit_code == 78
    assert not list(victim.path.rglob("ran"))


def test_a_personal_file_of_another_user_is_a_strangers(
    victim: Home, stranger: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    monkeypatch.setattr("trueup.config.document._ADMINISTRATOR", mine + 2)
    assert personal(victim, stranger, monkeypatch, 0o600).exit_code == 78


def personal(victim: Home, stranger: HTTPServer, monkeypatch: pytest.MonkeyPatch, mode: int) -> Result:
    """Plan with the hostile settings as the user's own file."""
    (victim.path / "trueup.toml").unlink()
    path = victim.path / "me/.config/trueup/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(hostile(stranger, WAYS["command"]).replace('"site"', f'"{victim.site}"'))
    path.chmod(mode)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(victim.path / "me/.config"))
    return victim("plan", "evil", code=None)


@pytest.mark.parametrize(
    "content",
    [
        "a = " + "[" * 200_000,
        "a" + ".a" * 100_000 + " = 1",
        "['a'" + ".'a'" * 100_000 + "]",
        "a = { b" + ' . "a"' * 100_000 + " = 1 }",
        "x = '" + "y" * 1_100_000,
    ],
    ids=["deep", "long key", "long header", "long key within", "large"],
)
def test_a_file_out_of_all_proportion_is_refused_with_78(victim: Home, content: str) -> None:
    (victim.path / "trueup.toml").write_text(content)
    result = victim("status", code=78)
    assert len(result.output) < 2000


def test_a_long_list_of_patterns_is_no_long_key(home: Home) -> None:
    home.configure("exclude = [" + ", ".join(f'"*.{n}"' for n in range(1000)) + "]\n")
    home("status")


def test_a_secret_file_without_an_end_is_given_up(victim: Home, stranger: HTTPServer) -> None:
    (victim.path / "trueup.toml").write_text(hostile(stranger, '{ file = "/dev/zero" }'))
    victim("trust")
    assert "larger than" in victim("plan", "evil", code=78).output


def test_a_link_is_trusted_as_the_file_that_it_leads_to(victim: Home, stranger: HTTPServer, tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    real.write_text(hostile(stranger, WAYS["env"]))
    (victim.path / "trueup.toml").unlink()
    (victim.path / "trueup.toml").symlink_to(real)
    victim("plan", "evil", code=78)
    victim("trust")
    real.write_text(real.read_text() + "# edited\n")
    victim("plan", "evil", code=78)
