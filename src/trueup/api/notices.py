"""Tell that a target stands otherwise than before: by a webhook that is signed, a command, a file.

A signature is ``t=SECONDS,v1=HEX``: the HMAC-SHA256 (RFC 2104) of the seconds, a dot, and the body. Who hears it can
refuse what is old, or signed by nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from trueup.api.alerts import deliver
from trueup.config.sections import Notify
from trueup.engine.ambient import Ambient

FORMAT = "trueup.notice"
SIGNATURE = "trueup-signature"


def signature(secret: str, seconds: int, body: str) -> str:
    """The value of the header `SIGNATURE`."""
    signed = hmac.new(secret.encode(), f"{seconds}.{body}".encode(), hashlib.sha256)
    return f"t={seconds},v1={signed.hexdigest()}"


async def notify(place: Notify, fields: Mapping[str, Any], ambient: Ambient) -> None:
    """Deliver one notice.

    Args:
        place: Where it goes.
        fields: What is told.
        ambient: Clock and threads.

    Raises:
        ConfigError: If nobody has approved the file that says where it goes.
        StoreError: If it could not be delivered.
    """
    body = json.dumps({"format": FORMAT, "version": 1, **fields})
    headers = {}
    if place.secret is not None:
        secret = await ambient.threads(place.secret.reveal)
        headers[SIGNATURE] = signature(secret, ambient.clock.now_ns() // 10**9, body)
    await deliver(f"notice {place.name}", place.deliver, body, ambient, headers=headers)
