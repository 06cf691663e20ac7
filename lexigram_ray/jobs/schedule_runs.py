"""Runs of schedules: each made once, with its job; handed out one at a time; forgotten when old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import hash_text, new_job_id
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import jobs_sql, schedules_sql
from lexigram_ray.jobs.attempts import end_job
from lexigram_ray.jobs.database import Database, from_micros, storable, to_micros
from lexigram_ray.jobs.intake import Intake
from lexigram_ray.jobs.letter_writing import LetterWriting, batches
from lexigram_ray.jobs.listing import job_of, rows_of_ids
from lexigram_ray.jobs.queue import Queue
from lexigram_ray.jobs.records import Job, Submission
from lexigram_ray.jobs.schedule_definitions import locked, schedule_of
from lexigram_ray.jobs.schedule_listing import run_of
from lexigram_ray.jobs.schedule_records import (
    MAINTENANCE,
    RUN_UNFINISHED,
    Overlap,
    PlannedRun,
    Run,
    Schedule,
    Trigger,
)
from lexigram_ray.jobs.schema import is_maintenance

_CANCEL = jobs_sql.CANCEL.where(is_maintenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """A run that is about to be made."""

    run_id: str
    planned: PlannedRun
    submission: Submission | None


class ScheduleRuns:
    """Makes runs and hands out their jobs. `Schedules` documents the promises."""

    def __init__(
        self, database: Database, intake: Intake, letters: LetterWriting, queue: Queue
    ) -> None:
        self._database = database
        self._intake = intake
        self._letters = letters
        self._queue = queue

    def record(
        self, schedule: Schedule, runs: Sequence[PlannedRun], considered_until: datetime
    ) -> list[Run]:
        """Make the runs that were decided on, if nobody was faster."""
        asked = {"of_name": storable(schedule.name)}
        with self._database.write() as connection:
            row = connection.execute(schedules_sql.LOCK, asked).one_or_none()
            if row is None or not row.enabled or _considered(row) != schedule.considered_until:
                return []
            until = asked | {"until": to_micros(considered_until)}
            connection.execute(schedules_sql.CONSIDER, until)
            open_runs = self._without_decided(connection, schedule.name, runs)
            self._cancel(connection, (job_id for each in open_runs for job_id in each.replaces))
            return self._make(connection, schedule_of(row), open_runs, {})

    def run_now(
        self, name: str, options: Mapping[str, object], timeout_seconds: float | None
    ) -> Run:
        """Make a run that is due now."""
        with self._database.write() as connection:
            schedule = schedule_of(locked(connection, name))
            if timeout_seconds is not None:
                schedule = replace(schedule, timeout_seconds=timeout_seconds)
            unfinished = connection.execute(schedules_sql.UNFINISHED).all()
            before = [row.id for row in unfinished if row.schedule == schedule.name]
            if before and schedule.overlap is Overlap.SKIP:
                raise _has_not_ended(schedule.name, before[0])
            if schedule.overlap is Overlap.REPLACE:
                self._cancel(connection, before)
            planned = self._due_now(connection, schedule.name)
            (run,) = self._make(connection, schedule, [planned], options)
        return run

    def ready(self, limit: int) -> list[Job]:
        """Return the jobs that could be claimed now, one of each schedule that has none at work."""
        self._queue.wake_due()
        with self._database.read() as connection:
            rows = connection.execute(schedules_sql.UNFINISHED).all()
            held = self._queue.held(rows)
            taken = {row.schedule for row in rows if row.id in held}
            ids: list[str] = []
            for row in rows:
                if row.schedule not in taken and row.run_after is None:
                    taken.add(row.schedule)
                    ids.append(row.id)
            found = rows_of_ids(connection, ids[:limit])
        return [job_of(found[job_id]) for job_id in ids[:limit]]

    def expire(self, keep: int) -> int:
        """Delete old runs and their jobs."""
        with self._database.read() as connection:
            old = connection.execute(schedules_sql.OLD_RUNS, {"keep": keep}).all()
        jobs_of_runs = {row.id: row.job_id for row in old}
        for some in batches(sorted(jobs_of_runs)):
            job_ids = [jobs_of_runs[run_id] for run_id in some if jobs_of_runs[run_id] is not None]
            with self._database.write() as connection:
                # One at a time: in orders of their own, two would wait for each other.
                self._database.lock(connection, "expire runs")
                connection.execute(schedules_sql.FORGET_RUNS, {"run_ids": some})
                connection.execute(schedules_sql.FORGET_JOBS, {"job_ids": job_ids})
        return len(old)

    def _without_decided(
        self, connection: Connection, name: str, runs: Sequence[PlannedRun]
    ) -> list[PlannedRun]:
        times = {to_micros(each.due_at): each for each in runs}
        decided: set[int] = set()
        for some in batches([str(time) for time in times]):
            asked = {"of_name": storable(name), "due_times": [int(time) for time in some]}
            decided |= set(connection.execute(schedules_sql.DECIDED, asked).scalars())
        return [each for time, each in sorted(times.items()) if time not in decided]

    def _due_now(self, connection: Connection, name: str) -> PlannedRun:
        now = from_micros(self._database.now())
        due = to_micros(now)
        while connection.execute(
            schedules_sql.DECIDED, {"of_name": storable(name), "due_times": [due]}
        ).first():
            due += 1
        return PlannedRun(due_at=from_micros(due), trigger=Trigger.MANUAL, start_at=now)

    def _cancel(self, connection: Connection, job_ids: Iterable[str]) -> None:
        """Cancel jobs that have not ended.

        No turn is waited for: no rows appear by them, and a removal that is under way at this
        moment does what it was to do, or is seen to be unfinished by the next clean-up.
        """
        now = self._database.now()
        cancelled = [
            job_id
            for job_id in sorted(set(job_ids))
            if end_job(connection, _CANCEL, job_id, now, JobStatus.CANCELLED)
        ]
        self._letters.jobs_ended(connection, cancelled)

    def _make(
        self,
        connection: Connection,
        schedule: Schedule,
        runs: Sequence[PlannedRun],
        options: Mapping[str, object],
    ) -> list[Run]:
        """Insert runs and their jobs, for a schedule whose row is locked."""
        if not runs:
            return []
        new = [_new(schedule, each, options) for each in runs]
        wanted = [each.submission for each in new if each.submission is not None]
        made = iter(self._intake.add(connection, wanted) if wanted else [])
        now = self._database.now()
        rows = [
            {
                "id": each.run_id,
                "schedule": schedule.name,
                "task": schedule.task,
                "due_at": to_micros(each.planned.due_at),
                "trigger": each.planned.trigger.value,
                "created_at": now,
                "job_id": None if each.submission is None else next(made)[0].id,
                "reason": storable(each.planned.skip_reason or ""),
            }
            for each in new
        ]
        connection.execute(schedules_sql.ADD_RUNS, rows)
        return _runs_of(connection, [each.run_id for each in new])


def _runs_of(connection: Connection, run_ids: Sequence[str]) -> list[Run]:
    found: dict[str, Row[Any]] = {}
    for some in batches(run_ids):
        rows = connection.execute(schedules_sql.RUNS_OF_IDS, {"run_ids": some})
        found |= {row.id: row for row in rows}
    return [run_of(found[run_id]) for run_id in run_ids]


def _new(schedule: Schedule, planned: PlannedRun, options: Mapping[str, object]) -> _New:
    run_id = new_job_id()
    if planned.skip_reason is not None:
        return _New(run_id=run_id, planned=planned, submission=None)
    due_at = planned.due_at.isoformat()
    submission = Submission(
        kind=MAINTENANCE,
        collection="",
        spec={
            "schedule": schedule.name,
            "task": schedule.task,
            "run_id": run_id,
            "due_at": due_at,
            "trigger": planned.trigger.value,
            "options": {**schedule.options, **options},
            "timeout_seconds": schedule.timeout_seconds,
        },
        spec_key=hash_text(f"{schedule.name}\n{to_micros(planned.due_at)}"),
        run_after=planned.start_at,
    )
    return _New(run_id=run_id, planned=planned, submission=submission)


def _considered(row: Row[Any]) -> datetime:
    return from_micros(row.considered_until)


def _has_not_ended(name: str, job_id: str) -> UsageError:
    return UsageError(
        f"{name} is at work already, or about to be: job {job_id} has not ended",
        hint=f"wait for it (`lexigram-ray jobs watch {job_id}`), "
        f"or end it (`lexigram-ray jobs cancel {job_id}`)",
        code=RUN_UNFINISHED,
    )
