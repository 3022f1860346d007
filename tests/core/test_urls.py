"""Passwords in URLs, and paths among them."""

import pytest

from trueup.core.urls import holds_password, host_of, local_path, without_passwords


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://me:hunter2@bucket/x", "s3://me:***@bucket/x"),
        ("s3://bucket?endpoint=http://:hunter2@host:9000", "s3://bucket?endpoint=http://:***@host:9000"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("https://host:9000/a@b", "https://host:9000/a@b"),
        ("/home/me:you@there", "/home/me:you@there"),
    ],
)
def test_a_password_is_recognised_and_hidden(url: str, shown: str) -> None:
    assert without_passwords(url) == shown
    assert holds_password(url) == ("***" in shown)


@pytest.mark.parametrize(
    ("place", "path", "host"),
    [
        ("/srv/x", "/srv/x", ""),
        ("~/x y", "~/x y", ""),
        ("file:///srv/a%20b", "/srv/a b", ""),
        ("FILE://localhost/srv/%ff", "/srv/\udcff", ""),
        ("file:///srv/a#b?c", "/srv/a#b?c", ""),
        ("file://nas/srv", "/srv", "nas"),
        ("s3://bucket/x", None, ""),
    ],
)
def test_paths_are_told_from_other_urls(place: str, path: str | None, host: str) -> None:
    assert (local_path(place), host_of(place)) == (path, host)
