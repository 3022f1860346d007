"""The way to a service: proxies, and authorities of certificates, as the environment names them."""

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

EMPTY = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult><Name>team</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"""
NOTHING = b"<Error><Code>NoSuchKey</Code><Message>There is none.</Message></Error>"


@dataclass
class Listener:
    """An S3 service with an empty bucket, or a proxy that answers itself."""

    address: str
    asked: list[str]


@contextmanager
def listener(certificate: tuple[Path, Path] | None = None) -> Iterator[Listener]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = EMPTY if "list-type=2" in self.path else NOTHING
            self.send_response(200 if body is EMPTY else 404)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A handshake that the other side breaks off is what a test is about."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Listener(f"127.0.0.1:{server.server_port}", asked)
        server.shutdown()
        thread.join()


def status(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: the HTTP client reads its environment once."""
    (folder / "site").mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return subprocess.run(
        [sys.executable, "-m", "trueup", "status", "folder", "site", "s3://team/x"],
        cwd=folder,
        env=clean | {"HOME": str(folder), "TRUEUP_STATE": str(folder / "state")} | keys | env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_asked(tmp_path: Path, name: str) -> None:
    with listener() as proxy:
        done = status(tmp_path, AWS_ENDPOINT_URL="http://s3.example.com", **{name: f"http://{proxy.address}"})
    assert done.returncode == 0, done.stderr
    assert proxy.asked[0].startswith("http://s3.example.com/team?")


def test_no_proxy_is_asked_about_what_is_excepted(tmp_path: Path) -> None:
    with listener() as proxy, listener() as service:
        proxies = {"HTTP_PROXY": f"http://{proxy.address}", "NO_PROXY": "127.0.0.1"}
        done = status(tmp_path, AWS_ENDPOINT_URL=f"http://{service.address}", **proxies)
    assert done.returncode == 0, done.stderr
    assert service.asked
    assert not proxy.asked


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority (ca.pem) and what it vouches for (leaf.pem, leaf.key)."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("authority")
    (folder / "leaf.ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(folder, f"req -x509 {curve} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority")
    openssl(folder, f"req {curve} -keyout leaf.key -out leaf.csr -subj /CN=service")
    openssl(folder, "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -set_serial 1 -extfile leaf.ext -out leaf.pem")
    return folder


def openssl(folder: Path, line: str) -> None:
    subprocess.run(["openssl", *line.split()], cwd=folder, capture_output=True, check=True)


def test_an_authority_of_ones_own_is_named_in_the_environment(tmp_path: Path, authority: Path) -> None:
    with listener((authority / "leaf.pem", authority / "leaf.key")) as service:
        there = {"AWS_ENDPOINT_URL": f"https://{service.address}"}
        unknown = status(tmp_path, **there)
        named = status(tmp_path, **there, SSL_CERT_FILE=str(authority / "ca.pem"))
        other = status(tmp_path, **there, AWS_CA_BUNDLE=str(authority / "ca.pem"))
    assert (unknown.returncode, named.returncode) == (1, 0), named.stdout + named.stderr
    assert "export SSL_CERT_FILE=" in unknown.stdout + unknown.stderr
    assert other.returncode == 1, "if this works now, the documentation may say so"
