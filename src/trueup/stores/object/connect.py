"""From a URL to a connection: bucket, prefix, address, region, keys.

Precedence: ``[buckets]``, the URL's own query, the environment, the profile files. What is not found here is left to
OpenDAL, which knows more ways to get keys: profile files, single sign-on, roles, the metadata service of a cloud.

Proxies are taken from ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, authorities of certificates from
``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, by the HTTP client itself. It knows nothing of ``AWS_CA_BUNDLE``, and
there is no way to tell it: the message about a certificate names ``SSL_CERT_FILE``.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from trueup.core.errors import UsageError
from trueup.protocols import Access

SCHEMES = {"gs": "gcs", "az": "azblob"}
"""What URLs call a service, where OpenDAL calls it otherwise."""

_QUERY = frozenset({"endpoint", "region", "style"})


@dataclass(frozen=True, slots=True)
class Place:
    """A prefix in a bucket, and how to get there."""

    url: str
    """Canonical, without secrets; opening it leads to the same place."""
    scheme: str
    """OpenDAL's."""
    bucket: str
    prefix: str
    """Empty, or ends in a slash."""
    options: Mapping[str, str] = field(repr=False)
    """OpenDAL's, secrets included."""

    @property
    def service(self) -> str:
        """Names the endpoint and the bucket: what was found out about one place holds for others of this name."""
        return f"{self.scheme} {self.options.get('endpoint', '')} {self.bucket}"


def connect(url: str, access: tuple[Access, ...], env: Mapping[str, str]) -> Place:
    """Find out how to reach what a URL names.

    Raises:
        UsageError: If it names no bucket.
        ConfigError: If a secret cannot be had.
    """
    plain, query = _split(url)
    scheme, _, rest = plain.partition("://")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise UsageError(f"{url} names no bucket", attempt=f"{scheme}://BUCKET/FOLDER")
    scheme = scheme.lower()
    parts = [part for part in path.split("/") if part]
    if {".", "..", ".trueup"} & set(parts):
        raise UsageError(f"{url} cannot be addressed", why="it has a component . or .. or .trueup")
    prefix = "".join(f"{part}/" for part in parts)
    known = _configured(plain, access)
    options = _OPTIONS.get(scheme, _any_options)(bucket, query, known, env)
    shown = {name: value for name, value in query.items() if value}
    if "endpoint" in options and scheme == "s3":
        shown["endpoint"] = options["endpoint"]
    location = f"{scheme}://{bucket}/{prefix}".rstrip("/") + (f"?{urlencode(shown, safe=':/')}" if shown else "")
    return Place(location, SCHEMES.get(scheme, scheme), bucket, prefix, options)


def _split(url: str) -> tuple[str, dict[str, str]]:
    """The URL and its query; what does not look like ours belongs to the name."""
    plain, mark, text = url.rpartition("?")
    query = dict(parse_qsl(text, keep_blank_values=True)) if mark else {}
    return (plain, query) if query and query.keys() <= _QUERY else (url, {})


def _configured(plain: str, access: tuple[Access, ...]) -> Access:
    fitting = [one for one in access if f"{plain}/".startswith(_split(one.url)[0].rstrip("/") + "/")]
    return max(fitting, key=lambda one: len(one.url), default=Access(plain))


def _keys(known: Access, access: str, secret: str) -> dict[str, str]:
    keys = {}
    if known.access_key is not None:
        keys[access] = known.access_key()
    if known.secret_key is not None:
        keys[secret] = known.secret_key()
    return keys


