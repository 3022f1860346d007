"""How libraries name their keys, as data. Each is tested with the library itself writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Preset:
    """The keys of one library."""

    namespaces: Mapping[str, str]
    """Templates of keys, as `trueup.stores.cache.names.pattern`, by namespace."""
    app: bool = True
    """Whether an application has to be named, because keys begin with it; Django's prefix may be empty."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Known parts, unless the target says otherwise."""
    bytecode: str = ""
    """The namespace of compiled templates, whose free part is what Jinja's `get_cache_key` computes."""
    tags: str = ""
    """The namespace of sets that hold names of other keys; with a set, those of its members go that are of the
    application."""
    members: str = ""
    """The namespace that members of those sets must be of."""


PRESETS: Mapping[str, Preset] = {
    "fastblocks": Preset(
        {
            "templates": "template:{template}",
            "bccache": "bccache:{name}",
            "responses": "{app}:cached:{method:word}.{crc:digits}.{vary:maybe_digits}",
            "gather": "gather:{name}",
        },
        bytecode="bccache",
    ),
    "django": Preset({"cache": "{app}:{version}:{key}"}, app=False, defaults={"version": "1"}),
    "aiocache": Preset({"cache": "{app}:{key}"}),
    "cashews": Preset({"cache": "{app}:{key}", "tags": "_tag:{app}:{tag}"}, tags="tags", members="cache"),
    "jinja2": Preset({"bytecode": "__jinja2_{key:sha1}.cache"}, app=False, bytecode="bytecode"),
    "jinja2-shared": Preset({"bytecode": "jinja2/bytecode/{key:sha1}"}, app=False, bytecode="bytecode"),
}
"""By the name that a target's ``preset`` says.

``fastblocks``: FastBlocks, whose bytecode is keyed by file name or name. ``jinja2``: `FileSystemBytecodeCache`, a
folder. ``jinja2-shared``: `MemcachedBytecodeCache` over a client of Redis, with the prefix that is its default.
"""
