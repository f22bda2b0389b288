"""`make release`: the commit as a release in dist/, each file the same whenever it is built.

| file                        | what it is                                                       |
|-----------------------------|------------------------------------------------------------------|
| `….tar.gz`                  | the source, from which the wheels are built                      |
| `…-manylinux….whl`          | with the CPU kernels, for Linux on x86-64                        |
| `…-any.whl`                 | without them: PyTorch serves                                     |
| `….cdx.json`                | what an installation has in it, with licences (CycloneDX)        |
| `SHA256SUMS`                | the hashes of all of these                                       |

Everything is built twice, in different folders, and compared. Then the wheel is installed in an
empty environment, where its kernels have to label mails, and `winnow demo --once` every message.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PYTHON = sys.executable
BIN = Path(PYTHON).parent


def main(pip_arguments: list[str]) -> None:
    """Make the release, or end with what is wrong."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        commit = output("git", "rev-parse", "HEAD")
        files, again = build(commit, Path(one)), build(commit, Path(other))
        if hashes(files) != hashes(again):
            sys.exit(f"two builds differ:\n{hashes(files)}{hashes(again)}")
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
        for file in files:
            shutil.copy2(file, DIST)
    [wheel] = DIST.glob("*manylinux*.whl")
    with tempfile.TemporaryDirectory() as folder:
        python = install(wheel, Path(folder), pip_arguments)
        winnow, mails = python.parent / "winnow", ROOT / "examples" / "mail"
        run(
            winnow, "classify", "--model", "builtin:spam", "--engine", "compiled", mails, cwd=folder
        )
        run(winnow, "demo", "--once", cwd=folder)
        describe(python)
    made = sorted(DIST.iterdir())
    (DIST / "SHA256SUMS").write_text(hashes(made), encoding="utf-8")
    sys.stdout.write(hashes(made))


def build(commit: str, folder: Path) -> list[Path]:
    """A commit's source, and from that the wheel with kernels and the one without."""
    env = {"SOURCE_DATE_EPOCH": output("git", "log", "-1", "--format=%ct", commit)}
    run("git", "archive", "--output", folder / "commit.tar", commit)
    shutil.unpack_archive(folder / "commit.tar", folder / "commit", filter="data")
    run(PYTHON, "-m", "manual.man", folder / "commit" / "man")
    run(PYTHON, "-m", "build", "--sdist", folder / "commit", "--outdir", folder, env=env)
    [source] = folder.glob("*.tar.gz")
    shutil.unpack_archive(source, folder, filter="data")
    unpacked = folder / source.name.removesuffix(".tar.gz")
    wheel = (PYTHON, "-m", "build", "--wheel", unpacked, "--outdir")
    run(*wheel, folder / "linux", env=env)
    run(*wheel, folder, env=env | {"CXX": "false"})  # no compiler: no kernels
    [native] = (folder / "linux").glob("*.whl")
    run(BIN / "auditwheel", "repair", native, "--wheel-dir", folder, env=env)
    return sorted([source, *folder.glob("*.whl")])


def install(wheel: Path, folder: Path, pip_arguments: list[str]) -> Path:
    """The Python of a new environment with nothing in it but the wheel and what that needs."""
    run(PYTHON, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    constraints = ("--constraint", ROOT / "constraints.txt")
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[broker]", *constraints, *pip_arguments)
    return python


def describe(python: Path) -> None:
    """Write what is installed beside that Python, as a bill of materials."""
    version = output(python, "-c", "import stream_app; print(stream_app.__version__)")
    file = DIST / f"winnow-stream-{version}.cdx.json"
    how = ("--output-reproducible", "--pyproject", ROOT / "pyproject.toml", "--output-file", file)
    run(BIN / "cyclonedx-py", "environment", python, *how)
    bill = json.loads(file.read_text(encoding="utf-8"))
    bill["metadata"]["component"]["version"] = version  # which pyproject.toml leaves to the code
    file.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")


def hashes(files: list[Path]) -> str:
    """As sha256sum writes them."""
    return "".join(f"{sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: str | None = None) -> None:
    """Run a step. What it does not do ends the release."""
    path = {"PATH": f"{BIN}:{os.environ['PATH']}"}  # auditwheel asks patchelf
    done = subprocess.run(command, env=os.environ | path | (env or {}), cwd=cwd or ROOT)
    if done.returncode:
        sys.exit(f"{shlex.join(map(str, command))} failed with {done.returncode}")


def output(*command: str | Path) -> str:
    """What a command prints."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1:])