def _s3_options(bucket: str, query: Mapping[str, str], known: Access, env: Mapping[str, str]) -> dict[str, str]:
    profile = _profile(env)
    endpoint = _first(
        known.endpoint,
        query.get("endpoint"),
        env.get("AWS_ENDPOINT_URL_S3"),
        env.get("AWS_ENDPOINT_URL"),
        profile.get("endpoint_url"),
    )
    region = _first(
        known.region,
        query.get("region"),
        env.get("AWS_REGION"),
        env.get("AWS_DEFAULT_REGION"),
        profile.get("region"),
        "us-east-1",
    )
    # With a checksum the service refuses what arrives changed; an ETag alone would tell only at the next look.
    options = {
        "bucket": bucket,
        "region": region,
        "checksum_algorithm": "crc32c",
        **_keys(known, "access_key_id", "secret_access_key"),
    }
    if endpoint:
        options |= {"endpoint": endpoint, "disable_ec2_metadata": "true"}
    elif env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        options["disable_ec2_metadata"] = "true"
    if known.access_key is not None:
        options["disable_config_load"] = "true"  # a session token of other keys would spoil these
    elif name := env.get("AWS_PROFILE"):
        options["profile"] = name
    style = _first(query.get("style"), profile.get("addressing_style"), "path" if endpoint else "virtual")
    if style != "path" and "." not in bucket:
        options["enable_virtual_host_style"] = "true"
    return options


def _profile(env: Mapping[str, str]) -> dict[str, str]:
    """Region, endpoint and addressing style of the profile in use, from the file that AWS's tools share."""
    home = env.get("HOME") or str(Path.home())
    path = Path(env.get("AWS_CONFIG_FILE") or f"{home}/.aws/config")
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, "utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return {}  # OpenDAL reads the same file, and says what is wrong with it
    name = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE") or "default"
    section = name if name == "default" else f"profile {name}"
    found = dict(parser.items(section)) if parser.has_section(section) else {}
    for line in found.get("s3", "").splitlines():
        nested, _, value = line.partition("=")
        found[nested.strip()] = value.strip()
    return found


def _gcs_options(bucket: str, query: Mapping[str, str], known: Access, env: Mapping[str, str]) -> dict[str, str]:
    emulator = env.get("STORAGE_EMULATOR_HOST", "")
    if emulator and "://" not in emulator:
        emulator = f"http://{emulator}"
    options = {"bucket": bucket}
    if endpoint := _first(known.endpoint, query.get("endpoint"), emulator):
        options["endpoint"] = endpoint
    if emulator:
        options["skip_signature"] = "true"
    return options


def _azure_options(bucket: str, query: Mapping[str, str], known: Access, env: Mapping[str, str]) -> dict[str, str]:
    pairs = [part.partition("=") for part in env.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")]
    said = {name: value for name, _, value in pairs}
    account = _first(said.get("AccountName"), env.get("AZURE_STORAGE_ACCOUNT"), env.get("AZURE_STORAGE_ACCOUNT_NAME"))
    key = _first(said.get("AccountKey"), env.get("AZURE_STORAGE_KEY"), env.get("AZURE_STORAGE_ACCOUNT_KEY"))
    options = {
        "container": bucket,
        "account_name": account,
        "account_key": key,
        "sas_token": _first(said.get("SharedAccessSignature"), env.get("AZURE_STORAGE_SAS_TOKEN")),
        **_keys(known, "account_name", "account_key"),
    }
    account = options["account_name"]
    options["endpoint"] = _first(
        known.endpoint,
        query.get("endpoint"),
        said.get("BlobEndpoint"),
        env.get("AZURE_STORAGE_ENDPOINT"),
        f"https://{account}.blob.core.windows.net" if account else "",
    )
    return {name: value for name, value in options.items() if value}


def _any_options(bucket: str, query: Mapping[str, str], known: Access, env: Mapping[str, str]) -> dict[str, str]:
    """Services whose own environment OpenDAL reads."""
    options = {"bucket": bucket, **_keys(known, "access_key_id", "access_key_secret")}
    if endpoint := _first(known.endpoint, query.get("endpoint")):
        options["endpoint"] = endpoint
    return options


_OPTIONS = {"s3": _s3_options, "gs": _gcs_options, "gcs": _gcs_options, "az": _azure_options, "azblob": _azure_options}


def _first(*values: str | None) -> str:
    return next((value for value in values if value), "")


def environment() -> Mapping[str, str]:
    """The process's."""
    return os.environ
