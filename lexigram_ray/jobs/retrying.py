"""Doing a job that has ended once more, as a new one: all of it, or only what failed.

A final job never changes, so a retry is a job of its own that names it (`retry_of`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import source_path
from lexigram_ray.core.types import JobStatus, Outcome
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.letter_records import LetterFilter, LetterRetry, LetterStatus, Subject
from lexigram_ray.jobs.recorded_config import mapping
from lexigram_ray.jobs.records import Job, Submission
from lexigram_ray.jobs.report import problems_of
from lexigram_ray.jobs.requests import (
    EMBED,
    INGEST,
    REQUEST,
    RETRY_FAILED,
    paths_identity,
    refuse_object_of,
    request_of,
    retries_failed,
    spec_key_of,
)
from lexigram_ray.jobs.staged import SUFFIX
from lexigram_ray.jobs.staged_sidecar import read_staged_table
from lexigram_ray.jobs.store import Store

_Planned = tuple[Submission, tuple[str, ...]]

JOB_NOT_FINAL = "job_not_final"
"""Code of the error that refuses to do a job again that has not ended."""

NOTHING_TO_RETRY = "nothing_to_retry"
"""Code of the error that refuses to do a job again of which nothing has failed, or is there."""

MOST_PATHS = 1_000
"""Of a job's request; where more documents have failed, the folders that hold them are named."""

