"""A proxy that stands in front of an S3 server and breaks things, where and when a test says.

It runs in a thread of its own, on loopback, with the standard library alone::

    with FaultProxy("127.0.0.1:8333") as proxy:
        store = open_store(endpoint=proxy.endpoint)
        proxy.add(Rule(s3_error("SlowDown", retry_after=1), method="PUT", nth=2))
        proxy.add(Rule(DropAnswer(), method="POST", query={"uploadId": ANY}, times=1))
        proxy.add(Rule(Before(lambda request: somebody_edits(request.key)), method="PUT", path="/report.txt$"))
        ...
        assert [record.status for record in proxy.log] == [...]

Signatures hold, because host, headers and bodies reach the server byte by byte. The same requests meet the same harm:
rules count what fits them, and what they draw, they draw from a seed and the request, never from the clock.
"""

from trueup.testing.proxy.actions import (
    After,
    Before,
    CutAnswer,
    CutRequest,
    DropAnswer,
    DropRequest,
    FlipAnswer,
    FlipRequest,
    Hang,
    IgnoreConditions,
    Latency,
    Refuse,
)
from trueup.testing.proxy.answers import ERRORS, Answer, s3_error
from trueup.testing.proxy.etags import NoETags, OtherETags
from trueup.testing.proxy.exchange import Action, Exchange, Record, Reply, Reset
from trueup.testing.proxy.listings import (
    HOSTILE_NAMES,
    EditedListing,
    InjectedKeys,
    StaleListing,
    TruncatedListing,
    UnorderedListing,
)
from trueup.testing.proxy.page import Page
from trueup.testing.proxy.rules import ANY, Request, Rule
from trueup.testing.proxy.server import FaultProxy
from trueup.testing.sigv4 import Credentials

__all__ = [
    "ANY",
    "ERRORS",
    "HOSTILE_NAMES",
    "Action",
    "After",
    "Answer",
    "Before",
    "Credentials",
    "CutAnswer",
    "CutRequest",
    "DropAnswer",
    "DropRequest",
    "EditedListing",
    "Exchange",
    "FaultProxy",
    "FlipAnswer",
    "FlipRequest",
    "Hang",
    "IgnoreConditions",
    "InjectedKeys",
    "Latency",
    "NoETags",
    "OtherETags",
    "Page",
    "Record",
    "Refuse",
    "Reply",
    "Request",
    "Reset",
    "Rule",
    "StaleListing",
    "TruncatedListing",
    "UnorderedListing",
    "s3_error",
]
