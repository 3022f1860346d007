"""Every failure has its own message, names the next command, and repeats no secret."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio import to_thread
from tests.services import Service
from tests.stores.object.conftest import Opened

from trueup.core.errors import (
    AccessDenied,
    Corrupt,
    NoSpace,
    NotFound,
    PreconditionFailed,
    StoreError,
    Throttled,
    TimedOut,
    Unaddressable,
    Unavailable,
)
from trueup.core.model import Key
from trueup.protocols import Trash
from trueup.stores.object import bucket
from trueup.stores.object.bucket import Bucket
from trueup.stores.object.connect import connect
from trueup.stores.object.errors import NoBucket, NotAllowed, fault
from trueup.testing.engines import READER, free_ports
from trueup.testing.expect import content, create, look, read, rows, source_of
from trueup.testing.proxy import ANY, Before, CutAnswer, DropAnswer, FaultProxy, Hang, Rule, TruncatedListing, s3_error

SAID = """\
{kind} ({state}) at write => S3Error {{ code: "{code}", message: "the service's words", resource: "/b/k" }}

Context:
   uri: https://example.invalid/b/k?sig=SECRETSECRET
   response: Parts {{ status: {status}, headers: {{"retry-after": "7", "x-amz-bucket-region": "eu-west-1"}} }}
   service: s3

Backtrace:
   0: <unknown>