_FAILED_ONLY: Mapping[str, object] = MappingProxyType({RETRY_FAILED: True, "prune": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A recorded retry. It is worked on by whoever claims it.

    Attributes:
        job: The new job, or the unfinished one that asks for the same already.
        created: Whether it was made now.
        notes: Sentences for the user.
    """

    job: Job
    created: bool
    notes: tuple[str, ...] = ()


def retry(store: Store, jobs: Sequence[Job], *, failed_only: bool, staged: Path) -> list[Retry]:
    """Record new jobs that do final ones again: all of them, or none.

    Args:
        failed_only: Only what failed: of an ingestion the failed documents, with their remembered
            failures forgotten. An embedding job reads its whole table either way: rows that stand
            in the collection are not embedded again.
        staged: The folder of staged tables.

    Raises:
        UsageError: A job is not over, has no failed records, or cannot be repeated: it was
            recorded without its request, or its input is gone.
    """
    planned = [_plan(store, job, failed_only=failed_only, staged=staged) for job in jobs]
    retries = [
        LetterRetry(
            submission=submission,
            letter_ids=_letters_of(store, job, submission, failed_only=failed_only),
            anyway=True,
        )
        for job, (submission, _) in zip(jobs, planned, strict=True)
    ]
    recorded = store.dead_letters.retry(retries)
    return [
        Retry(job=job, created=created, notes=(*notes, *_left_alone(job, submission)))
        for (job, created), (submission, notes) in zip(recorded, planned, strict=True)
    ]


def again(job: Job, spec: dict[str, object]) -> Submission:
    """Return what asks for a job once more.

    Args:
        spec: What is asked this time.
    """
    return Submission(
        kind=job.kind,
        collection=job.collection,
        spec=spec,
        spec_key=spec_key_of(spec),
        priority=job.priority,
        retry_of=job.id,
    )


def documents_again(job: Job, request: Mapping[str, object], sources: Sequence[str]) -> Submission:
    """Return what ingests some documents of a job once more, their failures forgotten.

    Args:
        request: What the job has recorded.
        sources: The documents, as the store calls them.
    """
    # As an ingestion of these paths would name itself.
    identity = {"paths": paths_identity(Path(source_path(source)) for source in sources)}
    asked = {**request, **_FAILED_ONLY, "paths": list(sources)}
    return again(job, job.spec | identity | {REQUEST: asked})


def missing_paths(request: Mapping[str, object]) -> list[str]:
    """Return those of an ingestion's recorded paths that are gone."""
    paths = cast("list[str]", request["paths"])
    return [path for path in paths if not os.path.lexists(source_path(path))]


def is_staged(job: Job, staged: Path) -> bool:
    """Whether the rows of an embedding job are still kept: its table is not needed then."""
    rows = staged / f"{job.spec.get('rows')}{SUFFIX}"
    return read_staged_table(rows, str(job.spec.get("source"))) is not None


def table_path(request: Mapping[str, object]) -> str | None:
    """Return the file of an embedding job's table; None where its texts came from none."""
    return cast("str | None", mapping(request.get("table")).get("path"))


def _plan(store: Store, job: Job, *, failed_only: bool, staged: Path) -> _Planned:
    _check_over(job)
    request = request_of(job)
    if failed_only and job.kind == INGEST:
        return _only_failed_documents(store, job, request)
    if failed_only and not Counts.of(job).failed:
        raise _nothing_failed(job)
    if job.kind == EMBED:
        _check_table(job, request, staged)
    else:
        refuse_object_of(job, request)
        _check_paths(job, request)
    return again(job, job.spec), ()


def _left_alone(job: Job, submission: Submission) -> tuple[str, ...]:
    """Say that a running job that was found does not do what was asked."""
    if not retries_failed(submission.spec) or retries_failed(job.spec):
        return ()
    return (
        f"job {job.id} is running over these documents, and leaves those that failed before alone: "
        "retry them once it has ended",
    )


def _letters_of(
    store: Store, job: Job, submission: Submission, *, failed_only: bool
) -> tuple[str, ...]:
    """Return the open letters of a job that its repetition tries again."""
    which = LetterFilter(job_id=job.id, statuses=(LetterStatus.OPEN,))
    letters = list(store.dead_letters.each(which))
    if job.kind == INGEST and not failed_only:
        # Remembered failures of documents stay as they are.
        letters = [letter for letter in letters if letter.subject is Subject.JOB]
    elif job.kind == INGEST:
        # All of them where the job's own paths are sought through; else those that are named.
        paths = set(cast("list[str]", mapping(submission.spec.get(REQUEST))["paths"]))
        is_whole = submission.spec_key == job.spec_key
        letters = [
            letter
            for letter in letters
            if letter.subject is Subject.DOCUMENT and (is_whole or letter.origin in paths)
        ]
    return tuple(letter.id for letter in letters)


def _check_over(job: Job) -> None:
    if not job.status.is_final:
        raise UsageError(
            f"job {job.id} is {job.status.value}: only a job that has ended can be retried",
            hint=f"`lexigram-ray jobs watch {job.id}`, or cancel it first",
            code=JOB_NOT_FINAL,
        )


def _only_failed_documents(store: Store, job: Job, request: Mapping[str, object]) -> _Planned:
    refuse_object_of(job, request)
    failed = _failed_sources(store, job)
    if not failed:
        raise _nothing_failed(job)
    there = [source for source in failed if os.path.lexists(source_path(source))]
    if not there:
        raise UsageError(
            f"none of the {len(failed):,} documents that failed in job {job.id} is there any more",
            hint="nothing is left to retry; --prune of `ingest` removes what is gone",
            code=NOTHING_TO_RETRY,
        )
    gone = len(failed) - len(there)
    notes = (f"left out, because they are gone: {gone:,} of {len(failed):,}",) if gone else ()
    if len(there) > MOST_PATHS:
        return again(job, job.spec | {REQUEST: {**request, **_FAILED_ONLY}}), notes
    return documents_again(job, request, there), notes


def _failed_sources(store: Store, job: Job) -> list[str]:
    """Return the sources of documents that failed, also where the job has left no report."""
    sources = {
        problem["source"]
        for problem in problems_of(job)
        if problem["outcome"] == Outcome.FAILED.value
    }
    # More than are named as paths need not be read to know that they are too many.
    units = store.failed_units(job.id, limit=MOST_PATHS + 1)
    return sorted(sources | {unit.source for unit in units})


def _nothing_failed(job: Job) -> UsageError:
    ended = "was completed" if job.status is JobStatus.COMPLETED else f"ended {job.status.value}"
    return UsageError(
        f"no record of job {job.id} has failed: it {ended}",
        hint=f"`lexigram-ray jobs retry {job.id}`, without --failed, does all of it again",
        code=NOTHING_TO_RETRY,
    )


def _check_paths(job: Job, request: Mapping[str, object]) -> None:
    """Refuse what could only fail."""
    gone = missing_paths(request)
    if gone:
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        raise UsageError(
            f"what job {job.id} read is gone: {gone[0]}{more}",
            hint="put it back, or run `lexigram-ray ingest` on what is there now",
            code=NOTHING_TO_RETRY,
        )


def _check_table(job: Job, request: Mapping[str, object], staged: Path) -> None:
    """Refuse what could only fail: what made the vectors, or the rows, is no longer there."""
    refuse_object_of(job, request)
    if is_staged(job, staged):
        return
    path = table_path(request)
    if path is None:
        raise UsageError(
            f"the texts of job {job.id} came from no file, and are no longer kept",
            hint="give the same texts to `lexigram-ray embed` again",
            code=NOTHING_TO_RETRY,
        )
    if not os.path.lexists(source_path(path)):
        raise UsageError(
            f"the table of job {job.id} is gone: {path}",
            hint="put it back, or run `lexigram-ray embed` on where it is now",
            code=NOTHING_TO_RETRY,
        )
