"""What the fused kernel's CUDA code needs of a GPU: compiled and assembled, where there is none.

    python -m benchmarks.cuda_code [GRAMMAR ...] [--json FILE]

Each grammar file's lifetimes in the paper's network (784-170-130-100-70-47, random feedback,
float32) are compiled by numba-cuda to PTX and assembled by NVIDIA's ptxas, for compute capability
8.0 and 9.0: forward only, and with the gradient. Printed are registers a thread, bytes that are
spilled, and shared memory a block; a block has so many threads that the registers suffice for one.
`pip install 'rulesearch[cuda-check]'` brings what is needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.ending import end_with
from benchmarks.machine import machine
from rulesearch.errors import RuleSearchError
from rulesearch.kernels.fused import build
from rulesearch.lowering import lower_terms
from rulesearch.model import model_of
from rulesearch.notation import load_pool
from rulesearch.notation.own import names_read
from rulesearch.pathways import pathway

SIZES = (784, 170, 130, 100, 70, 47)
CAPABILITIES = ((8, 0), (9, 0))
#: Its size where terms read it; the code is the same for any.
NOISE = 0.1


@dataclass(frozen=True)
class Code:
    """One kernel for one GPU.

    Attributes:
        pool: the grammar file.
        kernel: `lifetimes`, forward only, or `gradients`.
        capability: the compute capability.
        registers: of a thread.
        spilled: bytes that a thread stores for want of registers.
        shared: bytes of shared memory that a block needs.
        compiled: seconds to PTX.
        assembled: seconds from there.
    """

    pool: str
    kernel: str
    capability: str
    registers: int
    spilled: int
    shared: int
    compiled: float
    assembled: float


def assembler() -> Path:
    """NVIDIA's ptxas, from its wheel.

    Raises:
        RuleSearchError: it is not installed.
    """
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(folder).glob("**/bin/ptxas"):
            return found
    raise RuleSearchError("no ptxas here; pip install 'rulesearch[cuda-check]'")


def codes(grammar: str, capability: tuple[int, int], ptxas: Path) -> Iterator[Code]:
    """Both kernels of a grammar file, for one compute capability; in a process of its own."""
    from numba import cuda as _cuda
    from numba.cuda import dispatcher as _dispatcher
    from numba.cuda import types as _types

    from rulesearch.kernels.fused.cuda.kernel import loaded, module_of
    from rulesearch.kernels.fused.cuda.words import REGISTERS, THREADS, WARP

    cuda: Any = _cuda
    dispatcher: Any = _dispatcher
    types: Any = _types
    # What a kernel calls is compiled for the GPU at hand, which there need not be.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    pool = load_pool(grammar)
    read = frozenset[str]().union(*(names_read(e) for t in pool for _, e in t.updates))
    model = model_of(pool, noise=NOISE if "xi_post" in read else 0.0)
    plan = lower_terms(pool.terms, model)
    made = module_of(build(plan, SIZES, pathway("random", len(SIZES) - 1)), torch.float32)
    module, real, whole = loaded(made.text), types.float32, types.int64
    kinds = {
        **dict.fromkeys(("S", "OUT"), real[:, ::1]),
        **dict.fromkeys(("X", "SLOPES", "NOISE"), real[:, :, ::1]),
        **dict.fromkeys(("LABELS", "QUERY_LABELS", "ORDER", "STARTS"), whole[:, ::1]),
        **{"AT": whole[:, :, ::1], "COUNTS": whole[::1], "lowest": whole},
    }
    width = max(-(-size // 16) * 16 for size in SIZES[1:])
    for name in ("lifetimes", "gradients"):
        function = getattr(module, name).py_func
        given = types.void(*(kinds[a] for a in inspect.signature(function).parameters))
        begin = time.perf_counter()
        ptx, _ = cuda.compile_ptx(function, given, cc=capability)
        compiled = time.perf_counter() - begin
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.ptx"
            path.write_text(ptx)
            begin = time.perf_counter()
            done = subprocess.run(
                [
                    *(ptxas, "-v", f"-arch=sm_{capability[0]}{capability[1]}"),
                    *(f"-maxrregcount={REGISTERS // THREADS}", path, "-o", path.with_suffix(".o")),
                ],
                capture_output=True,
                text=True,
                check=True,
            )
        said = done.stderr + done.stdout
        yield Code(
            Path(grammar).stem,
            name,
            f"{capability[0]}.{capability[1]}",
            max(map(int, re.findall(r"Used (\d+) registers", said))),
            sum(map(int, re.findall(r"(\d+) bytes spill stores", said))),
            made.shared(THREADS // WARP, width) * 4,
            compiled,
            time.perf_counter() - begin,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table.

    Raises:
        RuleSearchError: what assembles is missing.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("grammars", nargs="*", metavar="GRAMMAR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--capability", help=argparse.SUPPRESS)  # a process has one
    asked = parser.parse_args(arguments)
    ptxas = assembler()
    if asked.capability:
        major, minor = map(int, asked.capability.split("."))
        for grammar in asked.grammars:
            for code in codes(grammar, (major, minor), ptxas):
                print(json.dumps(asdict(code)), flush=True)
        return 0
    grammars = asked.grammars or sorted(map(str, Path("grammar").glob("*.py")))
    found = []
    print("  ".join(f"{name} {value}" for name, value in machine().items()))
    print("| pool | kernel | for | registers | spilled | shared kB | to PTX s | assembled s |")
    print("|---|---|---|---|---|---|---|---|")
    for grammar in grammars:
        for major, minor in CAPABILITIES:
            command = [sys.executable, "-m", "benchmarks.cuda_code", grammar]
            command += ["--capability", f"{major}.{minor}"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"| {Path(grammar).stem} | {done.stderr.strip().splitlines()[-1]} |")
                continue
            for code in (Code(**json.loads(line)) for line in done.stdout.splitlines()):
                found.append(asdict(code))
                row = f"| {code.pool} | {code.kernel} | {code.capability} | {code.registers} |"
                row += f" {code.spilled} | {code.shared / 1024:.0f} | {code.compiled:.0f} |"
                print(f"{row} {code.assembled:.1f} |", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    end_with(main)
