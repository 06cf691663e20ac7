"""The bench's own arithmetic: a wrong ruler would measure everything wrong."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest

from tests.benchmarks.chunk_set import evenly
from tests.benchmarks.figures import Rate, figure, mean_of
from tests.benchmarks.flops import forward_flops
from tests.benchmarks.once import once
from tests.benchmarks.process_memory import MemoryWatch


def test_operations_are_those_of_the_matrix_products_of_a_forward_pass():
    hidden, inner, layers, heads, tokens = 8, 16, 3, 2, 5
    products = [
        *[(tokens, hidden, hidden)] * 4,
        *[(tokens, hidden // heads, tokens), (tokens, tokens, hidden // heads)] * heads,
        (tokens, hidden, inner),
        (tokens, inner, hidden),
    ]
    config = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}

    counted = sum(2 * int(np.prod(shape)) for shape in products) * layers

    assert forward_flops(config, [tokens]) == counted
    assert forward_flops(config, [tokens, tokens]) == 2 * counted


def test_a_figure_is_held_against_its_goal_and_a_missing_one_misses_it():
    assert figure("ratio", 3.1, "x", at_least=3).ok is True
    assert figure("ratio", 2.9, "x", at_least=3).ok is False
    assert figure("time", 1.3, "s", below=1.2).ok is False
    assert figure("ratio", None, "x", at_least=3, note="not installed").ok is False
    assert figure("time", 1.3, "s").ok is None


def test_a_peer_that_did_not_run_has_no_rate():
    rate = Rate(name="peer", kind="peer", chunks=10, tokens=1000, note="not installed: ...")

    assert rate.chunks_per_second is None
    assert rate.to_record()["note"] == "not installed: ..."


def test_a_sample_is_spread_over_all_rows_without_repeats():
    table = pa.table({"id": list(range(1_000))})

    some = evenly(table, 10)["id"].to_pylist()

    assert some == sorted(set(some))
    assert (len(some), some[0], some[-1]) == (10, 0, 999)
    assert evenly(table, 5_000) is table


def test_what_failed_once_is_not_measured_again():
    class Bench:
        tries = 0

        @once
        def slow(self) -> int:
            self.tries += 1
            raise OSError("no such program")

        @once
        def right(self) -> int:
            self.tries += 1
            return 5

    bench = Bench()
    for _ in range(2):
        with pytest.raises(OSError, match="no such program"):
            _ = bench.slow

    assert bench.tries == 1
    assert (bench.right, bench.right, bench.tries) == (5, 5, 2)


def test_memory_of_a_grandchild_counts():
    grandchild = "import time; held = b'x' * (200 << 20); print('held', flush=True); time.sleep(3)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
    assert process.stdout is not None

    with MemoryWatch(process.pid) as watch:
        process.stdout.readline()
        time.sleep(1.5)
        process.communicate(timeout=30)

    assert 200 < watch.peak.share_mb < 300
    assert 200 < watch.peak.resident_mb < 400
    assert not watch.still_alive()


def test_two_looks_at_a_contender_are_one_rate() -> None:
    first = Rate(name="peer", kind="peer", chunks=10, tokens=1000, seconds=2.0, resident_mb=5.0)
    second = Rate(name="peer", kind="peer", chunks=10, tokens=1000, seconds=3.0, resident_mb=4.0)
    failed = Rate(name="peer", kind="peer", chunks=10, tokens=1000, note="failed: no memory")

    assert mean_of(first, second).seconds == 2.5
    assert mean_of(first, second).resident_mb == 5.0
    assert mean_of(first, second).share_mb is None
    assert mean_of(first, failed) == mean_of(failed, first) == failed
