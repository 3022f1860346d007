"""Speak as much S3 as it takes to list a made-up bucket: service.py ENTRIES.

Says its address, and ends with its input. Keys are in order; prefix, delimiter, start-after and pages as in
"ListObjectsV2" of the Amazon S3 API reference. Signatures are not looked at. There are no objects behind the names.
"""

import sys
import threading
from bisect import bisect_left, bisect_right
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from synthetic import gone, key

ITEM = (
    "<Contents><Key>{}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>&quot;{}&quot;</ETag>"
    "<Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>test</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount><MaxKeys>{}</MaxKeys><IsTruncated>{}</IsTruncated>{}"
    "</ListBucketResult>"
)
NOT_FOUND = b"<Error><Code>NoSuchKey</Code><Message>There is no such key</Message></Error>"


class Listing:
    """The names of a bucket, and pages of them."""

    def __init__(self, entries: int) -> None:
        self.names = [key(i).decode() for i in range(entries) if not gone(i, entries)]

    def page(self, query: dict[str, str]) -> str:
        prefix, limit = query.get("prefix", ""), min(1000, int(query.get("max-keys", "1000")))
        after = unquote(query.get("continuation-token", "")) or query.get("start-after", "")
        at = max(bisect_left(self.names, prefix), bisect_right(self.names, after) if after else 0)
        if query.get("delimiter"):
            items, at, last = self._folders(prefix, after, at, limit)
        else:
            end = min(at + limit, self._end(prefix))
            items = [ITEM.format(name, etag(name)) for name in self.names[at:end]]
            at, last = end, self.names[end - 1] if end else ""
        more = at < self._end(prefix)
        token = f"<NextContinuationToken>{quote(last)}</NextContinuationToken>" if more else ""
        return PAGE.format(prefix, len(items), limit, str(more).lower(), token + "".join(items))

    def _end(self, prefix: str) -> int:
        return bisect_left(self.names, prefix + "\U0010ffff")

    def _folders(self, prefix: str, after: str, at: int, limit: int) -> tuple[list[str], int, str]:
        """Names up to the next slash, a folder once."""
        items: list[str] = []
        last = ""
        if after.endswith("/"):
            at = max(at, self._end(after))
        while at < self._end(prefix) and len(items) < limit:
            name = self.names[at]
            head, slash, _ = name[len(prefix) :].partition("/")
            if slash:
                last = f"{prefix}{head}/"
                items.append(f"<CommonPrefixes><Prefix>{last}</Prefix></CommonPrefixes>")
                at = self._end(last)
            else:
                last = name
                items.append(ITEM.format(name, etag(name)))
                at += 1
        return items, at, last


def etag(name: str) -> str:
    return f"{int(name[-12:-4]):032x}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, listing: Listing, *arguments: object) -> None:
        self.listing = listing
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # as the library names it
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        listed = "list-type" in query
        body = self.listing.page(query).encode() if listed else NOT_FOUND
        self.send_response(200 if listed else 404)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:  # as the library names it
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(entries: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, Listing(entries)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


main(int(sys.argv[1]))
