"""Compiles the CPU kernels of its folder. Imports no package: `hatch_build.py` runs it by path."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent
LIBRARY = SOURCES / "libwinnow.so"
OPTIMIZED = ("-std=c++17", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math")
PLAIN = ("-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra")
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni")))
WIDE = (*AVX512, "-mprefer-vector-width=512")
AMX = tuple(f"-mamx-{part}" for part in ("tile", "int8", "bf16"))
Objects = Mapping[str, tuple[str, tuple[str, ...]]]
# object -> its source and the instructions it may use; dispatch.cpp picks one at run time
OBJECTS: Objects = {
    "dispatch": ("dispatch.cpp", ()),
    "avx2": ("avx2.cpp", AVX2),
    "avx512": ("avx512.cpp", WIDE),
    "avx512_bf16": ("avx512_bf16.cpp", (*WIDE, "-mavx512bf16")),
    "amx": ("amx.cpp", (*WIDE, "-mavx512bf16", *AMX)),
}


def compiler() -> list[str]:
    """The command that compiles C++: $CXX, g++ or clang++; it may be missing."""
    return shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or "clang++"]


def compile_kernels(
    to: Path = LIBRARY, extra: tuple[str, ...] = (), sources: Objects = OBJECTS
) -> None:
    """Write the library, with flags that come behind the usual ones.

    Raises OSError or CalledProcessError where that is not possible.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise OSError("they are written for Linux on x86-64")
    # in the same folder, then renamed: a process may have the old one open
    with tempfile.TemporaryDirectory(dir=to.parent) as folder, ThreadPoolExecutor() as pool:
        objects = {name: Path(folder) / f"{name}.o" for name in sources}

        def compile_one(name: str) -> None:
            source, instructions = sources[name]
            flags = [*OPTIMIZED, *PLAIN, *extra, *instructions]
            _run([*compiler(), *flags, "-c", str(SOURCES / source), "-o", str(objects[name])])

        list(pool.map(compile_one, sources))
        built = Path(folder) / to.name
        _run([*compiler(), *extra, "-shared", *map(str, objects.values()), "-o", str(built)])
        built.replace(to)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
