"""The job store beside other queues: submissions and claims, each durable, in one go.

On SQLite and on PostgreSQL, beside huey (SQLite) and procrastinate (PostgreSQL). Run by
`make bench`. Prints Markdown, and keeps the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.disk import JOURNALS, commits_per_second, syncs_per_second
from tests.benchmarks.figures import Figure, figure, print_figures
from tests.benchmarks.machine import describe_machine, print_machine
from tests.benchmarks.peers.queue_timing import FEW_FINISHED
from tests.benchmarks.queue_contenders import OURS, FreshDatabase, QueueSizes, measure_queues
from tests.benchmarks.queue_rates import QueueRate, figures_of, print_queue_rates
from tests.command_line import REPOSITORY
from tests.postgres_server import PostgresServer

FOLDER = REPOSITORY / ".bench"


def main() -> int:
    """Measure, print, keep; 1 where a goal is missed."""
    options = _options()
    sizes = QueueSizes(
        submissions=options.submissions,
        batched=options.batched,
        rounds=options.rounds,
        claims=options.claims,
        finished=options.finished,
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print_machine(machine)
    started = time.monotonic()
    with ExitStack() as stack:
        fresh = None if options.no_postgresql else _fresh_databases(stack)
        disk = _of_the_disk("before")
        rates = list(measure_queues(FOLDER, sizes, fresh, with_peers=not options.no_peers))
        disk += _of_the_disk("after")
    figures = {"disk": disk} | {
        rate.name: list(figures_of(rate, sizes.finished))
        for rate in rates
        if rate.name.startswith(OURS)
    }
    for title, items in figures.items():
        print_figures(title, items)
    print_queue_rates(rates, sizes.finished)
    _keep(machine, figures, rates)
    missed = [item for items in figures.values() for item in items if item.ok is False]
    print(f"\n{len(missed)} goals missed, {time.monotonic() - started:.0f} s", flush=True)
    return 1 if missed else 0


def _of_the_disk(when: str) -> list[Figure]:
    commits = [
        figure(f"bare SQLite, {journal} journal, {when}", commits_per_second(FOLDER, journal), "/s")
        for journal in JOURNALS
    ]
    return [figure(f"synced appends of 4 KB, {when}", syncs_per_second(FOLDER), "/s"), *commits]


def _fresh_databases(stack: ExitStack) -> FreshDatabase | None:
    """Start a server for as long as the stack lives; None where there is none to start."""
    try:
        server = PostgresServer()
    except pytest.skip.Exception as error:
        print(f"only SQLite: {error}", file=sys.stderr)
        return None
    stack.callback(server.end)
    return server.fresh_database


def _keep(
    machine: dict[str, object], figures: dict[str, list[Figure]], rates: Sequence[QueueRate]
) -> None:
    results = FOLDER / "results" / "store.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine,
        "figures": {name: [item.to_record() for item in items] for name, items in figures.items()},
        "rates": [rate.to_record() for rate in rates],
    }
    results.write_text(json.dumps(record, indent=2), encoding="utf-8")
    print(f"\nkept in {results.relative_to(REPOSITORY)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=500, help="one by one, in a round")
    parser.add_argument("--batched", type=int, default=5_000, help="in batches, in a round")
    parser.add_argument("--rounds", type=int, default=3, help="the median of them counts")
    parser.add_argument("--claims", type=int, default=400, help="beside few and many finished jobs")
    parser.add_argument("--finished", type=int, default=1_000_000, help="jobs, where many are")
    parser.add_argument("--no-peers", action="store_true", help="only our own")
    parser.add_argument("--no-postgresql", action="store_true", help="only SQLite")
    options = parser.parse_args()
    if options.finished <= FEW_FINISHED:
        parser.error(f"--finished is to be more than the {FEW_FINISHED} that few are")
    return options


if __name__ == "__main__":
    sys.exit(main())
