"""The home of the command line's tests, for everything that is done to it here."""

from tests.cli.conftest import home

__all__ = ["home"]
