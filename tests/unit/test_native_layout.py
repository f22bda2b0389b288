"""What Python and C++ both declare of the kernels: structures, sizes, the order of precisions."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from stream_app.engine.compiled_weights import EXIT_ROWS, GROUP, LANES, PANEL, gelu_table
from stream_app.engine.native.build import SOURCES, compiler
from stream_app.engine.native_library import (
    PRECISIONS,
    Kernel,
    Kernels,
    Layer,
    Linear,
    Model,
    Norm,
)
from stream_app.model.decision import SPECIAL_TOKENS

STRUCTURES = (Linear, Norm, Layer, Model, Kernel, Kernels)
ROWS = {"float32": "Float32Row", "bfloat16": "Bfloat16Row", "int8": "Int8Row<127>"}
# name, offset and bytes of a field, and whether it is a float
PROGRAM = """
#include <cstddef>
#include <cstdio>
#include <type_traits>
#include "classify.h"
#define SIZE(S) std::printf(#S " %zu\\n", sizeof(S));
#define FIELD(S, f) \\
  std::printf(#S "." #f " %zu %zu %d\\n", offsetof(S, f), sizeof(S::f), \\
              std::is_floating_point<decltype(S::f)>::value);
#define NUMBER(expression) std::printf("%d\\n", int(expression));
"""


def fields(structure: type[ctypes.Structure]) -> list[tuple[str, str]]:
    """Names in Python and in C++, where `in` is no keyword."""
    return [(field[0], field[0].removesuffix("_")) for field in structure._fields_]


def as_python_has_it(structure: type[ctypes.Structure]) -> list[str]:
    name, kinds = structure.__name__, dict(field[:2] for field in structure._fields_)
    lines = [f"{name} {ctypes.sizeof(structure)}"]
    for ours, theirs in fields(structure):
        at = getattr(structure, ours)
        lines.append(f"{name}.{theirs} {at.offset} {at.size} {int(kinds[ours] is ctypes.c_float)}")
    return lines


def as_cpp_has_it(structure: type[ctypes.Structure]) -> str:
    """Statements that print the same; they compile only if Python knows every field."""
    name, names = structure.__name__, [theirs for _, theirs in fields(structure)]
    printed = "".join(f"FIELD({name}, {field})" for field in names)
    bound = ", ".join(f"{field}_" for field in names)
    return f"{{ const auto [{bound}] = {name}{{}}; SIZE({name}) {printed} }}"


def run(folder: Path, statements: str) -> list[str]:
    """The lines that a C++ program with these statements prints."""
    source, program = folder / "layout.cpp", folder / "layout"
    source.write_text(f"{PROGRAM}\nint main() {{ {statements} }}\n")
    compiling = [*compiler(), "-std=c++17", "-I", str(SOURCES), str(source), "-o", str(program)]
    try:
        subprocess.run(compiling, check=True)
    except OSError as error:
        pytest.skip(f"nothing can be compiled here: {error}")
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()


def test_python_lays_out_structures_as_the_compiler_does(tmp_path: Path):
    printed = run(tmp_path, "".join(map(as_cpp_has_it, STRUCTURES)))
    assert printed == [line for structure in STRUCTURES for line in as_python_has_it(structure)]


def test_python_pads_and_orders_as_the_kernels_expect(tmp_path: Path):
    same = {"kPanel": PANEL, "kLanes": LANES, "kExitRows": EXIT_ROWS}
    same["kSpecialTokens"] = SPECIAL_TOKENS
    for index, precision in enumerate(PRECISIONS):
        row, table = ROWS[precision], gelu_table("tanh", precise=precision == "float32")
        same |= {f"k{precision.capitalize()}": index, f"{row}::kGroup": GROUP[precision]}
        same[f"{row}::kGeluTerms"] = len(table) - 2  # behind its limit and its scale
    printed = run(tmp_path, "".join(f"NUMBER(({expression}))" for expression in same))
    assert dict(zip(same, map(int, printed), strict=True)) == same
