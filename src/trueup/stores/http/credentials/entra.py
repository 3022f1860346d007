"""Applications of Microsoft Entra ID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from trueup.stores.http.credentials import TokenRequest, values

AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"
AZURE_AUTHORITY = "https://login.microsoftonline.com"


@dataclass(frozen=True, slots=True)
class Entra:
    """An application of Microsoft Entra ID: the client credentials grant of OAuth 2.0 (RFC 6749, 4.4)."""

    tenant: str
    client: str
    secret: str = field(repr=False)
    authority: str = AZURE_AUTHORITY

    @property
    def identity(self) -> str:
        """As `Credential`."""
        return f"{self.tenant} {self.client}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """As `Credential`."""
        return (self.secret,)

    @property
    def headers(self) -> Mapping[str, str]:
        """As `Credential`."""
        return {}

    def signed(self, url: str, now: datetime) -> Mapping[str, str]:
        """As `Credential`."""
        return {}

    def token_request(self, now: datetime) -> TokenRequest:
        """As `Credential`."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client,
            "client_secret": self.secret,
            "scope": AZURE_SCOPE,
        }
        url = f"{self.authority.rstrip('/')}/{quote(self.tenant, safe='')}/oauth2/v2.0/token"
        return TokenRequest(url, form, self.secrets)


def find(env: Mapping[str, str], _: str) -> Entra | None:
    """As `trueup.stores.http.credentials.find`."""
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST")
    tenant, client, secret, authority = values(env, names)
    if not (tenant and client and secret):
        return None
    return Entra(tenant, client, secret, authority or AZURE_AUTHORITY)
