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
    "reference": "stream_app.engine.reference:load",
    "fake": "stream_app.engine.fake:load",
}


def load_engine(name: str, artifact: Artifact, device: str = "auto") -> Engine:
    """Load `artifact` into the backend called `name` on `device` (auto, cpu, cuda, cuda:1, …)."""
    if name not in ENGINES:
        raise ConfigError(f"engine {name!r} does not exist; there are: {', '.join(ENGINES)}")
    module, _, function = ENGINES[name].partition(":")
    load: Callable[[Artifact, str], Engine] = getattr(import_module(module), function)
    return load(artifact, device)
