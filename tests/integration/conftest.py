"""A stage on a broker for each test, and tiny models made on the fly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Stage
from tests.tiny_model import save_tiny_albert


@pytest.fixture
def stage(broker_address: str, tmp_path: Path) -> Stage:
    """Topics, group and configuration of this test alone."""
    return Stage(broker_address, tmp_path)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ALBERT of a few kilobytes, in the ordinary Hugging Face folder."""
    return save_tiny_albert(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def any_broker(broker_kind: str, request: pytest.FixtureRequest) -> None:
    """For what is the same on every broker: it runs on the embedded one, or on one asked for."""
    if broker_kind == "apache" and not request.config.getoption("--broker"):
        pytest.skip("the same on every broker; --broker apache runs it there")
