"""The compiled kernels where this CPU does not show them: AMX without AMX, and every sanitizer."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_app.engine.compiled import CompiledEngine
from stream_app.engine.native.build import compile_kernels, compiler
from stream_app.engine.native_library import PRECISIONS, Kernels, find_kernels
from stream_app.engine.packing import Packed
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.references import BUILTIN, resolve
from stream_app.model.tokenizer import Tokenizer
from tests.native.albert import random_classifier
from tests.native.fuzz import ExactWeights, kernel_logits, with_tiles
from tests.unit.test_engines import MIXED, SENTENCES, SHAPES, random_model, texts, tolerance

ROOT = Path(__file__).parents[2]
# the AMX kernels with tiles in plain C++, and by name, since dispatch.cpp offers no CPU's but this
TILES = ("-include", str(ROOT / "tests/native/tiles.h"), "-fvisibility=default")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover", "-g1", "-O1")
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


def build(folder: Path, *extra: str) -> Path:
    library = folder / "libwinnow.so"
    try:
        compile_kernels(library, (*TILES, *extra))
    except OSError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")
    return library


@pytest.fixture(scope="session")
def amx(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    kernels = with_tiles(build(tmp_path_factory.mktemp("amx")))
    if "amx" not in kernels:
        pytest.skip("this CPU has no AVX512_BF16, which the AMX kernels need as well")
    return kernels["amx"]


@every_precision
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_amx_logits_are_the_references(
    tmp_path: Path, amx: Kernels, precision: str, shape: dict[str, object]
):
    artifact = random_model(tmp_path, **shape)
    batch = texts(MIXED)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    engine = CompiledEngine(artifact, amx, precision, threads=2)
    spread = max(1.0, float(np.abs(expected).max()))
    logits = engine.logits(batch)
    assert np.abs(logits - expected).max() <= tolerance(precision, trained=False) * spread
    # to the last bit, so that a replay gives the same label
    assert all(
        (engine.logits([ids])[0] == row).all() for ids, row in zip(batch, logits, strict=True)
    )


@every_precision
@pytest.mark.parametrize("name", BUILTIN)
def test_the_built_in_models_keep_their_labels_on_amx(name: str, amx: Kernels, precision: str):
    artifact = resolve(f"builtin:{name}")
    batch = Tokenizer(artifact).encode(SENTENCES)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    logits = CompiledEngine(artifact, amx, precision, threads=2).logits(batch)
    assert np.abs(logits - expected).max() <= tolerance(precision, trained=True)
    assert logits.argmax(1).tolist() == expected.argmax(1).tolist()


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A library, and what has to be loaded in front of it."""
    names = ("libasan.so", "libubsan.so")
    try:
        found = [_output(*compiler(), f"-print-file-name={name}") for name in names]
    except OSError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")
    if not all(map(os.path.isabs, found)):
        pytest.skip(f"{compiler()[0]} has no {' or '.join(names)}")
    return build(tmp_path_factory.mktemp("sanitized"), *SANITIZERS), ":".join(found)


@pytest.mark.parametrize("seed", range(4))
def test_a_row_of_equal_numbers_has_no_spread(seed: int):
    """Rounding would make its variance negative, if padding took part in it."""
    model = random_classifier(np.random.default_rng(seed))
    shape = dataclasses.replace(model.shape, eps=1e-12)
    for name, table in model.weights.items():
        if "_embeddings." in name:
            table[...] = 0.1
    text = Packed(np.zeros(1, np.int32), np.ones(1, np.int32))
    for kernels in find_kernels():
        for precision in filter(kernels.kernel, PRECISIONS):
            weights = ExactWeights(shape, model.weights, kernels, precision)
            assert np.isfinite(kernel_logits(weights, text)).all()


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("models", "seed"),
    [(6, 0), pytest.param(200, int.from_bytes(os.urandom(4)), marks=pytest.mark.slow, id="200")],
)
def test_random_models_stay_within_memory_and_near_numpy(
    sanitized: tuple[Path, str], models: int, seed: int
):
    library, preload = sanitized
    environment = {
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    fuzz = [sys.executable, "-m", "tests.native.fuzz", str(library), str(models), str(seed)]
    subprocess.run(fuzz, cwd=ROOT, env=os.environ | environment, check=True)
