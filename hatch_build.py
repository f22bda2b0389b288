"""Compiles the CPU kernels (`stream_app/engine/native/`) when the package is built or installed.

They are optional: without a C++ compiler, or on a CPU they were not written for, the package is
pure Python, and its torch engine serves.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

NATIVE = Path("stream_app/engine/native")
LIBRARY = NATIVE / "libwinnow.so"
OPTIMIZED = ("-std=c++17", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math")
PLAIN = ("-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra")
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni")))
WIDE = (*AVX512, "-mprefer-vector-width=512")
# object -> its source and the instructions it may use; dispatch.cpp picks one at run time
OBJECTS = {
    "dispatch": ("dispatch.cpp", ()),
    "avx2": ("avx2.cpp", AVX2),
    "avx512": ("avx512.cpp", WIDE),
    "avx512_bf16": ("avx512.cpp", (*WIDE, "-mavx512bf16")),
}


class CompileKernels(BuildHookInterface[Any]):
    """Adds `libwinnow.so` to the wheel, or to the source tree of an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the files."""
        del version
        root = Path(self.root)
        (root / LIBRARY).unlink(missing_ok=True)
        try:
            compile_kernels(root)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", "") or error
            self.app.display_warning(f"CPU kernels not compiled, torch will serve: {reason}")
            return
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(platform_tags())}"


def compile_kernels(root: Path, extra: tuple[str, ...] = ()) -> None:
    """Write `root / LIBRARY`. Raises OSError or CalledProcessError where that is not possible."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise OSError("they are written for Linux on x86-64")
    compiler = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or "clang++"]
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: Path(folder) / f"{name}.o" for name in OBJECTS}
        for name, (source, instructions) in OBJECTS.items():
            flags = [*OPTIMIZED, *PLAIN, *extra, *instructions]
            _run([*compiler, *flags, "-c", str(root / NATIVE / source), "-o", str(objects[name])])
        built = Path(folder) / LIBRARY.name
        _run([*compiler, *extra, "-shared", *map(str, objects.values()), "-o", str(built)])
        shutil.move(built, root / LIBRARY)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
