"""What this machine's matrix products reach, in fp32 and bf16: large ones, and MiniLM's own.

Usage: python -m tests.benchmarks.peak_child
"""

from __future__ import annotations

import json
import os
import time

import torch

SECONDS = 0.8
LARGE = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096))
MINILM = ((1024, 384, 384), (1024, 384, 1536), (1024, 1536, 384))
"""A batch of 1,024 tokens through a layer's projections: rows, depth, columns."""


def main() -> None:
    """Measure, and print operations a second by type and shape."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    measured = {
        name: {
            kind: {"x".join(map(str, shape)): _flops(shape, dtype) for shape in shapes}
            for kind, shapes in (("large", LARGE), ("minilm", MINILM))
        }
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    print(json.dumps(measured))


def _flops(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Return the best of some rounds: a neighbour on the machine only ever slows one down."""
    rows, depth, columns = shape
    left, right = torch.randn(rows, depth).to(dtype), torch.randn(depth, columns).to(dtype)
    result = left @ right
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        torch.mm(left, right, out=result)
        best = min(best, time.perf_counter() - started)
    return 2.0 * rows * depth * columns / best


if __name__ == "__main__":
    main()
