"""What jobs that have ended add to the figures: a pure function of their rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import cast

from sqlalchemy import RowMapping

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.metrics_records import Metric, Sums, Value, add
from lexigram_ray.jobs.metrics_sql import EMBED
from lexigram_ray.jobs.records import REMOVED_CODE, UnitState
from lexigram_ray.jobs.schedule_records import MAINTENANCE

UNCHANGED = "unchanged"
"""Outcome of documents that stood in the collection already."""

REMOVED = "removed"
"""Outcome of documents that were pruned."""

Record = RowMapping
"""A row of a query, by the names of its columns."""

_MICROS = 1_000_000


def sums_of_job(job: Record) -> Sums:
    """Return what a job itself counts: its end, and how long it took and waited.

    Args:
        job: A row of `JOBS_THAT_ENDED`.
    """
    sums: Sums = {}
    at, of_kind = int(job["finished_at"]), _of_kind(job)
    seconds = None if job["started_at"] is None else (at - job["started_at"]) / _MICROS
    if job["kind"] == MAINTENANCE:
        task = {"task": str(_read(job["spec"]).get("task", ""))}
        add(sums, Metric.MAINTENANCE_RUNS, at, task | {"status": job["status"]}, Value.counted(1))
        if seconds is not None:
            add(sums, Metric.MAINTENANCE_RUN_SECONDS, at, task, Value.measured([seconds]))
        return sums
    add(sums, Metric.JOBS, at, of_kind | {"status": job["status"]}, Value.counted(1))
    if job["error_code"]:
        add(sums, Metric.JOB_FAILURES, at, of_kind | {"code": job["error_code"]}, Value.counted(1))
    if job["started_at"] is not None and seconds is not None:
        waited = (job["started_at"] - job["created_at"]) / _MICROS
        add(sums, Metric.JOB_SECONDS, at, of_kind, Value.measured([seconds]))
        add(sums, Metric.JOB_WAIT_SECONDS, at, of_kind, Value.measured([waited]))
    return sums


def add_units(sums: Sums, job: Record, groups: Iterable[Record]) -> None:
    """Add what became of a job's documents or texts, and what was written of them.

    Args:
        sums: Changed.
        groups: Rows of `UNIT_SUMS`, of this job.
    """
    of_kind = _of_kind(job)
    written_elsewhere = 0
    for group in groups:
        outcome, number = _outcome(job["kind"], group)
        written_elsewhere += number if outcome == UNCHANGED else 0
        counted = Value.counted(number)
        add(sums, Metric.DOCUMENTS, group["at"], of_kind | {"outcome": outcome}, counted)
        add(sums, Metric.CHUNKS, group["at"], of_kind, Value.counted(int(group["chunks"])))
        if group["state"] == UnitState.FAILED:
            category = group["category"] or FailureCategory.UNKNOWN.value
            why = {"category": category, "code": group["code"]}
            add(sums, Metric.FAILURES, group["at"], of_kind | why, counted)
        # What is in the collection already was neither computed nor looked up.
        if outcome != UNCHANGED:
            _add_embeddings(sums, job, group)
    # Unchanged documents are no units, unless another job wrote them in the meantime.
    unchanged = _unchanged_documents(job) - written_elsewhere
    if job["kind"] != EMBED and unchanged > 0:
        outcome = of_kind | {"outcome": UNCHANGED}
        add(sums, Metric.DOCUMENTS, int(job["finished_at"]), outcome, Value.counted(unchanged))


def add_seconds(sums: Sums, jobs: Mapping[str, Record], timed: Iterable[Record]) -> None:
    """Add how long documents took.

    Args:
        sums: Changed.
        jobs: By id.
        timed: Rows of `UNIT_SECONDS`, of any of these jobs.
    """
    gathered: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for each in timed:
        gathered[each["job_id"], each["at"]].append(each["seconds"])
    for (job_id, at), values in gathered.items():
        add(sums, Metric.DOCUMENT_SECONDS, at, _of_kind(jobs[job_id]), Value.measured(values))


def add_attempts(sums: Sums, jobs: Mapping[str, Record], attempts: Iterable[Record]) -> None:
    """Add how attempts at jobs ended.

    Args:
        sums: Changed.
        jobs: By id.
        attempts: Rows of `ATTEMPTS_THAT_ENDED`, of any of these jobs.
    """
    for each in attempts:
        kind = jobs[each["job_id"]]["kind"]
        if kind != MAINTENANCE:
            labels = {"kind": kind, "outcome": each["outcome"]}
            add(sums, Metric.ATTEMPTS, each["ended_at"], labels, Value.counted(1))


def _of_kind(job: Record) -> dict[str, str]:
    return {"kind": job["kind"], "collection": job["collection"]}


def _outcome(kind: str, group: Record) -> tuple[str, int]:
    """Return how the documents of these units ended, and how many they are."""
    if group["state"] != UnitState.DONE:
        return group["state"], int(group["units"])
    if group["code"] == REMOVED_CODE:
        return REMOVED, int(group["units"])
    # A unit of an embedding job is a range of rows: those that have vectors.
    number = int(group["computed"]) + int(group["cached"]) if kind == EMBED else int(group["units"])
    return (group["state"] if group["wrote"] else UNCHANGED), number


def _add_embeddings(sums: Sums, job: Record, group: Record) -> None:
    for origin, number in (("computed", int(group["computed"])), ("cached", int(group["cached"]))):
        labels = {"collection": job["collection"], "origin": origin}
        add(sums, Metric.EMBEDDINGS, group["at"], labels, Value.counted(number))


def _unchanged_documents(job: Record) -> int:
    documents = _read(job["summary"]).get("documents")
    if not isinstance(documents, dict):
        return 0
    unchanged = cast("dict[str, object]", documents).get("unchanged")
    return unchanged if isinstance(unchanged, int) else 0


def _read(text: str) -> dict[str, object]:
    return json.loads(text)
