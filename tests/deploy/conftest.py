"""What the tests of deployment share: one Docker engine, and the site's image in it."""

from collections.abc import Iterator

import pytest

from deploy.engine import SITE, Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine that has the image of version 1, built from the shipped Dockerfile."""
    with Engine() as engine:
        engine.build(SITE)
        yield engine
