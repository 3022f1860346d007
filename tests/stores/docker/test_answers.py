"""Answers that real engines give now and then: only a 404 means that an image is missing."""

import threading

import pytest
from tests.stores.docker.conftest import Made, rows, store_at

from trueup.core.errors import StoreError, TimedOut, Unavailable
from trueup.core.model import OPAQUE_TOKEN, Key, Kind

LIBERO = Key("libero")
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def image(*tags: str, digests: tuple[str, ...] = (), number: str = "sha256:1", **more: object) -> dict[str, object]:
    return {"Id": number, "RepoTags": list(tags), "RepoDigests": list(digests), "Size": 10, "Labels": None, **more}


@pytest.mark.parametrize("status", [400, 401, 409, 500, 503])
async def test_any_answer_but_404_leaves_an_image_unknown(made: Made, status: int) -> None:
    made.inspected["libero:latest"] = status, {"message": "out of order"}
    found = await rows(store_at(made.url, {LIBERO: "libero", Key("gone"): "gone"}))
    assert found == {LIBERO: found[LIBERO]}
    assert found[LIBERO][1:3] == (OPAQUE_TOKEN, Kind.UNREADABLE)
    assert f"answered {status} - out of order" in found[LIBERO][6]
    assert [path for path in made.asked if "gone" in path] == ["/v1.41/images/gone:latest/json"]


async def test_an_engine_that_cannot_list_knows_nothing(made: Made) -> None:
    made.listed, made.images = 500, {"message": "broken"}
    with pytest.raises(Unavailable, match="answered 500 - broken"):
        await rows(store_at(made.url, {LIBERO: "libero"}))
    made.listed = 403
    with pytest.raises(StoreError, match="answered 403 - broken"):
        await rows(store_at(made.url, {LIBERO: "libero"}))


@pytest.mark.parametrize("listing", [None, {"a": 1}, [None], [{}], "text"])
async def test_a_list_that_is_none_is_refused(made: Made, listing: object) -> None:
    made.images = listing
    with pytest.raises(StoreError, match="is no Docker daemon"):
        await rows(store_at(made.url, {LIBERO: "libero"}))


async def test_an_engine_without_a_version_is_refused(made: Made) -> None:
    made.version = {"message": "hello"}
    with pytest.raises(StoreError, match=r"is no Docker daemon - it does not tell its version"):
        await rows(store_at(made.url, {LIBERO: "libero"}))


async def test_the_engine_is_spoken_to_in_its_own_version(made: Made) -> None:
    made.version = {"ApiVersion": "1.44"}
    assert await rows(store_at(made.url, {})) == {}
    assert made.asked == ["/version", "/v1.44/images/json"]


async def test_what_is_listed_is_not_asked_for(made: Made) -> None:
    made.images = [image("libero:latest")]
    assert set(await rows(store_at(made.url, {LIBERO: "docker.io/library/libero"}))) == {LIBERO}
    assert made.asked == ["/version", "/v1.41/images/json"]


async def test_an_image_that_comes_after_the_list_is_there(made: Made) -> None:
    made.inspected["libero:latest"] = 200, image("libero:latest")
    assert (await rows(store_at(made.url, {LIBERO: "libero"})))[LIBERO][2] is Kind.FILE


async def test_another_image_than_asked_for_is_unknown(made: Made) -> None:
    made.inspected["libero:latest"] = 200, image("other:latest")
    row = (await rows(store_at(made.url, {LIBERO: "libero"})))[LIBERO]
    assert (row[2], row[6]) == (Kind.UNREADABLE, "asked for libero:latest, the engine shows another image")


async def test_untagged_images_have_no_name(made: Made) -> None:
    label = {"org.trueup.environment": "dangling"}
    made.images = [
        image("<none>:<none>", digests=("<none>@<none>",), Labels=label),
        image(number="sha256:2", Labels=label),
        {"Id": "sha256:3", "RepoTags": None, "RepoDigests": None},
        image("UPPER/CASE:x", number="sha256:4"),
    ]
    assert await rows(store_at(made.url, {LIBERO: "libero"})) == {}


