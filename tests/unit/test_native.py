"""The compiled kernels beyond this CPU: its missing instructions emulated, every sanitizer on."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_app.engine.compiled import CompiledEngine
from stream_app.engine.native.build import AVX2, OBJECTS, Objects, compile_kernels, compiler
from stream_app.engine.native_library import PRECISIONS, Kernels, find_kernels
from stream_app.engine.packing import Packed
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.references import BUILTIN, resolve
from stream_app.model.tokenizer import Tokenizer
from tests.native.albert import random_classifier
from tests.native.fuzz import ExactWeights, every_kernel, kernel_logits
from tests.unit.test_engines import MIXED, SENTENCES, SHAPES, random_model, texts, tolerance

ROOT = Path(__file__).parents[2]
REGISTERS = ("-include", str(ROOT / "tests/native/registers.h"))  # of AVX-512
TILES = ("-include", str(ROOT / "tests/native/tiles.h"))  # of AMX
VISIBLE = "-fvisibility=default"  # by name, since dispatch.cpp offers what the CPU has
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover", "-g1", "-O1")
every_emulated_kernel = pytest.mark.parametrize(
    ("name", "precision"),
    [
        (name, precision)
        for name in ("avx512", "avx512_bf16", "amx")
        for precision in PRECISIONS
        if (name, precision) != ("avx512", "bfloat16")
    ],
)


def sources() -> Objects:
    """The kernels' sources, with AMX emulated, and AVX-512 where this CPU lacks it."""
    lacking = "avx512_bf16" not in map(str, find_kernels())
    objects = dict(OBJECTS)
    for name in ("avx512", "avx512_bf16", "amx"):
        source, flags = OBJECTS[name]
        if lacking:
            flags = (*AVX2, *REGISTERS)
        objects[name] = source, (*flags, *TILES) if name == "amx" else flags
    return objects


def build(folder: Path, *extra: str) -> Path:
    library = folder / "libwinnow.so"
    try:
        compile_kernels(library, (VISIBLE, *extra), sources())
    except OSError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")
    return library


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernels]:
    kernels = every_kernel(build(tmp_path_factory.mktemp("emulated")))
    if not kernels:
        pytest.skip("this CPU has no AVX2")
    return kernels


@every_emulated_kernel
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_emulated_logits_are_the_references(
    tmp_path: Path,
    emulated: dict[str, Kernels],
    name: str,
    precision: str,
    shape: dict[str, object],
):
    artifact = random_model(tmp_path, **shape)
    batch = texts(MIXED)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    engine = CompiledEngine(artifact, emulated[name], precision, threads=2)
    spread = max(1.0, float(np.abs(expected).max()))
    logits = engine.logits(batch)
    assert np.abs(logits - expected).max() <= tolerance(precision, trained=False) * spread
    # to the last bit, so that a replay gives the same label
    assert all(
        (engine.logits([ids])[0] == row).all() for ids, row in zip(batch, logits, strict=True)
    )


@every_emulated_kernel
@pytest.mark.parametrize("model", BUILTIN)
def test_the_built_in_models_keep_their_labels_on_other_cpus(
    model: str, emulated: dict[str, Kernels], name: str, precision: str
):
    artifact = resolve(f"builtin:{model}")
    batch = Tokenizer(artifact).encode(SENTENCES)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    logits = CompiledEngine(artifact, emulated[name], precision, threads=2).logits(batch)
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
