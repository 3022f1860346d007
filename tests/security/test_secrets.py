"""Secrets reach the server that they are for, and nothing else: no output, no file, no list of processes.

How each way to a secret behaves, and that passwords in URLs are refused, is in ``tests/test_config.py``.
"""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.cli.home import Home

KEY, SECRET, TOKEN = "AKIACANARY0c2a9d", "secret-canary-71e64b38", "token-canary-9d2b"
LIST = (
    b"""<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated></ListBucketResult>"""
)


class Watching(BaseHTTPRequestHandler):
    """A server that looks at the machine's processes whenever it is asked something."""

    def do_GET(self) -> None:
        asked = self.server
        asked.seen.append(command_lines())  # type: ignore[attr-defined]
        asked.authorized.append(str(self.headers.get("Authorization")))  # type: ignore[attr-defined]
        listing = asked.status == 200 and "list-type" in self.path  # type: ignore[attr-defined]
        body = LIST if listing else b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        self.send_response(200 if listing else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """The tests' output is no place for it."""


def command_lines() -> bytes:
    """Of every process that there is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue  # it has ended
    return b"\n".join(found)


@pytest.fixture(params=[200, 403])
def server(request: pytest.FixtureRequest) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Watching)
    server.status, server.seen, server.authorized = request.param, [], []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


COMMANDS = [
    ("plan", "site", "-vv"),
    ("plan", "site", "--json"),
    ("sync", "site", "--yes", "-vv"),
    ("doctor", "site", "--json"),
    ("config", "show"),
]


def everything_written(*roots: Path) -> bytes:
    return b"\n".join(path.read_bytes() for root in roots for path in sorted(root.rglob("*")) if path.is_file())


@pytest.mark.parametrize("way", ["configured", "environment"])
def test_keys_are_in_no_output_no_file_and_no_command_line(
    home: Home, server: HTTPServer, way: str, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    (home.site / "a").write_text("1")
    (tmp_path / "me").mkdir()
    env = {**home.env, "HOME": str(tmp_path / "me"), "RUST_LOG": "trace", "TRUEUP_LOG": "debug"}
    for name in [name for name in env if name.startswith("AWS_")]:
        del env[name]
    target = '[targets.site]\nkind = "folder"\nlocal = "site"\nretry_attempts = 0\nremote = '
    if way == "configured":
        (tmp_path / "secret").write_text(SECRET)
        env["CANARY"] = KEY
        bucket = f'[buckets.web]\nurl = "s3://bucket"\nendpoint = "{endpoint}"\naccess_key = {{ env = "CANARY" }}\n'
        bucket += f'secret_key = {{ command = ["cat", "{tmp_path / "secret"}"] }}\n'
        (home.path / "trueup.toml").write_text(bucket + target + '"bucket:web/x"\n')
        home("trust")
    else:
        (home.path / "trueup.toml").write_text(target + '"s3://bucket/x"\n')
        env |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        env["AWS_SESSION_TOKEN"] = TOKEN
    printed = ""
    for words in COMMANDS:
        output, errors = Home(home.path, env).process(*words).communicate(timeout=100)
        printed += output + errors
    assert any(KEY in told for told in server.authorized), "the keys were in use"  # type: ignore[attr-defined]
    seen = b"".join(server.seen)  # type: ignore[attr-defined]
    assert b"trueup" in seen, "the processes were looked at"
    written = everything_written(Path(env["TRUEUP_STATE"]), home.site, home.path)
    assert len(written) > 10_000, "the state was looked at"
    for secret in (KEY, SECRET, TOKEN):
        assert secret not in printed
        assert secret.encode() not in written
        assert secret.encode() not in seen


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{SECRET}@example.com/x",
        f"s3://{KEY}:{SECRET}@bucket/x",
        f"s3://bucket/x?endpoint=http://me:{SECRET}@127.0.0.1:1",
        f"file://me:{SECRET}@host/x",
    ],
)
@pytest.mark.parametrize("words", [("plan",), ("sync", "--yes"), ("doctor",), ("plan", "--json", "-vv")])
def test_a_password_in_a_url_on_the_command_line_is_repeated_nowhere(
    home: Home, url: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("TRUEUP_RETRY_ATTEMPTS", "0")
    result = home(words[0], "folder", "site", url, *words[1:], code=None)
    assert result.exit_code != 0
    assert SECRET not in result.output
    state = Path(os.environ["TRUEUP_STATE"])
    assert SECRET.encode() not in everything_written(state, home.path)
