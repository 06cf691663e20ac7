"""What looking after a collection has done, in figures, in lines, and in faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from lexigram_ray.maintenance.duty import DutyReport, Fault

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection
    from lexigram_ray.vectors.recall import Measured
    from lexigram_ray.vectors.search_tuning import SearchTuning
    from lexigram_ray.vectors.upkeep import PlannedUpkeep, Upkeep
    from lexigram_ray.vectors.versions import DiskUse


def report_of(collection: Collection, done: Upkeep) -> DutyReport:
    """Return what was done for a collection; `collection` is at the version reached."""
    from lexigram_ray.vectors.search_tuning import read_tuning

    tuning = read_tuning(collection.dataset)
    figures: dict[str, object] = {
        "rows": collection.count_rows(),
        "before": _use(done.before),
        "after": _use(done.after),
        "fragments_merged": done.compacted.removed,
        "merges_refused": done.compacted.refused,
        "versions_removed": done.cleaned.versions,
        "bytes_freed": done.cleaned.bytes,
        "scalar_indexes_built": [index.name for index in done.scalars],
        "put_off": list(done.put_off),
        "vector_index": _vector(done, tuning),
    }
    return DutyReport(
        figures=figures,
        lines=[f"{collection.name}: {line}" for line in _lines(done)],
        faults=list(_faults(collection.name, done, tuning)),
    )


def report_of_plan(collection: Collection, plan: PlannedUpkeep) -> DutyReport:
    """Return what would be done for a collection."""
    figures: dict[str, object] = {
        "rows": collection.count_rows(),
        "before": _use(plan.use),
        "merges_due": plan.merges,
        "versions_due": plan.versions,
        "vector_index": {"step": plan.vector.step.value, "reason": plan.vector.reason},
    }
    parts = [
        f"would merge {plan.merges} groups of fragments",
        f"remove {plan.versions:,} old versions",
        f"vector index: {plan.vector.step.value.replace('_', ' ')} ({plan.vector.reason})",
    ]
    return DutyReport(figures=figures, lines=[f"{collection.name}: {', '.join(parts)}"])


def _use(use: DiskUse) -> dict[str, object]:
    return asdict(use)


def _vector(done: Upkeep, tuning: SearchTuning | None) -> dict[str, object]:
    figures: dict[str, object] = {}
    if done.vector is not None:
        figures |= {"step": done.vector.plan.step.value, "reason": done.vector.plan.reason}
        figures |= {"queries_measured": done.vector.queries}
        for when, measured in (("before", done.vector.before), ("after", done.vector.after)):
            if measured is not None:
                figures[when] = _measured(measured)
    if tuning is not None:
        figures |= {"usable": tuning.usable, "recall_at_10": tuning.recall_at_10}
        figures["effort"] = asdict(tuning.effort)
    return figures


def _measured(measured: Measured) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(measured).items()}


def _lines(done: Upkeep) -> Iterator[str]:
    """Yield what a person reads; nothing where nothing was done."""
    if done.compacted.groups:
        yield f"{done.compacted.removed} fragments became {done.compacted.added}"
    if done.compacted.refused:
        yield f"{done.compacted.refused} merges were put off: a writer came first"
    vector = done.vector
    if vector is not None and vector.before is not None and vector.after is not None:
        yield (
            f"vector index: {vector.plan.step.value.replace('_', ' ')} ({vector.plan.reason}); "
            f"a query {vector.before.p50_ms:.1f} -> {vector.after.p50_ms:.1f} ms, "
            f"recall@10 {vector.before.recall_at_10:.3f} -> {vector.after.recall_at_10:.3f}"
        )
    for index in done.scalars:
        yield f"indexed the column {index.column}"
    for what in done.put_off:
        yield f"{what} was put off: a writer came first"
    if done.cleaned.versions:
        yield f"{done.cleaned.versions:,} old versions gone, {_size(done.cleaned.bytes)} freed"


def _faults(name: str, done: Upkeep, tuning: SearchTuning | None) -> Iterator[Fault]:
    for what, error in done.failed:
        yield Fault(
            name=f"collection {name}", detail=f"{what}: {error.message}", fix=error.hint or ""
        )
    if tuning is not None and not tuning.usable:
        yield Fault(
            name=f"collection {name}",
            detail=f"its vector index finds {tuning.recall_at_10:.0%} of the ten nearest rows, so "
            "that searches are exact and slow",
            fix="lower maintenance.index_optimization.target_recall",
        )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
