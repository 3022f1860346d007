"""Tokens and sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from trueup.engine.tokens import Kind, Scope
from trueup.web.asked import Strict
from trueup.web.documents import ERRORS, Me, NewToken, TokenAnswer, TokenList
from trueup.web.problems import not_found
from trueup.web.routes.common import Admin, Id, Reader, Serving

router = APIRouter(tags=["tokens"], responses=ERRORS)


class TokenRequest(Strict):
    """A token to make."""

    name: Annotated[str, Field(pattern=r"^\w[\w.@-]{0,99}$")]
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=4)]
    days: Annotated[float | None, Field(gt=0, le=3650, strict=False)] = None


@router.get("/me")
async def me(who: Reader) -> Me:
    """Who asks."""
    return Me(name=who.name, scopes=sorted(who.scopes))


@router.get("/tokens")
async def list_tokens(_: Admin, service: Serving) -> TokenList:
    """All tokens and sessions; never their secrets."""
    now_ns = service.ambient.clock.now_ns()
    found = await service.threads(lambda: service.tokens.listed(now_ns=now_ns))
    return TokenList(tokens=[TokenAnswer(**token.told()) for token in found])


@router.post("/tokens", status_code=201)
async def create_token(_: Admin, service: Serving, body: TokenRequest) -> NewToken:
    """Make a token. Its secret is told this once."""
    now_ns = service.ambient.clock.now_ns()
    seconds = None if body.days is None else body.days * 86400
    token, secret = await service.threads(
        lambda: service.tokens.create(Kind.TOKEN, body.name, body.scopes, now_ns=now_ns, seconds=seconds)
    )
    return NewToken(**token.told(), secret=secret)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(_: Admin, service: Serving, token_id: Id) -> None:
    """End a token or a session; from now on it opens nothing."""
    if not await service.threads(service.tokens.revoke, token_id):
        raise not_found("there is no such token")
