"""What `trueup doctor` says of the server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.web.server import Served

from trueup.engine import listening
from trueup.engine.doctor import Diagnosis
from trueup.engine.listening import examine_server


def doctor(served: Served, *, code: int) -> dict[str, Diagnosis]:
    """What the command finds of the server, by what was examined."""
    (served.path / "trueup.toml").write_text(f"[serve]\nport = {served.port}\n")
    command = [sys.executable, "-m", "trueup", "doctor", "--json"]
    done = subprocess.run(command, cwd=served.path, env=served.environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    found = [Diagnosis(**one) for one in json.loads(done.stdout)["findings"]]
    return {one.check: one for one in found if one.check.startswith("server")}


def test_who_has_no_server_hears_nothing_of_it(tmp_path: Path) -> None:
    assert examine_server(tmp_path, 8000, meant=False) == []


def test_a_server_that_serves_and_one_that_was_killed(fresh: Served) -> None:
    fresh.start()
    assert fresh.process is not None
    pid, port = fresh.process.pid, f"server port {fresh.port}"
    found = doctor(fresh, code=0)
    assert (list(found), found[port].detail) == (["server packages", port], f"answered by process {pid}")
    fresh.kill()
    found = doctor(fresh, code=1)
    assert (found[port].ok, "killed" in found[port].detail) == (False, True)
    assert f"this machine {fresh.port}" in found[port].fix
    number = fresh.port
    fresh.stop()
    fresh.start(port=number)
    assert doctor(fresh, code=0)[port].ok
    assert fresh.stop() == 0
    assert doctor(fresh, code=0)[port].detail == "free"


def test_a_token_that_others_may_read(fresh: Served) -> None:
    fresh.start()
    left = fresh.state / "serve" / f"{fresh.port}.json"
    left.chmod(0o644)
    found = doctor(fresh, code=1)["server token"]
    assert (found.ok, "644" in found.detail, f"chmod 600 {left}" in found.fix) == (False, True, True)
    left.chmod(0o600)
    left.parent.chmod(0o755)
    assert "chmod 700" in doctor(fresh, code=1)["server token"].fix


class Other(BaseHTTPRequestHandler):
    """Another program: it answers, and is not ours."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            (*_, found) = examine_server(tmp_path, other.server_port, meant=True)
        finally:
            other.shutdown()
            thread.join()
    assert (found.ok, found.detail) == (False, "another program listens there")


def test_packages_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PACKAGES", ("fastapi", "no_such_package"))
    (tmp_path / "serve").mkdir(mode=0o700)
    found = examine_server(tmp_path, 1, meant=False)[0]
    assert (found.ok, found.detail) == (False, "no_such_package not installed")
    assert "trueup[web]" in found.fix
