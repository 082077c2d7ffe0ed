"""Machine code as text, through NVIDIA's disassembler."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from moedsl.source.diagnostic import UnavailableError


def disassemble(cubin: bytes) -> str:
    """The SASS of a cubin, with the source lines it came from.

    Raises UnavailableError if there is no nvdisasm.
    """
    from cuda.pathfinder import find_nvidia_binary_utility

    tool = find_nvidia_binary_utility("nvdisasm")
    if tool is None:
        raise UnavailableError(
            "nvdisasm, NVIDIA's disassembler, is missing",
            help="install it with: pip install 'moedsl[sass]'",
        )
    with TemporaryDirectory(prefix="moedsl-") as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        done = subprocess.run(
            [tool, "--print-code", str(path)], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"nvdisasm failed: {done.stderr.strip()}")
    return done.stdout
