"""A listing of a million keys passes in flat memory: neither the store nor its lister keeps what it has handed on.

The server is a stub that makes its pages up, in byte order: no local one holds a million objects within a test. How
long it takes is for the benchmarks.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

PAGE = 1000
ITEM = (
    "<Contents><Key>million/d%04d/f%07d.txt</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>"
    "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
HEAD = '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>test</Name><Prefix>million/</Prefix>'

PROGRAM = """
import os, sys
import anyio
from pathlib import Path
from tests.services import Service
from trueup.stores.object import listing

def high_water(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024

async def main():
    store = Service(sys.argv[1]).store("million")
    seen, low, last = 0, None, b""
    async for rows in store.scan():
        assert last < rows[0][0], "in order, none twice"
        last = rows[-1][0]
        seen += len(rows)
        if low is None and seen >= 100_000:
            low = marks(os.getpid())
    after = marks(os.getpid())
    print(seen, max(b - a for a, b in zip(low, after)))

def marks(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    threads = Path(f"/proc/{pid}/task").iterdir()
    lister = [int(child) for task in threads for child in (task / "children").read_text().split()]
    return [high_water(one) for one in (pid, *lister)]

anyio.run(main)
"""


class Server(ThreadingHTTPServer):
    """Answers every list of objects."""

    daemon_threads = True
    keys = 0
    pages = 0


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:  # the library's name
        query = parse_qs(urlsplit(self.path).query)
        assert query["list-type"] == ["2"], self.path
        first = int(query.get("continuation-token", ["0"])[0])
        following = min(first + PAGE, self.server.keys)
        items = "".join([ITEM % (n // 1000, n) for n in range(first, following)])
        more = following < self.server.keys
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if more else ""
        truncated = "true" if more else "false"
        body = f"{HEAD}<IsTruncated>{truncated}</IsTruncated>{token}{items}</ListBucketResult>".encode()
        self.server.pages += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_million_keys_are_listed_in_flat_memory(server: Server) -> None:  # 27
    server.keys = 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{server.server_port}"],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        check=True,
    )
    seen, grown = map(int, done.stdout.split())
    assert seen == server.keys
    assert server.pages <= server.keys // PAGE + 10  # the last of each lister, and a look at the folders
    assert grown <= 16, "MiB more after a million keys than after the first tenth"
