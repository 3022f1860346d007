"""The configuration: ``trueup.toml``, the files of user and system, the environment, and flags.

Precedence, setting by setting: flags, environment, project, user, system, default. A chosen profile replaces settings
of the file that it stands in, so a project's settings win over a user's profile.
"""

from __future__ import annotations

from trueup.config.load import Config, find, load, state_dir
from trueup.config.problems import Origin, Source
from trueup.config.secret import Secret
from trueup.config.sections import Bucket
from trueup.config.settings import VARIABLES

__all__ = ["VARIABLES", "Bucket", "Config", "Origin", "Secret", "Source", "find", "load", "schema", "state_dir"]


def schema() -> dict[str, object]:
    """JSON Schema of one ``trueup.toml``."""
    from trueup.config import reference

    return reference.schema()
