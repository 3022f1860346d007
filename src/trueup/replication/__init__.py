"""A remote of our own for agent filesystems: SQLite files, served in the protocol of Turso's sync engine.

Unmodified clients of that engine push to it and pull from it. See docs/agents-remote.md.
"""

from trueup.replication.asgi import Replication
from trueup.replication.backup import backup
from trueup.replication.database import Database
from trueup.replication.databases import Databases
from trueup.replication.embedded import Served, serving
from trueup.replication.limits import Limits
from trueup.replication.refused import Refused

__all__ = ["Database", "Databases", "Limits", "Refused", "Replication", "Served", "backup", "serving"]
