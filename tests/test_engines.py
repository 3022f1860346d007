"""Real engines and a real client, through the fault proxy: nothing is noticed unless a rule says so."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from trueup.testing.engines import KEYS, Missing, S3Server, Server, find, rclone_s3, weed_mini
from trueup.testing.proxy import (
    ANY,
    Action,
    Before,
    CutAnswer,
    CutRequest,
    DropAnswer,
    FaultProxy,
    FlipAnswer,
    IgnoreConditions,
    InjectedKeys,
    NoETags,
    OtherETags,
    Request,
    Rule,
    StaleListing,
    TruncatedListing,
    UnorderedListing,
    s3_error,
)
from trueup.testing.sigv4 import call


def test_a_missing_program_is_said_to_be_missing(tmp_path: Path) -> None:
    class Nothing(Server):
        program = "no-such-engine"
        origin = "nowhere"

    with pytest.raises(Missing, match="no-such-engine is not installed; it comes with nowhere"), Nothing(tmp_path):
        pass


@contextmanager
def started(server: S3Server) -> Iterator[S3Server]:
    try:
        find(server.program, server.origin)
    except Missing as missing:
        pytest.skip(str(missing))
    with server:
        yield server
    assert server.pid is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with started(weed_mini(tmp_path_factory.mktemp("weed"))) as server:
        yield server


@pytest.fixture
def weed(server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.address) as running:
        yield running


@pytest.fixture
def weak(tmp_path: Path) -> Iterator[FaultProxy]:
    with started(rclone_s3(tmp_path)) as server, FaultProxy(server.address) as running:
        yield running


@pytest.fixture
def opendal() -> Any:
    return pytest.importorskip("opendal")


def options(endpoint: str) -> dict[str, str]:
    return {
        "bucket": "test",
        "endpoint": endpoint,
        "region": KEYS.region,
        "access_key_id": KEYS.access_key,
        "secret_access_key": KEYS.secret_key,
        "disable_config_load": "true",
        "disable_ec2_metadata": "true",
    }


def operator(opendal: Any, proxy: FaultProxy) -> Any:
    return opendal.Operator("s3", **options(proxy.endpoint))


def opendal_lists(proxy: FaultProxy, prefix: str) -> list[str] | str:
    """In another process, because the lister holds the global lock; the error, if it raises one."""
    script = (
        "import json, sys, opendal\n"
        "operator = opendal.Operator('s3', **json.loads(sys.argv[1]))\n"
        "try:\n"
        "    print(json.dumps([entry.path for entry in operator.list(sys.argv[2], recursive=True)]))\n"
        "except Exception as error:\n"
        "    print(json.dumps(type(error).__name__))\n"
    )
    command = [sys.executable, "-c", script, json.dumps(options(proxy.endpoint)), prefix]
    got: list[str] | str = json.loads(subprocess.check_output(command, text=True, timeout=20))
    return got


@pytest.mark.engine
def test_a_real_client_and_a_real_server_notice_nothing(weed: FaultProxy, opendal: Any) -> None:
    store = operator(opendal, weed)
    name = "pass/sp ace/ü+%&=.txt"
    store.write(name, b"hello", if_not_exists=True, user_metadata={"by": "me"})
    assert store.read(name) == b"hello"
    assert store.read(name, offset=1, size=3) == b"ell"
    etag = store.stat(name).etag
    with pytest.raises(opendal.exceptions.ConditionNotMatch):
        store.write(name, b"late", if_not_exists=True)
    with pytest.raises(opendal.exceptions.ConditionNotMatch):
        store.write(name, b"late", if_match='"00000000000000000000000000000000"')
    store.write(name, b"next", if_match=etag)
    with pytest.raises(opendal.exceptions.ConditionNotMatch):
        store.delete(name, if_match=etag)
    assert opendal_lists(weed, "pass/") == ["pass/sp ace/", name] or opendal_lists(weed, "pass/") == [name]
    large = bytes(range(256)) * (12 << 12)
    with store.open("pass/large", "wb", chunk=5 << 20, if_not_exists=True) as file:
        file.write(large)
    assert store.read("pass/large", chunk=4 << 20, concurrent=4) == large
    assert {record.request.query.get("partNumber") for record in weed.log} >= {"1", "2", "3"}
    assert not any(record.ended for record in weed.log)


@pytest.mark.engine
def test_the_faults_are_what_a_real_client_sees(weed: FaultProxy, opendal: Any) -> None:
    store, errors = operator(opendal, weed), opendal.exceptions
    store.write("fault/x", b"hello world")

    def harmed(action: Action, **conditions: Any) -> Any:
        weed.clear()
        return weed.add(Rule(action, times=1, **conditions))

    harmed(s3_error("SlowDown", retry_after=1))
    with pytest.raises((errors.RateLimited, errors.Unexpected), match="SlowDown"):
        store.read("fault/x")
    harmed(s3_error("AccessDenied"))
    with pytest.raises(errors.PermissionDenied):
        store.read("fault/x")
    harmed(s3_error("RequestTimeTooSkewed"))
    with pytest.raises(errors.PermissionDenied, match="RequestTimeTooSkewed"):
        store.write("fault/x", b"skewed")
    harmed(CutAnswer())
    with pytest.raises(errors.Unexpected):
        store.read("fault/x")
    harmed(FlipAnswer(at=0), method="GET")
    assert store.read("fault/x") == b"iello world"
    harmed(DropAnswer(), method="PUT")
    with pytest.raises(errors.Unexpected):
        store.write("fault/x", b"committed")
    assert store.read("fault/x") == b"committed"
    harmed(CutRequest(), method="PUT")
    with pytest.raises(errors.Unexpected):
        store.write("fault/x", b"z" * 1_000_000)
    assert store.read("fault/x") == b"committed"
    harmed(DropAnswer(), method="POST", query={"uploadId": ANY})
    with pytest.raises(errors.Unexpected):
        store.write("fault/parts", b"z" * (6 << 20), chunk=5 << 20)
    assert len(store.read("fault/parts")) == 6 << 20


@pytest.mark.engine
def test_an_edit_at_the_worst_moment_loses_the_race(weed: FaultProxy, server: S3Server, opendal: Any) -> None:
    store = operator(opendal, weed)
    store.write("race/x", b"seen")
    etag = store.stat("race/x").etag

    def edit(request: Request) -> None:
        assert call(server.endpoint, KEYS, "PUT", "/test/race/x", body=b"somebody's").status == 200

    weed.add(Rule(Before(edit), method="PUT", path="/race/x$", times=1))
    with pytest.raises(opendal.exceptions.ConditionNotMatch):
        store.write("race/x", b"ours", if_match=etag)
    assert store.read("race/x") == b"somebody's"


@pytest.mark.engine
def test_a_real_server_can_be_made_to_lie(weed: FaultProxy, opendal: Any) -> None:
    store = operator(opendal, weed)
    store.write("lie/x", b"first")
    with weed.rule(Rule(IgnoreConditions(KEYS))):
        store.write("lie/x", b"second", if_not_exists=True, user_metadata={"by": "me"})
        store.write("lie/large", b"z" * (6 << 20), chunk=5 << 20, if_match='"0"')
        store.delete("lie/large", if_match='"0"')
    assert store.read("lie/x") == b"second"
    assert not store.exists("lie/large")
    real = store.stat("lie/x").etag
    with weed.rule(Rule(OtherETags(KEYS))):
        other = store.stat("lie/x").etag
        assert other != real
        store.write("lie/x", b"third", if_match=other)
        store.write("lie/large", b"z" * (6 << 20), chunk=5 << 20, if_not_exists=True)
        with pytest.raises(opendal.exceptions.ConditionNotMatch):
            store.write("lie/x", b"fourth", if_match=other)
    with weed.rule(Rule(NoETags())):
        assert store.stat("lie/x").etag is None


@pytest.mark.engine
def test_real_listings_can_be_harmed(weed: FaultProxy, opendal: Any) -> None:
    store = operator(opendal, weed)
    names = [f"list/{n}" for n in range(6)]
    for name in names:
        store.write(name, b"x")
    assert opendal_lists(weed, "list/") == names
    with weed.rule(Rule(UnorderedListing())):
        got = opendal_lists(weed, "list/")
        assert got != names
        assert sorted(got) == names
    with weed.rule(Rule(TruncatedListing())):
        assert opendal_lists(weed, "list/") == "Unexpected"
    with weed.rule(Rule(TruncatedListing(then=None))):
        assert opendal_lists(weed, "list/") == names[:3]
    with weed.rule(Rule(InjectedKeys(("list/../e", "list/0//x", "list/sp ", "list/new\nline")))):
        assert set(opendal_lists(weed, "list/")) == {*names, "list/../e", "list/0//x", "list/sp ", "list/new\nline"}
    with weed.rule(Rule(StaleListing())):
        opendal_lists(weed, "list/")
        store.delete(names[0])
        assert opendal_lists(weed, "list/") == names


@pytest.mark.engine
def test_a_weak_server_ignores_conditions_and_is_reached_all_the_same(weak: FaultProxy, opendal: Any) -> None:
    store = operator(opendal, weak)
    store.write("x", b"first", if_not_exists=True)
    store.write("x", b"second", if_not_exists=True)
    assert store.read("x") == b"second"
    with weak.rule(Rule(IgnoreConditions(KEYS))):
        store.write("x", b"third", if_not_exists=True, user_metadata={"by": "me"})
    assert store.read("x") == b"third"


@pytest.mark.engine
def test_a_server_that_crashed_starts_again_with_its_data(tmp_path: Path) -> None:
    with started(rclone_s3(tmp_path, buckets=("one", "two"))) as server:
        assert call(server.endpoint, KEYS, "PUT", "/two/x", body=b"kept").status == 200
        server.stop(kill=True)
        with pytest.raises(OSError, match="refused"):
            call(server.endpoint, KEYS, "GET", "/two/x")
        server.start()
        assert call(server.endpoint, KEYS, "GET", "/two/x").body == b"kept"
        assert "Starting s3 server" in server.tail()
