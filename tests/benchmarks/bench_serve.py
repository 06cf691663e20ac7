"""The service under load: vectors beside a bare server and infinity-emb, search beside LanceDB.

Run by `make bench`. Prints Markdown, and keeps the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.figures import Figure, figure, print_figures
from tests.benchmarks.machine import describe_machine, print_machine
from tests.benchmarks.service_contenders import (
    BARE,
    INFINITY,
    OURS,
    Load,
    measure_our_search,
    measure_servers,
)
from tests.command_line import REPOSITORY

FOLDER = REPOSITORY / ".bench"
AT_LEAST = {BARE: 2.5, INFINITY: 1.8}


def main() -> int:
    """Measure, print, keep; 1 where a goal is missed."""
    options = _options()
    FOLDER.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print_machine(machine)
    started = time.monotonic()
    connections = sorted(options.connections)
    loads = list(
        measure_servers(FOLDER, connections, options.seconds, with_peers=not options.no_peers)
    )
    _print_loads(loads)
    ratios = [] if options.no_peers else _ratios(loads, connections)
    if ratios:
        print_figures("ours to it, requests/s", ratios)
    searches = measure_our_search(FOLDER)
    print_figures("one search after the other", searches)
    figures = [*ratios, *searches]
    results = FOLDER / "results" / "serve.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine,
        "figures": [item.to_record() for item in figures],
        "loads": [load.to_record() for load in loads],
    }
    results.write_text(json.dumps(record, indent=2), encoding="utf-8")
    print(f"\nkept in {results.relative_to(REPOSITORY)}")
    missed = [item for item in figures if item.ok is False]
    print(f"\n{len(missed)} goals missed, {time.monotonic() - started:.0f} s", flush=True)
    return 1 if missed else 0


def _print_loads(loads: Sequence[Load]) -> None:
    print("\n| | connections | requests/s | p50 ms | p99 ms | failed |")
    print("|---|---:|---:|---:|---:|---:|")
    for load in loads:
        if load.requests_per_second is None:
            print(f"| {load.name} | {load.connections} | | | | {load.note} |")
            continue
        cells = (
            load.name,
            f"{load.connections}",
            f"{load.requests_per_second:.0f}",
            f"{load.p50_ms:.1f}",
            f"{load.p99_ms:.1f}",
            f"{load.failed}",
        )
        print(f"| {' | '.join(cells)} |")


def _ratios(loads: Sequence[Load], connections: Sequence[int]) -> list[Figure]:
    rates = {(load.name, load.connections): load.requests_per_second for load in loads}
    found: list[Figure] = []
    for peer, goal in AT_LEAST.items():
        for number in connections:
            ours, theirs = rates.get((OURS, number)), rates.get((peer, number))
            ratio = ours / theirs if ours and theirs else None
            at_least = {connections[0]: 1.0, connections[-1]: goal}.get(number)
            name = f"{peer}, {number} connections"
            found.append(figure(name, ratio, at_least=at_least))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=int, default=15, help="of each load")
    parser.add_argument("--no-peers", action="store_true", help="only our own")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
