"""AgentFS databases: what an agent has written, as items, here and at a remote."""

from __future__ import annotations

from trueup.stores.agentfs.beside import Beside
from trueup.stores.agentfs.local import LocalAgent
from trueup.stores.agentfs.mirror import Mirror
from trueup.stores.agentfs.remote import RemoteAgent

__all__ = ["Beside", "LocalAgent", "Mirror", "RemoteAgent"]
