"""Compiles the CPU kernels (`stream_app/engine/native/`) when the package is built or installed.

They are optional: without a C++ compiler, or on a CPU they were not written for, the package is
pure Python, and its torch engine serves. A wheel also takes the man pages along, where `make man`
has written them.
"""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

NATIVE = Path("stream_app/engine/native")
LIBRARY = NATIVE / "libwinnow.so"


class CompileKernels(BuildHookInterface[Any]):
    """Adds `libwinnow.so` and man pages to the wheel, or to the source tree of an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the files."""
        del version
        root = Path(self.root)
        pages = (root / "man").glob("*.1")
        build_data["shared_data"] = {str(page): f"share/man/man1/{page.name}" for page in pages}
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
    # by its path: the package cannot be imported before what it depends on is there
    runpy.run_path(str(root / NATIVE / "build.py"))["compile_kernels"](root / LIBRARY, extra)
