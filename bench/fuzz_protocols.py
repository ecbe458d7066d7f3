"""Do the parsers of ``fac_stream/protocols`` hold out, whatever comes?

    .venv/bin/pip install atheris
    python bench/fuzz_protocols.py --seconds 30 [--only sip]

Each parser runs for so long in a process of its own, under libFuzzer with coverage of its own code, beginning
with the golden messages. It has to accept an input or refuse it with ``ProtocolError``, within ``INPUT_S``
and ``MEMORY_MB``. What broke it is kept under ``--keep`` and printed; as a file in
``tests/protocols/data/fuzz/<parser>/`` it becomes a test.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INPUT_S = 5
MEMORY_MB = 1024
LONGEST = 16 * 1024
"""Bytes of an input."""
GRACE_S = 120
"""For loading, the seeds, and an input that hangs."""


def main() -> None:
    """Run the parsers that were asked for; exits with 1 where one broke."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=30, help="for each parser")
    parser.add_argument("--only", metavar="PARSER", help="such as sip")
    parser.add_argument("--keep", type=Path, default=Path("test-results/fuzz"), help="where findings go")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    known, for_fuzzer = parser.parse_known_args()
    if known.inside:
        _fuzz(known.inside[0], Path(known.inside[1]), for_fuzzer)
    broken = [name for name in _names(known.only) if not _holds(name, known.seconds, known.keep)]
    sys.exit(f"broken: {', '.join(broken)}" if broken else 0)


def _names(only: str | None) -> list[str]:
    from fuzz_targets import TARGETS  # noqa: PLC0415 - by the fuzzing process it is loaded in another way

    if only and only not in TARGETS:
        sys.exit(f"--only takes one of {', '.join(TARGETS)}")
    return [only] if only else list(TARGETS)


def _holds(name: str, seconds: int, keep: Path) -> bool:
    from fuzz_targets import inputs  # noqa: PLC0415 - as above

    keep.mkdir(parents=True, exist_ok=True)
    last = keep / f"{name}-{int(time.time())}"
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(inputs(name)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", f"-timeout={INPUT_S}", f"-rss_limit_mb={MEMORY_MB}"]
        run = subprocess.run(  # noqa: S603 - this file
            [sys.executable, __file__, "--inside", name, str(last), *limits, f"-max_len={LONGEST}", corpus],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds + GRACE_S,
            check=False,
        )
    done = re.search(r"Done (\d+) runs", run.stdout)
    covered = re.findall(r"cov: (\d+)", run.stdout)
    inputs_tried, edges = done[1] if done else "-", covered[-1] if covered else "-"
    print(f"{name:20} {inputs_tried:>9} inputs, {edges:>5} edges", flush=True)
    if not run.returncode:
        last.unlink(missing_ok=True)
        return True
    print(f"{run.stdout[-4000:]}\nthe input is {last}", flush=True)
    return False


def _fuzz(name: str, last: Path, arguments: list[str]) -> None:
    """Does not return: libFuzzer ends the process."""
    try:
        import atheris  # noqa: PLC0415 - a tool that only this process needs
    except ImportError:
        sys.exit("atheris is missing: .venv/bin/pip install atheris")
    with atheris.instrument_imports(include=["fac_stream.protocols"]):
        from fuzz_targets import TARGETS  # noqa: PLC0415 - what is to be watched is loaded here

    def run(data: bytes) -> None:
        last.write_bytes(data)  # whatever kills the process: this was it
        TARGETS[name].run(data)

    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
