"""Who has no key: signatures and tokens, checked by the server that they are sent to."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from awscli.botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from awscli.botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from awscli.botocore.credentials import Credentials  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.models.home import KEY, Models
from tests.models.server import Reply, Request, openai

from trueup.stores.http.accounts import Configured, Skipped, account
from trueup.stores.http.client import Account
from trueup.stores.http.spec import known

SECRET = "t0p/secret+4711"
TOKEN = "ya29.a-t0ken-4711"
AWS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-west-1"}
ENTRA = {"AZURE_TENANT_ID": "tenant-1", "AZURE_CLIENT_ID": "client-1", "AZURE_CLIENT_SECRET": SECRET}
BEDROCK = {"modelSummaries": [{"modelId": "amazon.nova-pro-v1:0", "modelLifecycle": {"status": "ACTIVE"}}]}
VERTEX = {"publisherModels": [{"name": "publishers/google/models/gemini-2.5-pro", "launchStage": "GA"}]}


def environment(models: Models, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        models.monkeypatch.setenv(name, value)


def found(provider: str, env: Mapping[str, str], *, asked: bool = True, named: bool = False) -> Account | Skipped:
    return account(known()[provider], Configured(named=named), env, asked=asked, production=False)


def nothing_is_kept(models: Models, *secrets: str) -> None:
    """No secret is in anything that was written."""
    written = b"".join(path.read_bytes() for path in models.state.rglob("*") if path.is_file())
    assert written
    for secret in secrets:
        assert secret.encode() not in written


# -- signatures --------------------------------------------------------------------------------------------------


def signature(request: Request, address: str, session: str | None) -> str:
    """What the signature must be, as Amazon's own library makes it."""
    signed = AWSRequest("GET", address + request.path)
    signed.headers["X-Amz-Date"] = request.headers["x-amz-date"]
    if session:
        signed.headers["X-Amz-Security-Token"] = session
    signed.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(AWS["AWS_ACCESS_KEY_ID"], SECRET, session), "bedrock", "eu-west-1")
    text = signer.string_to_sign(signed, signer.canonical_request(signed))
    return str(signer.signature(text, signed))


def checking(models: Models, session: str | None = None) -> None:
    """A Bedrock that answers only to its own."""

    def answer(request: Request) -> Reply:
        said = request.headers.get("authorization", "")
        if not said.endswith("Signature=" + signature(request, models.server.address, session)):
            return Reply({"message": f"The signature does not match, {SECRET}"}, 403)
        assert request.headers.get("x-amz-security-token") == session
        return Reply(BEDROCK)

    models.server.answers["/foundation-models"] = answer
    models.monkeypatch.setenv("AWS_BEDROCK_BASE_URL", models.server.address)


@pytest.mark.parametrize("session", [None, "a/session+token=="])
def test_requests_to_bedrock_are_signed(models: Models, session: str | None) -> None:
    checking(models, session)
    environment(models, AWS | ({"AWS_SESSION_TOKEN": session} if session else {}))
    assert "bedrock:\n  ✓ Found 1 model\n" in models("sync", "models").stdout
    nothing_is_kept(models, SECRET, AWS["AWS_ACCESS_KEY_ID"], session or SECRET)


def test_a_wrong_signature_is_refused_and_nothing_secret_is_said(models: Models) -> None:
    checking(models, "another")
    environment(models, AWS)
    said = models("sync", "models", code=1)
    assert "Access denied: The signature does not match, ***" in said.output
    nothing_is_kept(models, SECRET)


