"""Let torchaudio import beside a CPU-only torch, in this project's own environment.

The registry's torchaudio is built for CUDA: its libraries want ``libc10_cuda.so``, which a CPU-only torch
lacks, and ``import torchaudio`` ends in an OSError. torchaudio takes a *missing* library for "no extension"
and goes on; its transforms and functional parts, all that is used here, are Python on torch. So the libraries
are removed.

Run with the environment's interpreter, after installing: ``.venv/bin/python scripts/fix_torchaudio.py``.
"""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

MISSING_CUDA = ("libc10_cuda", "libtorch_cuda", "libcudart")


def import_error() -> str | None:
    """What ``import torchaudio`` complains about in a fresh interpreter; None when it works."""
    run = subprocess.run(
        [sys.executable, "-c", "import torchaudio"], capture_output=True, text=True, check=False, timeout=300
    )
    return None if run.returncode == 0 else run.stderr.strip()


def libraries(package: Path) -> list[Path]:
    """The compiled extensions of an installed torchaudio."""
    return sorted((package / "lib").glob("*.so"))


def repair(package: Path, environment: Path) -> str:
    """Make ``import torchaudio`` work.

    Args:
        package: torchaudio's folder.
        environment: the virtual environment, outside which nothing is touched.

    Returns:
        What was done, in words; empty where nothing was needed.

    Raises:
        RuntimeError: it still does not import, or the fault is another one.
    """
    fault = import_error()
    if fault is None:
        return ""
    if not any(name in fault for name in MISSING_CUDA):
        raise RuntimeError(f"torchaudio does not import, and not for want of CUDA:\n{fault}")
    if not package.resolve().is_relative_to(environment.resolve()):
        raise RuntimeError(
            f"torchaudio is built for CUDA, torch is not, and {package} is not in {environment}: "
            "install both into the virtual environment (make clean, then make test)"
        )
    found = libraries(package)
    for library in found:
        library.unlink()
    if fault := import_error():
        raise RuntimeError(
            f"torchaudio does not import beside this torch, even without its extensions:\n{fault}"
        )
    return (
        f"torchaudio is built for CUDA and this torch is not: removed its {len(found)} extension libraries "
        f"from {package / 'lib'}; it imports now, transforms included"
    )


def main() -> int:
    """Check and mend the environment of the running interpreter."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        return 0
    if sys.prefix == sys.base_prefix:
        print("run this with the virtual environment's own python, not the system's", file=sys.stderr)
        return 2
    try:
        done = repair(Path(spec.origin).parent, Path(sys.prefix))
    except RuntimeError as error:
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchaudio"))
        print(f"{error}\n({versions})", file=sys.stderr)
        return 1
    if done:
        print(f"==> {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
