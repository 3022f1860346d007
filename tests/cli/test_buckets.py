"""The command line with a bucket, on a real S3 server: init, doctor, and what they say when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.home import Home
from tests.services import Service

from trueup.testing.engines import KEYS, free_ports
from trueup.testing.sigv4 import call

pytestmark = pytest.mark.engine


@pytest.fixture
def place(
    home: Home, strong_s3: Service, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> str:
    """A place in a bucket of its own, and the environment to get there; the home's own target is gone."""
    bucket = f"b{abs(hash(request.node.name)) % 10**9}"
    assert call(strong_s3.endpoint, KEYS, "PUT", f"/{bucket}").status == 200
    (home.path / "trueup.toml").unlink()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", strong_s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    return f"s3://{bucket}/site"


def ran(home: Home, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
    """What a process of its own prints: who lists buckets stays, and keeps the environment that it began with."""
    done = subprocess.run(
        [sys.executable, "-m", "trueup", *arguments],
        cwd=home.path,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def names(service: Service, place: str) -> str:
    bucket = place.split("/")[2]
    return call(service.endpoint, KEYS, "GET", f"/{bucket}?list-type=2").body.decode()


def test_a_bucket_is_configured_examined_and_synced(home: Home, strong_s3: Service, place: str) -> None:
    ran(home, "init", "--local", "site", "--remote", place, "--deletes", "propagate")
    (home.site / "a").write_text("one")
    first = ran(home, "doctor")
    assert "ok site remote promises: not yet probed" in first
    assert "ok site remote writable: not tried" in first
    assert "<Key>" not in names(strong_s3, place), "examining writes nothing"
    ran(home, "sync", "--yes")
    then = ran(home, "doctor", "site")
    assert "not yet probed" not in then
    assert "ok site remote promises: a write that comes late is refused" in then
    assert "<Key>site/a</Key>" in names(strong_s3, place)
    assert "site  in sync: 1 item the same" in ran(home, "sync")


def test_a_weak_store_is_called_so(home: Home, place: str, weak_s3: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", weak_s3.endpoint)
    weak = f"s3://{weak_s3.bucket}/{place.split('/')[2]}"
    (home.site / "a").write_text("one")
    ran(home, "sync", "folder", "site", weak, "--yes")
    said = "cannot refuse a lost race (create, replace, delete): two writers at once can collide"
    remote = ran(home, "doctor", "folder", "site", weak).partition("remote:")[2]
    assert said in remote
    assert "a write that comes late is refused" not in remote
    (home.site / "a").write_text("two")
    assert said in ran(home, "plan", "folder", "site", weak)


@pytest.mark.parametrize(
    ("env", "said", "attempt"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrongwrong"}, "the secret key for", "try: look at AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key", "try: look at AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no keys", "export AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:PORT"}, "is not reachable", "try: is the service running there?"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_what_to_do(
    home: Home, place: str, env: dict[str, str], said: str, attempt: str
) -> None:
    port = str(free_ports(1)[0])
    changed = {name: value.replace("PORT", port) for name, value in env.items()}
    text = ran(home, "doctor", "folder", "site", place, code=1, env=changed)
    assert said in text
    assert attempt in text
    assert "1 problem found" in text
    assert "wrongwrong" not in text


def test_the_doctor_misses_a_bucket(home: Home, place: str) -> None:
    text = ran(home, "doctor", "folder", "site", place.replace("s3://", "s3://no"), "--json", code=1)
    (bad,) = [finding for finding in json.loads(text)["findings"] if not finding["ok"]]
    assert "there is no bucket" in bad["detail"]
    assert "aws s3 mb" in bad["fix"]
