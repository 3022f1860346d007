"""Passwords in URLs."""

import pytest

from trueup.core.urls import holds_password, without_passwords


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