async def test_the_newest_of_a_label_is_shown(made: Made) -> None:
    label = {"org.trueup.environment": "sim"}
    made.images = [
        image("b:1", "a:1", number="sha256:2", Created=2, Labels=label),
        image("c:1", number="sha256:1", Created=1, Labels=label),
    ]
    store = store_at(made.url, {})
    assert {key: row[1] for key, row in (await rows(store)).items()} == {"sim": "sha256:2"}
    assert store.reference_of(Key("sim")) == "a:1"


async def test_podman_calls_its_own_images_localhost(made: Made) -> None:
    podman = image("localhost/libero:latest")
    made.images = [podman]
    assert await rows(store_at(made.url, {LIBERO: "libero"})) == {}
    made.inspected["libero:latest"] = 200, podman
    made.inspected["docker.io/libero:latest"] = 200, podman
    found = await rows(store_at(made.url, {LIBERO: "libero", Key("full"): "docker.io/libero"}))
    assert {key: row[2] for key, row in found.items()} == {LIBERO: Kind.FILE, "full": Kind.UNREADABLE}


async def test_a_digest_is_found_and_a_tag_with_another_digest_is_damage(made: Made) -> None:
    made.images = [image("sims/libero:v1", digests=(f"sims/libero@{DIGEST}",))]
    names = [f"sims/libero@{DIGEST}", f"sims/libero:v1@{DIGEST}", f"sims/libero:v1@{OTHER}", f"sims/libero:v2@{DIGEST}"]
    wanted = {Key(str(n)): name for n, name in enumerate(names)}
    # An engine answers 200 to a name with tag and digest, even if there is no such tag.
    made.inspected[names[3]] = 200, made.images[0]
    found = await rows(store_at(made.url, wanted))
    assert {key: row[2] for key, row in found.items()} == {"0": Kind.FILE, "1": Kind.FILE, "2": Kind.DAMAGED}
    assert found[Key("2")][6] == f"sims/libero:v1 is another image than the recorded {OTHER}"


@pytest.mark.parametrize(("drops", "why"), [(True, "Cannot connect to the Docker daemon"), (False, "did not answer")])
async def test_an_engine_that_is_lost_half_way_is_asked_no_more(made: Made, drops: bool, why: str) -> None:
    over = threading.Event()

    def lose(path: str) -> None:
        if "/images/image" in path:
            if drops:
                raise ConnectionAbortedError
            over.wait(30)

    made.before = lose
    made.images = [image("image0:latest")]
    # Long enough for the two answers that do come, on a busy machine too.
    found = await rows(store_at(made.url, {Key(str(n)): f"image{n}" for n in range(5)}, timeout_seconds=3))
    over.set()
    assert found[Key("0")][2] is Kind.FILE
    assert {found[Key(str(n))][2] for n in range(1, 5)} == {Kind.UNREADABLE}
    assert why in found[Key("4")][6]
    assert len([path for path in made.asked if "/images/image" in path]) == 1


async def test_an_answer_that_trickles_is_given_up(made: Made) -> None:
    made.trickle = threading.Event()
    with pytest.raises(TimedOut, match=r"did not answer within 0.5 s"):
        await rows(store_at(made.url, {LIBERO: "libero"}, timeout_seconds=0.5))
    made.trickle.set()


async def test_an_error_whose_body_is_no_object_is_told_by_its_status(made: Made) -> None:
    made.listed, made.images = 503, ["out of order"]
    with pytest.raises(Unavailable, match="answered 503"):
        await rows(store_at(made.url, {LIBERO: "libero"}))
    made.listed = 400
    with pytest.raises(StoreError, match="answered 400"):
        await rows(store_at(made.url, {LIBERO: "libero"}))
