"""``comprehensive_sync_training_data.py ACTOR_ID ACTOR_NAME [--dry-run] [--delete-orphans]``: as `trueup sync dataset`.

`trueup init --dataset` writes a file ``scripts/comprehensive_sync_training_data.py`` that calls this one.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run it with the arguments of the process; exits with the exit codes of ``trueup``."""
    from trueup.cli import root

    root.main(["sync", "dataset", *sys.argv[1:]])


if __name__ == "__main__":
    main()
