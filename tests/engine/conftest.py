"""What the tests of the engine share."""

import codecs
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.pair import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two empty folders that propagate deletions."""
    return Pair(tmp_path)


@pytest.fixture
def open_pair() -> Iterator[Pair]:
    """Two empty folders that anybody may use."""
    base = Path(tempfile.mkdtemp(prefix="trueup-test-"))
    base.chmod(0o777)
    pair = Pair(base)
    for path in pair.sides:
        path.chmod(0o777)
    yield pair
    shutil.rmtree(base)


@pytest.fixture
def nobody(open_pair: Pair) -> Iterator[None]:
    """Permissions count: the superuser, who may do everything, becomes somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    codecs.lookup("ascii")  # nobody may not be able to load it, and that it could not be found is remembered for good
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