def test_a_key_comes_before_a_signature(models: Models) -> None:
    environment(models, AWS | {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_BEDROCK_BASE_URL": models.server.address})
    models.server.says("/foundation-models", BEDROCK)
    models("sync", "models")
    assert models.server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_what_is_there_for_a_whole_cloud_is_used_only_if_its_models_are_wanted() -> None:
    why = "only when it is asked for: --provider bedrock, or a table [providers.bedrock]"
    assert found("bedrock", AWS, asked=False) == Skipped("bedrock", why)
    for one in (found("bedrock", AWS), found("bedrock", AWS, asked=False, named=True)):
        assert isinstance(one, Account)
        assert one.base_url == "https://bedrock.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_what_cannot_go_into_a_request_is_named_and_not_repeated(name: str) -> None:
    why = f"{name} holds characters that no credential has"
    assert found("bedrock", AWS | {name: "k\ney\udc80"}) == Skipped("bedrock", why)


def test_without_any_credential_all_ways_are_named() -> None:
    ways = "AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
    why = f"no credentials: set {ways}"
    assert found("bedrock", {"AWS_REGION": "eu-west-1"}) == Skipped("bedrock", why)


def test_the_keys_of_a_session_change_and_its_account_does_not() -> None:
    def fingerprint(access_key: str) -> str:
        one = found("bedrock", AWS | {"AWS_ACCESS_KEY_ID": access_key})
        assert isinstance(one, Account)
        assert one.credential is not None
        assert SECRET not in repr(one)
        return one.fingerprint

    # The first is an example whose account is public: 029608264753.
    one, again, other = "ASIAQNZGKIQY56JQ7WML", "ASIAQNZGKIQYQAAAAAAA", "ASIAIOSFODNN7EXAMPLE"
    held = found("bedrock", AWS | {"AWS_ACCESS_KEY_ID": one})
    assert isinstance(held, Account)
    assert held.credential is not None
    assert held.credential.identity == "aws-029608264753 eu-west-1"
    assert fingerprint(one) == fingerprint(again)
    assert len({fingerprint(one), fingerprint(other), fingerprint(other.replace("ASIA", "AKIA"))}) == 3
    assert fingerprint("ASIA-not-base32") != fingerprint(one)


# -- tokens ------------------------------------------------------------------------------------------------------


def entra(models: Models) -> None:
    """A resource of Azure, and the service that gives tokens for it."""

    def token(request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("client_secret") != SECRET:
            return Reply({"error": "invalid_client", "error_description": f"not {form['client_secret']}"}, 400)
        scope = "https://cognitiveservices.azure.com/.default"
        assert form == {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": SECRET,
            "scope": scope,
        }
        return Reply({"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})

    def answer(request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}" or "api-key" in request.headers:
            return Reply({"error": {"message": "who are you?"}}, 401)
        return Reply(openai(["gpt-4o"]))

    models.server.answers["/tenant-1/oauth2/v2.0/token"] = token
    models.server.answers["/r/openai/models"] = answer
    environment(models, ENTRA | {"AZURE_AUTHORITY_HOST": models.server.address})
    models.monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{models.server.address}/r")


def test_azure_is_asked_with_a_token_of_entra(models: Models) -> None:
    entra(models)
    assert "azure:\n  ✓ Found 1 model\n" in models("sync", "models").stdout
    assert [request.path for request in models.server.requests] == ["/tenant-1/oauth2/v2.0/token", "/r/openai/models"]
    nothing_is_kept(models, SECRET, TOKEN)


def test_without_a_token_nobody_is_asked_and_the_secret_is_not_said(models: Models) -> None:
    entra(models)
    models.monkeypatch.setenv("AZURE_CLIENT_SECRET", "wr0ng-and-secret")
    said = models("sync", "models", code=1).output
    assert "No token: HTTP 400: not ***" in said
    assert models.server.asked("/r/openai/models") == []
    nothing_is_kept(models, "wr0ng-and-secret")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply({}, 302, {"location": "http://127.0.0.1:1/"}), "No token: HTTP 302: redirected"),
        (Reply({"access_token": ""}), "No token: the answer holds none"),
        (Reply({"access_token": "a\nb"}), "No token: the answer holds none"),
        (Reply(b"<html>", 502), "No token: HTTP 502: answered with a web page"),
    ],
)
def test_what_is_no_token_is_none(models: Models, reply: Reply, why: str) -> None:
    entra(models)
    models.server.says("/tenant-1/oauth2/v2.0/token", reply)
    assert why in models("sync", "models", "--timeout", "5", code=1).output


def test_a_file_that_nobody_has_approved_sends_no_token_anywhere(models: Models) -> None:
    entra(models)
    (models.path / "trueup.toml").write_text(f"[providers.azure]\nbase_url = '{models.server.address}/mine'\n")
    assert "trueup trust" in models("sync", "models", code=78).stderr
    assert models.server.requests == []


@pytest.fixture(scope="module")
def private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(models: Models, key: str, **more: str) -> Path:
    path = models.path / "account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "project-1",
                "private_key_id": "key-1",
                "private_key": key,
                "client_email": "who@project-1.example",
                "token_uri": f"{models.server.address}/token",
            }
            | more
        )
    )
    models.monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    models.monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"{models.server.address}/g")
    return path


