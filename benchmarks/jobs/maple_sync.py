"""MAPLE's own ``sync``, from its file: the package around it imports what simulations need."""

import importlib.util
import sys
from pathlib import Path

import maple

path = Path(maple.__file__).parent / "cmd/cli/snc.py"
spec = importlib.util.spec_from_file_location("snc", path)
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.sync_app(sys.argv[1:])
