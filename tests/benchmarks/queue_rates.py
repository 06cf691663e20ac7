"""How fast each queue went, as a table and as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.peers.queue_timing import BATCHES, FEW_FINISHED

SINGLE_GOAL = 300
BATCH_GOAL = 2_000
RATIO_GOAL = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRate:
    """What one queue reached on one database.

    Attributes:
        database: `sqlite` or `postgresql`.
        single: Jobs a second, each of them durable before the next; None where it did not run.
        batches: Jobs a second by how many were handed over at once; empty where that cannot be.
        claims: Claims a second by how many finished jobs are kept.
        looks: Looks at what could be claimed, a second, likewise.
        settings: How durable its database is, in its own words.
        note: Why it did not run.
    """

    name: str
    database: str
    single: float | None = None
    batches: Mapping[str, float] = field(default_factory=dict[str, float])
    claims: Mapping[str, float] = field(default_factory=dict[str, float])
    looks: Mapping[str, float] = field(default_factory=dict[str, float])
    settings: str = ""
    versions: str = ""
    note: str = ""

    def slower(self, rates: Mapping[str, float], many: int) -> float | None:
        """Return how many times as long it takes beside `many` finished jobs as beside few."""
        few, beside_many = rates.get(str(FEW_FINISHED)), rates.get(str(many))
        return few / beside_many if few and beside_many else None

    def to_record(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        return asdict(self)


def figures_of(rate: QueueRate, many: int) -> Sequence[Figure]:
    """Return our own rates held against their goals: those of submitting are set for SQLite."""
    with_goals = rate.database == "sqlite"
    best = max(rate.batches.values(), default=None)
    return [
        figure(
            "durable submissions, one by one",
            rate.single,
            "/s",
            at_least=SINGLE_GOAL if with_goals else None,
            note=rate.note,
        ),
        *(
            figure(
                f"durable submissions, {int(size):,} at once",
                jobs,
                "/s",
                at_least=BATCH_GOAL if with_goals and jobs == best else None,
            )
            for size, jobs in rate.batches.items()
        ),
        *_by_finished("claims", rate.claims),
        _ratio("a claim", rate.slower(rate.claims, many), many),
        *_by_finished("looks at what is ready", rate.looks),
        _ratio("a look", rate.slower(rate.looks, many), many),
    ]


def print_queue_rates(rates: Sequence[QueueRate], many: int) -> None:
    """Print all queues beside each other."""
    sizes = [f"{size:,} at once" for size in BATCHES]
    print(f"\n| | submissions/s | {' | '.join(sizes)} | claims/s | beside {many:,} | slower |")
    print(f"|---|---:|{'---:|' * len(sizes)}---:|---:|---:|")
    for rate in rates:
        if rate.single is None:
            print(f"| {rate.name} | {rate.note} |{' |' * (len(sizes) + 3)}")
            continue
        # The only one that keeps nothing of what has ended.
        few = rate.claims.get(str(FEW_FINISHED), rate.claims.get("0"))
        cells = (
            rate.name,
            _cell(rate.single),
            *(_cell(rate.batches.get(str(size))) for size in BATCHES),
            _cell(few),
            _cell(rate.claims.get(str(many))),
            _cell(rate.slower(rate.claims, many), ".2f"),
        )
        print(f"| {' | '.join(cells)} |")
    print()
    for rate in rates:
        if rate.single is not None:
            print(f"{rate.name}: {rate.settings} ({rate.versions})", flush=True)


def _by_finished(what: str, rates: Mapping[str, float]) -> list[Figure]:
    return [
        figure(f"{what} beside {int(finished):,} finished jobs", rate, "/s")
        for finished, rate in rates.items()
    ]


def _ratio(what: str, slower: float | None, many: int) -> Figure:
    name = f"{what} beside {many:,} to one beside {FEW_FINISHED:,}"
    return figure(name, slower, "x", below=RATIO_GOAL)


def _cell(value: float | None, form: str = ",.0f") -> str:
    return "" if value is None else format(value, form)
