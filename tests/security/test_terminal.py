"""Nothing that somebody else has named reaches the terminal raw: names, locations, content, and what servers say.

Which characters are escaped, and how, is in ``tests/render/test_names.py``; messages about configurations are in
``tests/test_config.py`` and ``tests/cli/test_config_commands.py``.
"""

import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.cli.home import Home

EVIL = "\x1b]0;owned\x07\x1b[31m\x9b2J\rok\n  gpj.\u202eexe\u2066\u200b\x7f\u2028"
NAMES = [f"{letter}{EVIL}" for letter in "abcd"]
OURS = re.compile(r"\x1b\[(?:0|1|2|31|32|33|35|36)m")
"""The colours that we paint ourselves."""


def check(text: str) -> None:
    """Every character is one that a terminal shows as it is."""
    bad = {char for char in OURS.sub("", text) if char != "\n" and not char.isprintable()}
    assert not bad, f"{bad} in {text!r}"


def said(home: Home, *words: str) -> str:
    """What a command prints, colours included."""
    result = home("--color", "always", *words, code=None)
    assert "TU-BUG" not in result.output, result.output
    check(result.output)
    return result.output


@pytest.fixture
def hostile(home: Home) -> Home:
    """Every kind of change, all of items with such names; in a text file, such content."""
    a, b, c, d = (name for name in NAMES)
    for name in (a, b, c):
        (home.site / name).write_text("old")
    os.mkfifo(home.site / f"pipe{EVIL}")
    (home.site / f"link{EVIL}").symlink_to(f"to{EVIL}")
    home("sync", "site", "--yes")
    (home.site / a).write_text(f"mine {EVIL}\n")
    (home.share / a).write_text(f"theirs {EVIL}\n")
    (home.site / b).unlink()
    (home.share / c).rename(home.share / d)
    (home.path / f"place{EVIL}").mkdir()
    return home


READING = [
    ("plan", "site", "-vv"),
    ("plan", "site", "--json"),
    ("plan", "site", "--output", "jsonl"),
    ("status", "-v"),
    ("verify", "site", "-v"),
    ("diff", "site"),
    ("diff", "site", "--json"),
    ("diff", "site", NAMES[0]),
    ("diff", "site", f"nothing{EVIL}"),
    ("conflicts", "site"),
    ("conflicts", "show", "site", NAMES[0]),
    ("history", "-v"),
    ("history", "show", "last"),
    ("doctor",),
    ("config", "show"),
    ("trash", "ls", "site"),
    ("sync", f"nobody{EVIL}"),
    (f"command{EVIL}",),
    ("plan", f"--option{EVIL}"),
    ("apply", f"file{EVIL}"),
    ("undo", f"run{EVIL}"),
    ("trash", "restore", "site", f"handle{EVIL}"),
    ("plan", "folder", "site", f"place{EVIL}"),
    ("plan", "folder", "site", f"not there{EVIL}"),
    ("plan", "folder", "site", f"s3://{EVIL}/x"),
    ("plan", "folder", "site", f"odd{EVIL}://x"),
    ("--config", f"none{EVIL}", "status"),
    ("--profile", f"none{EVIL}", "status"),
    ("trust", f"none{EVIL}"),
]


@pytest.mark.parametrize("words", READING, ids=[str(n) for n in range(len(READING))])
def test_no_answer_and_no_error_obeys_a_name(hostile: Home, words: tuple[str, ...]) -> None:
    assert said(hostile, *words)


def test_no_run_and_nothing_after_it_obeys_a_name(hostile: Home) -> None:
    assert "owned" in said(hostile, "sync", "site", "--yes", "-vv", "--conflict", "newest-wins")
    assert "owned" in said(hostile, "trash", "ls", "site")
    assert "owned" in said(hostile, "history", "show", "last", "-v")
    said(hostile, "undo", "last", "--yes", "-v")
    said(hostile, "trash", "prune", "site", "--older-than", "0s", "--yes", "--last-copies")


@pytest.mark.parametrize("words", [("plan", "site", "--json"), ("trash", "ls", "site", "--json")])
def test_documents_are_ascii_and_say_the_names_as_they_are(hostile: Home, words: tuple[str, ...]) -> None:
    hostile("sync", "site", "--yes", code=None)
    result = hostile(*words, code=None)
    assert result.stdout.isascii()
    json.loads(result.stdout)


# -- servers ---------------------------------------------------------------------------------------------------------


class Rude(BaseHTTPRequestHandler):
    """Answers everything with an error that speaks to terminals."""

    def do_GET(self) -> None:
        body = f"<Error><Code>Odd{EVIL}</Code><Message>Said {EVIL}</Message></Error>"
        body = re.sub("[\x00-\x08\x0b-\x1f]", lambda found: f"&#{ord(found[0])};", body)
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        data = body.encode() if not self.server.raw else EVIL.encode() * 100  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-odd", "\x1b[31m")
        self.end_headers()
        self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """The tests' output is no place for it."""


@pytest.fixture(params=[(400, False), (403, True), (404, False)])
def rude(request: pytest.FixtureRequest) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Rude)
    server.status, server.raw = request.param  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_a_server_says_is_made_harmless(home: Home, rude: str, tmp_path: Path) -> None:
    (home.site / "a").write_text("1")
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "HOME": str(tmp_path), "AWS_ENDPOINT_URL": rude}
    for words in (
        ("plan", "folder", "site", "s3://bucket/x", "-vv"),
        ("sync", "folder", "site", "s3://bucket/x", "--yes", "--json"),
        ("doctor", "folder", "site", "s3://bucket/x"),
    ):
        process = home_process(home, keys, *words)
        check(process)


def home_process(home: Home, env: dict[str, str], *words: str) -> str:
    """Everything that a process of its own prints."""
    done = Home(home.path, {**home.env, **env}).process(*words)
    output, errors = done.communicate(timeout=100)
    assert done.returncode not in (0, 70), output + errors
    assert "TU-BUG" not in errors, errors
    return output + errors
