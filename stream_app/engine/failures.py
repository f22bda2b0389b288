"""torch's errors as the engines' own, with the memory of the failed batch released."""

from __future__ import annotations

import traceback

import torch

from stream_app.core.errors import EngineError, OutOfMemory


def failure(error: Exception, texts: int) -> EngineError:
    """The error to raise instead of torch's: after the `except` block, so that it has no cause."""
    release(error)
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        return OutOfMemory(f"no memory for {texts} texts")
    return EngineError(f"{type(error).__name__} in a batch of {texts}")


def release(error: Exception) -> None:
    """Clear the frames of an error's traceback, which keep the tensors of the failed batch alive.

    Otherwise the halves of a batch that ran out of memory would run beside the whole.
    """
    traceback.clear_frames(error.__traceback__)
