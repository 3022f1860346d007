"""The calls with a bucket, on a real S3 service, and with none that answers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.actions.team import Team
from tests.services import Service

from trueup.testing.engines import KEYS, free_ports
from trueup.testing.sigv4 import call

pytestmark = pytest.mark.engine


@pytest.fixture
def bucket(strong_s3: Service, request: pytest.FixtureRequest) -> str:
    name = f"w{abs(hash(request.node.name)) % 10**9}"
    assert call(strong_s3.endpoint, KEYS, "PUT", f"/{name}").status == 200
    return name


def ran(endpoint: str, code: str, home: Path) -> str:
    """What a program prints; a process of its own: who lists buckets keeps the environment that it began with."""
    keys = {"AWS_ACCESS_KEY_ID": KEYS.access_key, "AWS_SECRET_ACCESS_KEY": KEYS.secret_key}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    body = textwrap.indent(textwrap.dedent(code), "    ")
    names = "sync, SyncStrategy, SyncDirection, ConflictStrategy"
    program = f"import anyio\nfrom trueup import {names}\nasync def main():\n{body}\nanyio.run(main)\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **keys, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_static_files_get_the_headers_that_browsers_need(
    team: Team, strong_s3: Service, bucket: str, tmp_path: Path
) -> None:
    team.here("static/site.css", "a{}")
    team.here("static/index.html", "<p>")
    code = f"""
        result = await sync.static(storage_bucket="s3://{bucket}/static")
        print(result.synced_items, *result.errors)
    """
    assert ran(strong_s3.endpoint, code, tmp_path) == "['PUSH: index.html', 'PUSH: site.css']\n"
    served = {}
    for name in ("site.css", "index.html"):
        headers = call(strong_s3.endpoint, KEYS, "HEAD", f"/{bucket}/static/{name}").headers
        served[name] = (headers["content-type"], headers["cache-control"])
    assert served == {
        "site.css": ("text/css; charset=utf-8", "public, max-age=3600"),
        "index.html": ("text/html; charset=utf-8", "no-cache"),
    }


def test_a_broken_template_in_a_bucket_is_not_installed(
    team: Team, strong_s3: Service, bucket: str, tmp_path: Path
) -> None:
    for name, text in (("bad.html", b"a\n{% if %}"), ("good.html", b"good")):
        assert call(strong_s3.endpoint, KEYS, "PUT", f"/{bucket}/t/{name}", body=text).status == 200
    code = f"""
        pull = SyncStrategy(direction=SyncDirection.PULL, conflict_strategy=ConflictStrategy.REMOTE_WINS)
        result = await sync.templates(strategy=pull, storage_bucket="s3://{bucket}/t")
        print(result.synced_items, *result.errors)
    """
    said = ran(strong_s3.endpoint, code, tmp_path)
    assert said.startswith("['PULL: good.html'] bad.html: remote: line 2: Expected an expression")
    assert team.files("templates") == {"good.html": "good"}


def test_a_service_that_does_not_answer_is_an_error_and_changes_nothing(team: Team, tmp_path: Path) -> None:
    team.here("templates/a.html", "a")
    code = """
        quick = SyncStrategy(timeout=20, retry_attempts=0)
        result = await sync.templates(strategy=quick, storage_bucket="s3://nowhere/t")
        print(result.is_success, result.synced_items, len(result.errors), result.exit_code)
    """
    (port,) = free_ports(1)
    assert ran(f"http://127.0.0.1:{port}", code, tmp_path) == "False [] 1 1\n"
    assert team.files("templates") == {"a.html": "a"}
