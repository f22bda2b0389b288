"""The compiled kernels (`native/`) in ctypes: the structures of model.h, and how they are found.

ctypes releases the interpreter's lock while a kernel runs.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_void_p
from itertools import count, takewhile
from pathlib import Path

LIBRARY = Path(__file__).with_name("native") / "libwinnow.so"
PRECISIONS = ("float32", "bfloat16", "int8")  # in the order of `Precision` in model.h


class Linear(Structure):
    """`struct Linear` of model.h."""

    _fields_ = [
        ("panels", c_void_p),
        ("bias", c_void_p),
        ("scale", c_void_p),
        ("weight_sum", c_void_p),
        ("in_", c_int32),  # `in` in C
        ("out", c_int32),
    ]


class Norm(Structure):
    """`struct Norm` of model.h."""

    _fields_ = [("weight", c_void_p), ("bias", c_void_p)]


class Layer(Structure):
    """`struct Layer` of model.h."""

    _fields_ = [
        ("qkv", Linear),
        ("dense", Linear),
        ("up", Linear),
        ("down", Linear),
        ("attention_norm", Norm),
        ("full_norm", Norm),
    ]


class Model(Structure):
    """`struct Model` of model.h."""

    _fields_ = [
        ("words", c_void_p),
        ("positions", c_void_p),
        ("embedding_norm", Norm),
        ("mapping", Linear),
        ("layers", POINTER(POINTER(Layer))),
        ("pooler", Linear),
        ("classifier", Linear),
        ("exits", POINTER(Linear)),
        ("gelu", c_void_p),
        ("eps", c_float),
        ("layer_count", c_int32),
        ("embedding", c_int32),
        ("hidden", c_int32),
        ("heads", c_int32),
        ("head_size", c_int32),
        ("labels", c_int32),
        ("mean", c_int32),
        ("inverse_temperature", c_float),
        ("inverse_confidence", c_float),
        ("evidence", c_float),
    ]


FORWARD = ctypes.CFUNCTYPE(None, POINTER(Model), c_void_p, c_void_p, c_int32, c_void_p, c_void_p)
WORKSPACE = ctypes.CFUNCTYPE(c_int64, POINTER(Model), c_int32, c_int32)


class Kernel(Structure):
    """`struct Kernel` of model.h."""

    _fields_ = [("forward", FORWARD), ("workspace", WORKSPACE)]


class Kernels(Structure):
    """`struct Kernels` of model.h: what one instruction set offers."""

    _fields_ = [("name", c_char_p), ("attention", c_int32), ("precisions", Kernel * 3)]

    def __str__(self) -> str:
        return bytes(self.name).decode()

    def kernel(self, precision: str) -> Kernel | None:
        """The kernel that computes in `precision`, where this instruction set has one."""
        kernel: Kernel = self.precisions[PRECISIONS.index(precision)]
        return kernel if kernel.forward else None


def find_kernels(library: Path = LIBRARY) -> list[Kernels]:
    """The kernels that this CPU runs, best first; none where the library was not compiled."""
    if not library.exists():
        return []
    find = ctypes.CDLL(str(library)).winnow_kernels
    find.argtypes, find.restype = [c_int32], POINTER(Kernels)
    return [found.contents for found in takewhile(bool, map(find, count()))]
