"""Promises of the package: pins that belong together, cheap imports, safe producers."""

import importlib.metadata
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest

from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.services.delivery import new_producer

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def test_faust_and_its_drivers_are_pinned_together():
    """An aiokafka upgrade broke Faust before; without cramjam a zstd batch kills the worker."""
    pins = dict(line.split("==") for line in PYPROJECT["project"]["dependencies"] if "==" in line)
    assert set(pins) == {"faust-streaming", "aiokafka", "mode-streaming"}
    for name, version in pins.items():
        assert importlib.metadata.version(name) == version
    assert importlib.metadata.version("cramjam")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("stream_app", "torch transformers faust kafka aiokafka"),
        ("stream_app.__main__", "torch transformers faust"),
        ("stream_app.worker", "torch transformers mlflow"),
        ("training", "torch transformers faust"),
    ],
)
def test_imports_are_cheap(module: str, heavy: str):
    code = f"import sys, {module}; print([m for m in {heavy.split()!r} if m in sys.modules])"
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    assert run([sys.executable, "-c", code]).stdout.strip() == "[]"


async def test_producers_are_idempotent_and_wait_for_every_replica():
    route = RouteSettings(name="r", format="text", model="m", input_topic="in", output_topic="out")
    producer = new_producer(KafkaSettings(), route, enable_idempotence=True)
    assert producer._txn_manager is not None
    assert producer._sender._acks == -1
    assert producer._max_request_size > route.max_record_bytes
