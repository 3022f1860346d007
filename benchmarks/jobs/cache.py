"""Delete the keys of a namespace: cache.py ours|loop PORT.

``loop`` is what is usually written: ``scan_iter`` with its default COUNT, and one deletion for each key.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import redis

from trueup.caches import cache_sync
from trueup.config import Config
from trueup.targets import Caches


def loop(port: int) -> int:
    """SCAN with COUNT 10, and DEL key by key."""
    client = redis.Redis(host="127.0.0.1", port=port)
    return sum(client.delete(key) for key in client.scan_iter("template:*"))


def ours(port: int) -> int:
    """The whole run: a look, a plan, a journal, the deletion."""
    spec = Caches(url=f"redis://127.0.0.1:{port}/0", app="bench")
    with tempfile.TemporaryDirectory() as state:
        result = asyncio.run(
            cache_sync(operation="clear", namespaces=["templates"], target=spec, config=Config(Path(state)))
        )
    assert result.is_success, result.errors
    return len(result.invalidated_keys)


print({"ours": ours, "loop": loop}[sys.argv[1]](int(sys.argv[2])))
