"""The machine the figures are of: its name, versions, matrix products; and what a process used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "nncf")
ROWS, IN, OUT = 1024, 3072, 768  # the second feed-forward product of albert-base
CUDA_SIDE = 8192
TIMES = 20


def describe(device: str, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """What a reader needs to compare: processor, cores, instruction sets, versions."""
    info = Path("/proc/cpuinfo").read_text()
    fields = dict(
        (part.strip() for part in line.split(":", 1)) for line in info.splitlines() if ":" in line
    )
    flags = set(fields.get("flags", "").split())
    machine = {
        "cpu": fields.get("model name", "unknown"),
        "cores": str(len(os.sched_getaffinity(0))),
        "instructions": " ".join(flag for flag in FLAGS if flag in flags),
        "versions": ", ".join(f"{name} {_version(name)}" for name in packages),
    }
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return machine


def cpu_seconds(process: int) -> float:
    """What all threads of a process have used so far; Linux's."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured_peaks(device: str) -> Mapping[str, float]:
    """Precision -> the best rate of a large matrix product, operations/s; what ran, that is."""
    products = _cuda_products() if device == "cuda" else _cpu_products()
    peaks: dict[str, float] = {}
    for precision, operations, product in products:
        try:
            rate = operations / _shortest(product, device)
        except (RuntimeError, AttributeError):  # no such kernel in this build, on this machine
            continue
        peaks[precision] = max(rate, peaks.get(precision, 0.0))
    return peaks


def _cpu_products() -> list[tuple[str, int, Callable[[], Tensor]]]:
    operations = 2 * ROWS * IN * OUT
    products: list[tuple[str, int, Callable[[], Tensor]]] = []
    for name in ("float32", "bfloat16"):
        x, weight = (torch.randn(n, IN, dtype=getattr(torch, name)) for n in (ROWS, OUT))
        products.append((name, operations, lambda x=x, weight=weight: x @ weight.T))
        products.append((name, operations, _onednn(x, weight)))
    return [*products, ("int8", operations, _onednn_int8())]


def _onednn(x: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    packed: list[Tensor] = []

    def product() -> Tensor:
        if not packed:
            packed.append(torch.ops.mkldnn._reorder_linear_weight(weight))
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed[0], None, "none", [], "")
        return out

    return product


def _onednn_int8() -> Callable[[], Tensor]:
    x = torch.randint(0, 255, (ROWS, IN), dtype=torch.uint8)
    weight = torch.randint(-127, 127, (OUT, IN), dtype=torch.int8)
    scales, zeros = torch.full((OUT,), 0.01), torch.zeros(OUT, dtype=torch.int64)
    packed: list[Tensor] = []

    def product() -> Tensor:
        if not packed:
            packed.append(torch.ops.onednn.qlinear_prepack(weight, [ROWS, IN]))
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            x, 0.01, 0, packed[0], scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return out

    return product


def _cuda_products() -> list[tuple[str, int, Callable[[], Tensor]]]:
    products: list[tuple[str, int, Callable[[], Tensor]]] = []
    for name in ("float32", "bfloat16", "float16"):
        x = torch.randn(CUDA_SIDE, CUDA_SIDE, dtype=getattr(torch, name), device="cuda")
        products.append((name, 2 * CUDA_SIDE**3, lambda x=x: x @ x))
    return products


def _shortest(product: Callable[[], Tensor], device: str) -> float:
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        product()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