"""


def said(kind: str, status: int, code: str, state: str = "permanent") -> StoreError:
    text = SAID.format(kind=kind, status=status, code=code, state=state)
    return fault(kind, text, what="docs/k", url="s3://b/p", bucket="b")


@pytest.mark.parametrize(
    ("kind", "status", "code", "error", "what", "attempt"),
    [
        ("ConfigInvalid", 404, "NoSuchBucket", NoBucket, "there is no bucket b", "aws s3 mb s3://b"),
        (
            "PermissionDenied",
            403,
            "InvalidAccessKeyId",
            AccessDenied,
            "does not know the access key",
            "AWS_ACCESS_KEY_ID",
        ),
        (
            "PermissionDenied",
            403,
            "SignatureDoesNotMatch",
            AccessDenied,
            "the secret key for s3://b/p",
            "~/.aws/credentials",
        ),
        ("PermissionDenied", 403, "AccessDenied", NotAllowed, "no permission for docs/k", "ask whoever owns b"),
        ("PermissionDenied", 403, "RequestTimeTooSkewed", AccessDenied, "clock", "timedatectl"),
        ("Unexpected", 400, "AuthorizationHeaderMalformed", AccessDenied, "another region", "AWS_REGION=eu-west-1"),
        ("Unexpected", 301, "", AccessDenied, "another region", "AWS_REGION=eu-west-1"),
        ("Unexpected", 400, "ExpiredToken", AccessDenied, "has ended", "log in again"),
        ("RateLimited", 503, "SlowDown", Throttled, "asks to slow down", "max_concurrent"),
        ("Unexpected", 429, "", Throttled, "asks to slow down", "max_concurrent"),
        ("Conflict", 409, "ConditionalRequestConflict", Unavailable, "somebody else", "same command"),
        ("ConditionNotMatch", 412, "PreconditionFailed", PreconditionFailed, "docs/k was changed", ""),
        ("NotFound", 404, "NoSuchKey", NotFound, "docs/k is not there", ""),
        ("Unexpected", 400, "KeyTooLongError", Unaddressable, "too long a name", "rename"),
        ("Unexpected", 400, "BadDigest", Corrupt, "other bytes", "again"),
        ("Unexpected", 507, "", NoSpace, "no room", "free some space"),
        ("Unexpected", 500, "InternalError", Unavailable, "failed at docs/k", "same command"),
        ("Unexpected", 400, "InvalidArgument", StoreError, "refused docs/k", ""),
    ],
)
def test_what_a_service_says_becomes_an_error_of_ours(
    kind: str, status: int, code: str, error: type[StoreError], what: str, attempt: str
) -> None:
    found = said(kind, status, code)
    assert type(found) is error
    assert what in found.what
    assert attempt in found.attempt
    assert "SECRETSECRET" not in f"{found} {found.why} {found.attempt}"
    assert "unknown" not in str(found)


@pytest.mark.parametrize(
    ("cause", "what", "attempt"),
    [
        ("invalid peer certificate: UnknownIssuer", "cannot prove who it is", "SSL_CERT_FILE"),
        ("dns error: failed to lookup address information", "is not known", "endpoint"),
        ("tcp connect error: Connection refused (os error 111)", "not reachable", "running"),
        ("received corrupt message of type InvalidContentType", "does not speak TLS", "http://"),
        ("end of file before message length reached", "broke off", "again"),
    ],
)
def test_why_no_answer_came_is_said(cause: str, what: str, attempt: str) -> None:
    text = f"Unexpected (temporary) at read => send http request\n\nSource:\n   error sending request: {cause}\n"
    found = fault("Unexpected", text, what="k", url="s3://b", bucket="b")
    assert isinstance(found, Unavailable)
    assert what in found.what
    assert attempt in found.attempt


@pytest.mark.parametrize(
    ("url", "attempt"),
    [
        ("s3://b", "AWS_ACCESS_KEY_ID"),
        ("gs://b", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://b", "AZURE_STORAGE_KEY"),
        ("oss://b", "[buckets]"),
    ],
)
def test_whoever_has_no_keys_is_told_how_this_service_takes_them(url: str, attempt: str) -> None:
    text = "Unexpected (permanent) at read => failed to load signing credential\n"
    found = fault("Unexpected", text, what="k", url=url, bucket="b")
    assert isinstance(found, AccessDenied)
    assert attempt in found.attempt


def test_without_an_account_azure_is_not_asked() -> None:
    with pytest.raises(AccessDenied, match="no account for az://c/x") as caught:
        _ = Bucket(connect("az://c/x", (), {})).operator
    assert "AZURE_STORAGE_ACCOUNT" in caught.value.attempt


def test_the_wish_of_a_service_to_wait_is_known() -> None:
    found = said("RateLimited", 503, "SlowDown", "temporary")
    assert isinstance(found, Throttled)
    assert found.after_seconds == 7


@asynccontextmanager
async def harmed(service: Service, *rules: Rule) -> AsyncIterator[Service]:
    proxy = FaultProxy(service.endpoint.removeprefix("http://"), rules=rules)
    await to_thread.run_sync(proxy.__enter__)
    try:
        yield Service(proxy.endpoint, service.bucket)
    finally:
        await to_thread.run_sync(proxy.__exit__, None, None, None)


@pytest.mark.engine
async def test_no_such_bucket(strong_s3: Service) -> None:
    store = Service(strong_s3.endpoint, "missing").store("p")
    with pytest.raises(NoBucket, match="no bucket missing"):
        await rows(store)
    with pytest.raises(NoBucket):
        async with store.hold("me"):
            pass


@pytest.mark.engine
async def test_wrong_keys(strong_s3: Service) -> None:
    for wrong, words in (({"access_key": "nobody"}, "access key"), ({"secret_key": "guessedguessed"}, "secret key")):
        store = strong_s3.store("p", strong_s3.access(**wrong))
        with pytest.raises(AccessDenied, match=words) as caught:
            await rows(store)
        assert "guessed" not in str(caught.value)
        with pytest.raises(AccessDenied, match=words):  # a look has no body, and yet says why
            await store.stat(Key("a"))


@pytest.mark.engine
async def test_keys_that_may_not_write_say_so_and_read_all_the_same(strong_s3: Service, opened: Opened) -> None:
    store = opened(strong_s3)
    token = await create(store, Key("k"), b"text")
    keys = strong_s3.access(access_key=READER.access_key, secret_key=READER.secret_key)
    reader = strong_s3.store(store.place.prefix.rstrip("/"), keys)
    assert await read(reader, Key("k")) == b"text"
    with pytest.raises(AccessDenied, match="these keys may not write") as caught:
        await reader.remove(Key("k"), expect=token, trash=None)
    assert "--direction pull" in caught.value.attempt


async def test_nobody_listens() -> None:
    (port,) = free_ports(1)
    store = Service(f"http://127.0.0.1:{port}").store("p")
    with pytest.raises(Unavailable, match="not reachable"):
        await rows(store)
    with pytest.raises(Unavailable, match="not reachable"):
        await store.stat(Key("a"))


@pytest.mark.engine
async def test_a_service_that_does_not_speak_tls(strong_s3: Service) -> None:
    store = Service(strong_s3.endpoint.replace("http:", "https:")).store("p")
    with pytest.raises(Unavailable, match="does not speak TLS"):
        await rows(store)


@pytest.mark.engine
async def test_a_listing_that_breaks_off_is_no_short_list(strong_s3: Service, opened: Opened) -> None:
    plain = opened(strong_s3)
    for name in "abcdef":
        await create(plain, Key(name), b"1")
    prefix = plain.place.prefix.rstrip("/")
    for rule in (Rule(TruncatedListing()), Rule(CutAnswer(), method="GET"), Rule(s3_error("InternalError"))):
        async with harmed(strong_s3, rule) as service:
            with pytest.raises(Unavailable):
                await rows(service.store(prefix))


@pytest.mark.engine
async def test_a_body_that_is_cut_is_no_content(strong_s3: Service, opened: Opened) -> None:
    plain = opened(strong_s3)
    await create(plain, Key("a"), b"x" * 100_000)
    entry = await look(plain, Key("a"))
    async with harmed(strong_s3, Rule(CutAnswer(), method="GET", path="/a$")) as service:
        store = service.store(plain.place.prefix.rstrip("/"))
        with pytest.raises(Unavailable, match="broke off"):
            await content(store.source(Key("a"), entry))


@pytest.mark.engine
async def test_a_service_that_hangs_is_given_up(
    strong_s3: Service, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "TIMEOUT_SECONDS", 1.0)
    async with harmed(strong_s3, Rule(Hang())) as service:
        with pytest.raises(TimedOut, match="did not answer in time"):
            await service.store("p").stat(Key("a"))


@pytest.mark.engine
async def test_a_write_whose_answer_is_lost_keeps_what_it_replaced_once(strong_s3: Service, opened: Opened) -> None:
    plain = opened(strong_s3)
    token = await create(plain, Key("a"), b"old")
    prefix = plain.place.prefix.rstrip("/")
    async with harmed(
        strong_s3, Rule(DropAnswer(), method="PUT", path="/a$", headers={"if-match": ANY}, times=1)
    ) as service:
        store = service.store(prefix, remember={})
        with pytest.raises(Unavailable):
            await store.write(Key("a"), source_of(b"new"), expect=token, trash=Trash("r1"))
        with pytest.raises(PreconditionFailed):
            await store.write(Key("a"), source_of(b"new"), expect=token, trash=Trash("r1"))
    entry = await look(plain, Key("a"))
    assert entry.content.fingerprint is not None  # told by the metadata: nothing has to be fetched to know it
    assert [item.key for item in await plain.kept()] == ["a"]


@pytest.mark.engine
async def test_throttling_says_how_long_to_wait(strong_s3: Service, opened: Opened) -> None:
    async with harmed(strong_s3, Rule(s3_error("SlowDown", retry_after=3))) as service:
        with pytest.raises(Throttled) as caught:
            await service.store("p").probe()
    assert caught.value.after_seconds == 3


@pytest.mark.engine
async def test_a_copy_that_cannot_be_looked_at_does_not_stay_in_the_trash(strong_s3: Service, opened: Opened) -> None:
    plain = opened(strong_s3)
    token = await create(plain, Key("k"), b"old")
    rule = Rule(s3_error("InternalError"), method="HEAD", path=r"/\.trueup/trash/", times=1)
    async with harmed(strong_s3, rule) as service:
        store = service.store(plain.place.prefix.rstrip("/"))
        with pytest.raises(Unavailable):
            await store.write(Key("k"), source_of(b"new"), expect=token, trash=Trash("r1"))
    assert await read(plain, Key("k")) == b"old"
    assert await plain.kept() == []


@pytest.mark.engine
async def test_of_two_who_make_the_same_move_at_once_none_loses_the_object(strong_s3: Service, opened: Opened) -> None:
    plain = opened(strong_s3)
    token = await create(plain, Key("a"), b"text")
    bucket = plain._bucket
    rule = Rule(Before(lambda _: bucket.delete("a")), method="DELETE", path="/a$", times=1)  # the other was faster
    async with harmed(strong_s3, rule) as service:
        with pytest.raises(PreconditionFailed):
            await service.store(plain.place.prefix.rstrip("/")).move(Key("a"), Key("b"), expect=token)
    assert [item.key for item in await plain.kept()] == ["b"]
