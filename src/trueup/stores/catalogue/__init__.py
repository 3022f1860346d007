"""The models that were seen, kept locally: records of what each account could use, and every change of them.

A record's fields: ``id``, ``state`` (`ACTIVE` or `MISSING`), ``since`` (when it came into that state), ``hash``,
``facts`` by name (each ``value``, ``source``, ``date``), ``conflicts`` (what other sources say), ``raw``.
"""
