"""What an S3 server says when it says no."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import Final

from trueup.testing.proxy.exchange import Action, Exchange

ERRORS: Final[dict[str, tuple[int, str]]] = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (
        400,
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'",
    ),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "ConditionalRequestConflict": (409, "A conflicting operation occurred during processing of the request."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size."),
    "ExpiredToken": (400, "The provided token has expired."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The access key Id that you provided does not exist in our records."),
    "InvalidObjectState": (403, "The operation is not valid for the object's storage class."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (404, "The specified multipart upload does not exist."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented."),
    "PermanentRedirect": (301, "The bucket you are attempting to access must be addressed using another endpoint."),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "QuotaExceeded": (403, "The quota of the bucket is used up."),
    "RequestTimeout": (400, "Your socket connection to the server was not read from or written to in time."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large."),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (403, "The request signature we calculated does not match the signature you provided."),
    "SlowDown": (503, "Please reduce your request rate."),
    "TooManyRequests": (429, "Too many requests"),
}
"""Status and message of the error codes of S3 ("Error responses" in the Amazon S3 API reference) and of others."""

_MORE: Final = {
    "AuthorizationHeaderMalformed": "<Region>eu-central-1</Region>",
    "PermanentRedirect": "<Endpoint>s3.eu-central-1.amazonaws.com</Endpoint>",
}


@dataclass(frozen=True, slots=True)
class Answer(Action):
    """The proxy answers: instead of the server, or after it, in its place."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    committed: bool = False
    """Whether the server did what it was asked for all the same, and its own answer is thrown away."""

    async def arriving(self, exchange: Exchange) -> None:
        """Answer, unless the server shall do it first."""
        if not self.committed:
            self._answer(exchange)

    async def answering(self, exchange: Exchange) -> None:
        """Answer after the server."""
        if self.committed and exchange.reply is not None:
            await exchange.reply.drain()
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        exchange.note(self)
        exchange.answer(self.status, HTTPStatus(self.status).phrase, self.headers, self.body)


def s3_error(
    code: str,
    *,
    status: int | None = None,
    message: str | None = None,
    retry_after: str | int | None = None,
    committed: bool = False,
) -> Answer:
    """The answer that S3 gives for an error.

    Args:
        code: ``SlowDown`` or any other; one that is not in `ERRORS` needs a status.
        status: Instead of the one that goes with the code; 200 for a CompleteMultipartUpload that fails late.
        message: Instead of the one that goes with the code.
        retry_after: ``Retry-After`` in seconds, or a date of HTTP.
        committed: Whether the server did what it was asked for all the same.
    """
    usual, words = ERRORS[code] if status is None or code in ERRORS else (status, code)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message or words, quote=False)}</Message>{_MORE.get(code, '')}"
        "<RequestId>TRUEUP</RequestId><HostId>TRUEUP</HostId></Error>"
    )
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/xml"), ("x-amz-request-id", "TRUEUP"))
    if retry_after is not None:
        headers += (("Retry-After", str(retry_after)),)
    return Answer(usual if status is None else status, body.encode(), headers, committed)
