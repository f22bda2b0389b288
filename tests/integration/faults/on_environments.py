"""Faults of what a process has around it: users, folders, handles, the language."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from tests.integration.faults.registry import BOTH, fault
from tests.integration.faults.scene import Scene

# a disk that nobody can write to, /tmp included, for a user who may read what the suite's user may
READ_ONLY = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount --make-rprivate / && mount -o remount,bind,ro / && exec setpriv --reuid=65534 "
    "--regid=65534 --clear-groups --securebits=+no_setuid_fixup --inh-caps=+dac_read_search "
    '--ambient-caps=+dac_read_search "$@"',
    "sh",
)


@fault(modes=BOTH, share=0.3, duplicates=False)
def poor_environment(scene: Scene) -> None:
    """No HOME, locale C, 64 file handles."""
    scene.produce()
    worker = scene.start(ready=False, HOME="/nonexistent", LC_ALL="C", LANG="C")
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    scene.finish(worker)


@fault(modes=BOTH, share=0.3, duplicates=False)
def nothing_can_be_written(scene: Scene) -> None:
    """A read-only disk, no folder for temporary files, user nobody. Python's -OO is refused."""
    if subprocess.run([*READ_ONLY, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount, and unshare and setpriv of util-linux")
    scene.produce()
    nobody = {"HOME": "/nonexistent", "LC_ALL": "C", "LANG": "C"}
    refused = scene.start(ready=False, inside=READ_ONLY, PYTHONOPTIMIZE="2", **nobody)
    assert refused.process.wait(60) == 2
    assert "Python runs without asserts" in refused.output.splitlines()[-1]
    scene.workers.remove(refused)
    worker = scene.start(inside=READ_ONLY, **nobody)
    scene.reach(0.2)
    assert Path(f"/proc/{worker.process.pid}").stat().st_uid == 65534
    scene.finish(worker)
