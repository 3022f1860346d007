"""Names of images in full, by the rules of the distribution project."""

import pytest

from trueup.stores.docker.references import parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "tagged", "pinned", "asked", "local"),
    [
        ("bb", "docker.io/library/bb:latest", None, "bb:latest", "localhost/bb:latest"),
        ("bb:1.0", "docker.io/library/bb:1.0", None, "bb:1.0", "localhost/bb:1.0"),
        ("docker.io/bb", "docker.io/library/bb:latest", None, "docker.io/bb:latest", None),
        ("index.docker.io/library/bb", "docker.io/library/bb:latest", None, "index.docker.io/library/bb:latest", None),
        ("maple/libero", "docker.io/maple/libero:latest", None, "maple/libero:latest", "localhost/maple/libero:latest"),
        ("localhost/bb", "localhost/bb:latest", None, "localhost/bb:latest", None),
        ("host:5000/a/b", "host:5000/a/b:latest", None, "host:5000/a/b:latest", None),
        ("host:5000/a/b:t", "host:5000/a/b:t", None, "host:5000/a/b:t", None),
        ("[::1]:5000/a", "[::1]:5000/a:latest", None, "[::1]:5000/a:latest", None),
        ("Host/a", "Host/a:latest", None, "Host/a:latest", None),
        (f"bb@{DIGEST}", None, f"docker.io/library/bb@{DIGEST}", f"bb@{DIGEST}", None),
        (
            f"ghcr.io/a/b__c:t@{DIGEST}",
            "ghcr.io/a/b__c:t",
            f"ghcr.io/a/b__c@{DIGEST}",
            "ghcr.io/a/b__c:t",
            None,
        ),
    ],
)
def test_a_name_in_full(text: str, tagged: str | None, pinned: str | None, asked: str, local: str | None) -> None:
    found = parse(text)
    assert (found.tagged, found.pinned, found.asked, found.local) == (tagged, pinned, asked, local)


@pytest.mark.parametrize("text", [DIGEST, DIGEST.removeprefix("sha256:")])
def test_an_id(text: str) -> None:
    found = parse(text)
    assert (found.name, found.digest, found.asked, found.tagged) == ("", DIGEST, DIGEST, None)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", "a:b:c", "A", "a//b", "/a", "a/", "a b", "../x", "a..b", "a:-x", "a:" + "t" * 129, "a@sha256:12",
        "a@", f"a@x{DIGEST}x", "a" * 256, "-host.x/a", "host:port/a", "a\0b", "<none>:<none>", "a:ü", "a\n",
    ],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not "):
        parse(text)
