"""What the page about buckets says of services is what they say now."""

import importlib.util
import os
import sys
from types import ModuleType

import pytest
from tests.docs.blocks import ROOT

from trueup.testing.engines import Missing

pytestmark = pytest.mark.engine


def script() -> ModuleType:
    """`docs/services.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("docs_services", ROOT / "docs" / "services.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SERVICES = script()
WRITTEN = SERVICES.written(SERVICES.PAGE.read_text("utf-8"))


@pytest.mark.parametrize("service", SERVICES.SERVICES, ids=lambda service: service.name.replace(" ", "-"))
def test_the_page_says_of_a_service_what_the_probe_finds(service: object) -> None:
    try:
        found = service.asked()  # type: ignore[attr-defined]  # loaded by its path
    except Missing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    page = WRITTEN[service.name]  # type: ignore[attr-defined]  # as above
    if found["version"] != page["version"] and os.environ.get("CI") != "true":
        pytest.skip(f"the page is about {page['version']}, here is {found['version']}")
    assert page == found, "try: python docs/services.py --write"


def test_the_page_names_no_other_service() -> None:
    assert list(WRITTEN) == [service.name for service in SERVICES.SERVICES]
