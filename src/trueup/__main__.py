"""``python -m trueup`` is the command line."""

from __future__ import annotations

from trueup.cli import main

if __name__ == "__main__":
    main()
