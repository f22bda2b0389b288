"""Promises of the package: pins that belong together, cheap imports, safe producers."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest

import stream_app
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.services.sending.delivery import new_producer

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


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


def pins(file: str) -> dict[str, str]:
    """Versions by name, as one compares names."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_image_installs_what_is_tested_by_its_hash():
    """Where it fails: make hashes."""
    hashed, tested = pins("deploy/hashes.txt"), pins("constraints.txt")
    assert {name: tested.get(name, version) for name, version in hashed.items()} == hashed
    extras = PYPROJECT["project"]["optional-dependencies"]
    image = ("feeds", "mail", "postgres", "registry", "train")
    wanted = [*PYPROJECT["project"]["dependencies"], *(w for e in image for w in extras[e])]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", each)[0]).lower() for each in wanted}
    assert names - hashed.keys() == {"torch", "winnow-stream"}


def test_versions_are_told_alike():
    version = re.escape(stream_app.__version__)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {version}\b", changelog, re.MULTILINE)
    assert (ROOT / "tests" / "compatibility" / stream_app.__version__).is_dir()
