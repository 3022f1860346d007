"""Stand between a client and an S3 server and count what passes: count.py HOST:PORT.

Says its own address; for every line that it reads, what has passed since the last, as JSON. Ends with its input.
"""

import json
import sys
from collections import Counter

from trueup.testing.proxy import FaultProxy, Rule
from trueup.testing.proxy.exchange import Action, Exchange


class Count(Action):
    """Lets everything pass."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()

    async def arriving(self, exchange: Exchange) -> None:
        """A request: its payload, unless it is about our own marks."""
        request = exchange.request
        self.passed["requests"] += 1
        if request.method == "PUT" and not own(request.key):
            told = request.headers.get("x-amz-decoded-content-length", request.headers.get("content-length", "0"))
            self.passed["sent"] += int(told)

    async def answering(self, exchange: Exchange) -> None:
        """An answer: the bytes of an object."""
        request, reply = exchange.request, exchange.reply
        if request.method == "GET" and request.key and reply is not None and reply.head.status < 300:
            self.passed["received"] += 0 if own(request.key) else max(0, reply.length)


def own(key: str) -> bool:
    return "/.trueup/" in f"/{key}"


def main(upstream: str) -> None:
    counting = Count()
    with FaultProxy(upstream) as proxy:
        proxy.add(Rule(counting))
        print(proxy.endpoint, flush=True)
        for _ in sys.stdin:
            passed, counting.passed = counting.passed, Counter()
            print(json.dumps({name: passed[name] for name in ("sent", "received", "requests")}), flush=True)


main(sys.argv[1])
