"""Every codec under a coverage-guided fuzzer (Atheris): `make fuzz SECONDS=600`.

`python -m tests.property.fuzz --seconds N [--corpus FOLDER] [CODEC …]` shares N seconds of CPU time
among the codecs, prints a line each, and exits 1 where one raised, took too long or ate memory.
What made it do so is kept in FOLDER, and so are the inputs that reached new code.
"""

from __future__ import annotations

import argparse
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

MAX_BYTES = 16_384
CPU_SECONDS = (
    2.0  # for one input; by the CPU's clock, so that a busy or paused machine finds no bug
)
STUCK_SECONDS = 1_800  # by the wall's, for what no Python signal can interrupt
MAX_MIB = 2_048
_RUNS = re.compile(r"stat::number_of_executed_units: (\d+)")


class TooSlow(Exception):
    """An input took longer than CPU_SECONDS."""


def fuzz(codec: str, arguments: list[str]) -> None:
    """Fuzz one codec in this process, until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["stream_app.codecs", "email", "encodings", "quopri"]):
        from tests.codec_cases import check

    def too_slow(*_: object) -> None:
        raise TooSlow

    def one_input(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        check(codec, data)
        signal.setitimer(signal.ITIMER_PROF, 0)

    signal.signal(signal.SIGPROF, too_slow)
    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


def run(codec: str, seconds: float, folder: Path) -> bool:
    """Fuzz one codec for so much CPU time and say what came of it; whether all went well."""
    from tests.codec_cases import JUNK, SEEDS

    corpus = folder / codec
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[codec]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / f"{codec}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in JUNK if len(word) < 64))
    limits = [f"-max_len={MAX_BYTES}", f"-timeout={STUCK_SECONDS}", f"-rss_limit_mb={MAX_MIB}"]
    kept = [f"-artifact_prefix={folder}/{codec}-", f"-dict={words}", "-print_final_stats=1"]
    command = [sys.executable, "-m", "tests.property.fuzz", "--one", codec, "--", *limits, *kept]
    log = folder / f"{codec}.log"
    code, start, spent = 0, _cpu_seconds(), 0.0
    with log.open("wb") as out:
        while code == 0 and (left := int(seconds - spent)) > 0:
            # libFuzzer counts the seconds of the wall, of which a busy machine gives it a part
            arguments = [f"-max_total_time={left}", str(corpus)]
            code = subprocess.call([*command, *arguments], stdout=out, stderr=out)
            spent = _cpu_seconds() - start
    runs = sum(map(int, _RUNS.findall(log.read_text(errors="replace"))))
    verdict = "ok" if code == 0 else f"FAILED: {log}"
    print(f"{codec:<8} {runs:>12,} executions {spent:>8.0f} s of CPU  {verdict}", flush=True)
    return code == 0


def _cpu_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="of CPU, for all codecs")
    parser.add_argument("--corpus", type=Path, help="default: a new folder")
    parser.add_argument("--one", metavar="CODEC", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", metavar="CODEC", help="default: every one")
    options = parser.parse_args()
    if options.one:
        fuzz(options.one, options.rest)
        return
    from stream_app.codecs import CODECS

    codecs = options.rest or list(CODECS)
    folder = options.corpus or Path(tempfile.mkdtemp(prefix="winnow-fuzz-"))
    results = [run(codec, options.seconds // len(codecs), folder) for codec in codecs]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
