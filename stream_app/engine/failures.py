"""What torch raises, in our words, with the memory of what failed given back."""

from __future__ import annotations

import traceback

import torch

from stream_app.core.errors import EngineError, OutOfMemory


def failure(error: Exception, texts: int) -> EngineError:
    """The error to raise in place of one of torch's, behind its `except` block and without a cause.

    The frames that it came through hold the tensors of the batch that failed, and a traceback keeps
    frames alive: they are cleared, or halves of a batch would run beside the whole.
    """
    traceback.clear_frames(error.__traceback__)
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        return OutOfMemory(f"no memory for {texts} texts")
    return EngineError(f"{type(error).__name__} in a batch of {texts}")
