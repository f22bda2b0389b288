"""For tests of the compiled engine, where it was not compiled."""

import pytest

from stream_app.engine.native_library import find_kernels

needs_kernels = pytest.mark.skipif(
    not find_kernels(), reason="the kernels were not compiled, or this CPU has none"
)
COMPILED = pytest.param("compiled", marks=needs_kernels)