def unpacked(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_vertex_is_asked_with_a_token_for_a_signed_claim(models: Models, private: rsa.RSAPrivateKey) -> None:
    def token(request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        head, claims, proof = form["assertion"].split(".")
        private.public_key().verify(unpacked(proof), f"{head}.{claims}".encode(), padding.PKCS1v15(), SHA256())
        said: dict[str, Any] = json.loads(unpacked(claims))
        assert json.loads(unpacked(head)) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
        assert said["exp"] - said["iat"] == 3600
        assert (said["iss"], said["aud"]) == ("who@project-1.example", f"{models.server.address}/token")
        assert said["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        return Reply({"access_token": TOKEN})

    def answer(request: Request) -> Reply:
        right = request.headers.get("authorization") == f"Bearer {TOKEN}"
        assert request.headers["x-goog-user-project"] == "project-1"
        return Reply(VERTEX) if right else Reply({"error": {"message": "no"}}, 401)

    models.server.answers |= {"/token": token, "/g/models": answer}
    service_account(models, pem(private))
    assert "vertex:\n  ✓ Found 1 model\n" in models("sync", "models").stdout
    assert models.json("models", "ls")["models"][0]["model"] == "gemini-2.5-pro"
    assert len(models.server.requests) == 2
    nothing_is_kept(models, TOKEN, pem(private).splitlines()[1])


NO_KEYS = {
    "another type": ({"type": "authorized_user"}, "is no key of a service account"),
    "no PEM": ({"private_key": "x"}, "holds no private key"),
    "no address": ({"token_uri": "ftp://x"}, "names no address for tokens"),
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_a_file_that_is_no_key_says_so(models: Models, private: rsa.RSAPrivateKey, name: str) -> None:
    change, why = NO_KEYS[name]
    service_account(models, pem(private), **change)
    assert why in models("sync", "models", "-v", code=1).stdout


def test_a_key_of_another_kind_or_no_key_at_all_says_so(models: Models) -> None:
    path = service_account(models, pem(ec.generate_private_key(ec.SECP256R1())))
    assert "of another kind than RSA" in models("sync", "models", "-v", code=1).stdout
    path.write_text("{")
    assert "is no key of a service account" in models("sync", "models", "-v", code=1).stdout
    path.unlink()
    assert "cannot be read: No such file or directory" in models("sync", "models", "-v", code=1).stdout


def test_without_cryptography_the_extra_is_named(
    models: Models, private: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_account(models, pem(private))
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.padding", None)
    assert "pip install 'trueup[vertex]'" in models("sync", "models", "-v", code=1).stdout


# -- one question for each model ---------------------------------------------------------------------------------


def ollama(models: Models, shown: Mapping[str, Reply]) -> None:
    tags = {"models": [{"name": name, "digest": "d", "size": 5, "details": {}} for name in shown]}
    models.server.says("/api/tags", tags)
    models.server.answers["/api/show"] = lambda request: shown[json.loads(request.body)["model"]]
    models.monkeypatch.setenv("OLLAMA_HOST", models.server.address)


def test_ollama_is_asked_about_each_model(models: Models) -> None:
    details = {
        "license": "L" * 1000,
        "capabilities": ["completion", "tools"],
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192, "llama.rope.freq_base": 1.0},
    }
    ollama(models, {"llama3:8b": Reply(details), "gone:1b": Reply({"error": "model not found"}, 404)})
    models("sync", "models")
    there, gone = (models.json("models", "show", name)["models"][0] for name in ("llama3:8b", "gone:1b"))
    facts = {name: fact["value"] for name, fact in there["facts"].items()}
    assert (facts["context"], facts["functions"], facts["vision"]) == (8192, True, False)
    assert there["facts"]["context"]["source"] == "/show"
    assert "license" not in there["raw"]["details"]["/show"]
    assert "functions" not in gone["facts"]  # nothing was said: unknown is not false
    assert [request.headers["content-type"] for request in models.server.asked("/api/show")] == ["application/json"] * 2


def test_if_one_answer_fails_there_is_no_list(models: Models) -> None:
    ollama(models, {"a": Reply({"capabilities": []}), "b": Reply({"error": "busy"}, 400)})
    assert "HTTP 400: busy" in models("sync", "models", code=1).output
    assert models.json("models", "ls", "--all")["models"] == []
