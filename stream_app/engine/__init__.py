"""A batch of token ids -> logits. One protocol, one file a backend, a shipped fake.

A new backend is one file here and one row in `ENGINES`: `[engine] backend` and `winnow classify
--engine` take it by its name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from stream_app.core.errors import ConfigError
from stream_app.core.machine import cores, has_nvidia_gpu
from stream_app.engine.native_library import find_kernels

if TYPE_CHECKING:  # what only reads a configuration wants the names, and needs no numpy for them
    from stream_app.engine.protocol import Engine
    from stream_app.model.artifact import Artifact

    Load = Callable[[Artifact, str, str, int], Engine]

log = logging.getLogger(__name__)

# name -> "module:function"; imported on first use, since torch takes seconds to import
ENGINES: Mapping[str, str] = {
    "compiled": "stream_app.engine.compiled:load",
    "packed": "stream_app.engine.packed_cpu:load",
    "reference": "stream_app.engine.reference:load",
    "fake": "stream_app.engine.fake:load",
}
_PACKED_CUDA = "stream_app.engine.packed_cuda:load"


def backends() -> list[str]:
    """The names a user may choose: each backend, and `auto`."""
    return ["auto", *ENGINES]


def load_engine(
    name: str,
    artifact: Artifact,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    early_exit: bool = False,
) -> Engine:
    """Load `artifact` into the backend called `name` on `device` (auto, cpu, cuda, cuda:1, …).

    `precision` is what the arithmetic runs in: auto, float32, bfloat16, float16 or int8, where the
    backend has it. `threads` counts those that compute on a CPU; 0 takes every core.

    With `early_exit` a text goes through as few layers as its label needs, where model and backend
    allow it. Raises ConfigError for a backend, ModelError for a device or precision, that is not
    there.

    `auto` is `packed` on a GPU; on a CPU it is `compiled`, or where its kernels are missing
    `packed`; and it is `reference` for a model that those cannot run.
    """
    on_gpu = _on_gpu(device)
    if name == "auto":
        name = _best(artifact, on_gpu)
    if name not in ENGINES:
        raise ConfigError(f"engine {name!r} does not exist; there are: {', '.join(backends())}")
    target = _PACKED_CUDA if name == "packed" and on_gpu else ENGINES[name]
    module, _, function = target.partition(":")
    load: Load = getattr(import_module(module), function)
    engine = load(artifact, device, precision, threads or cores())
    if early_exit:
        _leave_early(engine, artifact)
    return engine


def _leave_early(engine: Engine, artifact: Artifact) -> None:
    from stream_app.engine.compiled import CompiledEngine
    from stream_app.model.exits import load_exits

    exits, name = load_exits(artifact), artifact.card.name
    if exits is None:
        log.warning("%s has no early exits (winnow-train add fits them): all is computed", name)
    elif not isinstance(engine, CompiledEngine):
        log.warning("%s: only the compiled engine leaves early: all is computed", name)
    else:
        engine.leave_early(exits)


def _best(artifact: Artifact, on_gpu: bool) -> str:
    from stream_app.model.albert import supported

    if not supported(artifact):
        return "reference"
    if on_gpu:
        return "packed"
    if find_kernels():
        return "compiled"
    import torch

    log.warning(
        "the compiled kernels are missing, or this CPU has no AVX2: torch serves, and it is slower"
    )
    return "packed" if torch.backends.mkldnn.is_available() else "reference"


def _on_gpu(device: str) -> bool:
    if device != "auto":
        return device.startswith("cuda")
    if not has_nvidia_gpu():
        return False
    from stream_app.engine.gpu import why_no_cuda

    if why := why_no_cuda():
        log.warning("there is an NVIDIA GPU, but %s: the CPU serves", why)
    return not why
