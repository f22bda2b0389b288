"""Layer 2: a batch of token ids -> logits. One protocol, one file a backend, a shipped fake.

A new backend is one file here and one row in `ENGINES`; the shared engine tests pick it up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from stream_app.core.errors import ConfigError
from stream_app.engine.protocol import Engine
from stream_app.model.artifact import Artifact

# name -> "module:function"; imported on first use, since torch takes seconds to import
ENGINES: Mapping[str, str] = {
    "packed": "stream_app.engine.packed_cpu:load",
    "reference": "stream_app.engine.reference:load",
    "fake": "stream_app.engine.fake:load",
}


def load_engine(
    name: str, artifact: Artifact, device: str = "auto", precision: str = "auto"
) -> Engine:
    """Load `artifact` into the backend called `name` on `device` (auto, cpu, cuda, cuda:1, …).

    `precision` is auto, float32 or bfloat16: what the arithmetic runs in.

    `auto` is `packed` on a CPU for the models it can run, else `reference`.
    """
    if name == "auto":
        name = "packed" if _packed_runs(artifact, device) else "reference"
    if name not in ENGINES:
        raise ConfigError(f"engine {name!r} does not exist; there are: auto, {', '.join(ENGINES)}")
    module, _, function = ENGINES[name].partition(":")
    load: Callable[[Artifact, str, str], Engine] = getattr(import_module(module), function)
    return load(artifact, device, precision)


def _packed_runs(artifact: Artifact, device: str) -> bool:
    import torch

    from stream_app.model.albert import supported

    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    return on_cpu and torch.backends.mkldnn.is_available() and supported(artifact)
