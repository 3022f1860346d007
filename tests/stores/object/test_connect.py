"""From a URL, the environment and the configuration to a connection."""

from pathlib import Path

import pytest

from trueup.core.errors import UsageError
from trueup.protocols import Access
from trueup.stores.object.connect import connect

KEYS = (Access("s3://web", "http://127.0.0.1:9000", "eu-west-1", lambda: "me", lambda: "proof"),)


def test_a_url_names_a_bucket_and_a_prefix() -> None:
    place = connect("s3://web/a//b/", (), {"HOME": "/nowhere"})
    assert (place.url, place.bucket, place.prefix) == ("s3://web/a/b", "web", "a/b/")
    assert connect("s3://web", (), {"HOME": "/nowhere"}).prefix == ""


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://web/../x", "s3://web/.trueup/x"])
def test_what_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        connect(url, (), {})


def test_the_longest_configured_url_counts() -> None:
    access = (*KEYS, Access("s3://web/site", "http://127.0.0.1:9001"))
    assert connect("s3://web/site/x", access, {}).options["endpoint"] == "http://127.0.0.1:9001"
    assert connect("s3://web/sites", access, {}).options["endpoint"] == "http://127.0.0.1:9000"
    assert "endpoint" not in connect("s3://webs", access, {"HOME": "/nowhere"}).options


def test_configured_keys_do_not_mix_with_those_of_the_environment() -> None:
    options = connect("s3://web", KEYS, {"AWS_PROFILE": "other", "AWS_ACCESS_KEY_ID": "x"}).options
    assert (options["access_key_id"], options["secret_access_key"]) == ("me", "proof")
    assert options["disable_config_load"] == "true"
    assert "profile" not in options


def test_the_location_shows_no_secret_and_leads_back() -> None:
    place = connect("s3://web/x", KEYS, {})
    assert "proof" not in place.url + repr(place)
    assert place.url == "s3://web/x?endpoint=http://127.0.0.1:9000"
    assert connect(place.url, KEYS, {}).url == place.url
    assert connect(place.url, KEYS, {}).options == place.options


def test_a_question_mark_belongs_to_a_name_unless_it_is_ours() -> None:
    assert connect("s3://web/what?/x", (), {"HOME": "/nowhere"}).prefix == "what?/x/"


def test_the_environment_and_the_profile_say_where(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-central-1\n"
        "[profile work]\nregion = eu-north-1\nendpoint_url = http://10.0.0.1:9000\ns3 =\n  addressing_style = virtual\n"
    )
    env = {"AWS_CONFIG_FILE": str(config)}
    assert connect("s3://b", (), env).options["region"] == "eu-central-1"
    work = connect("s3://b", (), env | {"AWS_PROFILE": "work"}).options
    assert (work["region"], work["endpoint"], work["profile"]) == ("eu-north-1", "http://10.0.0.1:9000", "work")
    assert work["enable_virtual_host_style"] == "true"
    said = connect("s3://b", (), env | {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}).options
    assert said["endpoint"] == "http://b"


def test_style_is_by_path_on_an_endpoint_of_ones_own_and_by_host_on_amazon() -> None:
    assert "enable_virtual_host_style" not in connect("s3://web", KEYS, {}).options
    assert connect("s3://web", (), {"HOME": "/nowhere"}).options["enable_virtual_host_style"] == "true"
    assert "enable_virtual_host_style" not in connect("s3://web.site", (), {"HOME": "/nowhere"}).options


def test_other_services() -> None:
    google = connect("gs://b/p", (), {"STORAGE_EMULATOR_HOST": "127.0.0.1:4443"})
    assert (google.scheme, google.options["endpoint"]) == ("gcs", "http://127.0.0.1:4443")
    azure = connect("az://c/p", (), {"AZURE_STORAGE_ACCOUNT": "acc", "AZURE_STORAGE_KEY": "a2V5"})
    assert azure.scheme == "azblob"
    assert azure.options["container"] == "c"
    assert azure.options["endpoint"] == "https://acc.blob.core.windows.net"
    said = "AccountName=dev;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:10000/dev"
    assert connect("az://c", (), {"AZURE_STORAGE_CONNECTION_STRING": said}).options["account_name"] == "dev"
    assert connect("oss://b", (), {}).scheme == "oss"
